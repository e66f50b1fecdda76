// How far a job is, how fast it goes, when it will be done; or else what it waits for or why it failed.

import { duration, summary } from "../format.js";
import { html } from "../html.js";
import { JobLink } from "./job-link.js";
import { Ago, Took } from "./when.js";

export function Progress({ job }) {
  if (job.status === "cancelled") return html`<p class="line faint">${job.progress > 0 ? `at ${job.progress}%` : "before it ran"}</p>`;
  if (job.status === "failed") return html`${job.progress > 0 && html`<${Bar} job=${job} />`}<p class="line error" title=${job.error}>${summary(job.error) || "No reason given"}</p>`;
  if (job.status === "completed") return html`<${Bar} job=${job} /><p class="line">took <${Took} from=${job.startedAt} to=${job.completedAt} /></p>`;
  if (job.status === "running") return html`<${Bar} job=${job} /><p class="line">${pace(job.progressDetail) || html`for <${Took} from=${job.startedAt} />`}</p>`;
  return html`${job.progress > 0 && html`<${Bar} job=${job} />`}<${Waiting} job=${job} />`;
}

function Bar({ job }) {
  const done = job.status === "completed" ? 100 : job.progress;
  return html`<div class="bar" data-status=${job.status}>
    <progress max="100" value=${done} aria-label="Progress">${done}%</progress><span>${done}%</span>
  </div>`;
}

function Waiting({ job }) {
  if (job.retryAfter && new Date(job.retryAfter) > Date.now()) {
    return html`<p class="line" title=${job.error}>tries again <${Ago} at=${job.retryAfter} />${job.error ? `: ${summary(job.error)}` : ""}</p>`;
  }
  const place = job.queuePosition ? `#${job.queuePosition} in line` : "";
  const text = [place, job.waitingReason].filter(Boolean).join(" · ");
  if (job.parentId && job.waitingReason) return html`<p class="line" title=${job.waitingReason}><${JobLink} id=${job.parentId}>${text}</${JobLink}></p>`;
  return html`<p class="line" title=${job.waitingReason}>${text || "–"}</p>`;
}

/** {fps, speed, eta_s} → "58 fps · 2.4× · 1 min 20 s left" */
function pace(detail) {
  if (!detail) return "";
  return [
    detail.eta_s != null && `${duration(detail.eta_s)} left`,
    detail.speed != null && `${detail.speed.toFixed(detail.speed < 1 ? 2 : 1)}×`,
    detail.fps != null && `${Math.round(detail.fps)} fps`,
  ].filter(Boolean).join(" · ");
}
