// A job's status, in the specification's colours, with an icon of its own so that colour is never all there is.

import { html } from "../html.js";
import { statusLabel, STATUSES } from "../vocabulary.js";
import { Icon } from "./icon.js";

export function Badge({ status }) {
  return html`<span class="badge" data-status=${status}>
    <${Icon} name=${STATUSES[status]?.icon ?? "circle"} size="13" />${statusLabel(status)}
  </span>`;
}
