// The settings of a job and what is known of its way so far.

import { html } from "../html.js";
import { Thumbnail } from "../parts/thumbnail.js";
import { Took, When } from "../parts/when.js";
import { videoName, videoSignal } from "../state/videos.js";
import { categoryLabel } from "../vocabulary.js";

export function Facts({ job }) {
  return html`
    ${job.videoId && html`<${Source} id=${job.videoId} />`}
    <section><h3>Job</h3>
      <dl class="facts">
        <${Fact} name="Priority">${job.priority} <span class="faint">(1 is first)</span></${Fact}>
        <${Fact} name="Resource">${categoryLabel(job.resourceCategory)}${job.vramRequired > 0 && `, ${job.vramRequired.toLocaleString()} MB of VRAM`}</${Fact}>
        <${Fact} name="Created"><${When} at=${job.createdAt} /> <span class="faint">by ${job.origin}</span></${Fact}>
        <${Fact} name="Started"><${When} at=${job.startedAt} /></${Fact}>
        <${Fact} name="Finished"><${When} at=${job.completedAt} /></${Fact}>
        <${Fact} name="Waited">${job.startedAt ? html`<${Took} from=${job.createdAt} to=${job.startedAt} />` : html`<${Took} from=${job.createdAt} to=${job.completedAt} />`}</${Fact}>
        <${Fact} name="Retries">${job.retryCount} of ${job.maxRetries}</${Fact}>
        ${job.gpu != null && html`<${Fact} name="GPU">${job.gpu}</${Fact}>`}
        ${job.host && html`<${Fact} name="Host">${job.host}</${Fact}>`}
        <${Fact} name="Id"><code>${job.id}</code></${Fact}>
      </dl>
    </section>
    ${job.params && html`<section><h3>Params</h3><pre class="json" tabindex="0" aria-label="Params">${JSON.stringify(job.params, null, 2)}</pre></section>`}`;
}

const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

function Source({ id }) {
  const video = videoSignal(id).value;
  if (!video) return null;
  return html`<section class="source"><h3>Video</h3>
    <div class="picked"><${Thumbnail} video=${video} /><span class="name">${videoName(video)}<small>${video.path}</small></span></div>
  </section>`;
}
