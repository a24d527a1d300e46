import { createHmac } from "node:crypto";
import { canonicalJson, isJsonObject } from "../../../core/json.ts";
import type { Json } from "../../../core/json.ts";

/** How a launch is kept: as it is, but for the values of its environment, in whose place are salted hashes. */
export function toKeptLaunch(launch: Json, salt: string): Json {
  return withEnvironment(launch, (name, value) =>
    createHmac("sha256", salt)
      .update(canonicalJson([name, value]))
      .digest("base64url"),
  );
}

/** Whether two kept launches start or reach the same thing. */
export function isSameLaunch(a: Json, b: Json): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

/** Two kept launches, so that a person sees what differs and no value of the environment. */
export function toShownLaunches(before: Json, after: Json): { readonly before: Json; readonly after: Json } {
  const old = environmentOf(before);
  return {
    before: withEnvironment(before, () => "(not shown)"),
    after: withEnvironment(after, (name, value) => {
      const isChanged = Object.hasOwn(old, name) && old[name] !== value;
      return isChanged ? "(changed)" : "(not shown)";
    }),
  };
}

function withEnvironment(launch: Json, change: (name: string, value: Json) => Json): Json {
  if (!isJsonObject(launch) || !isJsonObject(launch["env"])) return launch;
  const env = Object.entries(launch["env"]).map(([name, value]) => [name, change(name, value)] as const);
  return { ...launch, env: Object.fromEntries(env) };
}

function environmentOf(launch: Json): { readonly [name: string]: Json } {
  return isJsonObject(launch) && isJsonObject(launch["env"]) ? launch["env"] : {};
}
