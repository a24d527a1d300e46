/** Of a longer text only this much is read, in characters: a definition of another server may have any length. */
const maxChars = 4_000;

/** A letter of a script that puts no spaces between words stands for itself. */
const unspaced = String.raw`\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}`;
const word = new RegExp(String.raw`[${unspaced}]|(?:(?![${unspaced}])[\p{L}\p{M}])+|\p{N}+`, "gu");

/** They stand in nearly every sentence and say nothing about a tool. */
const fillers = new Set(
  (
    "a an and are as at be by can do does for from how i if in into is it its me my not of on or our so that the their then " +
    "there these this to use used using want was we what when where which who will with you your"
  ).split(" "),
);

/** The words of a text in their order, without fillers: small letters, without endings, the parts of a camelCaseName apart. */
export function toWords(text: string): readonly string[] {
  const spaced = text
    .slice(0, maxChars)
    .normalize("NFKC")
    .replace(/(?<=[\p{Ll}\p{N}])(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll})/gu, " ");
  return Array.from(spaced.toLowerCase().matchAll(word), ([found]) => found)
    .filter((found) => !fillers.has(found))
    .map(toStem);
}

/** Verbs that tools use for the same act. */
const alike: readonly string[] = [
  "search find query lookup seek",
  "list show browse enumerate all",
  "get read fetch show view retrieve open load",
  "create add new make open insert write schedule",
  "update edit change modify set rename move",
  "delete remove erase drop destroy clear cancel",
  "send post publish submit share",
  "run execute invoke call start launch trigger",
];
const groups: readonly (readonly string[])[] = alike.map((verbs) => verbs.split(" ").map(toStem));

/** The words, as `toWords` gives them, that mean the same of a tool as this one. */
export function wordsAlike(stem: string): readonly string[] {
  return groups.filter((group) => group.includes(stem)).flatMap((group) => group.filter((other) => other !== stem));
}

/**
 * An English word without its commonest endings, so that `creating`, `created` and `creation` meet `create`. What comes out need be no
 * word: tools and queries go through the same.
 */
function toStem(whole: string): string {
  if (!/^[a-z]{4,32}$/.test(whole)) return whole;
  const single = whole
    .replace(/ies$/, "y")
    .replace(/(?<=s|x|z|ch|sh)es$/, "")
    .replace(/(?<![su])s$/, "");
  const bare = single
    .replace(/(?<=[aeiouy].*)(?:ing|ed)$/, "")
    .replace(/(?<=.{3}[st])ion$/, "")
    .replace(/(?<=.{3}at)or$/, "");
  const undoubled = bare === single ? bare : bare.replace(/(?<=..)([bdgmnprt])\1$/, "$1");
  return undoubled.length < 3 ? single : undoubled.replace(/e$/, "");
}
