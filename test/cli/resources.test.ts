import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { describe, expect, test } from "vitest";
import { bin, capstan, environment } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

/** `capstan serve` in a home, with an official client at its pipes. */
async function openClient(home: string, args: readonly string[] = []) {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode: "auto" } });
  const command = {
    command: process.execPath,
    env: environment,
    args: [bin, "--home", home, ...args, "serve"],
    stderr: "ignore" as const,
  };
  await client.connect(new StdioClientTransport(command));
  const call = (name: string, given: Record<string, unknown>) => client.callTool({ name, arguments: given });
  return {
    client,
    /** Leaves an artifact. */
    write: (name: string) =>
      call("execute_code", { language: "javascript", code: `files.write("${name}", "made by code"); 1` }),
    remember: (subject: string) => call("kg_add_facts", { facts: [{ subject, relation: "likes", value: "horses" }] }),
    resources: async () => (await client.listResources()).resources,
    templates: async () =>
      (await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate),
    prompts: async () => (await client.listPrompts()).prompts.map(({ name }) => name),
    text: async (uri: string) => JSON.stringify((await client.readResource({ uri })).contents),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

async function create(home: string, ...options: readonly string[]): Promise<string> {
  const ended = await capstan(home, ["grant", "create", ...options]);
  expect(ended.code, ended.stderr).toBe(0);
  return ended.stdout.trim();
}

const configure = async (home: string, config: object): Promise<void> => {
  await writeFile(join(home, "capstan.yaml"), JSON.stringify(config), { mode: 0o600 });
  await chmod(home, 0o700);
};
const prompt = { description: "", text: "Review {{ file }}.", arguments: { file: { required: true } } };
const entity = "capstan://graphs/default/entities/Ada%20Lovelace";

describe("what the operator's own client reads", () => {
  test("is what code made, and what is known in the default graph", async () => {
    await using home = await tempFolder();
    await using server = await openClient(home.path);
    const made = await server.write("report.txt");
    const [resource, ...more] = await server.resources();
    expect(more).toEqual([]);
    expect(resource).toMatchObject({ name: "report.txt", mimeType: "text/plain", size: 12 });
    expect(made.content).toContainEqual(expect.objectContaining({ type: "resource_link", uri: resource?.uri }));
    expect(await server.text(resource?.uri ?? "")).toContain("made by code");
    await server.remember("Ada Lovelace");
    expect(await server.text(entity)).toContain("horses");
    const templates = ["capstan://artifacts/{id}", "capstan://graphs/{graph}/entities/{name}"];
    expect(await server.templates()).toEqual(expect.arrayContaining(templates));
    await expect(server.text("capstan://graphs/other/entities/x")).rejects.toThrow("resource.unknown");
  });

  test("is there for the next process too", async () => {
    await using home = await tempFolder();
    await using first = await openClient(home.path);
    await first.write("report.txt");
    await using second = await openClient(home.path);
    const [resource] = await second.resources();
    expect(await second.text(resource?.uri ?? "")).toContain("made by code");
  });

  test("is also what permissions.resources and permissions.prompts name", async () => {
    await using home = await tempFolder();
    await configure(home.path, {
      permissions: { resources: ["capstan://graphs/", "github+"], prompts: ["github__*"] },
      server: { prompts: { review: prompt } },
    });
    await using server = await openClient(home.path);
    await expect(server.text("capstan://graphs/other/entities/x")).rejects.toThrow("resource.unknown");
    expect(await server.prompts()).toEqual(["review"]);
    const shown = (await capstan(home.path, ["grant", "show"])).stdout;
    expect(shown).toContain('the URI "capstan://graphs/" or one below it');
    expect(shown).toContain('the URI "github+" or one below it');
    expect(shown).toContain("May use the prompts review, github__* (all that begin so).");
  });

  test.each([
    [{ resources: ["artifacts"] }, "permissions.resources in the config"],
    [{ prompts: ["*x"] }, "permissions.prompts in the config"],
  ])("a config that says %j stops with exit code 3", async (permissions, problem) => {
    await using home = await tempFolder();
    await configure(home.path, { permissions });
    const ended = await capstan(home.path, ["grant", "show"]);
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toContain(problem);
  });
});

describe("capstan grant create --resource and --prompt", () => {
  test("make a token that reads those and no others", async () => {
    await using home = await tempFolder();
    await configure(home.path, { server: { prompts: { review: prompt, other: prompt } } });
    await using operator = await openClient(home.path);
    await operator.remember("Ada Lovelace");
    await operator.write("report.txt");
    const [made] = await operator.resources();
    const token = await create(home.path, "--resource", "capstan://graphs/default/", "--prompt", "review");
    await using holder = await openClient(home.path, ["--grant", token]);
    expect(await holder.text(entity)).toContain("horses");
    expect(await holder.resources()).toEqual([]);
    await expect(holder.text(made?.uri ?? "")).rejects.toThrow("resource.unknown");
    expect(await holder.prompts()).toEqual(["review"]);
    await expect(holder.client.getPrompt({ name: "other", arguments: { file: "a" } })).rejects.toThrow(
      "prompt.unknown",
    );
    expect(JSON.stringify(await holder.client.getPrompt({ name: "review", arguments: { file: "a" } }))).toContain(
      "Review a.",
    );
    expect((await holder.client.listTools()).tools).toEqual([]);
  });

  test("derive to less, and refuse more", async () => {
    await using home = await tempFolder();
    const token = await create(home.path, "--resource", "capstan://graphs/", "--prompt", "re*");
    const derive = (...options: string[]) => capstan(home.path, ["grant", "derive", token, ...options]);
    const less = await derive("--resource", "capstan://graphs/default/", "--prompt", "review");
    const shown = (await capstan(home.path, ["grant", "show", less.stdout.trim()])).stdout;
    expect(shown).toContain('May read resources: the URI "capstan://graphs/default/" or one below it.');
    expect(shown).toContain("May use the prompts review.");
    for (const more of [
      ["--resource", "capstan://artifacts/"],
      ["--resource", "*"],
      ["--prompt", "*"],
      ["--prompt", "r*"],
    ]) {
      const ended = await derive(...more);
      expect(ended, more.join(" ")).toMatchObject({ code: 6, stdout: "" });
      expect(ended.stderr).toContain("permission.widen");
    }
    const bad = await derive("--resource", "capstan://graphs/../artifacts/");
    expect(bad).toMatchObject({ code: 2, stdout: "" });
  });

  test("one of the three options must say what it is for", async () => {
    await using home = await tempFolder();
    const ended = await capstan(home.path, ["grant", "create"]);
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toContain("--allow TOOL");
  });
});
