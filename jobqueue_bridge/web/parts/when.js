// Instants and spans that move on by themselves.

import { duration, fullInstant, relative, shortInstant } from "../format.js";
import { html } from "../html.js";
import { second, tenSeconds } from "../state/now.js";

export function When({ at }) {
  if (!at) return html`<span class="faint">–</span>`;
  return html`<time dateTime=${at} title=${fullInstant(at)}>${shortInstant(at, tenSeconds.value)}</time>`;
}

export function Ago({ at }) {
  return html`<time dateTime=${at} title=${fullInstant(at)}>${relative(at, tenSeconds.value)}</time>`;
}

/** From start to end; while there is no end, to now. */
export function Took({ from, to }) {
  if (!from) return html`<span class="faint">–</span>`;
  const until = to ? new Date(to).getTime() : Math.max(second.value, new Date(from).getTime());
  return html`<span>${duration((until - new Date(from).getTime()) / 1000)}</span>`;
}
