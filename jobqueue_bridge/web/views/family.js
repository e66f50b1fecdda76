// Whom a job waits for, and who waits for it.

import { get } from "../api.js";
import { shortId } from "../format.js";
import { html } from "../html.js";
import { Badge } from "../parts/badge.js";
import { JobLink } from "../parts/job-link.js";
import { jobSignal, remember } from "../state/jobs.js";
import { go } from "../state/route.js";
import { useEffect, useState } from "../vendor/preact-hooks.js";
import { typeLabel } from "../vocabulary.js";

const SHOWN = 20;

export function Family({ job }) {
  const [children, setChildren] = useState({ ids: [], total: 0 });
  const load = async () => {
    try {
      const { data, pagination } = await get("/jobs", { parentId: job.id, sort: "createdAt", limit: SHOWN });
      data.forEach(remember);
      setChildren({ ids: data.map((child) => child.id), total: pagination.total });
      if (job.parentId && !jobSignal(job.parentId).peek()) remember(await get(`/jobs/${job.parentId}`));
    } catch {
      // a parent that is gone has no name to show, and is named by its id
    }
  };
  useEffect(() => void load(), [job.id, job.parentId, job.status]);
  if (!job.parentId && !children.ids.length) return null;
  return html`
    <section class="family"><h3>Jobs before and after</h3>
      <ul>
        ${job.parentId && html`<li>After <${Relative} id=${job.parentId} /></li>`}
        ${children.ids.map((id) => html`<li key=${id}>Before <${Relative} id=${id} /></li>`)}
      </ul>
      ${children.total > children.ids.length && html`<p><button type="button" class="quiet" onClick=${() => go({ parentId: job.id, job: null, page: null })}>All ${children.total}</button></p>`}
    </section>`;
}

function Relative({ id }) {
  const job = jobSignal(id).value;
  return html`<${JobLink} id=${id}>${job ? typeLabel(job.type) : "job"} <code>${shortId(id)}</code></${JobLink}>${job && html` <${Badge} status=${job.status} />`}`;
}
