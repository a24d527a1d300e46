import { CapstanError, errorCodes } from "../../core/error.ts";
import type { ErrorCode } from "../../core/error.ts";
import type { Json } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import { questionsInWords } from "../result.ts";
import type { CallContext, Outcome } from "../tool.ts";

/** A call from the code, through the door. */
export async function callTool({ call }: CallContext, name: string, args: Json): Promise<Done> {
  if (!isJsonObject(args)) {
    throw new CapstanError(
      "tool.bad_arguments",
      `${name} takes its arguments by name: tools.${name}({argument: value}).`,
    );
  }
  const outcome = await call(name, args);
  if (outcome.type === "done") return outcome;
  const questions = questionsInWords(outcome.requests);
  throw new CapstanError("tool.input_needed", `${name} waits for an answer, which code can't: ${questions}`);
}

type Done = Extract<Outcome, { type: "done" }>;

/** What the code gets is the tool's value; a failure is thrown, with its code. */
export function toNestedValue({ value, content = [], isError, code = "tool.failed" }: Done): Json {
  const text = content.map((block) => (block.type === "text" ? block.text : `[${block.type}]`)).join("\n");
  if (isError !== true) return value ?? text;
  const said = text === "" ? JSON.stringify(value ?? null) : text;
  const known = isErrorCode(code) ? code : "tool.failed";
  throw new CapstanError(known, said.startsWith(`${known}: `) ? said.slice(known.length + 2) : said);
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorCodes, code);
