// Find a video by its title or file name: a combobox over the library.

import { get } from "../api.js";
import { bytes, clock, shortId } from "../format.js";
import { html } from "../html.js";
import { rememberVideo, videoName, videoSignal } from "../state/videos.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Icon } from "./icon.js";
import { Thumbnail } from "./thumbnail.js";

const TYPED_MS = 180;
const OFFERED = 8;

export function VideoPicker({ id, value, onPick, describedBy, invalid, placeholder = "Search by title or file name" }) {
  const input = useRef(null);
  if (value) {
    const again = () => {
      onPick(null);
      requestAnimationFrame(() => input.current?.focus());
    };
    return html`<${Picked} id=${id} videoId=${value} onRemove=${again} describedBy=${describedBy} />`;
  }
  return html`<${Search} id=${id} input=${input} onPick=${onPick} describedBy=${describedBy} invalid=${invalid} placeholder=${placeholder} />`;
}

function Picked({ id, videoId, onRemove, describedBy }) {
  const video = videoSignal(videoId).value;
  const name = video ? videoName(video) : video === null ? `Unknown video ${shortId(videoId)}` : "…";
  return html`
    <div class="picked">
      <${Thumbnail} video=${video} />
      <span class="name">${name}<small>${video?.path}</small></span>
      <button id=${id} type="button" class="small" aria-describedby=${describedBy} aria-label=${`Choose another video than ${name}`} onClick=${onRemove}>Change</button>
    </div>`;
}

function Search({ id, input, onPick, describedBy, invalid, placeholder }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState(null);
  const [at, setAt] = useState(0);
  const [opened, setOpened] = useState(false);

  useEffect(() => {
    if (!opened) return undefined;
    const asking = new AbortController();
    const timer = setTimeout(async () => {
      const answer = await get("/videos", { search: text, limit: OFFERED }, { signal: asking.signal }).catch(() => null);
      if (!answer) return;
      answer.data.forEach(rememberVideo);
      setFound(answer.data);
      setAt(0);
    }, TYPED_MS);
    return () => {
      clearTimeout(timer);
      asking.abort();
    };
  }, [text, opened]);

  const pick = (video) => {
    setOpened(false);
    onPick(video.id);
  };
  const key = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found?.length) setAt((at + step + found.length) % found.length);
    else if (event.key === "Enter" && opened && found?.[at]) pick(found[at]);
    else if (event.key === "Escape" && opened) setOpened(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const list = `${id}-list`;
  return html`
    <div class="combobox">
      <${Icon} name="search" />
      <input id=${id} ref=${input} type="text" role="combobox" autocomplete="off" spellcheck=${false} placeholder=${placeholder}
             aria-expanded=${opened} aria-controls=${list} aria-autocomplete="list" aria-describedby=${describedBy} aria-invalid=${invalid}
             aria-activedescendant=${opened && found?.length ? `${list}-${at}` : undefined}
             value=${text} onInput=${(event) => { setText(event.target.value); setOpened(true); }} onKeyDown=${key}
             onFocus=${() => setOpened(true)} onBlur=${() => setOpened(false)} />
      <ul id=${list} role="listbox" aria-label="Videos" hidden=${!opened}>
        ${found?.map((video, n) => html`
          <li key=${video.id} id=${`${list}-${n}`} role="option" aria-selected=${n === at}
              onPointerDown=${(event) => { event.preventDefault(); pick(video); }} onPointerEnter=${() => setAt(n)}>
            <${Thumbnail} video=${video} />
            <span class="name">${videoName(video)}<small>${video.path}</small></span>
            <span class="faint">${clock(video.durationSeconds)} · ${bytes(video.sizeBytes)}</span>
          </li>`)}
        ${found && !found.length && html`<li class="none" role="option" aria-selected="false" aria-disabled="true">${text ? `No video has “${text}” in its path or title.` : "The library is empty: scan it first."}</li>`}
        ${!found && html`<li class="none" role="option" aria-selected="false" aria-disabled="true">Searching …</li>`}
      </ul>
    </div>`;
}
