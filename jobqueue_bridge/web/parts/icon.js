// One icon. It says nothing by itself: the control around it has a label.

import { html } from "../html.js";
import { createElement } from "../vendor/preact.js";
import nodes from "../vendor/lucide.js";

export function Icon({ name, size = 16 }) {
  return html`
    <svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"
         stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
      ${nodes[name].map(([tag, attributes]) => createElement(tag, attributes))}
    </svg>`;
}
