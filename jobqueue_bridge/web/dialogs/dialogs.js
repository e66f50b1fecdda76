// The dialog that is open, if any.

import { html } from "../html.js";
import { dialog } from "../state/dialogs.js";
import { ConfirmDialog } from "./confirm.js";
import { CreateDialog } from "./create.js";
import { HelpDialog } from "./help.js";
import { PriorityDialog } from "./priority.js";
import { ResultsDialog } from "./results.js";

const KINDS = { confirm: ConfirmDialog, create: CreateDialog, help: HelpDialog, priority: PriorityDialog, results: ResultsDialog };

let opened = 0;
let last = null;

export function Dialogs() {
  const shown = dialog.value;
  if (shown !== last) {
    last = shown;
    opened += 1; // a dialog that follows another starts anew
  }
  if (!shown) return null;
  const { kind, ...needs } = shown;
  return html`<${KINDS[kind]} key=${opened} ...${needs} />`;
}
