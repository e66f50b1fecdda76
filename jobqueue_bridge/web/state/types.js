// The job types and their JSON Schemas, fetched once.

import { get } from "../api.js";
import { effect, signal } from "../vendor/signals.js";
import { signedIn } from "./session.js";

export const types = signal([]);

effect(() => {
  if (signedIn.value && !types.peek().length) get("/jobs/types").then((found) => (types.value = found), () => {});
});
