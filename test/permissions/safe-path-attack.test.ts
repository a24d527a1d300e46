import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { basename, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { openInside, openRoot } from "../../src/permissions/safe-path.ts";
import { openContent } from "../../src/permissions/safe-path-read.ts";
import { makePipe, openTree } from "../files/tree.ts";
import { file, methods, notLinux, read, refusalOf } from "./safe-path-support.ts";

const inside = { want: "file", symlinks: "inside" } as const;
const script = join(import.meta.dirname, "open-special.ts");

/** What each of the names is opened as, or refused with, in a process that is killed when it hangs. */
async function openApart(method: string, folder: string, names: readonly string[]): Promise<readonly string[]> {
  const options = { timeout: 20_000, killSignal: "SIGKILL" } as const;
  const { stdout } = await promisify(execFile)(process.execPath, [script, method, folder, ...names], options);
  const results: unknown = JSON.parse(stdout);
  return Array.isArray(results) ? results.map(String) : [];
}

describe.each(methods)("a granted folder by $name", (method) => {
  test("B1: gives no file outside through a link, whichever part is the link", async () => {
    await using tree = await openTree({
      "src/a.ts": "lawful",
      "src/link": { link: "$OUT/secret.txt" },
      "src/folder": { link: "$OUT" },
      "src/up": { link: "../../outside/secret.txt" },
      "src/round": { link: "folder/secret.txt" },
      "src/passwd": { link: "/etc/passwd" },
    });
    using root = openRoot(tree.root, { method });
    for (const path of ["src/link", "src/folder/secret.txt", "src/up", "src/round", "src/passwd"]) {
      // The attack is real: the system itself would follow.
      expect([path, existsSync(tree.at(path))]).toEqual([path, true]);
      expect([path, await read(root, path)]).toEqual([path, "files.symlink"]);
      expect([path, await read(root, path, inside)]).toEqual([path, "files.outside_root"]);
    }
    expect(await read(root, "src/a.ts")).toBe("lawful");
  });

  test("B1: does not open a granted path of which a part became a link", async () => {
    await using tree = await openTree({ "in/f": "x", link: { link: "$OUT" }, same: { link: "in" } });
    expect(() => openRoot(join(tree.root, "link"), { method })).toThrow(/symbolic link/);
    expect(() => openRoot(join(tree.root, "link/secret.txt"), { method })).toThrow(/symbolic link/);
    expect(() => openRoot(join(tree.root, "same/f"), { method })).toThrow(/symbolic link/);
    using lawful = openRoot(join(tree.root, "in/f"), { method });
    expect(await read(lawful, ".")).toBe("x");
  });

  test("does not tell whether something outside exists", async () => {
    await using tree = await openTree({
      there: { link: "$OUT/secret.txt" },
      missing: { link: "$OUT/none.txt" },
      folder: { link: "$OUT" },
      "lawful.txt": "x",
    });
    using root = openRoot(tree.root, { method });
    expect(refusalOf(root, "there", inside)).toBe(refusalOf(root, "missing", inside));
    for (const options of [file, inside]) {
      expect(refusalOf(root, "folder/secret.txt", options)).toBe(
        refusalOf(root, "folder/none.txt", options).replace("none", "secret"),
      );
    }
    for (const path of ["../outside/secret.txt", "/etc/passwd"]) {
      const missing = path.replace("secret", "none").replace("passwd", "none");
      expect(refusalOf(root, path, inside)).toBe(refusalOf(root, missing, inside));
    }
    expect(refusalOf(root, "lawful.txt", inside)).toBe("opened");
  });

  test("a folder whose name begins like the granted one's is another folder (CVE-2025-53110)", async () => {
    await using tree = await openTree({
      "data/f": "granted",
      "data-evil/f": "not granted",
      "data/l": { link: "$IN/data-evil/f" },
    });
    using root = openRoot(tree.at("data"), { method });
    expect(await read(root, "l", inside)).toBe("files.outside_root");
    expect(await read(root, "../data-evil/f", inside)).toBe("files.bad_path");
    expect(await read(root, "f")).toBe("granted");
  });

  test("a dangling link is refused like any other, and nothing is made at its end (CVE-2025-53109)", async () => {
    await using tree = await openTree({ dangling: { link: "$OUT/new.txt" }, "here/dangling": { link: "none" } });
    using root = openRoot(tree.root, { method });
    expect(await read(root, "dangling", inside)).toBe("files.outside_root");
    expect(await read(root, "here/dangling", inside)).toBe("files.not_found");
    expect(existsSync(join(tree.outside, "new.txt"))).toBe(false);
  });

  test("B4: pipes and sockets are refused at once, and no writer is woken", async () => {
    await using tree = await openTree({ "lawful.txt": "x" });
    makePipe(tree.at("pipe"));
    // A writer waits at the pipe; whoever opens it to read lets it pass.
    const writer = spawn("sh", ["-c", 'exec 3>"$1"', "sh", tree.at("pipe")]);
    const server = createServer().listen(tree.at("socket"));
    await once(server, "listening");
    try {
      const names = ["pipe", "pipe/x", "socket", "lawful.txt"];
      const special = "files.special_file";
      expect(await openApart(method.name, tree.root, names)).toEqual([special, special, special, "file"]);
      await expect(openApart(method.name, tree.at("pipe"), ["."])).rejects.toThrow(/only files and folders/);
      await setTimeout(100);
      expect(writer.exitCode).toBeNull();
    } finally {
      writer.kill();
      server.close();
    }
  });

  test("B4: a file that becomes a pipe before it is read is the file still, or refused", async () => {
    await using tree = await openTree({ f: "x" });
    using root = openRoot(tree.root, { method });
    using opened = openInside(root, "f", file);
    execFileSync("sh", ["-c", `rm "$1" && mkfifo "$1"`, "sh", tree.at("f")]);
    const content = openContent(opened).then(
      async (handle) => {
        await using closing = handle;
        return await closing.readFile("utf8");
      },
      (refusal: unknown) => (refusal instanceof Error && "code" in refusal ? refusal.code : refusal),
    );
    expect(await content).toBe(method.name === "descriptors" ? "x" : "files.changed");
  });

  test("B5: opens the exact bytes that were asked for, or nothing", async () => {
    const nfc = "caf\u00e9.txt";
    await using tree = await openTree({ "a.txt": "a", [nfc]: "composed", Case: "case" });
    using root = openRoot(tree.root, { method });
    for (const twin of ["a.txt ", " a.txt", 'a.txt"', "a.txt'", "a.txt.", "A.TXT", nfc.normalize("NFD"), "case"]) {
      // A volume that takes both spellings refuses the one that the disk does not hold.
      expect([twin, await read(root, twin)]).toEqual([twin, expect.stringMatching(/^files\.(not_found|changed)$/)]);
    }
    expect(await read(root, "a.txt")).toBe("a");
    expect(await read(root, nfc)).toBe("composed");
    expect(await read(root, "Case")).toBe("case");
    expect(() => openRoot(tree.root.toUpperCase(), { method })).toThrow(/There is no|changed/);
  });

  test("B5: a percent-encoded name is a name, unless decoding it would lead elsewhere", async () => {
    await using tree = await openTree({ "a%20b": "literal", "sub/f": "x" });
    using root = openRoot(tree.at("sub"), { method });
    for (const path of ["%2e%2e/a%20b", "..%2fa%20b", "%252e%252e/a", "f%00", "..%5ca", "\ud800"]) {
      expect([path, await read(root, path)]).toEqual([path, "files.bad_path"]);
    }
    using above = openRoot(tree.root, { method });
    expect(await read(above, "a%20b")).toBe("literal");
  });

  test("never shows how it opened what it opened", async () => {
    await using tree = await openTree({ "a/f": "x", "a/l": { link: "f" } });
    using root = openRoot(tree.root, { method });
    using opened = openInside(root, "a/f", file);
    const shown = [opened.path, ...["a/l", "a/none", "a", "a/f/g"].map((path) => refusalOf(root, path))].join("\n");
    expect(shown).not.toMatch(/proc|fd|\/\//);
    expect(shown).toContain(basename(tree.root));
  });
});

describe.skipIf(notLinux)("what the kernel keeps in the shape of files", () => {
  test("B4: is refused, though /proc/self/environ calls itself a regular file", async () => {
    expect(readFileSync("/proc/self/environ").length).toBeGreaterThan(0);
    await using tree = await openTree({ environ: { link: "/proc/self/environ" }, self: { link: "/proc/self" } });
    using top = openRoot("/");
    for (const path of ["proc/self/environ", `proc/${process.pid}/environ`, "proc", "sys/kernel", "dev/null"]) {
      expect([path, await read(top, path, inside)]).toEqual([path, "files.special_file"]);
    }
    const below = tree.root.slice(1);
    expect(await read(top, `${below}/environ`, inside)).toBe("files.special_file");
    expect(await read(top, `${below}/self/root/etc/passwd`, inside)).toBe("files.special_file");
    expect(() => openRoot("/proc/self/environ")).toThrow(/only files and folders/);
    expect(await read(top, "etc/passwd", inside)).toContain("root:");
  });

  test("a name that is not UTF-8 is reached by its bytes and shown escaped", async () => {
    await using tree = await openTree({});
    execFileSync("sh", ["-c", 'cd "$1" && printf x > "$(printf "caf\\351")"', "sh", tree.root]);
    using root = openRoot(tree.root);
    using opened = openInside(root, [Buffer.from("caf\xe9", "latin1")], file);
    expect(opened.path).toBe(`${tree.root}/caf\\xe9`);
    expect(await read(root, "caf\u00e9")).toBe("files.not_found");
    expect(await read(root, "caf\ufffd")).toBe("files.not_found");
  });
});
