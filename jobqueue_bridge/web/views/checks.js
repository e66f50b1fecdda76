// What verifying has found of what a job made, also of a job that failed by it.

import { html } from "../html.js";
import { Icon } from "../parts/icon.js";
import { words } from "../vocabulary.js";

const ICONS = { passed: "circle-check", warn: "triangle-alert", error: "circle-alert" };
const VERDICTS = { passed: "passed", warn: "did not pass, worth a look", error: "did not pass" };

export function Checks({ checks }) {
  const told = Array.isArray(checks) ? checks.filter((one) => typeof one?.name === "string") : [];
  if (!told.length) return null;
  return html`
    <section><h3>Checks</h3>
      <ul class="checks">${told.map((one) => html`<li key=${one.name} data-verdict=${verdict(one)}>
        <${Icon} name=${ICONS[verdict(one)]} /><span><b>${words(one.name)}</b> <span class="faint">${VERDICTS[verdict(one)]}</span><small>${String(one.description ?? "")}</small></span></li>`)}</ul>
    </section>`;
}

const verdict = (one) => (one.passed ? "passed" : one.severity === "warn" ? "warn" : "error");
