// What has just happened: told in a corner, and to screen readers.

import { signal } from "../vendor/signals.js";

const STAY_MS = 6000;

/** [{key, kind: "done" | "failed", text}] */
export const notices = signal([]);
/** Spoken, not shown. */
export const spoken = signal("");

let next = 0;

export function notice(text, kind = "done") {
  const key = next++;
  notices.value = [...notices.peek().slice(-3), { key, kind, text }];
  setTimeout(() => dismiss(key), kind === "failed" ? 2 * STAY_MS : STAY_MS);
}

export const dismiss = (key) => {
  notices.value = notices.peek().filter((each) => each.key !== key);
};

export const speak = (text) => {
  spoken.value = text;
};
