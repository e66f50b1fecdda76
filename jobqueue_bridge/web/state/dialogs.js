// Which dialog is open. One at a time; the sign-in comes over all of them.

import { signal } from "../vendor/signals.js";

/** null or {kind: "create" | "confirm" | "priority" | "help" | "results" | "move", …what it needs} */
export const dialog = signal(null);

export const open = (kind, needs = {}) => {
  dialog.value = { kind, ...needs };
};

export const close = () => {
  dialog.value = null;
};
