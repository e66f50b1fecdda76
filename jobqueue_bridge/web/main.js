// The page starts here.

import { html } from "./html.js";
import { listenToKeys } from "./keys.js";
import { resume } from "./state/session.js";
import { render } from "./vendor/preact.js";
import { App } from "./views/app.js";

await resume();
const place = document.getElementById("app");
place.replaceChildren();
render(html`<${App} />`, place);
listenToKeys();
// A sign-in link may be opened in a tab that shows the page already.
addEventListener("hashchange", () => location.hash.startsWith("#signin=") && resume());
