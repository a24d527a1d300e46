import { describe, expect, test } from "vitest";
import { tempFolder } from "../../support/temp.ts";
import { openBridgedApp, textOf, withSdk } from "./bridged-app.ts";

describe("the bridge", () => {
  test.each(["modern", "legacy"])("calls a tool of a %s server through the door", async (era) => {
    await using folder = await tempFolder();
    await using opened = await openBridgedApp({ notes: withSdk(folder.path, {}, era) });
    await opened.ready();
    expect(opened.names()).toEqual(["notes__echo"]);
    const result = await opened.call("notes__echo", { text: "hello" });
    expect(result.isError).toBeUndefined();
    expect(JSON.parse(textOf(result))).toEqual({ name: "echo", args: { text: "hello" } });
    expect(opened.faults).toEqual([]);
  });
});
