// What stands where there is nothing to show: what that means, and what can be done.

import { html } from "../html.js";
import { Icon } from "./icon.js";

export function Empty({ icon = "inbox", title, children }) {
  return html`<div class="empty"><${Icon} name=${icon} size="28" /><p class="title">${title}</p>${children}</div>`;
}

export function Failure({ problem, retry }) {
  return html`
    <div class="empty failure" role="alert">
      <${Icon} name="triangle-alert" size="28" />
      <p class="title">${problem.message}</p>
      ${retry && html`<button type="button" onClick=${retry}><${Icon} name="refresh-cw" />Try again</button>`}
    </div>`;
}

/** Grey lines in the shape of what is being loaded. */
export function Skeleton({ rows = 8 }) {
  return html`<div class="skeleton" role="status" aria-label="Loading">${Array.from({ length: rows }, (_, n) => html`<i key=${n}></i>`)}</div>`;
}
