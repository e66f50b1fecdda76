// What can be done to many jobs: those that are ticked, or all that the filter finds.

import { count, plural } from "../format.js";
import { html } from "../html.js";
import { Icon } from "../parts/icon.js";
import { actOnMany, VERBS } from "../state/actions.js";
import { chosen, currentFilter, filtered, list } from "../state/jobs.js";
import { useState } from "../vendor/preact-hooks.js";

export function BulkBar() {
  const [whole, setWhole] = useState(false);
  const ids = [...chosen.value];
  const { pagination, ids: shown } = list.value;
  if (!ids.length) return null;
  const total = pagination?.total ?? 0;
  const target = whole ? { filter: currentFilter(), count: total } : { ids };
  const offered = filtered.value && total > shown.length;
  return html`
    <div class="bulk" role="region" aria-label="Selected jobs">
      <span aria-live="polite">${whole ? `All ${plural(total, "job")} of this filter` : `${plural(ids.length, "job")} selected`}</span>
      ${offered && html`<button type="button" class="link" onClick=${() => setWhole(!whole)}>${whole ? `Only the ${count(ids.length)} selected` : `All ${count(total)} of this filter instead`}</button>`}
      <span class="grow"></span>
      ${Object.entries(VERBS).map(([action, { label, icon }]) => html`
        <button key=${action} type="button" class="small" onClick=${() => actOnMany(action, target)}><${Icon} name=${icon} />${label}</button>`)}
      <button type="button" class="small" onClick=${() => actOnMany("priority", target)}><${Icon} name="arrow-up" />Priority</button>
      <button type="button" class="quiet square" aria-label="Empty the selection" onClick=${() => { setWhole(false); chosen.value = new Set(); }}><${Icon} name="x" /></button>
    </div>`;
}
