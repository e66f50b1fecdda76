// What the library holds, and what the queue did for it: the newest report, drawn.

import { bytes, clock, count, plural } from "../format.js";
import { html } from "../html.js";
import { Chart } from "../parts/chart.js";
import { Empty, Failure, Skeleton } from "../parts/empty.js";
import { Icon } from "../parts/icon.js";
import { Ago } from "../parts/when.js";
import { open } from "../state/dialogs.js";
import { loadReports, making, makeReport, reports } from "../state/report.js";
import { address } from "../state/route.js";
import { signedIn } from "../state/session.js";
import { useEffect, useMemo } from "../vendor/preact-hooks.js";
import { typeLabel } from "../vocabulary.js";

const SHOWN = 8;
const WORTH_A_CHART_S = 43_200;
const SIZE = [{ label: "size", colour: "accent", area: true, format: bytes }];
const NEW = [{ label: "new videos", colour: "completed", bars: 0.8, whole: true, format: count }];
const ENCODED = [
  { label: "before", colour: "idle-bar", bars: 0.7, format: bytes },
  { label: "after", colour: "completed", bars: 0.42, format: bytes },
];
const OVER_TIME = [
  { label: "size", colour: "accent", format: bytes },
  { label: "avoidable", colour: "running", format: bytes },
  { label: "saved", colour: "completed", format: bytes },
];

export function ReportView() {
  const here = signedIn.value;
  useEffect(() => void (here && loadReports()), [here]);
  const { made, earlier, problem } = reports.value ?? {};
  return html`
    <div class="report">
      <div class="heading"><h1>Report</h1>${made && html`<span class="faint"><${Ago} at=${made.madeAt} /></span>`}<span class="grow"></span><${Make} /></div>
      ${problem && html`<${Failure} problem=${problem} retry=${loadReports} />`}
      ${made === undefined && !problem && html`<${Skeleton} rows="8" />`}
      ${made === null && html`<${Empty} icon="gauge" title="There is no report yet"><p>It counts what the library holds, what encoding has saved, what is there twice and what would be worth encoding.</p></${Empty}>`}
      ${made && html`<${Told} key=${made.id} report=${made.report} figures=${made.keyFigures} earlier=${earlier} />`}
    </div>`;
}

function Make() {
  const job = making.value;
  const at = job && (job.status === "running" ? `${job.progress} %` : job.status);
  return html`
    ${job && html`<a class="faint" href=${address("jobs", { job: job.id })} role="status">A new one is being made: ${at}</a>`}
    <button type="button" class="primary" disabled=${job !== null} onClick=${makeReport}><${Icon} name="refresh-cw" />Make a new report</button>`;
}

function Told({ report, figures, earlier }) {
  return html`
    <${Figures} report=${report} figures=${figures} />
    <${Charts} report=${report} earlier=${earlier} />
    <div class="shares-place">
      <${Shares} title="By codec" shares=${report.byCodec} />
      <${Shares} title="By quality" shares=${report.byQuality} />
      <${Shares} title="By folder" shares=${report.byDirectory} />
      <${Shares} title="By orientation" shares=${report.byOrientation} />
    </div>
    <div class="columns">
      <${Wasteful} wasteful=${report.wasteful} />
      <${Largest} videos=${report.largest} />
      <${Saved} savings=${report.savings} />
      <${Twice} duplicates=${report.duplicates} />
      <${Failures} failures=${report.failures} days=${report.days} />
    </div>`;
}

