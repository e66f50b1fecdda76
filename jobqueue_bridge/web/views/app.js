// The frame: who is signed in sees the views; whoever is not, the sign-in alone or over what was open.

import { Dialogs } from "../dialogs/dialogs.js";
import { html } from "../html.js";
import { Notices } from "../parts/notices.js";
import { route } from "../state/route.js";
import { session, signedIn } from "../state/session.js";
import { ActivityView } from "./activity.js";
import { Header } from "./header.js";
import { JobsView } from "./jobs.js";
import { LibraryView } from "./library.js";
import { ReportView } from "./report.js";
import { SignIn } from "./sign-in.js";

const SHOWN = { jobs: JobsView, library: LibraryView, activity: ActivityView, report: ReportView };

export function App() {
  if (session.value === null) return html`<${SignIn} /><${Notices} />`;
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to the content</a>
    <${Header} />
    <main id="main" tabindex="-1"><${SHOWN[route.value.view]} /></main>
    <${Dialogs} />
    ${!signedIn.value && html`<${SignIn} over />`}
    <${Notices} />`;
}
