// The bar at the top: views, the state of the line, theme, help, who is signed in.

import { html } from "../html.js";
import { Icon } from "../parts/icon.js";
import { open } from "../state/dialogs.js";
import { connection } from "../state/live.js";
import { address, route } from "../state/route.js";
import { session, signOut } from "../state/session.js";
import { theme, THEMES } from "../theme.js";
import { useEffect } from "../vendor/preact-hooks.js";

const NAMES = { jobs: "Jobs", library: "Library", activity: "Activity", report: "Report" };
const VIEW_ICONS = { jobs: "list-checks", library: "library", activity: "chart-column", report: "gauge" };
const THEME_ICONS = { system: "monitor", light: "sun", dark: "moon" };

export function Header() {
  const current = route.value.view;
  useEffect(() => {
    document.title = `${NAMES[current]} · Media Pipelines`;
  }, [current]);
  return html`
    <header class="top">
      <a class="brand" href=${address("jobs")}><img src="/web/icon.svg" alt="" width="24" height="24" /><span>Media Pipelines</span></a>
      <nav aria-label="Views">
        ${Object.keys(NAMES).map((view) => html`
          <a key=${view} href=${address(view)} aria-current=${view === current ? "page" : undefined}><${Icon} name=${VIEW_ICONS[view]} /><span>${NAMES[view]}</span></a>`)}
      </nav>
      <span class="grow"></span>
      <${Line} />
      <${ThemeSwitch} />
      <button type="button" class="quiet square wide-only" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick=${() => open("help")}><${Icon} name="keyboard" /></button>
      <button type="button" class="quiet" title=${`Signed in as ${session.value.name}, version ${session.value.version}`} onClick=${signOut}>
        <span class="wide-only">${session.value.name}</span><${Icon} name="log-out" /><span class="unseen">Sign out</span>
      </button>
    </header>`;
}

function Line() {
  const text = { live: "Live", connecting: "Connecting …", lost: "Connection lost, trying again …" }[connection.value];
  return html`<span class="connection" data-state=${connection.value} role="status">
    ${connection.value === "lost" ? html`<${Icon} name="wifi-off" size="14" />` : html`<i></i>`}<span>${text}</span>
  </span>`;
}

function ThemeSwitch() {
  const next = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
  return html`<button type="button" class="quiet square" title=${`Theme: ${theme.value}`} aria-label=${`Theme: ${theme.value}. Change to ${next}`}
    onClick=${() => (theme.value = next)}><${Icon} name=${THEME_ICONS[theme.value]} /></button>`;
}
