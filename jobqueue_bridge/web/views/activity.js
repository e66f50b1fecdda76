// How the queue has done: throughput and waiting by the hour, what holds jobs up, types, who did what.

import { get } from "../api.js";
import { bytes, count, duration, plural, shortId } from "../format.js";
import { html } from "../html.js";
import { Chart } from "../parts/chart.js";
import { Empty, Failure, Skeleton } from "../parts/empty.js";
import { Ago } from "../parts/when.js";
import { address, go, param } from "../state/route.js";
import { signedIn } from "../state/session.js";
import { changes, stats } from "../state/stats.js";
import { useEffect, useMemo, useState } from "../vendor/preact-hooks.js";
import { typeLabel } from "../vocabulary.js";

const SPANS = { 24: "24 hours", 72: "3 days", 168: "7 days", 744: "31 days" };
const ENDED = [
  { label: "completed", colour: "completed", bars: 0.7, whole: true, format: count },
  { label: "failed", colour: "failed", bars: 0.3, format: count },
];
const TIMES = [
  { label: "average wait", colour: "queued", format: brief },
  { label: "average run", colour: "running", format: brief },
];

export function ActivityView() {
  const hours = SPANS[param("hours")] ? param("hours") : "24";
  const { history, audit, problem } = useHistory(hours);
  const numbers = stats.value;
  return html`
    <div class="activity">
      <div class="heading"><h1>Activity</h1><span class="grow"></span>
        <label>Last <select value=${hours} onChange=${(event) => go({ hours: event.target.value }, { replace: true })}>${Object.entries(SPANS).map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select></label></div>
      ${problem && html`<${Failure} problem=${problem} />`}
      ${numbers && html`<${Figures} numbers=${numbers} />`}
      ${history ? html`<${Charts} buckets=${history.buckets} />` : !problem && html`<${Skeleton} rows="6" />`}
      <div class="columns">
        ${numbers && html`<${Reasons} reasons=${numbers.waitingReasons ?? []} />`}
        ${numbers && html`<${Types} byType=${numbers.byType ?? {}} />`}
        ${audit && html`<${Audit} entries=${audit.data} />`}
      </div>
    </div>`;
}

function useHistory(hours) {
  const [known, setKnown] = useState({});
  const [changed, here] = [changes.value, signedIn.value];
  useEffect(() => {
    if (!here) return;
    Promise.all([get("/jobs/stats/history", { hours }), get("/audit", { limit: 30 })]).then(
      ([history, audit]) => setKnown({ history, audit }),
      (problem) => setKnown((before) => ({ ...before, problem })),
    );
  }, [hours, changed, here]);
  return known;
}

function Figures({ numbers }) {
  const { throughput = {}, bytesSaved, averageProcessingTime, oldestWaitSeconds } = numbers;
  const figures = [
    ["Completed, last hour", count(throughput.lastHour?.completed)],
    ["Completed, last day", count(throughput.lastDay?.completed)],
    ["Failed, last day", count(throughput.lastDay?.failed)],
    ["Average run", duration(averageProcessingTime)],
    ["Longest wait now", oldestWaitSeconds == null ? "–" : duration(oldestWaitSeconds)],
    ["Saved by encoding", bytes(bytesSaved)],
  ];
  return html`<dl class="tiles">${figures.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function Charts({ buckets }) {
  const rows = (...names) => buckets.map((bucket) => [Date.parse(bucket.at) / 1000, ...names.map((name) => bucket[name])]);
  const ended = useMemo(() => rows("completed", "failed"), [buckets]);
  const times = useMemo(() => rows("averageWaitSeconds", "averageRunSeconds"), [buckets]);
  return html`<div class="charts"><${Chart} title="Jobs ended, by the hour" series=${ENDED} rows=${ended} /><${Chart} title="Waiting and running" series=${TIMES} rows=${times} /></div>`;
}

function brief(seconds) {
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  return seconds < 3600 ? `${Math.round(seconds / 6) / 10} min` : `${Math.round(seconds / 360) / 10} h`;
}

function Reasons({ reasons }) {
  return html`<section><h2>What jobs wait for</h2>
    ${reasons.length === 0 ? html`<${Empty} icon="circle-check" title="Nothing is held up" />` : html`
      <ul class="reasons">${reasons.map(({ reason, jobs }) => html`<li key=${reason}><b>${plural(jobs, "job")}</b><span>${reason}</span></li>`)}</ul>`}
  </section>`;
}

function Types({ byType }) {
  const rows = Object.entries(byType);
  if (!rows.length) return null;
  return html`<section class="types"><h2>By type</h2><div class="table-place"><table class="types-table">
    <thead><tr><th scope="col">Type</th><th scope="col">Waiting</th><th scope="col">Running</th><th scope="col">Completed</th><th scope="col">Failed</th><th scope="col">Run</th><th scope="col">Wait</th><th scope="col">Saved</th></tr></thead>
    <tbody>${rows.map(([type, one]) => html`<tr key=${type}>
      <th scope="row"><a href=${address("jobs", { type })}>${typeLabel(type)}</a></th>
      <td>${count(one.pending + one.queued + one.paused)}</td><td>${count(one.running)}</td><td>${count(one.completed)}</td><td>${count(one.failed)}</td>
      <td>${duration(one.averageRunSeconds)}</td><td>${duration(one.averageWaitSeconds)}</td><td>${one.bytesSaved ? bytes(one.bytesSaved) : "–"}</td></tr>`)}</tbody>
  </table></div></section>`;
}

/** "job.cancel" → "cancelled job" */
const DONE = { recover: "took back from a dead run the", create: "created", cancel: "cancelled", pause: "paused", resume: "resumed", retry: "retried", priority: "changed the priority of" };

const ELSEWHERE = {
  "session.signin": () => "signed in",
  "queue.clear": ({ jobs }) => `moved ${count(jobs)} finished jobs to the archive`,
  "queue.cleanup": ({ jobs, originals, unfinished }) => `cleaned up: ${count(jobs)} old jobs, ${count(originals)} kept originals, ${count(unfinished)} unfinished files`,
  "platform.start": () => "started the platform",
  "platform.stop": () => "stopped the platform",
  "platform.down": () => "told the platform to stop",
  "video.restore": ({ path }) => `brought back ${path}, by undoing job`,
  "video.forget": ({ path }) => `forgot ${path}`,
  "webhook.test": () => "sent a test message to the webhooks",
  "webhook.retry": ({ messages }) => `sent ${count(messages)} messages to webhooks again`,
};

function told({ action, details }) {
  const [what, verb] = action.split(".");
  if (ELSEWHERE[action]) return ELSEWHERE[action](details ?? {});
  if (verb === "bulk") return `changed many jobs at once${details?.action ? ` (${details.action})` : ""}`;
  return `${DONE[verb] ?? verb} ${what === "queue" ? "the queue" : "job"}`;
}

function Audit({ entries }) {
  return html`<section><h2>Who did what</h2>
    ${entries.length === 0 ? html`<${Empty} title="Nobody has done anything yet" />` : html`
      <ol class="audit">${entries.map((entry) => html`<li key=${entry.id}>
        <b>${entry.who}</b> ${told(entry)}${" "}
        ${entry.jobId && html`<a href=${address("jobs", { job: entry.jobId })}><code>${shortId(entry.jobId)}</code></a>${" "}`}
        <span class="faint"><${Ago} at=${entry.at} /></span></li>`)}</ol>`}
  </section>`;
}
