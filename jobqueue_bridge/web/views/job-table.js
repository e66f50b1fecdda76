// The table of jobs. Its roles are written out, because on a phone its rows are laid out as cards.

import { html } from "../html.js";
import { Empty, Failure, Skeleton } from "../parts/empty.js";
import { Icon } from "../parts/icon.js";
import { Pager } from "../parts/pager.js";
import { open } from "../state/dialogs.js";
import { choose, chosen, fetchList, filtered, list, refreshing, size, SIZES } from "../state/jobs.js";
import { go, param } from "../state/route.js";
import { JobRow } from "./job-row.js";

const COLUMNS = [
  { name: "job", label: "Job" },
  { name: "status", label: "Status" },
  { name: "progress", label: "Progress" },
  { name: "resource", label: "Resource" },
  { name: "priority", label: "Priority", sort: "priority" },
  { name: "created", label: "Created", sort: "createdAt" },
  { name: "started", label: "Started", sort: "startedAt" },
  { name: "completed", label: "Finished", sort: "completedAt" },
];
const NEWEST = "-createdAt";

export function JobTable() {
  const { state, ids, pagination, problem } = list.value;
  if (state === "loading") return html`<${Skeleton} rows="12" />`;
  if (state === "failed") return html`<${Failure} problem=${problem} retry=${fetchList} />`;
  return html`
    ${problem && html`<p class="stale" role="alert"><${Icon} name="triangle-alert" /><span>${problem.message} What you see may be old.</span><button type="button" class="small" onClick=${fetchList}>Try again</button></p>`}
    ${ids.length === 0 ? html`<${Nothing} />` : html`
      <div class="table-place">
        <table class="jobs-table" role="table" aria-label="Jobs" aria-busy=${refreshing.value}>
          <thead role="rowgroup"><tr role="row"><${ChooseAll} ids=${ids} />${COLUMNS.map((column) => html`<${Head} key=${column.name} ...${column} />`)}<th role="columnheader" scope="col" class="c-actions"><span class="unseen">Actions</span></th></tr></thead>
          <tbody role="rowgroup">${ids.map((id) => html`<${JobRow} key=${id} id=${id} />`)}</tbody>
        </table>
      </div>`}
    ${pagination && (ids.length > 0 || pagination.page > 1) && html`<${Pager} pagination=${pagination} shown=${ids.length} what="jobs" size=${size.value} sizes=${SIZES}
      onPage=${(page) => go({ page: page > 1 ? page : null })} onSize=${(rows) => { size.value = rows; go({ page: null }); }} />`}`;
}

function ChooseAll({ ids }) {
  const on = ids.filter((id) => chosen.value.has(id)).length;
  const some = (element) => element && (element.indeterminate = on > 0 && on < ids.length);
  return html`<th role="columnheader" scope="col" class="c-check"><input type="checkbox" ref=${some} checked=${on === ids.length} aria-label="Select all jobs of this page" onChange=${(event) => choose(ids, event.target.checked)} /></th>`;
}

function Head({ name, label, sort }) {
  const sorted = param("sort") || NEWEST;
  const direction = sorted === sort ? "ascending" : sorted === `-${sort}` ? "descending" : undefined;
  if (!sort) return html`<th role="columnheader" scope="col" class=${`c-${name}`}>${label}</th>`;
  const next = direction === "descending" || (name === "priority" && !direction) ? sort : `-${sort}`;
  return html`<th role="columnheader" scope="col" class=${`c-${name}`} aria-sort=${direction ?? "none"}>
    <button type="button" class="sort" onClick=${() => go({ sort: next === NEWEST ? null : next, page: null })}>${label}
      ${direction && html`<${Icon} name=${direction === "ascending" ? "arrow-up" : "arrow-down"} size="13" />`}</button>
  </th>`;
}

function Nothing() {
  if (filtered.value) return html`<${Empty} icon="search" title="No job is like this"><p>Change the filters above, or clear them.</p></${Empty}>`;
  return html`<${Empty} title="No jobs yet">
    <p>Create one here, choose an action in the library, or drop a video into the inbox folder.</p>
    <button type="button" class="primary" onClick=${() => open("create")}><${Icon} name="plus" />Create job</button>
  </${Empty}>`;
}
