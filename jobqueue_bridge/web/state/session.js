// Who is signed in. The token lives in sessionStorage, or in localStorage where the user asked to be remembered.

import { authoriseWith, get, post, Problem } from "../api.js";
import { computed, signal } from "../vendor/signals.js";

const KEY = "media-pipelines.token";
const RENEW_BELOW_MS = 3600_000;
const LOOK_EVERY_MS = 60_000;

const token = signal(sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY));
export const session = signal(null);
/** Why the sign-in is shown; null where there is nothing to say. */
export const reason = signal(null);
export const signedIn = computed(() => token.value !== null && session.value !== null);
const currentToken = () => token.peek();

authoriseWith({ token: currentToken, refused: expire });

/** Takes the code of `media-pipelines up`'s link out of the address bar, and exchanges it; otherwise tries the stored token. */
export async function resume() {
  const code = new URLSearchParams(location.hash.slice(1)).get("signin");
  if (code) history.replaceState(null, "", location.pathname + location.search);
  if (code) await signInWithCode(code);
  else if (token.peek()) await check();
}

export async function signIn(pasted, remember) {
  store(pasted.trim().replace(/^Bearer\s+/i, ""), remember);
  await check("This token is not valid here. `media-pipelines token` makes one.");
}

export function signOut() {
  forget(null);
}

/** The token is no longer accepted: everything on the page stays, and the sign-in comes over it. */
export function expire(refused) {
  if (refused === undefined || refused === token.peek()) forget("Your session has ended. Sign in again to go on where you were.");
}

export async function renew() {
  const renewed = await post("/session/renew");
  accept(renewed, Boolean(localStorage.getItem(KEY)));
}

async function signInWithCode(code) {
  try {
    accept(await post("/signin", { code }), false);
  } catch (problem) {
    forget(problem.status === 401 ? "This link has been used or is too old. `media-pipelines signin` prints a new one." : problem.message);
  }
}

async function check(whenRefused) {
  try {
    session.value = await get("/session");
    reason.value = null;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) forget(whenRefused ?? "Your session has ended. Sign in again.");
    else if (problem.status === 403) forget(problem.message);
    else reason.value = problem.message;
  }
}

function accept(answer, remember) {
  const { token: fresh, ...rest } = answer;
  store(fresh, remember);
  session.value = rest;
  reason.value = null;
}

function store(fresh, remember) {
  localStorage.removeItem(KEY);
  sessionStorage.setItem(KEY, fresh);
  if (remember) localStorage.setItem(KEY, fresh);
  token.value = fresh;
}

function forget(why) {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
  token.value = null;
  reason.value = why;
}

setInterval(() => {
  const { renewable, expiresAt } = session.peek() ?? {};
  if (!signedIn.peek() || !renewable || new Date(expiresAt) - Date.now() > RENEW_BELOW_MS) return;
  renew().catch(() => {}); // a refused token has been reported already; an unreachable server is tried again
}, LOOK_EVERY_MS);
