// Another place in the line, for one job or for many.

import { html } from "../html.js";
import { Modal } from "../parts/modal.js";
import { setPriority, underway } from "../state/actions.js";
import { close, dialog } from "../state/dialogs.js";
import { useState } from "../vendor/preact-hooks.js";

export function PriorityDialog({ job, title, subject, explain, perform }) {
  const [value, setValue] = useState(job?.priority ?? 5);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const mine = dialog.peek();
    setBusy(true);
    try {
      await (job ? setPriority(job, value) : perform(value));
      if (dialog.peek() === mine) close();
    } catch (refused) {
      setProblem(refused.message);
    }
    setBusy(false);
  };
  return html`
    <${Modal} title=${title} onClose=${close}>
      <form onSubmit=${submit}>
        ${subject && html`<p class="subject">${subject}</p>`}
        ${explain && html`<p>${explain}</p>`}
        <${PrioritySlider} value=${value} onChange=${setValue} />
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <footer><button type="button" onClick=${close}>Go back</button><button class="primary" disabled=${busy}>${(busy && underway.value) || "Change"}</button></footer>
      </form>
    </${Modal}>`;
}

export function PrioritySlider({ value, onChange, error }) {
  return html`
    <div class="field" data-invalid=${Boolean(error)}>
      <label for="priority">Priority <output for="priority">${value}</output></label>
      <input id="priority" type="range" min="1" max="10" step="1" value=${value} aria-describedby="priority-hint" onInput=${(event) => onChange(event.target.valueAsNumber)} />
      <p class="hint ends" id="priority-hint">${error ? html`<span class="problem">${error}</span>` : html`<span>1: first</span><span>10: last</span>`}</p>
    </div>`;
}
