import { CapstanError } from "../../core/error.ts";
import type { PatternNode } from "./pattern-syntax.ts";
import { parsePattern } from "./pattern-syntax.ts";
import type { Finder, Span } from "./span.ts";
import { addSpan } from "./span.ts";

/** A pattern may repeat parts of itself: this many states hold a long one, and keep a step short. */
const maxStates = 1_000;
/** Less than a second of work; a text of 100 kB and a usual pattern take a fiftieth of it. */
const maxSteps = 20_000_000;

/** What one state waits for, before the states in `next`. */
type State =
  | { readonly type: "char"; readonly test: (codePoint: number) => boolean; next: number }
  | { readonly type: "assert"; readonly test: (text: string, place: number) => boolean; next: number }
  | { readonly type: "split"; readonly next: number[] }
  | { readonly type: "match" };

/**
 * Compiles a regular expression (pattern-syntax.ts) into a search whose steps grow with the length of the text times that of the pattern,
 * whatever they are. `RegExp` can't be asked for that: it tries ways one after another, and some patterns have exponentially many; ended
 * from outside after a time, the same text would sometimes pass and sometimes not. Here all ways are followed at once (Thompson, 1968).
 * Throws `usage.bad_option` for a pattern that is malformed or needs backtracking.
 */
export function compilePattern(pattern: string): Finder {
  const states: State[] = [{ type: "match" }];
  const add = (state: State): number => {
    if (states.length >= maxStates) {
      throw new CapstanError(
        "usage.bad_option",
        `The pattern ${JSON.stringify(pattern)} is too large: with all repetitions written out it has more than ${maxStates} parts.`,
      );
    }
    return states.push(state) - 1;
  };
  /** The state that begins a node and goes on to `next`. */
  const build = (node: PatternNode, next: number): number => {
    switch (node.type) {
      case "char":
      case "assert":
        return add({ ...node, next });
      case "sequence":
        return node.items.reduceRight((after, item) => build(item, after), next);
      case "choice":
        return add({ type: "split", next: node.options.map((option) => build(option, next)) });
      default:
        return repeat(node, next);
    }
  };
  const repeat = ({ item, min, max }: PatternNode & { type: "repeat" }, next: number): number => {
    let after = next;
    if (max === Infinity) {
      const loop: State & { type: "split" } = { type: "split", next: [next] };
      after = add(loop);
      loop.next.push(build(item, after));
    } else {
      for (let left = max - min; left > 0; left -= 1) after = add({ type: "split", next: [next, build(item, after)] });
    }
    for (let left = min; left > 0; left -= 1) {
      const before = after;
      after = build(item, before);
      // What has no states of its own is the same however often it stands there.
      if (after === before) break;
    }
    return after;
  };
  const first = build(parsePattern(pattern), 0);
  return (text) => find(states, first, text);
}

/**
 * Walks through the text once with all states that can be reached. Each has the earliest place at which a match that leads to it began:
 * states are kept in the order of these places, so whatever reaches a state first has its earliest.
 */
function find(states: readonly State[], first: number, text: string): readonly Span[] | null {
  const spans: Span[] = [];
  const seen = new Int32Array(states.length).fill(-1);
  const stack: number[] = [];
  let active: number[] = [];
  let starts: number[] = [];
  let steps = 0;

  /** Adds a state with all that follow it without a character. */
  const reach = (state: number, start: number, place: number, to: number[], toStarts: number[]): void => {
    stack.push(state);
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      steps += 1;
      if (seen[at] === place) continue;
      seen[at] = place;
      const found = states[at];
      if (found?.type === "split") stack.push(...found.next);
      else if (found?.type === "assert") {
        if (found.test(text, place)) stack.push(found.next);
      } else if (found?.type === "char") {
        to.push(at);
        toStarts.push(start);
      } else if (start < place) addSpan(spans, { start, end: place });
    }
  };

  for (let place = 0; ;) {
    reach(first, place, place, active, starts);
    const codePoint = text.codePointAt(place);
    if (codePoint === undefined) return spans;
    const after = place + (codePoint > 0xffff ? 2 : 1);
    const next: number[] = [];
    const nextStarts: number[] = [];
    for (let index = 0; index < active.length; index += 1) {
      const state = states[active[index] ?? 0];
      if (state?.type === "char" && state.test(codePoint))
        reach(state.next, starts[index] ?? 0, after, next, nextStarts);
    }
    steps += active.length;
    if (steps > maxSteps) return null;
    active = next;
    starts = nextStarts;
    place = after;
  }
}
