// What became of each of many jobs.

import { count, plural, shortId } from "../format.js";
import { html } from "../html.js";
import { Badge } from "../parts/badge.js";
import { Icon } from "../parts/icon.js";
import { Modal } from "../parts/modal.js";
import { close } from "../state/dialogs.js";
import { words } from "../vocabulary.js";

const SHOWN = 200;

export function ResultsDialog({ action, results, remaining }) {
  const refused = results.filter((each) => !each.ok);
  const rows = [...refused, ...results.filter((each) => each.ok)].slice(0, SHOWN);
  return html`
    <${Modal} title=${`${words(action)}: ${plural(results.length - refused.length, "job")} done`} onClose=${close} wide>
      <div class="content">
        <p>${refused.length ? `${plural(refused.length, "job")} refused; they are listed first.` : "None refused."}${remaining > 0 && ` ${plural(remaining, "job")} not looked at: do it again to go on.`}</p>
        <div class="scroll" tabindex="0" role="region" aria-label="Results">
          <table class="results-table"><thead><tr><th scope="col">Job</th><th scope="col">Result</th><th scope="col">Status</th></tr></thead>
            <tbody>${rows.map(({ id, ok, status, problem }) => html`<tr key=${id}><th scope="row"><code>${shortId(id)}</code></th>
              <td class=${ok ? "valid" : "error"}><${Icon} name=${ok ? "check" : "x"} size="14" />${ok ? "done" : problem}</td><td>${status && html`<${Badge} status=${status} />`}</td></tr>`)}</tbody>
          </table>
        </div>
        ${results.length > SHOWN && html`<p class="hint">The first ${count(SHOWN)} of ${count(results.length)}.</p>`}
        <footer><button type="button" class="primary" autofocus onClick=${close}>Close</button></footer>
      </div>
    </${Modal}>`;
}
