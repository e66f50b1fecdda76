// Notices in the corner, and what only a screen reader hears.

import { html } from "../html.js";
import { dismiss, notices, spoken } from "../state/notices.js";
import { Icon } from "./icon.js";

export function Notices() {
  return html`
    <div class="notices" role="status" aria-live="polite">
      ${notices.value.map(({ key, kind, text }) => html`
        <p key=${key} class=${`notice ${kind}`}>
          <${Icon} name=${kind === "failed" ? "circle-alert" : "circle-check"} />
          <span>${text}</span>
          <button type="button" class="quiet square" aria-label="Dismiss" onClick=${() => dismiss(key)}><${Icon} name="x" size="14" /></button>
        </p>`)}
    </div>
    <p class="unseen" aria-live="polite">${spoken.value}</p>`;
}
