// Every request to the bridge API. An answer that is not a success is thrown as a Problem.

const BASE = "/api/media";

/** RFC 9457: what the API says went wrong. `message` may be shown as it is. */
export class Problem extends Error {
  constructor(status, body = {}) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.status = status;
    this.body = body;
    this.errors = body.errors ?? [];
  }
}

/** The server could not be reached at all. */
class Unreachable extends Problem {
  constructor() {
    super(0, { detail: "The server does not answer. Is the platform running? `media-pipelines status` tells." });
  }
}

let authorisation = { token: () => null, refused: () => {} };

/** The session says which token goes with each request, and hears when one is refused. */
export function authoriseWith(session) {
  authorisation = session;
}

export async function request(method, path, { query, body, headers = {}, signal, as = "json" } = {}) {
  const token = authorisation.token();
  const answer = await send(BASE + path + queryText(query), {
    method,
    signal,
    headers: {
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "Content-Type": "application/json" }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.ok) return as === "text" ? answer.text() : answer.json();
  const problem = new Problem(answer.status, await answer.json().catch(() => ({})));
  if (answer.status === 401 && token) authorisation.refused(token);
  throw problem;
}

async function send(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Unreachable();
  }
}

export const get = (path, query, options) => request("GET", path, { query, ...options });
export const post = (path, body, options) => request("POST", path, { body, ...options });
export const patch = (path, body) => request("PATCH", path, { body });

/** Gives a request its Idempotency-Key: the same one as long as it is sent again as it was, so that it is carried out once. */
export function sameKey() {
  let last = null;
  return (request) => {
    const text = JSON.stringify(request);
    if (last?.text !== text) last = { text, key: [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
    return last.key;
  };
}

/** An address that a picture, a player or an event stream can load: these cannot send a header. */
export function withToken(path, query = {}) {
  return BASE + path + queryText({ ...query, token: authorisation.token() });
}

/** {status: ["a", "b"], page: 1, text: ""} → "?status=a,b&page=1" */
function queryText(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "" && !(Array.isArray(value) && !value.length));
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}
