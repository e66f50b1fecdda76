// The Jobs page: summary, filters, table, and the details of one job beside it.

import { html } from "../html.js";
import { Icon } from "../parts/icon.js";
import { open } from "../state/dialogs.js";
import { param } from "../state/route.js";
import { BulkBar } from "./bulk-bar.js";
import { Filters } from "./filters.js";
import { JobPanel } from "./job-panel.js";
import { JobTable } from "./job-table.js";
import { Summary } from "./summary.js";

export function JobsView() {
  const job = param("job");
  return html`
    <div class="split" data-open=${Boolean(job)}>
      <div class="jobs">
        <div class="heading">
          <h1>Jobs</h1>
          <span class="grow"></span>
          <button type="button" class="primary" onClick=${() => open("create")}><${Icon} name="plus" />Create job</button>
        </div>
        <${Summary} />
        <${Filters} />
        <${BulkBar} />
        <${JobTable} />
      </div>
      ${job && html`<${JobPanel} key=${job} id=${job} />`}
    </div>`;
}
