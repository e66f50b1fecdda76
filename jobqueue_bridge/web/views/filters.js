// What the table shows. Every choice stands in the address.

import { html } from "../html.js";
import { Icon } from "../parts/icon.js";
import { VideoPicker } from "../parts/video-picker.js";
import { FILTERS, filtered } from "../state/jobs.js";
import { go, param } from "../state/route.js";
import { types } from "../state/types.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { CATEGORY_NAMES, categoryLabel, STATUSES, statusLabel, typeLabel } from "../vocabulary.js";

const TYPED_MS = 250;

export function Filters() {
  const [more, setMore] = useState(Boolean(param("videoId") || param("createdFrom") || param("createdTo")));
  const set = (name) => (value) => go({ [name]: value, page: null }, { replace: true });
  return html`
    <search class="filters">
      <${SearchBox} value=${param("text")} onSearch=${set("text")} />
      <${Pick} label="Status" name="status" choices=${Object.keys(STATUSES)} text=${statusLabel} />
      <${Pick} label="Type" name="type" choices=${types.value.map((type) => type.type)} text=${typeLabel} />
      <${Pick} label="Resource" name="resourceCategory" choices=${CATEGORY_NAMES} text=${categoryLabel} />
      <button type="button" aria-expanded=${more} aria-controls="more-filters" onClick=${() => setMore(!more)}><${Icon} name="list-filter" />More</button>
      ${filtered.value && html`<button type="button" class="quiet" onClick=${() => go(Object.fromEntries([...FILTERS, "page"].map((name) => [name, null])))}><${Icon} name="x" />Clear</button>`}
      <div id="more-filters" class="more-filters" hidden=${!more}>
        <div class="field"><label for="filter-video">Video</label><${VideoPicker} id="filter-video" value=${param("videoId") || null} onPick=${set("videoId")} /></div>
        <${Moment} label="Created from" name="createdFrom" />
        <${Moment} label="Created before" name="createdTo" />
      </div>
    </search>`;
}

function SearchBox({ value, onSearch }) {
  const timer = useRef(null);
  const input = useRef(null);
  useEffect(() => {
    if (document.activeElement !== input.current) input.current.value = value;
  }, [value]);
  const typed = (event) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onSearch(event.target.value), TYPED_MS);
  };
  return html`<div class="search"><${Icon} name="search" />
    <input ref=${input} data-search type="search" aria-label="Search jobs by id, video, type or error" placeholder="Search id, video, type, error" maxlength="200" onInput=${typed} /><kbd aria-hidden="true">/</kbd>
  </div>`;
}

function Pick({ label, name, choices, text }) {
  const value = param(name);
  const offered = value && !choices.includes(value) ? [value, ...choices] : choices;
  return html`<div class="pick" data-on=${Boolean(value)}>
    <select aria-label=${label} value=${value} onChange=${(event) => go({ [name]: event.target.value, page: null })}>
      <option value="">${label}: all</option>
      ${offered.map((choice) => html`<option key=${choice} value=${choice}>${text(choice)}</option>`)}
    </select></div>`;
}

function Moment({ label, name }) {
  const change = (event) => go({ [name]: event.target.value && new Date(event.target.value).toISOString(), page: null }, { replace: true });
  return html`<div class="field"><label for=${`filter-${name}`}>${label}</label>
    <input id=${`filter-${name}`} type="datetime-local" value=${local(param(name))} onChange=${change} /></div>`;
}

/** An instant as `datetime-local` wants it: the reader's own clock. */
function local(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
