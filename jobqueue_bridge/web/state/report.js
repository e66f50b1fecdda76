// The newest report on the library, the key figures of those before it, and whether a new one is being made.

import { get, post } from "../api.js";
import { shortId } from "../format.js";
import { signal } from "../vendor/signals.js";
import { on } from "./live.js";
import { notice } from "./notices.js";

const TYPE = "library_report";
const ENDED = ["completed", "failed", "cancelled"];

/** {made, earlier, problem}: undefined while nothing is known, `made` null where there is no report. */
export const reports = signal(undefined);
/** The live job that makes one; null: none does, as far as was heard. */
export const making = signal(null);

export async function loadReports() {
  try {
    const [made, earlier] = await Promise.all([newest(), get("/reports", { limit: 200 })]);
    reports.value = { made, earlier: earlier.data };
  } catch (problem) {
    reports.value = { ...reports.peek(), problem };
  }
  const live = await get("/jobs", { type: TYPE, status: "pending,queued,running,paused", limit: 1 }).catch(() => ({ data: [] }));
  making.value = live.data[0] ?? null;
}

const newest = () => get("/report").catch((problem) => {
  if (problem.status === 404) return null;
  throw problem;
});

export async function makeReport() {
  try {
    making.value = await post("/jobs", { type: TYPE, params: {} });
  } catch (problem) {
    if (problem.status === 409) loadReports();
    else notice(problem.message, "failed");
  }
}

on("job", ({ from, job }) => {
  if (job.type !== TYPE) return;
  const hasEnded = ENDED.includes(job.status);
  making.value = hasEnded ? null : job;
  if (!hasEnded || ENDED.includes(from)) return;
  if (job.status === "failed") notice(`The report could not be made: ${job.error ?? `see job ${shortId(job.id)}`}`, "failed");
  if (reports.peek()) loadReports();
});
