import { expect, test } from "vitest";
import type { Principal } from "../../../src/core/scope.ts";
import { openSeat } from "../../../src/host/mcp/bridge/seat.ts";
import { openSeats } from "../../../src/host/mcp/bridge/seats.ts";
import { McpConfig } from "../../../src/host/mcp/config.ts";
import { openConnection } from "../../../src/host/mcp/connection/connect.ts";
import { handClock } from "../../support/clock.ts";

/** The seats at a server that nobody asks anything, so that none of it is ever started. `opened` are the users, in their order. */
function openTestSeats() {
  const clock = handClock(0);
  const opened: string[] = [];
  const config = McpConfig.parse({ servers: { notes: { command: "/no/such/program" } } }).servers["notes"];
  if (config === undefined) throw new Error("no config");
  const log = (): void => {};
  const open = (principal: Principal) => {
    opened.push(principal.user);
    const services = { name: "notes", config, env: {}, home: "/nowhere", version: "0", clock, log, principal };
    return openSeat({ server: "notes", connection: openConnection(services), listMs: 100, callMs: 100, log });
  };
  const seats = openSeats("notes", open, ({ user }) => user === "operator", clock);
  const use = async (user: string, work = async (): Promise<void> => {}): Promise<void> =>
    await seats.use({ org: "local", user }, work);
  return { seats, opened, clock, use };
}

const users = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `user${index}`);

test("the longest unused seat is given up for one more user, and never the operator's", async () => {
  const { seats, opened, clock, use } = openTestSeats();
  await using _ = seats;
  for (const user of ["operator", ...users(99)]) {
    clock.advance(1);
    await use(user);
  }
  await use("user0");
  expect(opened).toHaveLength(100);
  clock.advance(1);
  await use("late");
  await use("user0");
  await use("operator");
  expect(opened).toHaveLength(101);
  await use("user1");
  expect(opened.slice(100)).toEqual(["late", "user1"]);
});

test("a user for whom there is no room hears so, and has it once another is done", async () => {
  const { seats, use } = openTestSeats();
  await using _ = seats;
  const { promise, resolve } = Promise.withResolvers<void>();
  const busy = Promise.all(users(100).map((user) => use(user, () => promise)));
  await expect(use("late")).rejects.toMatchObject({ code: "mcp.start_failed" });
  await use("user7");
  resolve();
  await busy;
  await use("late");
});