function Figures({ report, figures }) {
  const { totals, duplicates, wasteful } = report;
  const tiles = [
    ["Videos", count(totals.videos), totals.missing ? `${count(totals.missing)} missing` : `${count(totals.renditions)} renditions`],
    ["Size", bytes(totals.sizeBytes), plural(Math.round(totals.durationSeconds / 3600), "hour")],
    ["Valid", figures.validPercent == null ? "–" : `${Math.floor(figures.validPercent * 10) / 10} %`, `${count(totals.invalid)} invalid`],
    ["Without a thumbnail", count(totals.withoutThumbnail), totals.videos ? `${Math.round((100 * totals.withoutThumbnail) / totals.videos)} %` : ""],
    ["Saved by encoding", bytes(report.savings.savedBytes), plural(report.savings.jobs, "encode")],
    ["To spare of duplicates", duplicates.leftOut ? "–" : bytes(duplicates.spareBytes), duplicates.leftOut ? "not looked for" : plural(duplicates.groups, "group")],
    ["Avoidable by encoding", bytes(wasteful.avoidableBytes), plural(wasteful.videos, "video")],
  ];
  return html`<dl class="tiles">${tiles.map(([name, value, more]) => html`<div key=${name}><dt>${name}</dt><dd>${value}<small>${more}</small></dd></div>`)}</dl>`;
}

const seconds = (day) => Date.parse(`${day}T00:00:00Z`) / 1000;

function Charts({ report, earlier }) {
  const { steps, step } = report.growth;
  const { byMonth } = report.savings;
  const size = useMemo(() => steps.map((one) => [seconds(one.begins), one.totalSizeBytes]), [steps]);
  const fresh = useMemo(() => steps.map((one) => [seconds(one.begins), one.videos]), [steps]);
  const encoded = useMemo(() => byMonth.map((one) => [seconds(`${one.name}-01`), one.beforeBytes, one.afterBytes]), [byMonth]);
  const told = useMemo(() => [...earlier].reverse().map(({ madeAt, keyFigures: k }) => [Date.parse(madeAt) / 1000, k.sizeBytes, k.avoidableBytes, k.savedBytes]), [earlier]);
  return html`<div class="charts">
    <${Chart} title="Size of the library" series=${SIZE} rows=${size} step=${step} />
    <${Chart} title=${`New videos each ${step}`} series=${NEW} rows=${fresh} step=${step} />
    ${encoded.length > 0 && html`<${Chart} title="Encoded each month" series=${ENCODED} rows=${encoded} step="month" />`}
    ${told.length > 1 && told.at(-1)[0] - told[0][0] > WORTH_A_CHART_S && html`<${Chart} title="From report to report" series=${OVER_TIME} rows=${told} />`}
  </div>`;
}

/** Their parts of the whole size; the largest first. */
function Shares({ title, shares }) {
  const whole = shares.reduce((sum, share) => sum + share.sizeBytes, 0);
  const shown = [...shares].sort((a, b) => b.sizeBytes - a.sizeBytes || b.videos - a.videos).slice(0, SHOWN);
  return html`<section><h2>${title}</h2>
    ${shown.length === 0 && html`<${Empty} title="No videos" />`}
    <ul class="shares">${shown.map(({ name, videos, sizeBytes }) => {
      const percent = whole ? (100 * sizeBytes) / whole : 0;
      return html`<li key=${name}><span class="label" title=${name}>${name}</span><span class="value">${bytes(sizeBytes)}</span>
        <meter min="0" max="100" value=${percent} aria-label=${`${name}: ${percent.toFixed(1)} % of the size`}>${percent.toFixed(1)} %</meter>
        <small>${plural(videos, "video")}</small><small class="value">${percent < 0.1 && sizeBytes ? "< 0.1" : percent.toFixed(1)} %</small></li>`;
    })}</ul></section>`;
}

const VideoLink = ({ path }) => html`<a class="path" href=${address("library", { search: path })} title=${path}>${path.split("/").at(-1)}<small>${path.split("/").slice(0, -1).join("/")}</small></a>`;

