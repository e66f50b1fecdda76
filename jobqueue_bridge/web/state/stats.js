// Counts, gauges and the queue's switch: fetched when something has changed, and at no other time.

import { get, post } from "../api.js";
import { effect, signal } from "../vendor/signals.js";
import { on } from "./live.js";
import { signedIn } from "./session.js";

const REFETCH_MS = 1500;

export const stats = signal(null);
/** Grows with each change of the numbers; the charts follow it. */
export const changes = signal(0);

let timer = null;
let last = 0;

async function fetchStats() {
  timer = null;
  last = Date.now();
  stats.value = await get("/jobs/stats").catch(() => stats.peek());
  changes.value += 1;
}

export function refetchStatsSoon() {
  timer ??= setTimeout(fetchStats, Math.max(50, last + REFETCH_MS - Date.now()));
}

export async function switchQueue(paused) {
  const { pausedAt, pausedBy } = await post(paused ? "/queue/pause" : "/queue/resume");
  noteQueue(pausedAt, pausedBy);
}

function noteQueue(since, by) {
  if (stats.peek()) stats.value = { ...stats.peek(), queuePaused: since ? { since, by } : null };
}

on("job", ({ change, from, job }) => (change === "created" || from !== job.status) && refetchStatsSoon());
on("queue", ({ pausedAt, pausedBy }) => noteQueue(pausedAt, pausedBy));
for (const kind of ["removed", "reload", "hello"]) on(kind, refetchStatsSoon);
effect(() => signedIn.value && refetchStatsSoon());
