import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { expect, test } from "vitest";
import { z } from "zod";
import { bin, capstan, environment } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const Shown = z.object({ status: z.string(), task: z.string(), answer: z.string() });

/** `capstan serve` in a home, with an official client at its pipes. */
async function openClient(home: string, ...options: readonly string[]) {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode: "auto" } });
  const args = [bin, "--home", home, ...options, "serve"];
  await client.connect(
    new StdioClientTransport({ command: process.execPath, args, env: environment, stderr: "ignore" }),
  );
  return {
    client,
    runs: async () => {
      const { resources } = await client.listResources();
      return resources.map(({ uri }) => uri).filter((uri) => uri.startsWith("capstan://runs/"));
    },
    read: async (uri: string) => {
      const { contents } = await client.readResource({ uri });
      const [part] = contents;
      return Shown.parse(part !== undefined && "text" in part ? JSON.parse(part.text) : undefined);
    },
    [Symbol.asyncDispose]: () => client.close(),
  };
}

test("runs are read by the operator's own client, and by a token's those that were started under it", async () => {
  await using home = await tempFolder();
  expect((await capstan(home.path, ["run", "6*7"])).code).toBe(0);
  await using operator = await openClient(home.path);
  const [own = "", ...more] = await operator.runs();
  expect(more).toEqual([]);
  expect(await operator.read(own)).toEqual({ status: "done", task: "6*7", answer: "6*7 = 42" });

  const allow = ["--allow", "run_agent", "--allow", "calculator"];
  const made = await capstan(home.path, ["grant", "create", ...allow, "--resource", "capstan://runs/"]);
  await using holder = await openClient(home.path, "--grant", made.stdout.trim());
  await expect(holder.read(own)).rejects.toThrow("resource.unknown");
  expect(await holder.runs()).toEqual([]);
  await holder.client.callTool({ name: "run_agent", arguments: { task: "2+3" } });
  const [started = ""] = await holder.runs();
  expect(await holder.read(started)).toMatchObject({ status: "done", answer: "2+3 = 5" });
  expect(await operator.read(started)).toMatchObject({ status: "done", task: "2+3" });
});

test("a token that names no runs may start them, and read none", async () => {
  await using home = await tempFolder();
  const may = async (...options: readonly string[]) => {
    const made = await capstan(home.path, ["grant", "create", "--allow", "run_agent", ...options]);
    const shown = await capstan(home.path, ["grant", "show", made.stdout.trim()]);
    return /May, of runs, (.*)\./.exec(shown.stdout)?.[1];
  };
  expect(await may("--resource", "capstan://artifacts/")).toBe("create");
  expect(await may("--resource", "*")).toBe("create, read");
  expect(await may("--resource", "capstan://runs/run_1")).toBe("create, read");
});
