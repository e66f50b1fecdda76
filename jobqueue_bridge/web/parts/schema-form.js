// A form made from a JSON Schema. It holds what the user has set and nothing else: defaults stay the API's own.

import { html } from "../html.js";
import { words } from "../vocabulary.js";
import { Field } from "./field.js";
import { VideoPicker } from "./video-picker.js";

/** `errors`: dotted path below params → what is wrong. `onChange` gets the whole value, changed. */
export function SchemaForm({ schema, value, errors, onChange }) {
  const fields = Object.entries(schema.properties ?? {}).map(([name, property]) => describe(name, property, schema));
  const inFront = (field) => field.required || field.video || !field.optional || errors[field.name] || value[field.name] !== undefined;
  const main = fields.filter(inFront);
  const more = fields.filter((field) => !inFront(field));
  const draw = (field) => html`<${Property} key=${field.name} field=${field} root=${schema} path=${field.name} value=${value[field.name]} errors=${errors}
    onChange=${(changed) => onChange(changedTo(value, field.name, changed))} />`;
  return html`
    <div class="fields">${main.map(draw)}</div>
    ${more.length > 0 && html`<details class="more"><summary>${more.length} more ${more.length === 1 ? "setting" : "settings"}</summary><div class="fields">${more.map(draw)}</div></details>`}`;
}

/** undefined takes a property away. */
function changedTo(value, name, changed) {
  const { [name]: _, ...others } = value;
  return changed === undefined ? others : { ...others, [name]: changed };
}

/** What a property is, with references followed and "or null" read as optional. */
function describe(name, property, root) {
  const choices = (property.anyOf ?? [property]).map((choice) => follow(choice, root));
  const [core] = choices.filter((choice) => choice.type !== "null");
  const isVideo = (one) => one?.["x-ref"] === "video" || (one?.format === "uuid" && /video/i.test(name));
  return {
    ...core,
    requiredInside: core.required,
    name,
    label: words(name).replace(/ IDs?$/, (tail) => (tail === " IDs" ? "s" : "")),
    hint: property.description,
    fallback: property.default,
    optional: choices.some((choice) => choice.type === "null"),
    required: (root.required ?? []).includes(name),
    video: isVideo(core),
    videos: core.type === "array" && isVideo(core.items),
  };
}

const follow = (schema, root) => (schema.$ref ? root.$defs[schema.$ref.split("/").at(-1)] : schema);

function Property({ field, root, path, value, errors, onChange }) {
  const id = `field-${path.replaceAll(".", "-")}`;
  const error = errors[path];
  const control = { id, field, value, onChange, root, path, errors, describedBy: `${id}-hint`, invalid: Boolean(error) };
  if (field.type === "object") return html`<${Group} ...${control} />`;
  if (field.type === "boolean") return html`<${Tick} ...${control} error=${error} />`;
  const Control = field.videos ? Videos : field.video ? Video : field.enum ? Choice : field.type === "array" ? Words : field.type === "string" ? Text : Amount;
  return html`<${Field} id=${id} label=${field.label} hint=${field.hint} error=${error} required=${field.required}><${Control} ...${control} /></${Field}>`;
}

function Group({ field, root, path, value = {}, errors, onChange }) {
  const inner = Object.entries(field.properties ?? {}).map(([name, property]) => describe(name, property, { ...root, required: field.requiredInside ?? [] }));
  return html`
    <fieldset class="group"><legend>${field.label}</legend>
      ${field.hint && html`<p class="hint">${field.hint}</p>`}
      <div class="fields">
        ${inner.map((one) => html`<${Property} key=${one.name} field=${one} root=${root} path=${`${path}.${one.name}`} value=${value?.[one.name]} errors=${errors}
          onChange=${(changed) => onChange(changedTo(value ?? {}, one.name, changed))} />`)}
      </div>
    </fieldset>`;
}

function Tick({ id, field, value, onChange, describedBy, error }) {
  return html`
    <div class="field tick" data-invalid=${Boolean(error)}>
      <label for=${id}><input id=${id} type="checkbox" checked=${value ?? field.fallback ?? false} aria-describedby=${describedBy}
        onChange=${(event) => onChange(event.target.checked === (field.fallback ?? false) ? undefined : event.target.checked)} />${field.label}</label>
      <p class="hint" id=${describedBy}>${error ? html`<span class="problem">${error}</span>` : field.hint}</p>
    </div>`;
}

function Choice({ id, field, value, onChange, describedBy, invalid }) {
  const none = field.fallback == null;
  return html`
    <select id=${id} value=${value ?? field.fallback ?? ""} aria-describedby=${describedBy} aria-invalid=${invalid}
            onChange=${(event) => onChange(event.target.value === "" || event.target.value === field.fallback ? undefined : event.target.value)}>
      ${none && html`<option value="">${field.required ? "Choose …" : "–"}</option>`}
      ${field.enum.map((choice) => html`<option key=${choice} value=${choice}>${choice}</option>`)}
    </select>`;
}

function Amount({ id, field, value, onChange, describedBy, invalid }) {
  const change = (event) => {
    const { value: text, valueAsNumber: number } = event.target;
    onChange(text === "" || Number.isNaN(number) ? undefined : number);
  };
  return html`<input id=${id} type="number" inputmode="decimal" value=${value ?? ""} placeholder=${field.fallback ?? ""} min=${field.minimum ?? field.exclusiveMinimum} max=${field.maximum}
    step=${field.type === "integer" ? 1 : "any"} aria-describedby=${describedBy} aria-invalid=${invalid} onInput=${change} />`;
}

function Text({ id, field, value, onChange, describedBy, invalid }) {
  return html`<input id=${id} type="text" autocomplete="off" spellcheck=${false} value=${value ?? ""} placeholder=${field.fallback ?? ""} maxlength=${field.maxLength}
    aria-describedby=${describedBy} aria-invalid=${invalid} onInput=${(event) => onChange(event.target.value === "" ? undefined : event.target.value)} />`;
}

function Words({ id, value, onChange, describedBy, invalid }) {
  const change = (event) => {
    const given = event.target.value.split(",").map((word) => word.trim()).filter(Boolean);
    onChange(given.length ? given : undefined);
  };
  return html`<input id=${id} type="text" autocomplete="off" spellcheck=${false} value=${(value ?? []).join(", ")} placeholder="Several: with commas between them"
    aria-describedby=${describedBy} aria-invalid=${invalid} onChange=${change} />`;
}

function Video({ id, value, onChange, describedBy, invalid }) {
  return html`<${VideoPicker} id=${id} value=${value} describedBy=${describedBy} invalid=${invalid} onPick=${(picked) => onChange(picked ?? undefined)} />`;
}

function Videos({ id, value = [], onChange, describedBy, invalid }) {
  const set = (ids) => onChange(ids.length ? ids : undefined);
  return html`
    <ol class="videos">
      ${value.map((videoId, n) => html`<li key=${videoId + n}>
        <${VideoPicker} id=${`${id}-${n}`} value=${videoId} onPick=${() => set(value.filter((_, m) => m !== n))} />
      </li>`)}
    </ol>
    <${VideoPicker} key=${value.length} id=${id} value=${null} describedBy=${describedBy} invalid=${invalid} placeholder=${value.length ? "Add another video" : "Search by title or file name"}
      onPick=${(picked) => picked && set([...value, picked])} />`;
}
