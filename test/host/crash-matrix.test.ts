import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { crashPoints } from "../support/cases.ts";
import { tempFolder } from "../support/temp.ts";

const script = fileURLToPath(new URL("./crash-run.ts", import.meta.url));

/** Drives the runs of the homes in one process, which is killed at the point of the last; says how many points each had, and its end. */
async function live(homes: readonly string[], killAt: number) {
  for (const home of homes) await mkdir(home, { recursive: true });
  const child = spawn(process.execPath, [script, ...homes, String(killAt)], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const said = await text(child.stdout);
  await exited;
  return { points: said.trim().split("\n").map(Number), signal: child.signalCode, code: child.exitCode };
}

async function readLines(path: string): Promise<readonly string[]> {
  return existsSync(path) ? (await readFile(path, "utf8")).trim().split("\n") : [];
}

const End = z.looseObject({ tokens: z.int() });
const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
/** No attempt of the reference run is reserved with more tokens: an answer as long as its window, and a context that is estimated. */
const mostReserved = 3 * 1_500;

/** What stands in a home after its run has ended. */
async function readEnd(home: string) {
  const { tokens, ...end } = End.parse(JSON.parse(await readFile(join(home, "end.json"), "utf8")));
  const bills = (await readLines(join(home, "billed"))).map(Number);
  const effects = (await readLines(join(home, "effects"))).map((line) => {
    const [effect = "", step = "", callId = ""] = line.split(" ");
    return { effect, step, callId };
  });
  const asked = await readLines(join(home, "asked"));
  return { end, tokens, bills, effects, asked };
}

/** All points take a minute or two of a quiet machine. */
const patience = { timeout: 900_000 };

describe("the reference run, killed with SIGKILL before and after its commits", () => {
  test(
    "reaches the same end from each point, with each effect once or, where it may not be repeated, asked about",
    patience,
    async () => {
      await using folder = await tempFolder();
      const homeOf = (point: number | string): string => join(folder.path, `home-${point}`);
      const smooth = await live([homeOf("smooth")], Infinity);
      const total = smooth.points[0] ?? 0;
      expect(total).toBeGreaterThanOrEqual(60);
      const wanted = await readEnd(homeOf("smooth"));
      expect(wanted.end).toMatchObject({
        status: "done",
        toolCalls: 9,
        compactions: 1,
        runs: 2,
        isWhole: true,
        faults: [],
      });
      expect(wanted.asked).toHaveLength(1);
      expect(wanted.tokens).toBe(sum(wanted.bills));
      const stepsOf = ({ effects }: typeof wanted): readonly string[] =>
        [...new Set(effects.map(({ effect, step }) => `${effect} ${step}`))].sort();

      const count = Math.min(crashPoints, total);
      const points = Array.from({ length: count }, (_, place) => Math.floor((place * total) / count));
      let before: readonly string[] = [];
      for (const point of points) {
        const { signal, code } = await live([...before, homeOf(point)], point);
        // How calls that run side by side share their commits depends on when they end, so that the last points may be missing.
        expect({ point, ended: signal ?? code }).toEqual({
          point,
          ended: point < total - 4 ? "SIGKILL" : (signal ?? 0),
        });
        before = [homeOf(point)];
      }
      expect(await live(before, Infinity)).toMatchObject({ code: 0 });

      for (const point of points) {
        const found = await readEnd(homeOf(point));
        expect({ point, end: found.end }).toEqual({ point, end: wanted.end });
        // Whatever was billed is charged; beyond that, the reservation of an attempt whose end nobody saw.
        const charged = found.tokens - sum(found.bills);
        const lost = found.bills.length - wanted.bills.length;
        expect({ point, charged, isEnough: charged >= 0 }).toEqual({ point, charged, isEnough: true });
        const most = (Math.max(lost, 0) + 1) * mostReserved;
        expect({ point, charged, isTooMuch: charged > most }).toEqual({ point, charged, isTooMuch: false });
        expect({ point, steps: stepsOf(found) }).toEqual({ point, steps: stepsOf(wanted) });
        const times = Map.groupBy(
          found.effects.filter(({ effect }) => effect !== "read"),
          ({ callId }) => callId,
        );
        for (const [callId, effects] of times) {
          // Each was asked about before it was made again; the marked one was asked about in any case.
          const isMarked = effects[0]?.step === "5";
          const questions = found.asked.filter((asked) => asked === callId).length - (isMarked ? 1 : 0);
          const allowed = effects[0]?.effect === "once" ? 1 + questions : 1;
          expect({ point, callId, isAllowed: effects.length <= allowed }).toEqual({ point, callId, isAllowed: true });
        }
      }
    },
  );
});
