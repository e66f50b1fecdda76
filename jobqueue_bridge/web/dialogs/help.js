// The list of keys.

import { html } from "../html.js";
import { KEYS } from "../keys.js";
import { Modal } from "../parts/modal.js";
import { close } from "../state/dialogs.js";

export function HelpDialog() {
  return html`
    <${Modal} title="Keyboard" onClose=${close}>
      <dl class="keys">${KEYS.map(([keys, does]) => html`<div key=${keys}><dt>${keys.split(" ").map((key) => (key === "/" && keys !== "/" ? " / " : html`<kbd>${key}</kbd>`))}</dt><dd>${does}</dd></div>`)}</dl>
    </${Modal}>`;
}
