// A modal <dialog>: the browser keeps the focus inside it and gives it back afterwards.

import { html } from "../html.js";
import { useLayoutEffect, useRef } from "../vendor/preact-hooks.js";
import { Icon } from "./icon.js";

export function Modal({ title, onClose, wide, children, className = "" }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    const shown = element.current;
    shown.showModal();
    return () => shown.close();
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose?.();
  };
  return html`
    <dialog ref=${element} class=${`modal ${wide ? "wide" : ""} ${className}`} aria-labelledby="modal-title" onCancel=${cancel}>
      <header>
        <h2 id="modal-title">${title}</h2>
        ${onClose && html`<button type="button" class="quiet square" aria-label="Close" onClick=${onClose}><${Icon} name="x" /></button>`}
      </header>
      ${children}
    </dialog>`;
}
