// Light, dark, or as the system has it. Loaded first, so that nothing flashes.

import { effect, signal } from "./vendor/signals.js";

const KEY = "media-pipelines.theme";
export const THEMES = ["system", "light", "dark"];

const stored = localStorage.getItem(KEY);
export const theme = signal(THEMES.includes(stored) ? stored : "system");

effect(() => {
  document.documentElement.dataset.theme = theme.value;
  localStorage.setItem(KEY, theme.value);
});
