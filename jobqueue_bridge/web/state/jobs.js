// The jobs that the table shows: one signal a job, so that progress draws one row and not the table.

import { get } from "../api.js";
import { shortId } from "../format.js";
import { batch, computed, effect, signal } from "../vendor/signals.js";
import { statusLabel, typeLabel } from "../vocabulary.js";
import { on } from "./live.js";
import { speak } from "./notices.js";
import { route } from "./route.js";
import { signedIn } from "./session.js";

export const FILTERS = ["status", "type", "resourceCategory", "videoId", "parentId", "text", "createdFrom", "createdTo"];
const SEVERAL = ["status", "type", "resourceCategory"];
export const SIZES = [25, 50, 100, 200];
const REFETCH_MS = 1000;
const SIZE_KEY = "media-pipelines.rows";

export const size = signal(SIZES.find((choice) => String(choice) === localStorage.getItem(SIZE_KEY)) ?? 50);

/** state: "loading" (nothing to show yet), "ready" or "failed"; `ids` in their order. */
export const list = signal({ state: "loading", ids: [], pagination: null, problem: null });
export const refreshing = signal(false);
/** Ids of the rows that are ticked. They stay ticked on other pages. */
export const chosen = signal(new Set());

const known = new Map();

/** The signal of one job; its value is undefined where it is not known yet. */
export function jobSignal(id) {
  if (!known.has(id)) known.set(id, signal(undefined));
  return known.get(id);
}

/** Take news of a job, unless something newer is known. News may lack params and result: those stay. */
export function remember(news) {
  const job = jobSignal(news.id);
  const before = job.peek();
  if (before && news.version < before.version) return;
  job.value = before ? { ...before, ...news } : news;
}

/** What the address asks for. Only the parts that the list depends on, so that opening a job fetches nothing. */
export const asked = computed(() => {
  const { view, params } = route.value;
  if (view !== "jobs") return null;
  const filters = FILTERS.map((name) => [name, params.get(name) ?? ""]);
  return JSON.stringify({ ...Object.fromEntries(filters), sort: params.get("sort") ?? "", page: Number(params.get("page") ?? 1) });
});

export const filtered = computed(() => asked.value !== null && FILTERS.some((name) => JSON.parse(asked.value)[name]));

/** As a request for many jobs names it: what may have several values is a list there. */
export function currentFilter() {
  const { sort, page, ...filters } = JSON.parse(asked.peek());
  const given = Object.entries(filters).filter(([, value]) => value);
  return Object.fromEntries(given.map(([name, value]) => [name, SEVERAL.includes(name) ? value.split(",") : value]));
}

let running = null;
let lastFetch = 0;
let timer = null;

/** Fetch the list again; `fresh` shows that what is there belongs to an older question. */
export async function fetchList({ fresh = false } = {}) {
  if (asked.peek() === null || !signedIn.peek()) return;
  running?.abort();
  const mine = (running = new AbortController());
  clearTimeout(timer);
  timer = null;
  lastFetch = Date.now();
  refreshing.value = fresh;
  try {
    const { page, ...query } = JSON.parse(asked.peek());
    const answer = await get("/jobs", { ...query, page, limit: size.peek() }, { signal: mine.signal });
    show(answer);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    list.value = { ...list.peek(), state: list.peek().ids.length ? "ready" : "failed", problem };
  }
  if (running === mine) refreshing.value = false;
}

function show({ data, pagination }) {
  batch(() => {
    data.forEach(remember);
    list.value = { state: "ready", ids: data.map((job) => job.id), pagination, problem: null };
  });
  forgetOthers();
}

/** Soon, and at most once a second, however much happens. */
function refetchSoon() {
  if (timer) return;
  timer = setTimeout(fetchList, Math.max(100, lastFetch + REFETCH_MS - Date.now()));
}

/** Jobs that neither the table nor a component looks at are forgotten, once there are many. */
function forgetOthers() {
  if (known.size < 5000) return;
  const kept = new Set([...list.peek().ids, ...chosen.peek(), route.peek().params.get("job")]);
  for (const id of known.keys()) if (!kept.has(id)) known.delete(id);
}

on("job", ({ change, from, job }) => {
  const shown = list.peek().ids.includes(job.id);
  if (shown || known.has(job.id)) remember(job);
  if (shown && from && from !== job.status) speak(`${typeLabel(job.type)} ${shortId(job.id)}: ${statusLabel(job.status)}`);
  if (change === "created" || (from && from !== job.status) || (shown && sortedBy("priority"))) refetchSoon();
});
on("removed", refetchSoon);
on("reload", refetchSoon);
on("hello", ({ resumed }) => !resumed && refetchSoon());

const sortedBy = (name) => asked.peek() !== null && JSON.parse(asked.peek()).sort.endsWith(name);

effect(() => {
  size.value;
  if (asked.value !== null && signedIn.value) fetchList({ fresh: true });
});
effect(() => localStorage.setItem(SIZE_KEY, size.value));

export function choose(ids, on) {
  const next = new Set(chosen.peek());
  for (const id of ids) next[on ? "add" : "delete"](id);
  chosen.value = next;
}
