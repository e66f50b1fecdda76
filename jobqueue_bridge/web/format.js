// Numbers and instants, as text.

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"];

/** 1536000 → "1.54 MB"; a missing number is a dash. */
export function bytes(count) {
  if (count == null) return "–";
  let value = Math.abs(count);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${count < 0 ? "−" : ""}${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Seconds → "4.2 s", "3 min 05 s", "2 h 10 min", "3 d 4 h". */
export function duration(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** Seconds of a film → "1:02:03". */
export function clock(seconds) {
  if (seconds == null) return "–";
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const SAME_DAY = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const OTHER_DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

export const fullInstant = (iso) => FULL.format(new Date(iso));

/** The time of today, otherwise day and time. */
export function shortInstant(iso, now = Date.now()) {
  const at = new Date(iso);
  return (at.toDateString() === new Date(now).toDateString() ? SAME_DAY : OTHER_DAY).format(at);
}

/** "just now", "4 min ago", "in 2 min". */
export function relative(iso, now = Date.now()) {
  const seconds = (now - new Date(iso).getTime()) / 1000;
  const away = Math.abs(seconds);
  if (away < 5) return "just now";
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([least]) => away >= least);
  const text = `${Math.floor(away / size)} ${unit}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

/** The first line of an error; of a path at its beginning, only the file's name. */
export const summary = (text) => text?.split("\n", 1)[0].replace(/^\/\S*\/(?=[^\s/])/, "") ?? "";

export const shortId = (id) => id.slice(0, 8);
export const count = (value) => (value == null ? "–" : value.toLocaleString());
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

const pad = (value) => String(value).padStart(2, "0");