function Table({ title, note, empty, heads, rows }) {
  return html`<section><h2>${title}</h2>${note && html`<p class="faint">${note}</p>`}
    ${rows.length === 0 ? html`<${Empty} icon="circle-check" title=${empty} />` : html`<div class="table-place"><table>
      <thead><tr>${heads.map((head) => html`<th key=${head} scope="col">${head}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>`}
  </section>`;
}

function Wasteful({ wasteful: { worst, videos, avoidableBytes } }) {
  const note = videos > 0 && `${plural(videos, "video")} take${videos === 1 ? "s" : ""} much more than a good HEVC encode of the same picture: ${bytes(avoidableBytes)} by estimate.`;
  return html`<${Table} title="Worth encoding" note=${note} empty="No video takes much more than it has to" heads=${["Video", "Rate", "Fair", "Avoidable", ""]}
    rows=${worst.slice(0, SHOWN).map((video) => html`<tr key=${video.id}>
      <th scope="row"><${VideoLink} path=${video.path} /></th><td>${count(video.bitrateKbps)} kbps</td><td>${count(video.fairKbps)} kbps</td><td>${bytes(video.avoidableBytes)}</td>
      <td><button type="button" class="small" aria-label=${`Transcode ${video.path}`} onClick=${() => open("create", { type: "transcode", params: { videoId: video.id }, ofVideo: true })}>Transcode</button></td></tr>`)} />`;
}

function Largest({ videos }) {
  return html`<${Table} title="Largest files" empty="No videos" heads=${["Video", "Size", "Length", "Picture"]}
    rows=${videos.slice(0, SHOWN).map((video) => html`<tr key=${video.id}>
      <th scope="row"><${VideoLink} path=${video.path} /></th><td>${bytes(video.sizeBytes)}</td><td>${clock(video.durationSeconds)}</td>
      <td>${video.width ? `${video.width}×${video.height}` : "–"}<small>${video.videoCodec ?? ""}</small></td></tr>`)} />`;
}

function Saved({ savings }) {
  const rows = [...savings.byType.map((one) => [typeLabel(one.name), one]), ...savings.byEncoder.map((one) => [one.name, one])];
  return html`<${Table} title="Saved by encoding" note=${rows.length > 0 && "By type, then by encoder. A rendition is beside its source, a transcode in its place."} empty="Nothing was encoded yet" heads=${["", "Jobs", "Before", "After", "Saved"]}
    rows=${rows.map(([name, one], n) => html`<tr key=${n}><th scope="row">${name}</th><td>${count(one.jobs)}</td><td>${bytes(one.beforeBytes)}</td><td>${bytes(one.afterBytes)}</td><td>${bytes(one.savedBytes)}</td></tr>`)} />`;
}

function Twice({ duplicates: { largest, leftOut, withoutHash } }) {
  const note = leftOut ?? (withoutHash > 0 ? `${plural(withoutHash, "video")} could not be compared by picture: a validate job makes the hash.` : null);
  return html`<${Table} title="There twice" note=${note} empty=${leftOut ? "Not looked for" : "Nothing is there twice"} heads=${["Best of them", "Videos", "How", "To spare"]}
    rows=${largest.slice(0, SHOWN).map((group) => html`<tr key=${group.paths.join()}>
      <th scope="row"><${VideoLink} path=${group.paths[0]} /></th><td>${count(group.videos)}</td><td>${group.kind}</td><td>${bytes(group.spareBytes)}</td></tr>`)} />`;
}

function Failures({ failures: { jobs, reasons }, days }) {
  return html`<${Table} title="Why jobs failed" note=${jobs > 0 && `${plural(jobs, "job")} in ${plural(days, "day")}.`} empty=${`No job failed in ${plural(days, "day")}`} heads=${["Reason", "Type", "Jobs", "Last"]}
    rows=${reasons.slice(0, SHOWN).map((one) => html`<tr key=${`${one.type} ${one.reason}`}>
      <th scope="row" class="cause"><a href=${address("jobs", { job: one.jobId })}>${one.reason}</a></th>
      <td>${typeLabel(one.type)}</td><td>${count(one.jobs)}</td><td><${Ago} at=${one.lastAt} /></td></tr>`)} />`;
}
