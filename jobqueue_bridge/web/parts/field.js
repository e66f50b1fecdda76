// A labelled control with what is to be known about it and what is wrong with it.

import { html } from "../html.js";

export function Field({ id, label, hint, error, required, children }) {
  return html`
    <div class="field" data-invalid=${Boolean(error)}>
      <label for=${id}>${label}${required && html`<span class="required" title="required"> *<span class="unseen"> required</span></span>`}</label>
      ${children}
      <p class="hint" id=${`${id}-hint`}>
        ${error && html`<span class="problem">${error}</span>`}
        ${!error && hint}
      </p>
    </div>`;
}
