// The words of the queue, as people read them. Colours follow the specification's status badges.

export const STATUSES = {
  pending: { label: "Pending", icon: "clock" },
  queued: { label: "Queued", icon: "hourglass" },
  running: { label: "Running", icon: "circle-play" },
  completed: { label: "Completed", icon: "circle-check" },
  failed: { label: "Failed", icon: "circle-alert" },
  cancelled: { label: "Cancelled", icon: "ban" },
  paused: { label: "Paused", icon: "circle-pause" },
};

export const FINAL = new Set(["completed", "failed", "cancelled"]);

const TYPE_ICONS = {
  scan: "scan-search",
  public_scan: "globe",
  validate: "shield-check",
  reencode_streaming: "film",
  transcode: "repeat",
  compile_random: "shuffle",
  compile_quad: "grid-2x2",
  compile_mega: "layers",
  compile_gif: "image-play",
  digest_generate: "newspaper",
  clip_generate: "scissors",
  highlight_generate: "sparkles",
  tag_generation: "tags",
  scene_extract: "square-split-horizontal",
  thumbnail_generate: "image",
  move_to_library: "folder-input",
  library_report: "gauge",
};

const TYPE_LABELS = {
  reencode_streaming: "Re-encode",
  thumbnail_generate: "Thumbnail",
  digest_generate: "Digest",
  clip_generate: "Clips",
  highlight_generate: "Highlights",
  tag_generation: "Tags",
  scene_extract: "Scenes",
};

const CATEGORIES = { cpu: "CPU", gpu_encode: "GPU encode", gpu_ai: "GPU AI" };
export const CATEGORY_NAMES = Object.keys(CATEGORIES);

export const typeIcon = (type) => TYPE_ICONS[type] ?? "cpu";
export const typeLabel = (type) => TYPE_LABELS[type] ?? words(type);
export const categoryLabel = (category) => CATEGORIES[category] ?? words(category);
export const statusLabel = (status) => STATUSES[status]?.label ?? words(status);

/** `targetBitrate`, `target_bitrate` → "Target bitrate". */
export function words(name) {
  const spaced = name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase();
  return (spaced.charAt(0).toUpperCase() + spaced.slice(1))
    .replace(/\b(id|crf|vmaf|xpsnr|fps|gif|gpu|cpu|ai|vram)\b/gi, (word) => word.toUpperCase())
    .replace(/\bIds\b/i, "IDs");
}

/** Which of the actions a job of this status allows. */
export function actionsOn(status) {
  return {
    cancel: !FINAL.has(status),
    pause: ["pending", "queued", "running"].includes(status),
    resume: status === "paused",
    retry: status === "failed" || status === "cancelled",
    priority: !FINAL.has(status),
  };
}
