// A chart by uPlot in the page's colours, with the same numbers as a table for who cannot see it.

import { html } from "../html.js";
import { theme } from "../theme.js";
import { useEffect, useRef } from "../vendor/preact-hooks.js";
import uPlot from "../vendor/uplot.js";

/** series: [{label, colour: a custom property's name, bars?: share of the place that a bar takes, whole?, format}]; rows: [[unix seconds, …values]] */
export function Chart({ title, series, rows, height = 180 }) {
  const place = useRef(null);
  const chosen = theme.value;

  useEffect(() => {
    const element = place.current;
    const draw = () => new uPlot(options(series, element, height), columns(rows, series.length), element);
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
        <thead><tr><th scope="col">Hour</th>${series.map((one) => html`<th key=${one.label} scope="col">${one.label}</th>`)}</tr></thead>
        <tbody>${rows.filter((row) => row.slice(1).some(Boolean)).map((row) => html`<tr key=${row[0]}>
          <th scope="row">${new Date(row[0] * 1000).toLocaleString()}</th>
          ${series.map((one, n) => html`<td key=${one.label}>${row[n + 1] == null ? "–" : one.format(row[n + 1])}</td>`)}
        </tr>`)}</tbody>
      </table>
    </figure>`;
}

const HALF_HOUR_S = 1800;
const WHOLE = [1, 2, 5].flatMap((step) => [1, 10, 100, 1000, 10_000].map((power) => step * power)).sort((a, b) => a - b);
const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

const hourOrDay = (seconds) => {
  const at = new Date(seconds * 1000);
  return (at.getHours() === 0 ? DAY : HOUR).format(at);
};

const columns = (rows, width) => Array.from({ length: width + 1 }, (_, n) => rows.map((row) => row[n]));

function options(series, element, height) {
  const colour = (name) => resolved(element, name);
  const axis = { stroke: colour("faint"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  return {
    width: element.clientWidth || 300,
    height,
    legend: { show: false },
    cursor: { y: false, points: { show: false } },
    scales: { x: { time: true, range: (_, low, high) => [low - HALF_HOUR_S, high + HALF_HOUR_S] }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, 1)] } },
    axes: [{ ...axis, size: 28, values: (_, splits) => splits.map(hourOrDay) }, { ...axis, size: 56, incrs: series[0].whole ? WHOLE : undefined, values: (_, values) => values.map(series[0].format) }],
    series: [{}, ...series.map((one) => ({
      label: one.label,
      stroke: colour(one.colour),
      fill: one.bars ? colour(one.colour) : undefined,
      width: one.bars ? 0 : 2,
      spanGaps: true,
      paths: one.bars ? uPlot.paths.bars({ size: [one.bars, 40], radius: 0.15 }) : undefined,
      points: { show: !one.bars, size: 5 },
    }))],
  };
}

/** What a custom property comes to in the theme that is shown. */
function resolved(element, name) {
  element.style.color = `var(--${name})`;
  const { color } = getComputedStyle(element);
  element.style.color = "";
  return color;
}
