// Leafing through pages, and how many rows one has.

import { count } from "../format.js";
import { html } from "../html.js";
import { Icon } from "./icon.js";

export function Pager({ pagination, shown, what, size, sizes, onPage, onSize }) {
  const { page = 1, total, totalIsExact = true, totalPages, limit } = pagination;
  const first = shown ? (page - 1) * limit + 1 : 0;
  const more = totalIsExact ? page < totalPages : shown === limit;
  return html`
    <nav class="pager" aria-label=${`Pages of ${what}`}>
      <span class="range">${count(first)}–${count(first + Math.max(shown, 1) - 1)} of ${count(total)}${totalIsExact ? "" : "+"} ${what}</span>
      <span class="grow"></span>
      ${sizes && html`<label>Rows <select value=${size} onChange=${(event) => onSize(Number(event.target.value))}>
        ${sizes.map((choice) => html`<option key=${choice} value=${choice}>${choice}</option>`)}
      </select></label>`}
      <button type="button" class="square" aria-label="Previous page" disabled=${page <= 1} onClick=${() => onPage(page - 1)}><${Icon} name="chevron-left" /></button>
      <span class="page">${count(page)} <span class="faint">/ ${count(Math.max(totalPages, 1))}${totalIsExact ? "" : "+"}</span></span>
      <button type="button" class="square" aria-label="Next page" disabled=${!more} onClick=${() => onPage(page + 1)}><${Icon} name="chevron-right" /></button>
    </nav>`;
}
