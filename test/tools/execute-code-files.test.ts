import { appendFile, mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { makePipe } from "../files/tree.ts";
import { sameAs, testTool } from "../support/door.ts";
import { tempFolder } from "../support/temp.ts";
import { openCodeDoor } from "./code-door.ts";

const engine = openQuickjsEngine();
afterAll(() => engine[Symbol.asyncDispose]());

const mebibyte = 1024 * 1024;
const readAll = "files.list().map((path) => [path, files.read(path)])";

/** A door, a folder that its grant may read with files to take, and a folder beside that it may not. */
async function openFolders({ can, ...options }: Parameters<typeof openCodeDoor>[1] & { can?: object } = {}) {
  await using opened = new AsyncDisposableStack();
  const { path } = opened.use(await tempFolder());
  const [granted, beside, home] = [join(path, "granted"), join(path, "beside"), join(path, "granted/home")];
  for (const folder of [granted, beside, home]) await mkdir(folder);
  await writeFile(join(granted, "table.csv"), "a,b\n1,2\n");
  await writeFile(join(beside, "secret.txt"), "secret");
  await writeFile(join(home, "key"), "secret");
  const capstan = opened.use(
    await openCodeDoor([{ ...engine, can: { ...engine.can, ...can } }], { hidden: home, ...options }),
  );
  const grant: Grant = {
    ...capstan.grant,
    rights: {
      ...capstan.grant.rights,
      read: [granted],
      resources: [{ type: "uri", under: "capstan://artifacts/" }],
    },
  };
  const owned = opened.move();
  return {
    ...capstan,
    granted,
    beside,
    home,
    grant,
    /** The end of a run with these files; a refusal at the door is its code. */
    take: async (files: readonly object[], code = readAll, by: object = { grant }) => {
      try {
        const { outcome, taint } = await capstan.run(code, { files }, { by });
        return { ...outcome, taint, text: JSON.stringify(outcome) };
      } catch (thrown) {
        return {
          code: thrown instanceof Error && "code" in thrown ? thrown.code : String(thrown),
          text: String(thrown),
        };
      }
    },
    keep: (text: string, over: object = {}) =>
      capstan.artifacts.save({
        scope: localScope,
        principal: localPrincipal,
        grant,
        name: "kept",
        mimeType: "text/plain",
        bytes: Buffer.from(text),
        taint: [],
        callId: "call_before",
        ...over,
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

describe("input files of this machine", () => {
  test("are read where the grant allows, by their absolute or relative path, and count as untrusted", async () => {
    await using capstan = await openFolders();
    const files = [
      { path: "a.csv", from: join(capstan.granted, "table.csv") },
      { path: "b/b.csv", from: "table.csv" },
      { path: "c.txt", text: "c" },
    ];
    const taken = await capstan.take(files);
    expect(taken).toMatchObject({ value: { status: "ok" }, taint: ["files"] });
    expect(taken).toHaveProperty("value.result", [
      ["a.csv", "a,b\n1,2\n"],
      ["b/b.csv", "a,b\n1,2\n"],
      ["c.txt", "c"],
    ]);
    expect(await capstan.take([{ path: "c.txt", text: "c" }])).toHaveProperty("taint", []);
    const beside = ["a", "ab/c", "ab.c"].map((path) => ({ path, text: path }));
    expect(await capstan.take(beside, "files.list()")).toHaveProperty("value.result", ["a", "ab.c", "ab/c"]);
  });

  test("are refused beyond the grant, through links, and where they are no files; nothing of them comes back", async () => {
    await using capstan = await openFolders();
    const { granted, beside, home } = capstan;
    await symlink(join(beside, "secret.txt"), join(granted, "link"));
    await symlink(beside, join(granted, "folder-link"));
    await symlink(join(granted, "table.csv"), join(granted, "inner-link"));
    makePipe(join(granted, "pipe"));
    const cases: readonly (readonly [from: string, code: string])[] = [
      [join(beside, "secret.txt"), "permission.argument_refused"],
      [join(beside, "absent.txt"), "permission.argument_refused"],
      [`${granted}/../beside/secret.txt`, "files.bad_path"],
      ["../beside/secret.txt", "files.bad_path"],
      [join(granted, "link"), "files.symlink"],
      [join(granted, "folder-link/secret.txt"), "files.symlink"],
      [join(granted, "inner-link"), "files.symlink"],
      [join(home, "key"), "files.outside_root"],
      [join(granted, "pipe"), "files.special_file"],
      [granted, "files.bad_path"],
      [join(granted, "absent"), "files.not_found"],
      ["/dev/zero", "permission.argument_refused"],
      ["/proc/self/environ", "permission.argument_refused"],
    ];
    for (const [from, code] of cases) {
      const { text, ...taken } = await capstan.take([{ path: "x", from }]);
      expect([from, taken.code]).toEqual([from, code]);
      expect(text).not.toContain('"secret"');
    }
    const everything = { ...capstan.grant, rights: { ...capstan.grant.rights, read: ["/"] } };
    for (const from of ["/dev/zero", "/proc/self/environ", "/sys/kernel/notes"]) {
      const by = { grant: everything };
      expect(await capstan.take([{ path: "x", from }], "1", by)).toHaveProperty("code", "files.special_file");
    }
    const nothing = { ...capstan.grant, rights: { ...capstan.grant.rights, read: [] } };
    const table = [{ path: "x", from: join(granted, "table.csv") }];
    expect(await capstan.take(table, "1", { grant: nothing })).toHaveProperty("code", "permission.argument_refused");
    expect(await capstan.take(table)).toHaveProperty("value.result", [["x", "a,b\n1,2\n"]]);
  });

  test("fit together into what a run takes, sparse ones too, and go in whole", async () => {
    await using capstan = await openFolders({ inputBytes: 3 * mebibyte });
    const { granted } = capstan;
    for (const name of ["huge", "two", "one"]) await writeFile(join(granted, name), "");
    await truncate(join(granted, "huge"), 2 ** 40);
    await truncate(join(granted, "two"), 2 * mebibyte);
    await truncate(join(granted, "one"), mebibyte);
    const sizes = "files.list().map((path) => files.readBytes(path).length)";
    const [huge, two, one] = [
      { path: "1", from: "huge" },
      { path: "2", from: "two" },
      { path: "3", from: "one" },
    ];
    expect(await capstan.take([huge], sizes)).toMatchObject({ code: "files.too_large", taint: ["files"] });
    expect(await capstan.take([two, one], sizes)).toHaveProperty("value.result", [2 * mebibyte, mebibyte]);
    await appendFile(join(granted, "one"), "x");
    expect(await capstan.take([two, one], sizes)).toHaveProperty("code", "files.too_large");
    const text = "x".repeat(mebibyte + 1);
    expect(await capstan.take([two, { path: "4", text }], sizes)).toHaveProperty("code", "files.too_large");
  });
});

describe("artifacts as input files", () => {
  test("come in with their labels, from an earlier run too, and no model saw them", async () => {
    await using capstan = await openFolders();
    const made = await capstan.take(
      [{ path: "in", from: "table.csv" }],
      'files.write("out.csv", files.read("in") + "3,4\\n")',
    );
    const uri = /capstan:\/\/artifacts\/artifact_\w+/.exec(made.text)?.[0];
    const taken = await capstan.take([{ path: "again.csv", artifact: uri }]);
    expect(taken).toMatchObject({ value: { result: [["again.csv", "a,b\n1,2\n3,4\n"]] }, taint: ["files"] });
    const { uri: other } = await capstan.keep("mail", { taint: ["mcp:mail"] });
    const both = await capstan.take(
      [
        { path: "a", artifact: uri },
        { path: "b", artifact: other },
      ],
      "1",
    );
    expect(both).toHaveProperty("taint", ["files", "mcp:mail"]);
  });

  test("are those that the grant reads: another principal's, a sibling's and one that is not there are the same nothing", async () => {
    await using capstan = await openFolders();
    const parent = derive(capstan.grant, sameAs(capstan.grant), { id: "parent", now: Date.now() });
    const [own, sibling] = ["own", "sibling"].map((id) => derive(parent, sameAs(parent), { id, now: Date.now() }));
    const mine = await capstan.keep("mine", { grant: own });
    const ids = [
      (await capstan.keep("theirs", { grant: sibling })).uri,
      (await capstan.keep("bob's", { principal: { org: "local", user: "bob" } })).uri,
      `capstan://artifacts/artifact_${"0".repeat(32)}`,
    ];
    const by = { grant: own };
    const answers = await Promise.all(ids.map((artifact) => capstan.take([{ path: "x", artifact }], readAll, by)));
    for (const [index, answer] of answers.entries()) {
      expect(answer).toHaveProperty("code", "resource.unknown");
      expect(answer.text.replace(String(ids[index]), "")).toBe(answers[0]?.text.replace(String(ids[0]), ""));
    }
    expect(await capstan.take([{ path: "x", artifact: mine.uri }], readAll, by)).toHaveProperty("value.result", [
      ["x", "mine"],
    ]);
    const rights = { ...capstan.grant.rights, resources: [] };
    const unread = await capstan.take([{ path: "x", artifact: mine.uri }], "1", {
      grant: { ...capstan.grant, rights },
    });
    expect(unread).toHaveProperty("code", "permission.no_right");
  });

  test("are named by their own addresses only", async () => {
    await using capstan = await openFolders();
    const { id, uri } = await capstan.keep("x");
    for (const artifact of [id, `${uri}/1`, `capstan://artifacts/../${id}`, "capstan://runs/1", "file:///etc/passwd"]) {
      expect(await capstan.take([{ path: "x", artifact }])).toHaveProperty("code", "tool.bad_arguments");
    }
    expect(await capstan.take([{ path: "x", artifact: uri, from: "table.csv" }])).toHaveProperty(
      "code",
      "tool.bad_arguments",
    );
    expect(await capstan.take([{ path: "x", artifact: uri }])).toHaveProperty("value.result", [["x", "x"]]);
  });
});

describe("code with untrusted files", () => {
  test("runs without asking, one run after the other, also where an engine could reach a network", async () => {
    await using capstan = await openFolders({ can: { network: true } });
    const by = { grant: capstan.grant, taint: ["files"] };
    expect(await capstan.take([{ path: "x", from: "table.csv" }], "files.list()", by)).toHaveProperty("value.result", [
      "x",
    ]);
  });

  test("calls a sink as whoever read them would: a person must approve", async () => {
    const sink = testTool("send", {
      hints: { readOnly: false, destructive: false, idempotent: false, openWorld: true },
    });
    await using capstan = await openFolders({ others: [sink] });
    const code = "let told = 'sent'; try { await tools.send({}) } catch (error) { told = error.code } told";
    expect(await capstan.take([{ path: "x", text: "x" }], code)).toHaveProperty("value.result", "sent");
    const read = await capstan.take([{ path: "x", from: "table.csv" }], code);
    expect(read).toHaveProperty("value.result", "permission.approval_needed");
    const { uri } = await capstan.keep("x", { taint: ["mcp:mail"] });
    const mail = await capstan.take([{ path: "x", artifact: uri }], code);
    expect(mail).toHaveProperty("value.result", "permission.approval_needed");
  });
});
