// Where in the page we are: `#/jobs?status=failed&job=…`. The address can be kept, sent and gone back to.

import { signal } from "../vendor/signals.js";

const VIEWS = ["jobs", "library", "activity", "report"];

export const route = signal(read());

addEventListener("hashchange", () => {
  route.value = read();
});

/** Change some of the parameters, or the view with them; empty ones are left out. */
export function go(changes, { view = route.peek().view, replace = false, keep = view === route.peek().view } = {}) {
  const params = new URLSearchParams(keep ? route.peek().params : undefined);
  for (const [name, value] of Object.entries(changes)) {
    if (value == null || value === "") params.delete(name);
    else params.set(name, value);
  }
  history[replace ? "replaceState" : "pushState"](null, "", address(view, params));
  route.value = { view, params };
}

export const param = (name) => route.value.params.get(name) ?? "";

export function address(view, params = new URLSearchParams()) {
  const text = new URLSearchParams(params).toString();
  return `#/${view}${text && `?${text}`}`;
}

function read() {
  const [, view, query] = /^#\/(\w+)(?:\?(.*))?$/.exec(location.hash) ?? [];
  return VIEWS.includes(view) ? { view, params: new URLSearchParams(query) } : { view: "jobs", params: new URLSearchParams() };
}
