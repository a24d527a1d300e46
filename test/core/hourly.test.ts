import { expect, test } from "vitest";
import { openHourly } from "../../src/core/hourly.ts";
import type { Scope } from "../../src/core/scope.ts";
import { localScope } from "../../src/core/scope.ts";
import { handClock } from "../support/clock.ts";

const hourMs = 3_600_000;

test("what is due is done once an hour in each scope, counted from when it was done last", async () => {
  const clock = handClock();
  const done: string[] = [];
  const hourly = openHourly(clock, async ({ project }) => void done.push(project));
  const other: Scope = { ...localScope, project: "other" };
  await hourly.due(localScope);
  await hourly.due(localScope);
  await hourly.due(other);
  expect(done).toEqual(["default", "other"]);
  clock.advance(hourMs - 1);
  await hourly.due(localScope);
  await hourly.now(other);
  expect(done).toEqual(["default", "other", "other"]);
  clock.advance(1);
  await hourly.due(localScope);
  await hourly.due(other);
  expect(done).toEqual(["default", "other", "other", "default"]);
});

test("work that fails is told to who asks for it now, not to who is merely the first of an hour, and is tried again", async () => {
  const clock = handClock();
  let tries = 0;
  const hourly = openHourly(clock, async () => {
    tries += 1;
    throw new Error("The disk is full.");
  });
  await expect(hourly.now(localScope)).rejects.toThrow("full");
  clock.advance(hourMs);
  await hourly.due(localScope);
  await hourly.due(localScope);
  expect(tries).toBe(2);
});
