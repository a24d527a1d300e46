import { CapstanError } from "../core/error.ts";
import type { JsonObject } from "../core/json.ts";
import { isJsonObject, parseJson } from "../core/json.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Session } from "./command.ts";
import { readArgument } from "./read-argument.ts";

/** More than any model takes as a schema. */
const maxBytes = 1024 * 1024;

/**
 * The schema that `--schema` names: JSON, or a file of it. The operator names any file; the holder of a token one that it may read. Throws
 * `usage.bad_option`, `permission.*`.
 */
export async function readSchema(session: Session, grant: Grant, option: string): Promise<JsonObject> {
  const isText = option.trimStart().startsWith("{");
  const text = isText
    ? option
    : (await readArgument(session, grant, { option: "--schema", file: option, maxBytes })).toString();
  const schema = parseJson(text);
  if (isJsonObject(schema)) return schema;
  const what = isText ? "the text" : option;
  throw new CapstanError(
    "usage.bad_option",
    `--schema takes a JSON Schema, as a file or as text, and ${what} is no JSON object. Name a file such as answer.schema.json.`,
  );
}
