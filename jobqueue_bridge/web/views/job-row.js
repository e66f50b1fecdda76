// One row: it alone is drawn again when its job moves.

import { shortId } from "../format.js";
import { html } from "../html.js";
import { Badge } from "../parts/badge.js";
import { Icon } from "../parts/icon.js";
import { Progress } from "../parts/progress.js";
import { When } from "../parts/when.js";
import { act, VERBS } from "../state/actions.js";
import { choose, chosen, jobSignal } from "../state/jobs.js";
import { go, param } from "../state/route.js";
import { videoName, videoSignal } from "../state/videos.js";
import { actionsOn, categoryLabel, typeIcon, typeLabel } from "../vocabulary.js";

const OFFERED = ["resume", "pause", "retry", "cancel"];

export function JobRow({ id }) {
  const job = jobSignal(id).value;
  if (!job) return null;
  const opened = param("job") === id;
  const click = (event) => !event.target.closest("button, input, a, label") && getSelection().isCollapsed && go({ job: opened ? null : id }, { replace: Boolean(param("job")) });
  return html`
    <tr role="row" data-row=${id} data-status=${job.status} data-open=${opened} data-chosen=${chosen.value.has(id)} onClick=${click}>
      <td role="cell" class="c-check"><input type="checkbox" checked=${chosen.value.has(id)} aria-label=${`Select ${typeLabel(job.type)} ${shortId(id)}`} onChange=${(event) => choose([id], event.target.checked)} /></td>
      <th role="rowheader" scope="row" class="c-job"><span class="type-icon"><${Icon} name=${typeIcon(job.type)} size="18" /></span>
        <span class="name"><button type="button" class="open" data-open aria-expanded=${opened} onClick=${() => go({ job: id }, { replace: Boolean(param("job")) })}>${typeLabel(job.type)}</button>
        <small><${Subject} job=${job} /></small></span></th>
      <td role="cell" class="c-status"><${Badge} status=${job.status} /></td>
      <td role="cell" class="c-progress"><${Progress} job=${job} /></td>
      <td role="cell" class="c-resource">${categoryLabel(job.resourceCategory)}${job.vramRequired > 0 && html`<small>${(job.vramRequired / 1000).toLocaleString()} GB</small>`}</td>
      <td role="cell" class="c-priority"><${Priority} value=${job.priority} /></td>
      <td role="cell" class="c-created"><${When} at=${job.createdAt} /></td>
      <td role="cell" class="c-started"><${When} at=${job.startedAt} /></td>
      <td role="cell" class="c-completed"><${When} at=${job.completedAt} /></td>
      <td role="cell" class="c-actions">${OFFERED.filter((action) => actionsOn(job.status)[action]).map((action) => html`
        <button key=${action} type="button" class="quiet square" aria-label=${`${VERBS[action].label} ${typeLabel(job.type)} ${shortId(id)}`} title=${VERBS[action].label} onClick=${() => act(action, job)}><${Icon} name=${VERBS[action].icon} /></button>`)}</td>
    </tr>`;
}

/** What the job is about: its video's name where it has one, the place that a scan looks through, and always its id. */
function Subject({ job }) {
  const id = html`<code>${shortId(job.id)}</code>`;
  if (job.videoId) return html`<span class="video"><${VideoName} job=${job} /></span> ${id}`;
  const place = placeOf(job);
  return place ? html`<span class="video" title=${place}>${place}</span> ${id}` : id;
}

/** Of a scan. A row that another program wrote may have any params. */
function placeOf({ type, params }) {
  if (type !== "scan" && type !== "public_scan") return "";
  const { path, paths, directoryType } = params ?? {};
  if (Array.isArray(paths)) return paths.length === 1 ? String(paths[0]) : `${paths.length} files`;
  if (typeof path === "string") return path;
  return typeof directoryType === "string" ? `library/${directoryType}` : "";
}

function VideoName({ job }) {
  const video = videoSignal(job.videoId).value;
  return video ? html`<span title=${video.path}>${videoName(video)}</span>` : video === null ? "a video that is gone" : "…";
}

export function Priority({ value }) {
  const level = value <= 3 ? "high" : value >= 8 ? "low" : "normal";
  return html`<span class="priority" data-level=${level} title=${`Priority ${value}: 1 is first, 10 last`}>
    <span class="unseen">Priority </span>${value}<i aria-hidden="true"><b class=${`p${value}`}></b></i></span>`;
}
