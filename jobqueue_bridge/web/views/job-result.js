// What a job has made: its picture or a player, and its figures.

import { withToken } from "../api.js";
import { bytes, duration } from "../format.js";
import { html } from "../html.js";
import { useState } from "../vendor/preact-hooks.js";
import { words } from "../vocabulary.js";

const PICTURES = /\.(jpe?g|png|gif|webp)$/i;
const FILMS = /\.(mp4|m4v|webm|mov|mkv)$/i;

const SHOWN_ELSEWHERE = new Set(["whyPath", "segments", "moments", "engines", "checks"]);

export function JobResult({ job }) {
  if (job.status !== "completed" || !job.result) return null;
  return html`
    <section class="result"><h3>Result</h3>
      <${Output} job=${job} path=${job.result.outputPath ?? ""} />
      <${Saved} result=${job.result} />
      <${Why} job=${job} />
      <dl class="facts">${Object.entries(job.result).filter(([name]) => !SHOWN_ELSEWHERE.has(name)).map(([name, value]) => html`<div key=${name}><dt>${words(name)}</dt><dd>${told(name, value)}</dd></div>`)}</dl>
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

/** Why it is what it is: the score over time with what was chosen, and the reasons one by one. */
function Why({ job }) {
  const [broken, setBroken] = useState(false);
  const { whyPath, segments = [], engines = [] } = job.result;
  if (!whyPath) return null;
  return html`
    ${!broken && html`<a href=${withToken(`/jobs/${job.id}/why`)} target="_blank" rel="noopener"><img class="why" src=${withToken(`/jobs/${job.id}/why`)}
      alt="The score over time, and what was chosen" onError=${() => setBroken(true)} /></a>`}
    <ol class="segments">${segments.map((one) => html`<li key=${one.startSeconds}>${duration(one.startSeconds)} – ${duration(one.endSeconds)}
      <small> ${Object.entries(one.reasons).map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ")}</small></li>`)}</ol>
    <ul class="engines">${engines.map((one) => html`<li key=${one.role + one.reference}>${words(one.role)}: <code>${one.reference}</code>${" on "}${one.device}${one.reason && html` <small>(${one.reason})</small>`}</li>`)}</ul>`;
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
