import type { TextCallFormat } from "./format.ts";
import { openTag } from "./format.ts";
import { pythonTag, thoughtEnd, thoughtStart } from "./recognize.ts";

/** Lets a text that comes in pieces through up to where a call may begin. */
interface Hold {
  /** What more of the text may be shown once this piece has come. */
  push(piece: string): string;
}

/** A block that may be a call, and what may become the beginning of one. All is bounded, so that nothing is looked at often. */
const fencedCall = /^`{3,8}[ \t]{0,9}(?:json|tool_calls?)?[ \t\r]{0,9}\n(?:\s{0,40}[[{]|\s{40})/i;
const perhapsFencedCall = /^(?:`{0,8}|`{3,8}[a-z_ \t\r]{1,30}|`{3,8}[a-z_ \t\r]{0,30}\n\s{0,40})$/i;

/** Whatever is let through stands before the first call that `findCalls` finds in the whole. The work is linear in the text. */
export function openHold(format: TextCallFormat): Hold {
  const is = (one: TextCallFormat): boolean => format === one || format === "auto";
  let waiting = "";
  /** `start`: nothing but spaces or thoughts has come. `held`: a call may have begun, so all that follows waits for the whole. */
  let state: "start" | "thought" | "words" | "held" = "start";
  let hasThought = false;
  let isLineStart = true;

  function pass(chars: number): string {
    const passed = waiting.slice(0, chars);
    waiting = waiting.slice(chars);
    if (passed !== "") isLineStart = passed.endsWith("\n");
    return passed;
  }

  function passThought(): string {
    const end = waiting.indexOf(thoughtEnd);
    if (end < 0) return pass(Math.max(0, waiting.length - thoughtEnd.length));
    state = "start";
    return pass(end + thoughtEnd.length);
  }

  function passStart(): string {
    const spaces = pass(waiting.length - waiting.trimStart().length);
    const mayBegin = (word: string): boolean => word.startsWith(waiting) || waiting.startsWith(word);
    if (waiting === "") return spaces;
    if (!hasThought && mayBegin(thoughtStart)) {
      if (waiting.length < thoughtStart.length) return spaces;
      hasThought = true;
      state = "thought";
      return spaces + pass(thoughtStart.length);
    }
    if (!is("json") || !(/^[[{]/.test(waiting) || mayBegin(pythonTag))) state = "words";
    else if (waiting.length >= pythonTag.length || !waiting.startsWith("<")) state = "held";
    return spaces;
  }

  function passWords(): string {
    const tag = is("xml") ? placeOfTag(waiting) : waiting.length;
    const fence = is("fenced") ? placeOfFence(waiting, isLineStart) : waiting.length;
    const passed = pass(Math.min(tag, fence));
    if (waiting.startsWith(openTag) || fencedCall.test(waiting)) state = "held";
    return passed;
  }

  return {
    push(piece) {
      if (state === "held") return "";
      waiting += piece;
      let passed = "";
      for (let before = ""; before !== state;) {
        before = state;
        if (state === "thought") passed += passThought();
        else if (state === "start") passed += passStart();
        else if (state === "words") passed += passWords();
      }
      return passed;
    },
  };
}

/** Where a tag begins, or may begin with what comes next. */
function placeOfTag(text: string): number {
  const whole = text.indexOf(openTag);
  if (whole >= 0) return whole;
  for (let place = Math.max(0, text.length - openTag.length + 1); place < text.length; place += 1) {
    if (openTag.startsWith(text.slice(place))) return place;
  }
  return text.length;
}

function placeOfFence(text: string, isLineStart: boolean): number {
  for (let place = isLineStart ? 0 : afterLine(text, 0); place < text.length; place = afterLine(text, place)) {
    if (text.charAt(place) !== "`") continue;
    const rest = text.slice(place);
    if (fencedCall.test(rest) || perhapsFencedCall.test(rest)) return place;
  }
  return text.length;
}

function afterLine(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end + 1;
}
