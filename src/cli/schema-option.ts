import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { CapstanError } from "../core/error.ts";
import type { JsonObject } from "../core/json.ts";
import { isJsonObject, parseJson } from "../core/json.ts";
import { demand } from "../permissions/demand.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Session } from "./command.ts";

/**
 * The schema that `--schema` names: JSON, or a file of it. The operator names any file; the holder of a token one that it may read. Throws
 * `usage.bad_option`, `permission.*`.
 */
export async function readSchema({ app, confined }: Session, grant: Grant, option: string): Promise<JsonObject> {
  const isText = option.trimStart().startsWith("{");
  const path = resolve(option);
  if (confined && !isText) demand(grant, [{ type: "read", path }], app.permissions.now());
  const text = isText
    ? option
    : await readFile(path, "utf8").catch((cause: unknown) => refuse(`${option} can't be read`, cause));
  const schema = parseJson(text);
  return isJsonObject(schema) ? schema : refuse(`${isText ? "the text" : option} is no JSON object`);
}

function refuse(why: string, cause?: unknown): never {
  const text = `--schema takes a JSON Schema, as a file or as text, and ${why}. Name a file such as answer.schema.json.`;
  throw new CapstanError("usage.bad_option", text, { cause });
}
