// What became of each of many jobs.

import { count, plural, shortId } from "../format.js";
import { html } from "../html.js";
import { Badge } from "../parts/badge.js";
import { Icon } from "../parts/icon.js";
import { Modal } from "../parts/modal.js";
import { underway } from "../state/actions.js";
import { close } from "../state/dialogs.js";
import { useState } from "../vendor/preact-hooks.js";
import { words } from "../vocabulary.js";

const SHOWN = 200;
const COUNTED_MOST = 1000; // the API may stop counting there

export function ResultsDialog({ action, results, done, refused, remaining, problem, goOn }) {
  const [busy, setBusy] = useState(false);
  const rows = [...results.filter((each) => !each.ok), ...results.filter((each) => each.ok)].slice(0, SHOWN);
  const further = () => {
    setBusy(true);
    goOn().finally(() => setBusy(false));
  };
  return html`
    <${Modal} title=${`${words(action)}: ${plural(done, "job")} done`} onClose=${close} wide>
      <div class="content">
        <p>${refused ? `${plural(refused, "job")} refused; they are listed first.` : "None refused."}</p>
        ${problem && html`<p class="problem" role="alert">It stopped: ${problem} ${remaining < COUNTED_MOST ? plural(remaining, "job") : `${count(remaining)} jobs or more`} left.</p>`}
        <div class="scroll" tabindex="0" role="region" aria-label="Results">
          <table class="results-table"><thead><tr><th scope="col">Job</th><th scope="col">Result</th><th scope="col">Status</th></tr></thead>
            <tbody>${rows.map(({ id, ok, status, problem }) => html`<tr key=${id}><th scope="row"><code>${shortId(id)}</code></th>
              <td class=${ok ? "valid" : "error"}><${Icon} name=${ok ? "check" : "x"} size="14" />${ok ? "done" : problem}</td><td>${status && html`<${Badge} status=${status} />`}</td></tr>`)}</tbody>
          </table>
        </div>
        ${done + refused > rows.length && html`<p class="hint">The first ${count(rows.length)} of ${count(done + refused)}.</p>`}
        <footer>${goOn && html`<button type="button" disabled=${busy} onClick=${further}>${(busy && underway.value) || "Go on with the rest"}</button>`}
          <button type="button" class="primary" autofocus onClick=${close}>Close</button></footer>
      </div>
    </${Modal}>`;
}
