// Templates without a build step: htm's tagged templates make preact's elements.

import htm from "./vendor/htm.js";
import { createElement } from "./vendor/preact.js";

export const html = htm.bind(createElement);
