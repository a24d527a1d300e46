/** A count with its noun: `1 call`, `2 calls`. For nouns whose plural is the singular and an s. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
