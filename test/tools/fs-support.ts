import { stat } from "node:fs/promises";
import type { Grant } from "../../src/permissions/grant.ts";
import { fsListTool } from "../../src/tools/fs-list.ts";
import { fsStatTool } from "../../src/tools/fs-stat.ts";
import type { Outcome } from "../../src/tools/tool.ts";
import { toCapstanError } from "../../src/core/error.ts";
import { openTestDoor } from "../support/door.ts";

/** A real door with the two file tools, under a grant that may read the given folders; `hidden` is the folder that nobody may see. */
export async function openFiles(read: readonly string[], hidden?: string) {
  const id = hidden === undefined ? undefined : await stat(hidden, { bigint: true });
  const door = await openTestDoor([fsListTool(id), fsStatTool(id)]);
  const grant: Grant = { ...door.grant, rights: { ...door.grant.rights, read: [...read] } };
  return {
    ...door,
    grant,
    /** The end of a call; a refusal at the door is its code. */
    ask: async (name: "fs_list" | "fs_stat", args: object = {}, under: Grant = grant) => {
      try {
        const { outcome, taint } = await door.call(name, args, { by: { grant: under } });
        return { ...toDone(outcome), taint };
      } catch (thrown) {
        const { code, message } = toCapstanError(thrown);
        return { code, isError: true, value: undefined, text: message, taint: [] };
      }
    },
  };
}

function toDone(outcome: Outcome) {
  if (outcome.type === "waiting") throw new Error("The tool asks instead of answering.");
  const { value, code, isError = false, content = [] } = outcome;
  const text = content.map((block) => (block.type === "text" ? block.text : block.type)).join("\n");
  return { value, code, isError, text };
}
