import { createPrivateKey, createPublicKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { App } from "../src/app.ts";
import { demand, newId } from "../src/index.ts";
import type { Grant } from "../src/index.ts";
import { findRight } from "../src/permissions/demand.ts";
import { openBareLedger } from "./bare-ledger.ts";
import { callDoor, openBenchApp, tempFolder, toBenchGrant } from "./home.ts";
import type { Figure } from "./measure.ts";
import { cpuMicros, measure, wallMs } from "./measure.ts";
import { importJose } from "./peers.ts";

const decisions = 50_000;
const coldDecisions = 4_000;
const calls = 5_000;
const powerCalls = 300;
const inFlight = 64;
/** Twice what the permissions remember: each is forgotten again before its next turn. */
const manyTokens = 2_048;

/** What the door costs: deciding alone, and whole calls with ledger and audit on disk. */
export async function* benchDoor(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  await using app = await openBenchApp(folder.path);
  const grant = toBenchGrant(app, ["echo"]);
  yield* benchDecisions(app, grant, readPublicKey(folder.path));

  const args = { text: "hello" };
  using bare = openBareLedger(join(folder.path, "bare.db"));
  const about = { bench: "door", unit: "µs CPU per call" };
  yield await measure({
    ...about,
    figure: "call, one at a time (parse, decide, charge, audit, echo, check)",
    peerName: "bare node:sqlite transaction: an account updated, an audit row inserted",
    goal: { of: "ours", atMost: 25 },
    ours: () => cpuMicros(calls, () => callInTurn(app, grant, "echo", args)),
    peer: () => cpuMicros(calls, async () => bare.write(calls, 1)),
  });
  yield await measure({
    ...about,
    figure: `call, ${inFlight} in flight`,
    peerName: `the same, ${inFlight} a transaction`,
    goal: { of: "ours", atMost: 8 },
    ours: () => cpuMicros(calls, () => callTogether(app, grant, args)),
    peer: () => cpuMicros(calls, async () => bare.write(calls, inFlight)),
  });

  bare.syncEachCommit();
  const once = toBenchGrant(app, ["echo_once"]);
  yield await measure({
    bench: "door",
    unit: "ms",
    figure: "call that must survive a power cut (effect once), one at a time, on the clock",
    peerName: "bare transaction with synchronous = FULL",
    ours: async () => (await wallMs(() => callInTurn(app, once, "echo_once", args, powerCalls))) / powerCalls,
    peer: async () => (await wallMs(async () => bare.write(powerCalls, 1))) / powerCalls,
  });
}

/** From the text of a token to "this call may happen", without charge and audit. */
async function* benchDecisions(app: App, grant: Grant, publicKey: KeyObject): AsyncGenerator<Figure> {
  const { permissions, toolbox } = app;
  const tool = toolbox.find("echo");
  if (tool === undefined) throw new Error("The toolbox of the bench holds no echo.");
  const { args } = tool.bind({ text: "hello" });
  const { name, pin } = tool;
  const decide = async (token: string): Promise<void> => {
    const granted = await permissions.verify(token);
    if (findRight(granted, name, pin) === null) throw new Error("The grant of the bench shows no echo.");
    demand(granted, [{ type: "tool", name, pin, args }], permissions.now());
  };
  const decideAll = async (tokens: readonly string[], count: number): Promise<void> => {
    for (let index = 0; index < count; index += 1) await decide(tokens[index % tokens.length] ?? "");
  };

  const token = permissions.mint(grant);
  const tokens = Array.from({ length: manyTokens }, () => permissions.mint({ ...grant, id: newId("grant") }));
  const jose = await importJose();
  const { aud } = z.object({ aud: z.string() }).parse(JSON.parse(atob(token.split(".")[1] ?? "")));
  const joseAll = async (given: readonly string[], count: number): Promise<void> => {
    for (let index = 0; index < count; index += 1) {
      await jose.jwtVerify(given[index % given.length] ?? "", publicKey, {
        algorithms: ["EdDSA"],
        typ: "capstan-grant",
        audience: aud,
      });
    }
  };
  const about = {
    bench: "door",
    unit: "µs CPU",
    peerName: "jose jwtVerify (EdDSA) of the same token, nothing decided",
    peer: () => cpuMicros(coldDecisions, () => joseAll(tokens, coldDecisions)),
  };
  yield await measure({
    ...about,
    figure: `decide a call by a token seen before (${token.length} characters)`,
    goal: { of: "ours", atMost: 3 },
    ours: () => cpuMicros(decisions, () => decideAll([token], decisions)),
  });
  yield await measure({
    ...about,
    figure: "decide a call by a new token",
    goal: { of: "ours", atMost: 100 },
    ours: () => cpuMicros(coldDecisions, () => decideAll(tokens, coldDecisions)),
  });
}

async function callInTurn(app: App, grant: Grant, name: string, args: object, count = calls): Promise<void> {
  for (let made = 0; made < count; made += 1) await callDoor(app, grant, name, args);
}

async function callTogether(app: App, grant: Grant, args: object): Promise<void> {
  let left = calls;
  const oneAfterAnother = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await callDoor(app, grant, "echo", args);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, oneAfterAnother));
}

/** What a peer needs to check the same tokens. */
function readPublicKey(home: string): KeyObject {
  const text = readFileSync(join(home, "key.json"), "utf8");
  const { signing } = z.object({ signing: z.string() }).parse(JSON.parse(text));
  return createPublicKey(createPrivateKey({ key: Buffer.from(signing, "base64url"), format: "der", type: "pkcs8" }));
}
