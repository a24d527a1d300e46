import { CapstanError } from "../../core/error.ts";
import type { Finder, Span } from "./span.ts";
import { addSpan } from "./span.ts";

/** A text as words are compared, and where each unit of it stood. */
interface Folded {
  readonly text: string;
  /** For each unit of `text`, the part of the original that it came from. */
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** A trie over folded words, with a link from each node to that of its longest ending which begins a word (Aho and Corasick, 1975). */
interface Node {
  readonly next: Map<string, Node>;
  /** Lengths of the words that end here. */
  lengths: readonly number[];
  fail: Node | undefined;
}

/**
 * Compiles words and phrases into one search that takes time linear in the text, however many there are. Compared are letters without
 * case, width, accents and invisible characters, and any white space is one space. A word is found as a whole: not within a longer one,
 * save in scripts that write no spaces. Look-alikes of other scripts, digits for letters and letters set apart are not seen through.
 * Throws `usage.bad_option` for a word of nothing but what is not compared.
 */
export function compileWords(words: readonly string[]): Finder {
  const root: Node = { next: new Map(), lengths: [], fail: undefined };
  for (const word of words) {
    const folded = fold(word).text.trim();
    if (folded === "")
      throw new CapstanError("usage.bad_option", `The word ${JSON.stringify(word)} has no letter that could be found.`);
    insert(root, folded);
  }
  link(root);
  return (text) => {
    const folded = fold(text);
    const spans: Span[] = [];
    let node = root;
    for (let place = 0; place < folded.text.length; place += 1) {
      const unit = folded.text.charAt(place);
      while (!node.next.has(unit) && node.fail !== undefined) node = node.fail;
      node = node.next.get(unit) ?? root;
      for (const length of node.lengths) {
        const from = place + 1 - length;
        if (!isWhole(folded.text, from, place + 1)) continue;
        addSpan(spans, { start: folded.starts[from] ?? 0, end: folded.ends[place] ?? 0 });
      }
    }
    return spans;
  };
}

function insert(root: Node, word: string): void {
  let node = root;
  for (let place = 0; place < word.length; place += 1) {
    const unit = word.charAt(place);
    const known: Node = node.next.get(unit) ?? { next: new Map(), lengths: [], fail: root };
    node.next.set(unit, known);
    node = known;
  }
  node.lengths = [word.length];
}

function link(root: Node): void {
  const queue = [...root.next.values()];
  for (const node of queue) {
    for (const [unit, child] of node.next) {
      let fail = node.fail;
      while (fail !== undefined && !fail.next.has(unit)) fail = fail.fail;
      child.fail = fail?.next.get(unit) ?? root;
      child.lengths = [...child.lengths, ...child.fail.lengths];
      queue.push(child);
    }
  }
}

const withoutSpaces = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u;
const wordPart = /[\p{L}\p{N}_]/u;

/** Whether what stands from `from` to `end` is not the middle of a longer word. */
function isWhole(text: string, from: number, end: number): boolean {
  const isInside = (edge: string, beside: string): boolean =>
    wordPart.test(edge) && !withoutSpaces.test(edge) && wordPart.test(beside);
  return !isInside(charAt(text, from), charBefore(text, from)) && !isInside(charBefore(text, end), charAt(text, end));
}

const charAt = (text: string, place: number): string => String.fromCodePoint(text.codePointAt(place) ?? 0);

function charBefore(text: string, place: number): string {
  const isPair = /[\uDC00-\uDFFF]/.test(text.charAt(place - 1));
  return place === 0 ? "" : charAt(text, isPair ? place - 2 : place - 1);
}

function fold(text: string): Folded {
  const starts: number[] = [];
  const ends: number[] = [];
  let folded = "";
  // Asking `folded` itself would put it together anew each time.
  let isBehindSpace = false;
  for (let place = 0; place < text.length;) {
    const char = charAt(text, place);
    const after = place + char.length;
    const part = foldChar(char);
    if (part === " " && isBehindSpace) ends[ends.length - 1] = after;
    else {
      folded += part;
      if (part !== "") isBehindSpace = part.endsWith(" ");
      for (let unit = 0; unit < part.length; unit += 1) {
        starts.push(place);
        ends.push(after);
      }
    }
    place = after;
  }
  return { text: folded, starts, ends };
}

/** Accents that are written over letters of any script; marks that are letters of their script stay. */
const accents = /[\u0300-\u036F\u1AB0-\u1AFF\u1DC0-\u1DFF\u20D0-\u20FF\uFE20-\uFE2F]/g;
const invisible = /[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Cc}]/gu;

function foldChar(char: string): string {
  if (/\s/.test(char)) return " ";
  if (char <= "~") return char < " " ? "" : char.toLowerCase();
  const plain = char.normalize("NFKD").replace(accents, "").replace(invisible, "");
  return plain.toUpperCase().toLowerCase().replace(accents, "");
}
