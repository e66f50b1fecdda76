// A video's picture, or a placeholder of the same size.

import { withToken } from "../api.js";
import { html } from "../html.js";
import { useState } from "../vendor/preact-hooks.js";
import { Icon } from "./icon.js";

export function Thumbnail({ video }) {
  const [broken, setBroken] = useState(null);
  if (!video?.thumbnailPath || broken === video.updatedAt) {
    return html`<span class="thumbnail none"><${Icon} name="film" size="18" /></span>`;
  }
  const address = withToken(`/videos/${video.id}/thumbnail`, { v: video.updatedAt });
  return html`<img class="thumbnail" src=${address} alt="" loading="lazy" decoding="async" onError=${() => setBroken(video.updatedAt)} />`;
}
