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

/** Several peers by their names. */
export type Peers = Readonly<Record<string, Contest["peer"]>>;

/** As `measureBeside`, with one peer. */
export async function measure({ peer, peerName, ...contest }: Contest, options = { warmUp: true }): Promise<Figure> {
  const [figure] = await measureBeside({ ...contest, peers: { [peerName]: peer } }, options);
  if (figure === undefined) throw new Error("A contest with one peer has one figure.");
  return figure;
}

/**
 * Lets all take turns, ours first, so that whatever else the machine does falls on all alike, and takes medians: a figure for each peer.
 * One round of each goes ahead uncounted, unless there is nothing to warm (`warmUp: false`).
 */
export async function measureBeside(
  contest: Omit<Contest, "peer" | "peerName"> & { readonly peers: Peers },
  { warmUp } = { warmUp: true },
): Promise<readonly Figure[]> {
  const { bench, figure, unit, peers, goal, rounds = 7 } = contest;
  const contenders = [contest.ours, ...Object.values(peers)].map((turn) => ({ turn, values: [] as number[] }));
  for (let round = warmUp ? -1 : 0; round < rounds; round += 1) {
    for (const { turn, values } of contenders) {
      const value = await turn();
      if (round >= 0) values.push(value);
    }
  }
  const [ours = NaN, ...others] = contenders.map(({ values }) => median(values));
  return Object.keys(peers).map((peerName, index) =>
    toFigure({ bench, figure, unit, peerName, rounds }, ours, others[index] ?? NaN, goal),
  );
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
export async function cpuMicros(calls: number, work: () => Promise<unknown>): Promise<number> {
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
