// A new job of any type: a form made from the type's schema, or its params as JSON.

import { post, sameKey } from "../api.js";
import { shortId } from "../format.js";
import { html } from "../html.js";
import { Icon } from "../parts/icon.js";
import { Modal } from "../parts/modal.js";
import { SchemaForm } from "../parts/schema-form.js";
import { close } from "../state/dialogs.js";
import { remember } from "../state/jobs.js";
import { notice } from "../state/notices.js";
import { go, route } from "../state/route.js";
import { types } from "../state/types.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { categoryLabel, typeLabel } from "../vocabulary.js";
import { PrioritySlider } from "./priority.js";

const FIRST = "reencode_streaming";

export function CreateDialog({ type: given, params: givenParams, priority: givenPriority, ofVideo }) {
  const [type, setType] = useState(given ?? FIRST);
  const [params, setParams] = useState(givenParams ?? {});
  const [priority, setPriority] = useState(givenPriority ?? 5);
  const [text, setText] = useState(null); // the JSON as it is typed; null: the form is shown
  const [refusal, setRefusal] = useState(null);
  const [busy, setBusy] = useState(false);
  const form = useRef(null);
  const sending = useRef(false); // at once: a second click may come before `busy` is drawn
  const keyOf = useRef(sameKey()).current;
  const described = types.value.find((one) => one.type === type);
  const errors = Object.fromEntries((refusal?.errors ?? []).map(({ field, problem }) => [field, problem]));

  useEffect(() => {
    if (refusal) (form.current.querySelector("[aria-invalid=true]") ?? form.current.querySelector("[role=alert]"))?.focus();
  }, [refusal]);

  const change = (next) => {
    setParams(next);
    setRefusal(null);
  };
  const choose = (next) => {
    const { videoId } = params; // the one thing that types share
    setType(next);
    change(videoId && "videoId" in (types.value.find((one) => one.type === next)?.params.properties ?? {}) ? { videoId } : {});
    setText(null);
  };
  const submit = async (event) => {
    event.preventDefault();
    if (sending.current) return;
    sending.current = true;
    setBusy(true);
    try {
      const request = { type, params: text === null ? params : JSON.parse(text), priority };
      created(await post("/jobs", request, { headers: { "Idempotency-Key": keyOf(request) } }));
    } catch (problem) {
      setRefusal(problem instanceof SyntaxError ? { message: `This is not JSON: ${problem.message}`, errors: [] } : problem);
    }
    setBusy(false);
    sending.current = false;
  };

  return html`
    <${Modal} title=${ofVideo ? typeLabel(type) : "Create job"} onClose=${close} wide>
      <form ref=${form} class="create" noValidate onSubmit=${submit}>
        <div class="content">
          ${refusal && html`<${Refusal} refusal=${refusal} shown=${described} inForm=${text === null} />`}
          <div class="fields">
            <div class="field" data-invalid=${Boolean(errors.type)}>
              <label for="type">Type</label>
              <select id="type" value=${type} autofocus onChange=${(event) => choose(event.target.value)}>
                ${types.value.map((one) => html`<option key=${one.type} value=${one.type}>${typeLabel(one.type)}</option>`)}
              </select>
              <p class="hint">${described && `${described.description} ${needs(described)}`}</p>
            </div>
            <${PrioritySlider} value=${priority} error=${errors.priority} onChange=${setPriority} />
          </div>
          <div class="tabs" role="group" aria-label="How to set the params">
            <button type="button" aria-pressed=${text === null} onClick=${() => toForm(text, change, setText, setRefusal)}>Form</button>
            <button type="button" aria-pressed=${text !== null} onClick=${() => text === null && setText(JSON.stringify(params, null, 2))}>JSON</button>
          </div>
          ${text === null
            ? described && html`<${SchemaForm} key=${type} schema=${described.params} value=${params} errors=${paramErrors(errors)} onChange=${change} />`
            : html`<${JsonEditor} text=${text} onChange=${(next) => { setText(next); setRefusal(null); }} errors=${paramErrors(errors)} />`}
        </div>
        <footer><button type="button" onClick=${close}>Go back</button><button class="primary" disabled=${busy}>${busy ? "Creating …" : "Create"}</button></footer>
      </form>
    </${Modal}>`;
}

const needs = ({ resourceCategory, vramRequired }) => `Takes one ${categoryLabel(resourceCategory)} slot${vramRequired ? ` and ${vramRequired.toLocaleString()} MB of VRAM` : ""}.`;

function toForm(text, change, setText, setRefusal) {
  if (text === null) return;
  try {
    change(JSON.parse(text));
    setText(null);
  } catch (problem) {
    setRefusal({ message: `This is not JSON: ${problem.message}`, errors: [] });
  }
}

function created(job) {
  remember(job);
  close();
  notice(`${typeLabel(job.type)} ${shortId(job.id)} is in the line.`);
  go({ job: job.id }, { view: "jobs", keep: route.peek().view === "jobs" });
}

/** "params.crf" → "crf" */
function paramErrors(errors) {
  return Object.fromEntries(Object.entries(errors).filter(([field]) => field.startsWith("params.")).map(([field, problem]) => [field.slice("params.".length), problem]));
}

function Refusal({ refusal, shown, inForm }) {
  const atFields = inForm && refusal.errors.length > 0 && refusal.errors.every(({ field }) => field === "priority" || Object.keys(shown?.params.properties ?? {}).includes(field.split(".")[1]));
  return html`
    <div class="refusal" role="alert" tabindex="-1"><${Icon} name="circle-alert" />
      <div><p>${atFields ? "Some settings are not as they must be: see below." : refusal.message}</p>
        ${!atFields && refusal.errors.length > 0 && html`<ul>${refusal.errors.map(({ field, problem }) => html`<li key=${field}><code>${field}</code> ${problem}</li>`)}</ul>`}
        ${refusal.body?.jobId && html`<p><button type="button" class="link" onClick=${() => { close(); go({ job: refusal.body.jobId }, { view: "jobs" }); }}>Show job ${shortId(refusal.body.jobId)}</button></p>`}
      </div>
    </div>`;
}

function JsonEditor({ text, onChange, errors }) {
  let wrong = null;
  try {
    const read = JSON.parse(text);
    if (read === null || typeof read !== "object" || Array.isArray(read)) wrong = "Params are an object: { … }";
  } catch (problem) {
    wrong = problem.message;
  }
  const refused = Object.entries(errors);
  return html`
    <div class="field" data-invalid=${Boolean(wrong || refused.length)}>
      <label for="json">Params as JSON</label>
      <textarea id="json" class="code" rows="14" spellcheck=${false} autocomplete="off" value=${text} aria-invalid=${Boolean(wrong || refused.length)} aria-describedby="json-hint" onInput=${(event) => onChange(event.target.value)}></textarea>
      <p class="hint" id="json-hint">${wrong ? html`<span class="problem">${wrong}</span>` : refused.map(([field, problem]) => html`<span key=${field} class="problem"><code>${field}</code> ${problem}</span>`)}</p>
    </div>`;
}
