import type { Tool } from "../../../src/tools/tool.ts";
import type { Source, ToolboxChange } from "../../../src/tools/toolbox.ts";
import { testTool } from "../../support/door.ts";

/**
 * A source that changes when a test, or a client by the tools `more`, says so: a tool that comes and goes, and resources `live://NAME`, of which each user has its own.
 * `heard` counts the subscriptions that it has now.
 */
export function changingSource() {
  const listeners = new Set<(change: ToolboxChange) => void>();
  const subscribers = new Set<{ readonly uri: string; readonly user: string; readonly onUpdate: () => void }>();
  let tools: readonly Tool[] = [];
  const source: Source = {
    tools: () => tools,
    resources: [
      {
        name: "live",
        owns: (uri) => uri.startsWith("live://"),
        list: async () => [],
        templates: async () => [],
        read: async (uri, { principal }) => ({ type: "done", contents: [{ uri, text: principal.user }] }),
        async subscribe(uri, { principal }, onUpdate) {
          if (uri === "live://broken") throw new Error("a source that fails");
          const subscriber = { uri, user: principal.user, onUpdate };
          subscribers.add(subscriber);
          return { [Symbol.asyncDispose]: async () => void subscribers.delete(subscriber) };
        },
      },
    ],
    prompts: [],
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
  };
  const change = (kind: ToolboxChange): void => {
    for (const listener of listeners) listener(kind);
  };
  const changing = {
    source,
    more: [
      testTool("toggle", {
        async run() {
          changing.toggle();
          return { type: "done", value: {} };
        },
      }),
      testTool("touch", {
        async run({ text }) {
          changing.update(text);
          return { type: "done", value: {} };
        },
      }),
    ],
    heard: () => subscribers.size,
    change,
    /** Lets the tool `late` come, or go. */
    toggle() {
      tools = tools.length === 0 ? [testTool("late")] : [];
      change("tools");
    },
    /** Updates a resource of a user, else of the operator. */
    update(uri: string, user = "operator") {
      for (const one of subscribers) if (one.uri === uri && one.user === user) one.onUpdate();
    },
  };
  return changing;
}
