// The keyboard. Single letters work wherever nothing is being typed and no dialog is open.

import { act } from "./state/actions.js";
import { dialog, open } from "./state/dialogs.js";
import { choose, chosen, jobSignal } from "./state/jobs.js";
import { go, route } from "./state/route.js";
import { actionsOn } from "./vocabulary.js";

export const KEYS = [
  ["j / k", "Next, previous row"],
  ["Enter", "Open the row's details"],
  ["Escape", "Close the details, or empty the selection"],
  ["x", "Select the row"],
  ["/", "Search"],
  ["n", "Create a job"],
  ["c", "Cancel the job"],
  ["r", "Retry the job"],
  ["p", "Pause or resume the job"],
  ["1 2 3 4", "Jobs, library, activity, report"],
  ["?", "This list"],
];

const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable], [role=menu], [role=combobox]";

export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest(TYPING)) {
      if (event.key === "Escape" && !event.defaultPrevented) event.target.blur();
      return;
    }
    const work = WORK[event.key];
    if (!work || event.defaultPrevented) return;
    if (work(event) !== false) event.preventDefault();
  });
}

const WORK = {
  j: () => step(1),
  k: () => step(-1),
  x: () => onCurrent((id) => choose([id], !chosen.peek().has(id))),
  c: () => onCurrent((id) => actOn("cancel", id)),
  r: () => onCurrent((id) => actOn("retry", id)),
  p: () => onCurrent((id) => actOn(jobSignal(id).peek().status === "paused" ? "resume" : "pause", id)),
  n: () => open("create"),
  "?": () => open("help"),
  "/": () => document.querySelector("[data-search]")?.focus(),
  1: () => go({}, { view: "jobs" }),
  2: () => go({}, { view: "library" }),
  3: () => go({}, { view: "activity" }),
  4: () => go({}, { view: "report" }),
  Escape: escape,
};

const rows = () => [...document.querySelectorAll("[data-row]")];
const currentRow = () => document.activeElement?.closest("[data-row]") ?? rows().find((row) => row.dataset.row === route.peek().params.get("job"));

function step(by) {
  const all = rows();
  if (!all.length) return false;
  const at = all.indexOf(currentRow());
  const next = all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by))];
  next.querySelector("[data-open]").focus();
  next.scrollIntoView({ block: "nearest" });
  if (route.peek().params.get("job")) go({ job: next.dataset.row }, { replace: true });
  return true;
}

function onCurrent(work) {
  const id = currentRow()?.dataset.row ?? route.peek().params.get("job");
  if (route.peek().view !== "jobs" || !id || !jobSignal(id).peek()) return false;
  return work(id);
}

function actOn(action, id) {
  const job = jobSignal(id).peek();
  return actionsOn(job.status)[action] ? act(action, job) : false;
}

function escape() {
  const id = route.peek().params.get("job");
  if (id) {
    go({ job: null });
    rows().find((row) => row.dataset.row === id)?.querySelector("[data-open]").focus();
  } else if (chosen.peek().size) chosen.value = new Set();
  else if (dialog.peek()) dialog.value = null;
  else return false;
  return true;
}
