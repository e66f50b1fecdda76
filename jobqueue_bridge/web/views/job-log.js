// A job's log as it is written. It follows the end until the reader scrolls up.

import { get } from "../api.js";
import { plural } from "../format.js";
import { html } from "../html.js";
import { Icon } from "../parts/icon.js";
import { remember } from "../state/jobs.js";
import { Stream } from "../state/live.js";
import { notice } from "../state/notices.js";
import { signedIn } from "../state/session.js";
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { FINAL } from "../vocabulary.js";

const TAIL = 1000;
const LINES_AT_MOST = 5000;
const NEAR_END_PX = 24;

export function JobLog({ id, job, stored, archived }) {
  const lines = useLines(id, archived);
  const [following, setFollowing] = useState(true);
  const place = useRef(null);
  const text = lines.length ? lines.map(({ at, line }) => `[${stamp(at)}] ${line}`).join("\n") : stored;

  const toEnd = () => {
    place.current.scrollTop = place.current.scrollHeight;
  };
  useLayoutEffect(() => {
    if (following && place.current) toEnd();
  }, [text, following]);
  const scrolled = ({ target }) => setFollowing(target.scrollHeight - target.scrollTop - target.clientHeight < NEAR_END_PX);
  const live = !FINAL.has(job.status) && !archived;

  return html`
    <section class="log">
      <h3>Log ${live && html`<span class="following" data-on=${following}>${following ? "following" : "held"}</span>`}<span class="grow"></span>
        <button type="button" class="quiet small" onClick=${() => keep(id)}><${Icon} name="arrow-down-to-line" size="14" />Whole log</button></h3>
      <div class="log-place">
        <pre ref=${place} role="log" aria-live="off" aria-label="Log" tabindex="0" onScroll=${scrolled}>${text || (text === undefined ? "…" : "Nothing has been written yet.")}</pre>
        ${!following && html`<button type="button" class="to-end small" onClick=${() => setFollowing(true)}><${Icon} name="arrow-down" size="14" />To the end</button>`}
      </div>
      ${lines.length >= LINES_AT_MOST && html`<p class="hint">The last ${plural(LINES_AT_MOST, "line")}.</p>`}
    </section>`;
}

/** [{seq, at, line}], growing as the job writes. */
function useLines(id, archived) {
  const [lines, setLines] = useState([]);
  const here = signedIn.value;
  useEffect(() => {
    if (archived || !here) return undefined;
    const heard = (kind, data) => {
      if (kind === "job") remember(data.job);
      if (kind === "hello" && !data.resumed) setLines([]);
      if (kind === "log") setLines((before) => appended(before, data.lines));
    };
    const stream = new Stream(`/jobs/${id}/events`, heard, { query: { tail: TAIL } });
    return () => stream.close();
  }, [id, archived, here]);
  return lines;
}

function appended(before, fresh) {
  const last = before.at(-1)?.seq ?? -Infinity;
  const unseen = fresh.filter(({ seq }) => seq > last);
  return unseen.length ? [...before, ...unseen].slice(-LINES_AT_MOST) : before;
}

const stamp = (iso) => {
  const at = new Date(iso);
  const day = [at.getFullYear(), at.getMonth() + 1, at.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
  return `${day} ${at.toTimeString().slice(0, 8)}`;
};

async function keep(id) {
  try {
    const text = await get(`/jobs/${id}/log`, {}, { as: "text" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = `${id}.log`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  } catch (problem) {
    notice(problem.message, "failed");
  }
}
