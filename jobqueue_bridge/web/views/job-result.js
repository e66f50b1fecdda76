// What a job has made: its picture or a player, and its figures.

import { withToken } from "../api.js";
import { bytes, duration } from "../format.js";
import { html } from "../html.js";
import { useState } from "../vendor/preact-hooks.js";
import { words } from "../vocabulary.js";

const PICTURES = /\.(jpe?g|png|gif|webp)$/i;
const FILMS = /\.(mp4|m4v|webm|mov|mkv)$/i;

export function JobResult({ job }) {
  if (job.status !== "completed" || !job.result) return null;
  return html`
    <section class="result"><h3>Result</h3>
      <${Output} job=${job} path=${job.result.outputPath ?? ""} />
      <${Saved} result=${job.result} />
      <dl class="facts">${Object.entries(job.result).map(([name, value]) => html`<div key=${name}><dt>${words(name)}</dt><dd>${told(name, value)}</dd></div>`)}</dl>
    </section>`;
}

function Output({ job, path }) {
  const [broken, setBroken] = useState(false);
  if (broken) return html`<p class="hint">The file is not there any more, or this browser cannot show it.</p>`;
  const address = withToken(`/jobs/${job.id}/output`);
  if (PICTURES.test(path)) return html`<img class="output" src=${address} alt=${`What the job made: ${path}`} onError=${() => setBroken(true)} />`;
  if (FILMS.test(path)) return html`<video class="output" controls preload="metadata" src=${address} aria-label=${`What the job made: ${path}`} onError=${() => setBroken(true)}></video>`;
  return null;
}

function Saved({ result }) {
  const [after, before] = [result.sizeBytes, result.sourceSizeBytes];
  if (!after || !before) return null;
  const percent = Math.round(100 * (1 - after / before));
  return html`<p class="saved" data-less=${percent >= 0}>${bytes(before)} → ${bytes(after)} <b>${percent >= 0 ? `${percent}% smaller` : `${-percent}% larger`}</b></p>`;
}

function told(name, value) {
  if (value === null) return "–";
  if (typeof value === "number" && /bytes$/i.test(name)) return bytes(value);
  if (typeof value === "number" && /seconds$/i.test(name)) return duration(value);
  if (typeof value === "number") return value.toLocaleString();
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object") return html`<code class="json">${JSON.stringify(value)}</code>`;
  return value;
}
