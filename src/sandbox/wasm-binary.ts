/** Of a WebAssembly binary (core specification 2.0, 5.5.2): the ids of the sections that declare memories and exports. */
const memorySection = 5;
const exportSection = 7;
const headerBytes = 8;

/**
 * A binary without the exports that nobody needs, since each takes time to wire; with `maxPages`, its one memory never grows beyond that,
 * and V8 enforces it. Throws TypeError for a binary that declares no exports, or no memory of its own to limit.
 */
export function trimBinary(
  binary: Uint8Array,
  { isNeeded, maxPages }: { readonly isNeeded: (name: string) => boolean; readonly maxPages?: number },
): Uint8Array {
  const parts = [binary.subarray(0, headerBytes)];
  const missing = new Set([exportSection, ...(maxPages === undefined ? [] : [memorySection])]);
  for (let at = headerBytes; at < binary.length;) {
    const id = binary[at] ?? 0;
    const size = readUnsigned(binary, at + 1);
    const end = size.next + size.value;
    if (missing.delete(id)) {
      const body = binary.subarray(size.next, end);
      const changed = id === exportSection ? toExports(body, isNeeded) : toMemories(body, maxPages ?? 0);
      parts.push(Uint8Array.from([id, ...toUnsigned(changed.length)]), changed);
    } else parts.push(binary.subarray(at, end));
    at = end;
  }
  if (missing.size > 0) throw new TypeError("The binary declares no exports, or no memory of its own.");
  return Buffer.concat(parts);
}

/** One memory, with limits of the form 0 (a minimum alone) or 1 (a minimum and a maximum); the minimum stays. */
function toMemories(body: Uint8Array, maxPages: number): Uint8Array {
  return Uint8Array.from([1, 1, ...toUnsigned(readUnsigned(body, 2).value), ...toUnsigned(maxPages)]);
}

/** Each export is a name, the kind of a thing, and its number. */
function toExports(body: Uint8Array, isNeeded: (name: string) => boolean): Uint8Array {
  const count = readUnsigned(body, 0);
  const kept: Uint8Array[] = [];
  for (let at = count.next, index = 0; index < count.value; index += 1) {
    const length = readUnsigned(body, at);
    const nameEnd = length.next + length.value;
    const end = readUnsigned(body, nameEnd + 1).next;
    if (isNeeded(Buffer.from(body.subarray(length.next, nameEnd)).toString())) kept.push(body.subarray(at, end));
    at = end;
  }
  return Buffer.concat([Uint8Array.from(toUnsigned(kept.length)), ...kept]);
}

/** LEB128, as the binary format writes sizes. */
function readUnsigned(bytes: Uint8Array, at: number): { readonly value: number; readonly next: number } {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at] ?? 0;
    at += 1;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { value: value >>> 0, next: at };
  }
}

function toUnsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...toUnsigned(value >>> 7)];
}
