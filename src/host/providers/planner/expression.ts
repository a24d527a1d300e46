/** Words of arithmetic and the signs that the calculator knows. */
const words: readonly (readonly [RegExp, string])[] = [
  [/\bthe square root of (\d+(?:\.\d+)?)/gi, "sqrt($1)"],
  [/(\d+(?:\.\d+)?)\s*(?:%|percent) of /gi, "$1 / 100 * "],
  [/\bto the power of\b/gi, "^"],
  [/\b(?:multiplied by|times)\b|[×·]/gi, "*"],
  [/(?<=[\d)])\s*x\s*(?=[\d(])/gi, " * "],
  [/\bdivided by\b|÷/gi, "/"],
  [/\bplus\b/gi, "+"],
  [/\bminus\b|−/gi, "-"],
  [/\bsquared\b/gi, "^2"],
  [/\bcubed\b/gi, "^3"],
  [/\bmod(?:ulo)?\b/gi, "%"],
];

/**
 * Text as an expression for the calculator. null: it does not look like one. With `isAsked` a person has said that it is one, so that
 * anything with a digit passes and the calculator says what is wrong with it.
 */
export function toExpression(text: string, isAsked: boolean): string | null {
  let expression = text.trim();
  for (const [word, sign] of words) expression = expression.replace(word, sign);
  expression = expression.replace(thousands, (comma, place: number) => (isNested(expression, place) ? comma : ""));
  if (!/\d/.test(expression)) return null;
  if (isAsked) return expression;
  const isPlain = /^[\d\s+\-*/%^().,!a-z]+$/i.test(expression);
  const isSum = /[+\-*/%^!(]/.test(expression);
  const names = [...expression.matchAll(/[a-z]+\d*(?<call>\s*\()?/gi)];
  const areKnown = names.every(([name, call]) => call !== undefined || /^(?:pi|e|tau)$/i.test(name));
  return isPlain && isSum && areKnown ? expression : null;
}

/** Prose groups thousands by commas; within a function's parentheses a comma parts its arguments. */
const thousands = /(?<=\d),(?=\d{3}(?!\d))/g;

function isNested(text: string, place: number): boolean {
  const before = text.slice(0, place);
  return before.split("(").length > before.split(")").length;
}
