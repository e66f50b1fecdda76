// The library: every video with its picture, and the jobs that can be asked for it.

import { get } from "../api.js";
import { bytes, clock, summary } from "../format.js";
import { html } from "../html.js";
import { Empty, Failure, Skeleton } from "../parts/empty.js";
import { Icon } from "../parts/icon.js";
import { Menu } from "../parts/menu.js";
import { Pager } from "../parts/pager.js";
import { Thumbnail } from "../parts/thumbnail.js";
import { open } from "../state/dialogs.js";
import { on } from "../state/live.js";
import { address, go, param } from "../state/route.js";
import { signedIn } from "../state/session.js";
import { rememberVideo, videoName } from "../state/videos.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { typeIcon } from "../vocabulary.js";

const LIMIT = 50;
const TYPED_MS = 250;
const SETTLE_MS = 800;
const ACTIONS = [
  ["reencode_streaming", "Re-encode for streaming"],
  ["thumbnail_generate", "Generate thumbnail"],
  ["validate", "Validate metadata"],
  ["move_to_library", "Move to directory"],
];

export function LibraryView() {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const search = param("search");
  const page = Number(param("page") || 1);
  const here = signedIn.value;

  const load = async () => {
    try {
      const answer = await get("/videos", { search, page, limit: LIMIT });
      answer.data.forEach(rememberVideo);
      setFound(answer);
      setProblem(null);
    } catch (failed) {
      setProblem(failed);
    }
  };
  useEffect(() => void (here && load()), [search, page, here]);
  useAfterJobs(load);

  return html`
    <div class="library">
      <div class="heading"><h1>Library</h1><span class="grow"></span>
        <button type="button" onClick=${() => open("create", { type: "scan" })}><${Icon} name="scan-search" />Scan for videos</button></div>
      <${Search} value=${search} />
      ${problem && html`<${Failure} problem=${problem} retry=${load} />`}
      ${!found && !problem && html`<${Skeleton} rows="8" />`}
      ${found && html`<${Videos} found=${found} search=${search} page=${page} />`}
    </div>`;
}

/** Work has ended somewhere: pictures, places and validity may have changed. */
function useAfterJobs(load) {
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    let timer = null;
    const leave = on("job", ({ from, job }) => {
      if (job.status !== "completed" || from === "completed") return;
      timer ??= setTimeout(() => {
        timer = null;
        latest.current();
      }, SETTLE_MS);
    });
    return () => {
      clearTimeout(timer);
      leave();
    };
  }, []);
}

function Search({ value }) {
  const timer = useRef(null);
  const typed = (event) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => go({ search: event.target.value, page: null }, { replace: true }), TYPED_MS);
  };
  return html`<search class="filters"><div class="search"><${Icon} name="search" />
    <input data-search type="search" aria-label="Search videos by path or title" placeholder="Search path or title" defaultValue=${value} onInput=${typed} /><kbd aria-hidden="true">/</kbd></div></search>`;
}

function Videos({ found, search, page }) {
  if (!found.data.length && search) return html`<${Empty} icon="search" title=${`No video has “${search}” in its path or title`} />`;
  if (!found.data.length && page === 1) {
    return html`<${Empty} icon="film" title="The library is empty"><p>Drop videos into the inbox folder, or put them below library/videos and scan.</p>
      <button type="button" class="primary" onClick=${() => open("create", { type: "scan" })}>Scan for videos</button></${Empty}>`;
  }
  return html`
    <div class="table-place">
      <table class="videos-table" role="table" aria-label="Videos">
        <thead role="rowgroup"><tr role="row">
          ${["Video", "Length", "Picture", "Codecs", "Size", "State"].map((name) => html`<th key=${name} role="columnheader" scope="col">${name}</th>`)}
          <th role="columnheader" scope="col"><span class="unseen">Actions</span></th></tr></thead>
        <tbody role="rowgroup">${found.data.map((video) => html`<${Row} key=${video.id} video=${video} />`)}</tbody>
      </table>
    </div>
    <${Pager} pagination=${found.pagination} shown=${found.data.length} what="videos" onPage=${(next) => go({ page: next > 1 ? next : null })} />`;
}

function Row({ video }) {
  const name = videoName(video);
  const items = ACTIONS.map(([type, label]) => ({ label, icon: typeIcon(type), run: () => open("create", { type, params: { videoId: video.id }, ofVideo: true }) }));
  return html`
    <tr role="row">
      <th role="rowheader" scope="row" class="v-name"><${Thumbnail} video=${video} /><span class="name">${name}<small>${video.path}</small></span></th>
      <td role="cell" class="v-length">${clock(video.durationSeconds)}</td>
      <td role="cell" class="v-picture">${video.width ? `${video.width}×${video.height}` : "–"}${video.quality && html`<small>${video.quality}${video.fps ? `, ${Math.round(video.fps * 100) / 100} fps` : ""}</small>`}</td>
      <td role="cell" class="v-codecs">${[video.videoCodec, video.audioCodec].filter(Boolean).join(" · ") || "–"}</td>
      <td role="cell" class="v-size">${bytes(video.sizeBytes)}</td>
      <td role="cell" class="v-state"><${Validity} video=${video} /></td>
      <td role="cell" class="v-actions">
        <a class="button small quiet" href=${address("jobs", { videoId: video.id })} aria-label=${`Jobs of ${name}`}>Jobs</a>
        <${Menu} label="Actions" name=${`Actions for ${name}`} items=${items} /></td>
    </tr>`;
}

function Validity({ video }) {
  if (video.isValid === null) return html`<span class="faint">not validated</span>`;
  if (video.isValid) return html`<span class="valid"><${Icon} name="shield-check" size="14" />valid</span>`;
  return html`<span class="error" title=${video.invalidReason}><${Icon} name="circle-alert" size="14" /><span>${video.invalidReason ? summary(video.invalidReason) : "invalid"}</span></span>`;
}
