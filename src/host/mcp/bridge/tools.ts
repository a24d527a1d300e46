import type { Tool } from "../../../tools/tool.ts";
import type { BridgedNames } from "./names.ts";
import type { BridgedServer } from "./server.ts";
import { toBridgedTool } from "./tool.ts";
import type { BridgedUris } from "./uris.ts";
import { showText } from "../connection/text.ts";

interface Bridged {
  readonly server: BridgedServer;
  readonly uris: BridgedUris;
}

interface Parts {
  readonly names: BridgedNames;
  /** The tools that are there already, by name. */
  readonly taken: ReadonlySet<string>;
}

/**
 * Answers the tools of all servers, in their order, each time it is called; one that is as it was stays the same. Whoever comes first
 * has a name, and Capstan before all: the other is left out, which is told when it comes to that.
 */
export function openTools(bridged: readonly Bridged[], { names, taken }: Parts): () => readonly Tool[] {
  /** By server, published name and pin. Undefined: its definition can't be used. */
  let made: ReadonlyMap<string, Tool | undefined> = new Map();
  /** What was left out the last time, which was told then. */
  let told: ReadonlySet<string> = new Set();

  return () => {
    const found = new Map<string, Tool>();
    const kept = new Map<string, Tool | undefined>();
    const left = new Set<string>();
    const leaveOut = ({ name, log }: BridgedServer, own: string, why: string): void => {
      const line = `the tool ${showText(own, 64)} is left out: ${why}`;
      left.add(`${name} ${line}`);
      if (!told.has(`${name} ${line}`)) log(line);
    };
    for (const { server, uris } of bridged) {
      for (const pinned of server.tools()) {
        const own = pinned.definition.name;
        const name = names.toTool(server, own);
        const holder = taken.has(name) ? "Capstan" : (names.holderOf(server, name) ?? found.get(name)?.source);
        if (holder !== undefined) {
          leaveOut(server, own, `its name ${name} is one of ${holder}`);
          continue;
        }
        const key = `${server.name} ${name} ${pinned.pin}`;
        const tool = made.has(key) ? made.get(key) : toBridgedTool(server, name, pinned, uris);
        kept.set(key, tool);
        if (tool === undefined) leaveOut(server, own, "a schema of it is no JSON Schema that is known here");
        else found.set(name, tool);
      }
    }
    made = kept;
    told = left;
    return [...found.values()];
  };
}
