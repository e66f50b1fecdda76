// Counts by status (each a filter), the gauges, the queue's switch.

import { count, duration } from "../format.js";
import { html } from "../html.js";
import { Gauge } from "../parts/gauge.js";
import { Icon } from "../parts/icon.js";
import { Ago } from "../parts/when.js";
import { open } from "../state/dialogs.js";
import { notice } from "../state/notices.js";
import { go, param } from "../state/route.js";
import { stats, switchQueue } from "../state/stats.js";
import { categoryLabel, STATUSES } from "../vocabulary.js";

export function Summary() {
  const numbers = stats.value;
  return html`
    <section class="summary" aria-label="The queue">
      ${numbers?.queuePaused && html`<${Stopped} paused=${numbers.queuePaused} />`}
      <div class="counts" role="group" aria-label="Jobs by status">${Object.entries(STATUSES).map(([status, { label }]) => html`<${Count} key=${status} status=${status} label=${label} jobs=${numbers?.[status]} />`)}</div>
      <div class="gauges">
        ${numbers && html`<${Gauges} numbers=${numbers} />`}
        ${!numbers?.queuePaused && html`<button type="button" class="small" onClick=${() => stop(true)}><${Icon} name="circle-pause" />Pause queue</button>`}
      </div>
    </section>`;
}

function Count({ status, label, jobs }) {
  const on = param("status") === status;
  return html`<button type="button" class="count" data-status=${status} aria-pressed=${on} onClick=${() => go({ status: on ? null : status, page: null })}>
    <b>${count(jobs)}</b><span>${label}</span>
  </button>`;
}

function Gauges({ numbers }) {
  const { slots = {}, gpus = [], totalVramUsed, totalVramAvailable, oldestWaitSeconds, throughput } = numbers;
  const memories = gpus.length > 1
    ? gpus.map(({ gpu, vramUsed, vramAvailable }) => ({ label: `VRAM of GPU ${gpu}`, used: vramUsed, total: vramAvailable }))
    : [{ label: "VRAM", used: totalVramUsed, total: totalVramAvailable }];
  return html`
    ${memories.map(({ label, used, total }) => html`<${Gauge} key=${label} label=${label} used=${used} total=${total} text=${`${gigabytes(used)} / ${gigabytes(total)} GB`} />`)}
    ${Object.entries(slots).map(([category, { used, total }]) => html`<${Gauge} key=${category} label=${categoryLabel(category)} used=${used} total=${total} />`)}
    <dl class="figures">
      <div><dt>Done in the last hour</dt><dd>${count(throughput?.lastHour?.completed)}${throughput?.lastHour?.failed > 0 && html` <span class="error">+ ${count(throughput.lastHour.failed)} failed</span>`}</dd></div>
      <div><dt>Longest wait</dt><dd>${oldestWaitSeconds == null ? "–" : duration(oldestWaitSeconds)}</dd></div>
    </dl>`;
}

const gigabytes = (mb) => (mb / 1000).toLocaleString(undefined, { maximumFractionDigits: 1 });

function Stopped({ paused }) {
  return html`<p class="stopped" role="status"><${Icon} name="circle-pause" /><span>The queue is paused since <${Ago} at=${paused.since} />${paused.by && ` by ${paused.by}`}: nothing new starts.</span>
    <button type="button" class="small" onClick=${() => stop(false)}><${Icon} name="play" />Resume queue</button></p>`;
}

function stop(paused) {
  const work = () => switchQueue(paused).catch((problem) => notice(problem.message, "failed"));
  if (!paused) return work();
  return open("confirm", {
    title: "Pause the queue?",
    explain: "Running jobs go on to their end. Nothing new starts until the queue is resumed.",
    confirm: "Pause queue",
    perform: work,
  });
}
