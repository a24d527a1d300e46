import { spawn } from "node:child_process";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { openKeys } from "../../src/permissions/keys.ts";
import { openSealed, sealState } from "../../src/permissions/seal.ts";
import { tempFolder } from "../support/temp.ts";
import { codeOf, codeOfAsync } from "./grants.ts";

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

describe("openKeys()", () => {
  test("makes a home that is its owner's alone, and the same keys ever after", async () => {
    await using folder = await tempFolder();
    const home = join(folder.path, "a", "home");
    const first = await openKeys(home);
    expect(await modeOf(home)).toBe(0o700);
    expect(await modeOf(join(home, "key.json"))).toBe(0o600);
    expect(await readdir(home)).toEqual(["key.json"]);
    const again = await openKeys(home);
    expect(again.kid).toBe(first.kid);
    const data = Buffer.from("x");
    expect(again.verify(data, first.sign(data))).toBe(true);
    expect(again.isMac("use", "text", first.mac("use", "text"))).toBe(true);
    expect(again.isMac("other use", "text", first.mac("use", "text"))).toBe(false);
  });

  test("gives processes that begin at the same time the same keys", async () => {
    await using folder = await tempFolder();
    const home = join(folder.path, "home");
    const program = `
      import { openKeys } from ${JSON.stringify(join(import.meta.dirname, "../../src/permissions/keys.ts"))};
      console.log((await openKeys(process.argv[1])).kid);`;
    const kids = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const child = spawn(process.execPath, ["--input-type=module", "-e", program, home], { env: {} });
        const [kid, problem] = await Promise.all([text(child.stdout), text(child.stderr)]);
        expect(problem).toBe("");
        return kid;
      }),
    );
    expect(kids[0]).toMatch(/^[\w-]{43}\n$/);
    expect(new Set(kids).size).toBe(1);
    expect(await readdir(home)).toEqual(["key.json"]);
  });

  test("refuses a home that others can write, and a key that others can read", async () => {
    await using folder = await tempFolder();
    for (const mode of [0o770, 0o702, 0o777]) {
      const home = join(folder.path, String(mode));
      await mkdir(home);
      await chmod(home, mode);
      await expect(openKeys(home)).rejects.toMatchObject({ code: "config.unsafe_home" });
      expect(await readdir(home)).toEqual([]);
    }
    const home = join(folder.path, "home");
    await openKeys(home);
    for (const mode of [0o640, 0o604, 0o660]) {
      await chmod(join(home, "key.json"), mode);
      await expect(openKeys(home)).rejects.toMatchObject({ code: "config.unsafe_home" });
    }
    await chmod(join(home, "key.json"), 0o600);
    await chmod(home, 0o755);
    expect(await codeOfAsync(() => openKeys(home))).toBe("allow");
  });

  test("refuses a damaged key file, and shows none of it", async () => {
    await using folder = await tempFolder();
    await openKeys(folder.path);
    const path = join(folder.path, "key.json");
    const content = await readFile(path, "utf8");
    const damaged = [
      "",
      "{}",
      content.slice(0, -10),
      content.replace(/"secret":"./, '"secret":"*'),
      content.replace(/"signing":"..../, '"signing":"AAAA'),
    ];
    for (const other of damaged) {
      await writeFile(path, other);
      const refusal: unknown = await openKeys(folder.path).catch((thrown: unknown) => thrown);
      expect(refusal).toMatchObject({ code: "config.malformed" });
      expect(refusal).not.toHaveProperty("cause");
      expect(String(refusal)).not.toContain(content.slice(40, 60));
    }
  });

  test("says what to do where no home can be made", async () => {
    await using folder = await tempFolder();
    await writeFile(join(folder.path, "file"), "");
    await expect(openKeys(join(folder.path, "file", "home"))).rejects.toMatchObject({ code: "config.unsafe_home" });
  });
});

describe("sealState()", () => {
  test("opens for the same binding in the same home, and for nothing else", async () => {
    await using folder = await tempFolder();
    await using elsewhere = await tempFolder();
    const keys = await openKeys(folder.path);
    const state = { callId: "c1", list: [1, "two", null] };
    const sealed = sealState(keys, state, "grant 1");
    expect(openSealed(keys, sealed, "grant 1")).toEqual(state);
    expect(sealed).not.toContain(Buffer.from("callId").toString("base64url").slice(0, 6));
    expect(sealState(keys, state, "grant 1")).not.toBe(sealed);

    const bytes = Buffer.from(sealed, "base64url");
    const flipped = [...bytes.keys()].map((at) => {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      return changed.toString("base64url");
    });
    for (const other of [...flipped, "", "x", sealed.slice(0, -4), `${sealed}AAAA`]) {
      expect(codeOf(() => openSealed(keys, other, "grant 1"))).toBe("token.bad_signature");
    }
    expect(codeOf(() => openSealed(keys, sealed, "grant 2"))).toBe("token.bad_signature");
    const others = await openKeys(elsewhere.path);
    expect(codeOf(() => openSealed(others, sealed, "grant 1"))).toBe("token.bad_signature");
  });
});
