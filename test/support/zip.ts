import { crc32 } from "node:zlib";

/** A file of a zip archive: its bytes, and for attacks its Unix mode and its flags. */
export interface ZipEntry {
  readonly path: string;
  readonly data: string | Uint8Array;
  readonly mode?: number;
  readonly flags?: number;
  /** How many bytes it says that it has. */
  readonly saysBytes?: number;
}

/** A zip archive of stored files (PKWARE's APPNOTE 6.3.3: local headers, central directory, end record). */
export function toZip(entries: readonly ZipEntry[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { path, data, mode = 0o100644, flags = 0, saysBytes } of entries) {
    const [name, bytes] = [Buffer.from(path), Buffer.from(data)];
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags | 0x800, 2);
    common.writeUInt32LE(crc32(bytes), 10);
    common.writeUInt32LE(bytes.length, 14);
    common.writeUInt32LE(saysBytes ?? bytes.length, 18);
    common.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, name, bytes]);
    const place = Buffer.alloc(14);
    place.writeUInt32LE((mode << 16) >>> 0, 6);
    place.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02"), Buffer.from([20, 3]), common, place, name);
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}
