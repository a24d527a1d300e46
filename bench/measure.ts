/** What a figure should reach: `of` what, at most or at least how much. */
export interface Goal {
  readonly of: "ours" | "ratio";
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** One measured figure beside its peer: `ours` and `peer` are medians of the rounds, `ratio` is ours divided by the peer's. */
export interface Figure {
  readonly bench: string;
  readonly figure: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer: number;
  readonly peerName: string;
  readonly ratio: number;
  readonly rounds: number;
  readonly goal?: string;
  readonly met?: boolean;
}

/** Two contenders, each of which measures one round and answers in `unit`. */
export interface Contest {
  readonly bench: string;
  readonly figure: string;
  readonly unit: string;
  readonly peerName: string;
  readonly ours: () => Promise<number>;
  readonly peer: () => Promise<number>;
  readonly goal?: Goal;
  /** Missing: 7. An odd number has a median of its own. */
  readonly rounds?: number;
}

/**
 * Lets both take turns, ours first, so that whatever else the machine does falls on both alike, and takes medians. One round of each
 * goes ahead uncounted, unless there is nothing to warm (`warmUp: false`).
 */
export async function measure(contest: Contest, { warmUp = true } = {}): Promise<Figure> {
  const { bench, figure, unit, peerName, goal, rounds = 7 } = contest;
  if (warmUp) {
    await contest.ours();
    await contest.peer();
  }
  const ours: number[] = [];
  const peers: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    ours.push(await contest.ours());
    peers.push(await contest.peer());
  }
  return toFigure({ bench, figure, unit, peerName, rounds }, median(ours), median(peers), goal);
}

/** Puts a figure together; values are rounded to three digits, which is more than the machine can repeat. */
export function toFigure(
  about: Pick<Figure, "bench" | "figure" | "unit" | "peerName" | "rounds">,
  ours: number,
  peer: number,
  goal?: Goal,
): Figure {
  const { rounds, peerName, ...name } = about;
  const ratio = ours / peer;
  const measured = { ...name, ours: shorten(ours), peer: shorten(peer), peerName, ratio: shorten(ratio), rounds };
  if (goal === undefined) return measured;
  const { of, atMost = Infinity, atLeast = -Infinity } = goal;
  const value = of === "ours" ? ours : ratio;
  const text = goal.atMost === undefined ? `${of} ≥ ${atLeast}` : `${of} ≤ ${atMost}`;
  return { ...measured, goal: text, met: value <= atMost && value >= atLeast };
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? NaN) + (sorted[Math.floor(middle)] ?? NaN)) / 2;
}

/** CPU time in µs of one of the `calls` that `work` makes: user and system, of all threads of this process, collecting garbage too. */
export async function cpuMicros(calls: number, work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}

/** Time on the clock in ms. */
export async function wallMs(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

function shorten(value: number): number {
  return Number(value.toPrecision(3));
}
