// The stream of events: opened once signed in, taken up again where it broke off.

import { get, withToken } from "../api.js";
import { effect, signal } from "../vendor/signals.js";
import { expire, renew, session, signedIn } from "./session.js";

/** "connecting", "live" or "lost". */
export const connection = signal("connecting");

const KINDS = ["job", "removed", "queue", "reload", "log", "hello"];
const RETRY_MS = [1000, 2000, 5000, 10_000, 20_000];
const HIDDEN_FOR_MS = 60_000;

const listeners = new Map(KINDS.map((kind) => [kind, new Set()]));

/** Hear of every event of a kind; what is returned ends that. */
export function on(kind, listener) {
  listeners.get(kind).add(listener);
  return () => listeners.get(kind).delete(listener);
}

/** One stream of events, kept open until it is closed. `heard(kind, data)` gets each event. */
export class Stream {
  #source = null;
  #timer = null;
  #lastId = null;
  #failures = 0;
  #path;
  #query;
  #heard;
  #noted;
  #asleep = false;

  constructor(path, heard, { query = {}, noted = () => {} } = {}) {
    [this.#path, this.#heard, this.#query, this.#noted] = [path, heard, query, noted];
    document.addEventListener("visibilitychange", this.#seen);
    this.#open();
  }

  close() {
    document.removeEventListener("visibilitychange", this.#seen);
    clearTimeout(this.#timer);
    this.#source.close();
  }

  // A browser allows six connections to a host: a page that nobody sees gives its own back for a while.
  #seen = () => {
    if (document.hidden) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        this.#asleep = true;
        this.#source.close();
      }, HIDDEN_FOR_MS);
    } else if (this.#asleep) {
      this.#asleep = false;
      this.#open();
    } else if (this.#source.readyState !== EventSource.CLOSED) {
      clearTimeout(this.#timer);
    }
  };

  #open() {
    this.#source = new EventSource(withToken(this.#path, { ...this.#query, lastEventId: this.#lastId }));
    for (const kind of KINDS) this.#source.addEventListener(kind, (event) => this.#event(kind, event));
    this.#source.addEventListener("signout", () => this.#signedOut());
    this.#source.addEventListener("error", () => this.#failed());
  }

  #event(kind, event) {
    if (event.lastEventId) this.#lastId = event.lastEventId;
    if (kind === "hello") {
      this.#failures = 0;
      this.#noted("live");
    }
    this.#heard(kind, JSON.parse(event.data));
  }

  // EventSource comes back by itself after a broken line, but gives up at an error status.
  #failed() {
    this.#noted("lost");
    if (this.#source.readyState !== EventSource.CLOSED) return;
    const wait = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)];
    this.#failures += 1;
    this.#again(wait);
  }

  #again(wait) {
    this.#source.close();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#reopen(), wait);
  }

  async #reopen() {
    try {
      await get("/session"); // a token that has expired meanwhile leads to the sign-in
      this.#open();
    } catch (problem) {
      if (problem.status !== 401 && problem.status !== 403) this.#failed();
    }
  }

  async #signedOut() {
    this.#source.close();
    try {
      if (session.peek()?.renewable) await renew();
      else expire();
    } catch {
      expire();
    }
    if (signedIn.peek()) this.#open();
  }
}

function tell(kind, data) {
  for (const listener of listeners.get(kind)) listener(data);
}

effect(() => {
  if (!signedIn.value) return undefined;
  connection.value = "connecting";
  const stream = new Stream("/jobs/events", tell, { noted: (state) => (connection.value = state) });
  return () => stream.close();
});
