// A link that opens another job's details beside what is shown.

import { html } from "../html.js";
import { address, go } from "../state/route.js";

export function JobLink({ id, children }) {
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go({ job: id });
  };
  return html`<a href=${address("jobs", new URLSearchParams({ job: id }))} onClick=${follow}>${children}</a>`;
}
