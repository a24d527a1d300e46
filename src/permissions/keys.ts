import type { KeyObject } from "node:crypto";
import { createHash, createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, hkdfSync } from "node:crypto";
import { randomBytes, sign, timingSafeEqual, verify } from "node:crypto";
import { constants } from "node:fs";
import { access, link, mkdir, open, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { CapstanError } from "../core/error.ts";

const keyFile = "key.json";

/** The key file: an Ed25519 private key (PKCS #8, DER) and 32 random bytes, both base64url. */
const KeyFile = z.strictObject({ v: z.literal(1), signing: z.base64url(), secret: z.base64url() });

/** What the home's keys can do. The signing key itself stays inside. */
export interface Keys {
  /** The RFC 7638 thumbprint of the public key (SHA-256, base64url): it names the key, the issuer and, for tokens, the audience. */
  readonly kid: string;
  /** An Ed25519 signature. */
  sign(data: Uint8Array): Buffer;
  verify(data: Uint8Array, signature: Uint8Array): boolean;
  /** HMAC-SHA-256 in base64url. `purpose` keeps the tags of one use from counting in another. */
  mac(purpose: string, text: string): string;
  isMac(purpose: string, text: string, tag: string): boolean;
  /** 256 bits for AES-256-GCM. */
  readonly sealingKey: Uint8Array;
}

/**
 * Makes a missing home (0700). Nothing in it is to be read before this. Throws `config.unsafe_home` for one that can't be made or
 * written, that somebody else owns or may write.
 */
export async function openHome(home: string): Promise<void> {
  await orUnsafe(home, async () => {
    await mkdir(home, { recursive: true, mode: 0o700 });
    await demandOwn(home, 0o022, "others may write in it", "chmod 700");
    await access(home, constants.W_OK);
  });
}

/**
 * The keys of a home, which is made where it is missing. Missing keys are made too (0600), once, however many processes begin at the
 * same time: whoever comes second uses the keys of the first. Throws `config.unsafe_home` as `openHome` does, for a key file that
 * somebody else may read, and where none can be kept; `config.malformed` for a damaged key file.
 */
export async function openKeys(home: string): Promise<Keys> {
  await openHome(home);
  const path = join(home, keyFile);
  return await orUnsafe(home, async () => {
    const content = (await readKeyFile(path)) ?? (await createKeyFile(home, path));
    await demandOwn(path, 0o077, "others may use it", "chmod 600");
    return toKeys(content, path);
  });
}

async function orUnsafe<T>(home: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof CapstanError) throw cause;
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    throw new CapstanError(
      "config.unsafe_home",
      `The home ${home} can't hold Capstan's keys (${reason}). Use a folder of your own on a local disk: --home DIR.`,
      { cause },
    );
  }
}

/** Throws when another user owns the path, or when its mode has one of these bits. Windows has neither owners nor modes here. */
async function demandOwn(path: string, forbidden: number, problem: string, remedy: string): Promise<void> {
  if (process.getuid === undefined) return;
  const { uid, mode } = await stat(path);
  if (uid !== process.getuid()) {
    throw new CapstanError(
      "config.unsafe_home",
      `${path} belongs to another user. Use a home of your own: --home DIR.`,
    );
  }
  if ((mode & forbidden) !== 0) {
    throw new CapstanError("config.unsafe_home", `${path} is not safe: ${problem}. Run: ${remedy} ${path}`);
  }
}

async function readKeyFile(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (thrown) {
    if (isCode(thrown, "ENOENT")) return null;
    throw thrown;
  }
}

/** Linking a finished file into place is atomic and refuses when one is there: nobody ever reads half a key. */
async function createKeyFile(home: string, path: string): Promise<string> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const signing = privateKey.export({ type: "pkcs8", format: "der" }).toString("base64url");
  const content = JSON.stringify({ v: 1, signing, secret: randomBytes(32).toString("base64url") });
  const draft = join(home, `.${keyFile}.${randomBytes(8).toString("hex")}`);
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
    await link(draft, path);
    return content;
  } catch (thrown) {
    if (isCode(thrown, "EEXIST")) return await readFile(path, "utf8");
    throw thrown;
  } finally {
    await file.close();
    await rm(draft, { force: true });
  }
}

function toKeys(content: string, path: string): Keys {
  const { privateKey, secret } = parseKeyFile(content, path);
  const publicKey = createPublicKey(privateKey);
  const sub = (use: string): Uint8Array => new Uint8Array(hkdfSync("sha256", secret, "", `capstan ${use} 1`, 32));
  const macKey = sub("mac");
  const mac = (purpose: string, text: string): Buffer =>
    createHmac("sha256", macKey).update(`${purpose}\n${text}`).digest();
  return {
    kid: thumbprint(publicKey),
    sign: (data) => sign(null, data, privateKey),
    verify: (data, signature) => verify(null, data, publicKey, signature),
    mac: (purpose, text) => mac(purpose, text).toString("base64url"),
    isMac(purpose, text, tag) {
      const expected = mac(purpose, text);
      const given = Buffer.from(tag, "base64url");
      return given.length === expected.length && timingSafeEqual(given, expected);
    },
    sealingKey: sub("seal"),
  };
}

function parseKeyFile(content: string, path: string): { privateKey: KeyObject; secret: Buffer } {
  try {
    const { signing, secret } = KeyFile.parse(JSON.parse(content));
    const key = Buffer.from(signing, "base64url");
    const privateKey = createPrivateKey({ key, format: "der", type: "pkcs8" });
    const bytes = Buffer.from(secret, "base64url");
    if (privateKey.asymmetricKeyType === "ed25519" && bytes.length === 32) return { privateKey, secret: bytes };
  } catch {
    // The cause would hold key material: it goes no further.
  }
  throw new CapstanError(
    "config.malformed",
    `The key file ${path} is damaged. Restore it, or delete it to start with new keys, which ends every grant and approval.`,
  );
}

function thumbprint(publicKey: KeyObject): string {
  const { x } = publicKey.export({ format: "jwk" });
  return createHash("sha256")
    .update(JSON.stringify({ crv: "Ed25519", kty: "OKP", x }))
    .digest("base64url");
}

const isCode = (thrown: unknown, code: string): boolean =>
  thrown instanceof Error && "code" in thrown && thrown.code === code;
