// A chart by uPlot in the page's colours, with the same numbers as a table for who cannot see it.

import { html } from "../html.js";
import { theme } from "../theme.js";
import { useEffect, useRef } from "../vendor/preact-hooks.js";
import uPlot from "../vendor/uplot.js";

/** series: [{label, colour: a custom property's name, bars?: share of the place that a bar takes, area?, whole?, format}]; rows: [[unix seconds, …values]]; step: what a row stands for */
export function Chart({ title, series, rows, step = "hour", height = 180 }) {
  const place = useRef(null);
  const chosen = theme.value;

  useEffect(() => {
    const element = place.current;
    const draw = () => new uPlot(options(series, STEPS[step], element, height), columns(rows, series.length), element);
    let chart = draw();
    const watch = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height }));
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => {
      chart.destroy();
      chart = draw();
    };
    watch.observe(element);
    dark.addEventListener("change", redraw);
    return () => {
      watch.disconnect();
      dark.removeEventListener("change", redraw);
      chart.destroy();
    };
  }, [rows, chosen]);

  return html`
    <figure class="chart">
      <figcaption>${title}<span class="legend">
        ${series.map((one) => html`<span key=${one.label}><i class=${`swatch ${one.colour}`}></i>${one.label}</span>`)}
      </span></figcaption>
      <div ref=${place} aria-hidden="true"></div>
      <table class="unseen"><caption>${title}</caption>
        <thead><tr><th scope="col">${STEPS[step].name}</th>${series.map((one) => html`<th key=${one.label} scope="col">${one.label}</th>`)}</tr></thead>
        <tbody>${rows.filter((row) => row.slice(1).some(Boolean)).map((row) => html`<tr key=${row[0]}>
          <th scope="row">${STEPS[step].told(new Date(row[0] * 1000))}</th>
          ${series.map((one, n) => html`<td key=${one.label}>${row[n + 1] == null ? "–" : one.format(row[n + 1])}</td>`)}
        </tr>`)}</tbody>
      </table>
    </figure>`;
}

const WHOLE = [1, 2, 5].flatMap((step) => [1, 10, 100, 1000, 10_000].map((power) => step * power)).sort((a, b) => a - b);
const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

const hourOrDay = (seconds) => {
  const at = new Date(seconds * 1000);
  return (at.getHours() === 0 ? DAY : HOUR).format(at);
};

const DAY_IN_UTC = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
const WHOLE_DAY_IN_UTC = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const MONTH_IN_UTC = new Intl.DateTimeFormat(undefined, { month: "short", year: "2-digit", timeZone: "UTC" });
const inUtc = (format) => ({ zone: "Etc/UTC", axis: (seconds) => format.format(new Date(seconds * 1000)) });

/** half: of the time that a row stands for, in seconds; days, weeks and months are those of UTC. */
const STEPS = {
  hour: { name: "Hour", half: 1800, axis: hourOrDay, told: (at) => at.toLocaleString() },
  day: { name: "Day", half: 43_200, ...inUtc(DAY_IN_UTC), told: (at) => WHOLE_DAY_IN_UTC.format(at) },
  week: { name: "Week from", half: 302_400, ...inUtc(DAY_IN_UTC), told: (at) => WHOLE_DAY_IN_UTC.format(at) },
  month: { name: "Month", half: 1_296_000, months: true, ...inUtc(MONTH_IN_UTC), told: (at) => MONTH_IN_UTC.format(at) },
};

const columns = (rows, width) => Array.from({ length: width + 1 }, (_, n) => rows.map((row) => row[n]));

function options(series, step, element, height) {
  const colour = (name) => resolved(element, name);
  const axis = { stroke: colour("faint"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  return {
    width: element.clientWidth || 300,
    height,
    legend: { show: false },
    ...(step.zone && { tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), step.zone) }),
    cursor: { y: false, points: { show: false } },
    scales: { x: { time: true, range: (_, low, high) => [low - step.half, high + step.half] }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, 1)] } },
    axes: [{ ...axis, size: 28, ...(step.months && { splits: someOf }), values: (_, splits) => splits.map(step.axis) }, { ...axis, size: 56, incrs: series[0].whole ? WHOLE : undefined, values: (_, values) => values.map(series[0].format) }],
    series: [{}, ...series.map((one) => ({
      label: one.label,
      stroke: colour(one.colour),
      fill: one.bars ? colour(one.colour) : one.area ? `color-mix(in srgb, ${colour(one.colour)} 18%, transparent)` : undefined,
      width: one.bars ? 0 : 2,
      spanGaps: true,
      paths: one.bars ? uPlot.paths.bars({ size: [one.bars, 40], radius: 0.15 }) : undefined,
      points: { show: !one.bars && !one.area, size: 5 },
    }))],
  };
}

/** As many of the months as have room for their names. */
function someOf({ data: [months], width }) {
  const every = Math.ceil((months.length * 64) / width);
  return months.filter((_, n) => (months.length - 1 - n) % every === 0);
}

/** What a custom property comes to in the theme that is shown. */
function resolved(element, name) {
  element.style.color = `var(--${name})`;
  const { color } = getComputedStyle(element);
  element.style.color = "";
  return color;
}
