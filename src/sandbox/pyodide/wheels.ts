import { createHash } from "node:crypto";
import { constants, readdirSync, statSync } from "node:fs";
import { mkdir, open, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import type { ExecLimits, ExecRequest, ExecResult, SandboxFile } from "../engine.ts";
import { makeWhole } from "../make-whole.ts";
import type { PythonFiles } from "./prepare.ts";
import { wheelsProgram } from "./wheels-guest.ts";

const mebibyte = 1024 * 1024;
const maxWheels = 200;
/** Of the wheels that are refused, so many are told of. */
const maxTold = 20;
const archiveName = "packages.zip";
/** All wheels of the folder together, packed. */
const maxBytes = 64 * mebibyte;

/** Checking and compiling. Large packages have a thousand modules, each of some 10 ms. */
const limits: ExecLimits = {
  wallMs: 300_000,
  cpuMs: 300_000,
  memoryBytes: 1024 * mebibyte,
  outputBytes: 64 * 1024,
  resultBytes: 64 * 1024,
  artifactBytes: maxBytes,
  artifacts: 1,
  calls: 0,
};

/** The name of a wheel that runs on any Python 3 (PEP 427): name, version, perhaps a build, and its tags. */
const wheelName =
  /^([A-Za-z0-9][A-Za-z0-9._]*)-([A-Za-z0-9][A-Za-z0-9._!+]*)(?:-\d[A-Za-z0-9._]*)?-(?:py2\.)?py3-none-any\.whl$/;

const Pairs = z.array(z.tuple([z.string(), z.string()]));
const Answer = z.strictObject({ found: Pairs, refused: Pairs });

/** A folder with wheels, and the files in it that are such, in their order. Other files in it are let be. */
export interface Wheels {
  readonly folder: string;
  readonly files: readonly string[];
  /** `NAME VERSION` of each, as its name says. */
  readonly packages: readonly string[];
}

/**
 * Finds the wheels of a folder by their names, and reads none. Throws `config.bad_value` for a folder that is not there or that everybody may
 * write, for a wheel that is not for any Python 3 or whose package is there twice, and for too many.
 */
export function findWheels(folder: string): Wheels {
  const files = listFolder(folder)
    .filter((name) => name.endsWith(".whl"))
    .sort();
  if (files.length > maxWheels)
    throw badFolder(folder, `${files.length} wheels are too many; ${maxWheels} may be there`);
  const packages: string[] = [];
  const refused: (readonly [file: string, why: string])[] = [];
  const byName = new Map<string, string>();
  for (const file of files) {
    const [, name = "", version = ""] = wheelName.exec(file) ?? [];
    const key = name.toLowerCase().replaceAll(/[._]+/g, "_");
    const other = byName.get(key);
    if (name === "") refused.push([file, "its name does not say NAME-VERSION-py3-none-any.whl"]);
    else if (other !== undefined) refused.push([file, `it is the same package as ${other}, and one is enough`]);
    else byName.set(key, file);
    packages.push(`${name} ${version}`);
  }
  if (refused.length > 0) throw badWheels(folder, refused, "config.bad_value");
  return { folder, files, packages };
}

/**
 * The zip file that interpreters import wheels from, made where the cache has none of the same wheels: `run` runs a program in an interpreter
 * of its own. Each wheel is read once, whole, and checked by what was read. Throws `sandbox.unavailable`.
 */
export async function packWheels(
  { folder, files }: Wheels,
  { made }: PythonFiles,
  run: (request: ExecRequest) => Promise<ExecResult>,
): Promise<string> {
  const wheels = await readWheels(folder, files);
  const hash = createHash("sha256").update(made).update(wheelsProgram);
  for (const { path, bytes } of wheels) hash.update(`${path}\0${bytes.length}\0`).update(bytes);
  const packed = join(dirname(made), `wheels-${hash.digest("hex").slice(0, 32)}`);
  await makeWhole(packed, async (draft) => {
    const archive = await pack(wheels, folder, run);
    await mkdir(draft, { mode: 0o700 });
    await writeFile(join(draft, archiveName), archive);
  });
  return join(packed, archiveName);
}

async function pack(
  wheels: readonly SandboxFile[],
  folder: string,
  run: (request: ExecRequest) => Promise<ExecResult>,
): Promise<Uint8Array> {
  const result = await run({ language: "python", code: wheelsProgram, files: wheels, limits });
  const answer = result.status === "ok" ? Answer.safeParse(result.result).data : undefined;
  const [archive] = result.artifacts;
  if (answer === undefined || archive === undefined) {
    throw badFolder(folder, `its wheels could not be unpacked (${result.status})`, "sandbox.unavailable");
  }
  if (answer.refused.length > 0) throw badWheels(folder, answer.refused, "sandbox.unavailable");
  return archive.bytes;
}

async function readWheels(folder: string, files: readonly string[]): Promise<readonly SandboxFile[]> {
  const read: SandboxFile[] = [];
  let left = maxBytes;
  for (const file of files) {
    // No link is followed, and no pipe waited at.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    await using handle = await open(join(folder, file), flags).catch(() => undefined);
    const stat = await handle?.stat();
    if (handle === undefined || stat?.isFile() !== true) {
      throw badWheels(folder, [[file, "it is no file that can be read"]], "sandbox.unavailable");
    }
    left -= stat.size;
    if (left < 0) throw badFolder(folder, `its wheels have more than ${maxBytes} bytes`, "sandbox.unavailable");
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(stat.size));
    read.push({ path: file, bytes: buffer.subarray(0, bytesRead) });
  }
  return read;
}

function listFolder(folder: string): string[] {
  try {
    const isOpen = process.platform !== "win32" && (statSync(folder).mode & 0o002) !== 0;
    if (!isOpen) return readdirSync(folder);
  } catch (cause) {
    throw badFolder(folder, "it can't be listed", "config.bad_value", { cause });
  }
  throw badFolder(folder, `everybody may write there. Run: chmod o-w ${folder}`);
}

type Code = "config.bad_value" | "sandbox.unavailable";

function badWheels(
  folder: string,
  wheels: readonly (readonly [file: string, why: string])[],
  code: Code,
): CapstanError {
  const told = wheels.slice(0, maxTold).map(([file, why]) => `${file}: ${why}`);
  const more = wheels.length > maxTold ? `; and ${wheels.length - maxTold} more` : "";
  return new CapstanError(
    code,
    `Wheels in sandbox.wheels (${folder}) can't be used: ${told.join("; ")}${more}. Remove them; only pure Python runs in this engine.`,
    { details: { wheels: wheels.map(([file]) => file) } },
  );
}

function badFolder(
  folder: string,
  why: string,
  code: Code = "config.bad_value",
  options: ErrorOptions = {},
): CapstanError {
  return new CapstanError(code, `sandbox.wheels is ${folder}, and ${why}.`, {
    ...options,
    details: { wheels: folder },
  });
}
