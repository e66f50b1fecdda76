// Signing in by a pasted token. Where a session has ended, it stands over the page, and nothing there is lost.

import { html } from "../html.js";
import { Icon } from "../parts/icon.js";
import { reason, signIn } from "../state/session.js";
import { useLayoutEffect, useRef, useState } from "../vendor/preact-hooks.js";

export function SignIn({ over }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    if (!over) return undefined;
    const shown = element.current;
    shown.showModal();
    return () => shown.close();
  }, []);
  if (!over) return html`<main class="sign-in"><${Form} /></main>`;
  return html`<dialog ref=${element} class="modal sign-in" aria-label="Sign in" onCancel=${(event) => event.preventDefault()}><${Form} /></dialog>`;
}

function Form() {
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const { token, remember } = event.target.elements;
    setBusy(true);
    await signIn(token.value, remember.checked);
    setBusy(false);
  };
  return html`
    <form onSubmit=${submit}>
      <h1><img src="/web/icon.svg" alt="" width="32" height="32" />Media Pipelines</h1>
      ${reason.value && html`<p class="reason" role="alert"><${Icon} name="info" /><span>${reason.value}</span></p>`}
      <label for="token">Token</label>
      <input id="token" name="token" type="password" autocomplete="off" spellcheck=${false} required autofocus placeholder="eyJ…" aria-describedby="token-hint" />
      <p class="hint" id="token-hint">In a terminal of the platform, <code>media-pipelines token</code> prints one, and${" "}
        <code>media-pipelines signin</code> a link that signs you in without it.</p>
      <label class="tick"><input name="remember" type="checkbox" />Remember me in this browser</label>
      <button class="primary" disabled=${busy}>${busy ? "Signing in …" : "Sign in"}</button>
    </form>`;
}
