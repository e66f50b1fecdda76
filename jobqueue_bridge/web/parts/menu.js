// A button that opens a list of actions, worked by arrow keys.

import { html } from "../html.js";
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Icon } from "./icon.js";

/** items: [{label, icon, run}] */
export function Menu({ label, name, items }) {
  const [opened, setOpened] = useState(false);
  const root = useRef(null);
  const entries = () => [...root.current.querySelectorAll("[role=menuitem]")];

  useEffect(() => {
    if (!opened) return undefined;
    entries()[0]?.focus();
    const outside = (event) => !root.current.contains(event.target) && setOpened(false);
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [opened]);

  const shut = () => {
    setOpened(false);
    root.current.querySelector("button").focus();
  };
  const key = (event) => {
    if (!opened) return;
    const all = entries();
    const at = all.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next !== undefined) all.at(next % all.length).focus();
    else if (event.key === "Escape") shut();
    else if (event.key === "Tab") return setOpened(false);
    else return undefined;
    event.preventDefault();
    event.stopPropagation();
    return undefined;
  };

  return html`
    <div class="menu" ref=${root} onKeyDown=${key}>
      <button type="button" class="small" aria-haspopup="menu" aria-expanded=${opened} aria-label=${name} onClick=${() => setOpened(!opened)}>
        ${label}<${Icon} name="chevron-down" size="14" />
      </button>
      ${opened && html`<div role="menu" aria-label=${name}>
        ${items.map((item) => html`
          <button key=${item.label} type="button" role="menuitem" tabindex="-1" onClick=${() => { shut(); item.run(); }}>
            <${Icon} name=${item.icon} />${item.label}
          </button>`)}
      </div>`}
    </div>`;
}
