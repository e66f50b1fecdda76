// Is it meant? The safe answer has the focus.

import { html } from "../html.js";
import { Modal } from "../parts/modal.js";
import { underway } from "../state/actions.js";
import { close, dialog } from "../state/dialogs.js";
import { useState } from "../vendor/preact-hooks.js";

export function ConfirmDialog({ title, subject, explain, confirm, danger, perform }) {
  const [busy, setBusy] = useState(false);
  const go = async (event) => {
    event.preventDefault();
    const mine = dialog.peek();
    setBusy(true);
    await perform();
    if (dialog.peek() === mine) close();
  };
  return html`
    <${Modal} title=${title} onClose=${close}>
      <form onSubmit=${go}>
        ${subject && html`<p class="subject">${subject}</p>`}
        <p>${explain}</p>
        <footer>
          <button type="button" autofocus onClick=${close}>Go back</button>
          <button class=${danger ? "primary danger" : "primary"} disabled=${busy}>${(busy && underway.value) || confirm}</button>
        </footer>
      </form>
    </${Modal}>`;
}
