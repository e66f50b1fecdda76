// One job in full: what it does now, what it made, its log as it is written, its attempts.

import { get } from "../api.js";
import { shortId } from "../format.js";
import { html } from "../html.js";
import { Badge } from "../parts/badge.js";
import { Failure, Skeleton } from "../parts/empty.js";
import { Icon } from "../parts/icon.js";
import { Progress } from "../parts/progress.js";
import { Ago } from "../parts/when.js";
import { act, VERBS } from "../state/actions.js";
import { open } from "../state/dialogs.js";
import { jobSignal, remember } from "../state/jobs.js";
import { go } from "../state/route.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { actionsOn, typeIcon, typeLabel } from "../vocabulary.js";
import { Attempts } from "./attempts.js";
import { Checks } from "./checks.js";
import { Facts } from "./facts.js";
import { JobLog } from "./job-log.js";
import { JobResult } from "./job-result.js";

const ORDER = ["resume", "pause", "retry", "cancel"];

export function JobPanel({ id }) {
  const job = jobSignal(id).value;
  const [details, setDetails] = useState(null);
  const [problem, setProblem] = useState(null);
  const heading = useRef(null);

  const load = async () => {
    try {
      const { log, ...found } = await get(`/jobs/${id}`);
      remember(found);
      setDetails({ log, attempts: found.attempts, archivedAt: found.archivedAt, dagsterUrl: found.dagsterUrl, assetUrl: found.assetUrl });
      setProblem(null);
    } catch (failed) {
      setProblem(failed);
    }
  };
  // Params, result and attempts come with the details only: again with each new status and attempt.
  useEffect(() => void load(), [id, job?.status, job?.attempt]);
  useEffect(() => {
    if (matchMedia("(max-width: 1099px)").matches || document.activeElement?.closest("[data-row]")?.dataset.row !== id) heading.current?.focus({ preventScroll: true });
  }, []);

  return html`
    <aside class="panel" aria-label="Job details">
      <header>
        <button type="button" class="quiet square" aria-label="Close the details" title="Close (Escape)" onClick=${() => closeTo(id)}><${Icon} name="x" /></button>
        <h2 ref=${heading} tabindex="-1">${job && html`<span class="type-icon"><${Icon} name=${typeIcon(job.type)} size="18" /></span>`}${job ? typeLabel(job.type) : "Job"} <code title=${id}>${shortId(id)}</code></h2>
        ${job && html`<${Badge} status=${job.status} />`}
      </header>
      ${!job && !problem && html`<${Skeleton} rows="6" />`}
      ${problem && !job && html`<${Failure} problem=${problem} retry=${problem.status === 404 ? null : load} />`}
      ${job && html`
        <div class="body">
          <${Actions} job=${job} details=${details} />
          <section class="now"><${Progress} job=${job} />${job.status === "failed" && job.error && html`<pre class="reason" tabindex="0" aria-label="Error">${job.error}</pre>`}</section>
          ${details?.archivedAt && html`<p class="hint">In the archive since <${Ago} at=${details.archivedAt} />: it can be read, and not changed any more.</p>`}
          <${JobResult} job=${job} />
          <${Checks} checks=${job.result?.checks} />
          <${JobLog} id=${id} job=${job} stored=${details?.log} archived=${Boolean(details?.archivedAt)} />
          <${Facts} job=${job} />
          ${details && html`<${Attempts} attempts=${details.attempts} />`}
        </div>`}
    </aside>`;
}

function closeTo(id) {
  go({ job: null });
  document.querySelector(`[data-row="${id}"] [data-open]`)?.focus();
}

function Actions({ job, details }) {
  const allowed = actionsOn(job.status);
  const shown = ORDER.filter((action) => allowed[action]);
  return html`
    <div class="actions" role="group" aria-label="Actions">
      ${shown.map((action) => html`<button key=${action} type="button" class=${VERBS[action].danger ? "danger" : ""} onClick=${() => act(action, job)}><${Icon} name=${VERBS[action].icon} />${VERBS[action].label}</button>`)}
      ${allowed.priority && html`<button type="button" onClick=${() => open("priority", { job, title: "Change the priority", subject: `${typeLabel(job.type)} ${shortId(job.id)}` })}><${Icon} name="arrow-up" />Priority</button>`}
      <button type="button" onClick=${() => open("create", { type: job.type, params: job.params, priority: job.priority })}><${Icon} name="copy" />Create another</button>
      ${details?.dagsterUrl && html`<a class="button" href=${details.dagsterUrl} target="_blank" rel="noreferrer"><${Icon} name="external-link" />Dagster run</a>`}
      ${details?.assetUrl && html`<a class="button" href=${details.assetUrl} target="_blank" rel="noreferrer"><${Icon} name="external-link" />Asset</a>`}
    </div>`;
}
