/**
 * The beginning of the URIs that a template (RFC 6570) stands for once these variables are filled in: up to the first expression that is
 * not, or that is more than a variable's name. `isWhole`: none is left, so it is the URI.
 */
export function fillTemplate(
  uriTemplate: string,
  values: Readonly<Record<string, string>> = {},
): { readonly start: string; readonly isWhole: boolean } {
  let start = "";
  for (const part of uriTemplate.split(/(?=\{)|(?<=\})/)) {
    const value = part.startsWith("{") ? valueOf(values, part.slice(1, -1)) : part;
    if (value === undefined) return { start, isWhole: false };
    start += value;
  }
  return { start, isWhole: true };
}

function valueOf(values: Readonly<Record<string, string>>, name: string): string | undefined {
  const value = Object.hasOwn(values, name) ? values[name] : undefined;
  return value === undefined ? undefined : encodeURIComponent(value.toWellFormed());
}
