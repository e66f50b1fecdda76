// The time, for what is told relative to it; it stands still while nobody looks.

import { signal } from "../vendor/signals.js";

export const second = signal(Date.now());
export const tenSeconds = signal(Date.now());

setInterval(() => {
  if (document.hidden) return;
  second.value = Date.now();
  if (second.value - tenSeconds.value >= 10_000) tenSeconds.value = second.value;
}, 1000);
