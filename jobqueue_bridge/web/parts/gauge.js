// How much of something is in use.

import { html } from "../html.js";

export function Gauge({ label, used, total, text = `${used} / ${total}` }) {
  const share = total > 0 ? Math.min(1, used / total) : 0;
  return html`
    <div class="gauge" data-full=${total > 0 && used >= total}>
      <span class="label">${label}</span>
      <span class="value">${text}</span>
      <meter min="0" max=${Math.max(total, 1)} value=${used} aria-label=${`${label}: ${text} in use`}>${Math.round(share * 100)}%</meter>
    </div>`;
}
