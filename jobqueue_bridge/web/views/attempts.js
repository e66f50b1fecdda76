// Every run of a job, the latest first.

import { html } from "../html.js";
import { Took, When } from "../parts/when.js";
import { session } from "../state/session.js";
import { words } from "../vocabulary.js";

export function Attempts({ attempts }) {
  if (!attempts?.length) return null;
  const dagster = session.value?.dagsterUrl;
  return html`
    <section><h3>Attempts</h3>
      <ol class="attempts" reversed>
        ${attempts.toReversed().map((one) => html`
          <li key=${one.attempt} value=${one.attempt}>
            <p><b>${one.outcome ? words(one.outcome) : "Running"}</b> <span class="faint"><${When} at=${one.startedAt} /> · <${Took} from=${one.startedAt} to=${one.endedAt} /></span></p>
            <p class="faint">${[one.encoder, one.host, one.gpu != null && `GPU ${one.gpu}`, one.peakVramMb && `peak ${one.peakVramMb.toLocaleString()} MB of VRAM`].filter(Boolean).join(" · ")}
              ${one.runId && dagster && html` · <a href=${`${dagster}/runs/${one.runId}`} target="_blank" rel="noreferrer">run ${one.runId.slice(0, 8)}</a>`}</p>
            ${one.error && html`<p class="error">${one.error}</p>`}
          </li>`)}
      </ol>
    </section>`;
}
