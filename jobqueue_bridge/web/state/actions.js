// What an admin does to jobs: asked, confirmed, carried out, told.

import { patch, post } from "../api.js";
import { plural, shortId } from "../format.js";
import { signal } from "../vendor/signals.js";
import { typeLabel } from "../vocabulary.js";
import { open } from "./dialogs.js";
import { chosen, remember } from "./jobs.js";
import { notice } from "./notices.js";
import { refetchStatsSoon } from "./stats.js";

const IDS_AT_ONCE = 500;
const SHOWN_MOST = 500;

/** How far an action on very many has come, as text; null: none is under way. */
export const underway = signal(null);

export const VERBS = {
  cancel: { label: "Cancel", icon: "circle-x", done: "cancelled", danger: true },
  retry: { label: "Retry", icon: "rotate-ccw", done: "to be tried again" },
  pause: { label: "Pause", icon: "pause", done: "paused" },
  resume: { label: "Resume", icon: "play", done: "resumed" },
};

const nameOf = (job) => `${typeLabel(job.type)} ${shortId(job.id)}`;

/** Ask whether it is meant, then do it. */
export function act(action, job) {
  if (action === "resume") return perform(action, job);
  const explain = {
    cancel: job.status === "running"
      ? "Its run is stopped at once and what it has made so far is removed. The source is never touched."
      : "It will not run. It can be retried later.",
    pause: job.status === "running"
      ? "Its run is suspended where it is; it keeps its VRAM and its slot until it is resumed."
      : "It keeps its place and waits until it is resumed.",
    retry: `It goes back to the line with its settings as they are. Tried again so far: ${job.retryCount} of ${job.maxRetries} times.`,
  }[action];
  return open("confirm", {
    title: `${VERBS[action].label} this job?`,
    subject: nameOf(job),
    explain,
    confirm: `${VERBS[action].label} job`,
    danger: VERBS[action].danger,
    perform: () => perform(action, job),
  });
}

async function perform(action, job) {
  try {
    told(await post(`/jobs/${job.id}/${action}`, action === "retry" ? {} : undefined), VERBS[action].done);
  } catch (problem) {
    if (action === "retry" && problem.status === 409 && problem.body.type?.endsWith("retries-used-up")) return offerForce(job, problem);
    notice(`${nameOf(job)}: ${problem.message}`, "failed");
  }
  return undefined;
}

function offerForce(job, problem) {
  open("confirm", {
    title: "Retry beyond its limit?",
    subject: nameOf(job),
    explain: problem.message,
    confirm: "Retry anyway",
    perform: async () => {
      try {
        told(await post(`/jobs/${job.id}/retry`, { force: true }), VERBS.retry.done);
      } catch (again) {
        notice(`${nameOf(job)}: ${again.message}`, "failed");
      }
    },
  });
}

function told({ log, released, ...job }, done) {
  remember(job);
  notice(`${nameOf(job)} is ${done}.`);
}

export async function setPriority(job, priority) {
  const changed = await patch(`/jobs/${job.id}`, { priority });
  remember(changed);
  notice(`${nameOf(changed)} has priority ${priority} now.`);
}

/** Many jobs, by their ids or by the filter that shows them. */
export function actOnMany(action, { ids, filter, count }) {
  const what = ids ? plural(ids.length, "selected job") : `all ${plural(count, "job")} that the filter finds`;
  open(action === "priority" ? "priority" : "confirm", {
    title: action === "priority" ? "Change the priority" : `${VERBS[action].label} ${what}?`,
    subject: what,
    explain: `Jobs whose status does not allow it are left as they are; the result says so for each.`,
    confirm: action === "priority" ? "Change" : `${VERBS[action].label} ${ids ? plural(ids.length, "job") : "them all"}`,
    danger: VERBS[action]?.danger,
    perform: (priority) => performMany({ action, ids, filter, priority }),
  });
}

/** What came of many jobs so far: how many, the first ones by name, and where a filter goes on. */
const nothing = () => ({ done: 0, refused: 0, results: [], remaining: 0, cursor: null, problem: null });

function add(outcome, { done, refused, remaining, nextCursor, results }) {
  const room = { true: SHOWN_MOST, false: SHOWN_MOST };
  const kept = [...outcome.results, ...results].filter(({ ok }) => (room[ok] -= 1) >= 0);
  return { done: outcome.done + done, refused: outcome.refused + refused, results: kept, remaining, cursor: nextCursor, problem: null };
}

/** By ids, as many at once as the API takes. */
async function performOn({ ids, ...request }) {
  let outcome = nothing();
  for (let n = 0; n < ids.length; n += IDS_AT_ONCE) {
    outcome = add(outcome, await post("/jobs/bulk", { ...request, ids: ids.slice(n, n + IDS_AT_ONCE) }));
  }
  return outcome;
}

/** By a filter, to its end. Where that cannot be reached, what was done is told, and from where to go on. */
async function performWhere(request, outcome = nothing()) {
  try {
    do {
      outcome = add(outcome, await post("/jobs/bulk", { ...request, ...(outcome.cursor && { cursor: outcome.cursor }) }));
      underway.value = outcome.cursor && `${plural(outcome.done + outcome.refused, "job")} so far …`;
    } while (outcome.cursor);
  } catch (problem) {
    if (!outcome.cursor) throw problem;
    outcome = { ...outcome, problem: problem.message };
  } finally {
    underway.value = null;
  }
  return outcome;
}

async function performMany(request, begun) {
  try {
    const outcome = request.ids ? await performOn(request) : await performWhere(request, begun);
    refetchStatsSoon();
    if (request.ids) chosen.value = new Set(outcome.results.filter((each) => !each.ok).map((each) => each.id));
    open("results", { action: request.action, ...outcome, goOn: outcome.cursor && (() => performMany(request, outcome)) });
  } catch (problem) {
    notice(problem.message, "failed");
  }
}
