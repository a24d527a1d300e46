import { z } from "zod";
import type { JsonObject } from "../../core/json.ts";
import { isJsonObject, isTooDeep } from "../../core/json.ts";

/**
 * An object of an endpoint's JSON that is kept as it came. What is nested more than 200 levels deep is none: no log could keep it, and
 * to look into it level by level would overflow the stack.
 */
export const WireObject = z.custom<JsonObject>((value) => isJsonObject(value) && !isTooDeep(value), {
  error: "an object of JSON is expected that is nested at most 200 levels deep",
});
