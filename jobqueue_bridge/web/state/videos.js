// Names of videos that rows mention, fetched once each, a few at a time.

import { get } from "../api.js";
import { signal } from "../vendor/signals.js";

const AT_ONCE = 3;
const known = new Map();
const waiting = [];
let busy = 0;

/** The signal of one video: undefined while it is fetched, null where there is none. */
export function videoSignal(id) {
  if (!known.has(id)) {
    known.set(id, signal(undefined));
    waiting.push(id);
    work();
  }
  return known.get(id);
}

export function rememberVideo(video) {
  if (known.has(video.id)) known.get(video.id).value = video;
  else known.set(video.id, signal(video));
}

async function work() {
  if (busy >= AT_ONCE || !waiting.length) return;
  busy += 1;
  const id = waiting.pop(); // what has just come into sight goes first
  const found = await get(`/videos/${id}`).catch(() => null);
  known.get(id).value = found;
  busy -= 1;
  work();
}

export const videoName = (video) => video.title || video.filename;
