import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { CapstanError } from "../../../core/error.ts";
import { underLock } from "./lock.ts";

const maxBytes = 4 * 1024 * 1024;
/** Writing takes milliseconds; who holds the lock longer than this hangs. */
const lockTimeoutMs = 10_000;

const Client = z.object({
  client_id: z.string(),
  client_secret: z.string().optional(),
  client_secret_expires_at: z.number().optional(),
  redirect_uris: z.array(z.string()).optional(),
  token_endpoint_auth_method: z.string().optional(),
});

const Tokens = z.object({
  access_token: z.string(),
  token_type: z.string(),
  refresh_token: z.string().optional(),
  scope: z.string().optional(),
});

/** What one user got from one authorization server for one MCP server. It is used for these three and for nothing else. */
const Credential = z.object({
  user: z.string(),
  /** The server's name in the config, and its URL: a name that stands for another URL tomorrow has none of these. */
  server: z.string(),
  url: z.string(),
  issuer: z.string(),
  /** How Capstan is registered there. Missing: as the config says. */
  client: Client.optional(),
  /** Missing: they were refused, and the issuer is remembered. */
  tokens: Tokens.optional(),
});
export type Credential = Readonly<z.infer<typeof Credential>>;

const CredentialsFile = z.object({ v: z.literal(1), credentials: z.array(Credential) });

/** For whom and where credentials count. */
export type CredentialKey = Pick<Credential, "user" | "server" | "url">;

export interface Credentials {
  /** Those for the key, the newest last; one for each issuer. */
  of(key: CredentialKey): Promise<readonly Credential[]>;
  /** Replaces those of the key at the issuer. What the same user holds for the server's name at another URL is dropped. */
  save(key: CredentialKey, issuer: string, kept: Pick<Credential, "client" | "tokens">): Promise<void>;
}

/** The folder of what belongs to MCP servers in a home, made where it is missing (0700). */
export async function openMcpFolder(home: string): Promise<string> {
  const folder = join(home, "mcp");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/**
 * The credentials of remote servers in `mcp/credentials.json` of a home (0600). Each change reads the file, and replaces it whole and
 * atomically under a lock, so that no process loses what another one wrote. Both functions throw `config.unsafe_home` for a file that
 * somebody else owns or may use, and `config.malformed` for a damaged one.
 */
export function openCredentials(home: string): Credentials {
  const isOf = (key: CredentialKey, { user, server, url }: Credential): boolean =>
    user === key.user && server === key.server && url === key.url;
  return {
    of: async (key) => (await readCredentials(home)).filter((credential) => isOf(key, credential)),
    async save(key, issuer, kept) {
      const folder = await openMcpFolder(home);
      const credential = Credential.parse({ ...key, issuer, ...kept });
      await underLock(join(folder, "credentials.lock"), AbortSignal.timeout(lockTimeoutMs), async () => {
        const others = (await readCredentials(home)).filter((other) => {
          const isSameName = other.user === key.user && other.server === key.server;
          return !isSameName || (other.url === key.url && other.issuer !== issuer);
        });
        await replaceFile(folder, { v: 1, credentials: [...others, credential] });
      });
    },
  };
}

const toPath = (home: string): string => join(home, "mcp", "credentials.json");

async function readCredentials(home: string): Promise<readonly Credential[]> {
  const path = toPath(home);
  await using file = await openOwn(path);
  if (file === null) return [];
  await demandOwn(file, path);
  try {
    return CredentialsFile.parse(JSON.parse(await file.readFile("utf8"))).credentials;
  } catch {
    // The cause would hold what the file holds: it goes no further.
    throw new CapstanError(
      "config.malformed",
      `${path} is damaged. Restore it, or delete it and sign in again at each server: capstan mcp login NAME`,
    );
  }
}

/** The file itself and no link; null when there is none. */
async function openOwn(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    if (reason === "ENOENT") return null;
    throw new CapstanError(
      "config.unsafe_home",
      `${path} can't be read (${reason}). It must be a file of your own. Run: chmod 600 ${path}`,
      { cause },
    );
  }
}

/** What was opened is what is checked. Windows has neither owners nor modes here. */
async function demandOwn(file: FileHandle, path: string): Promise<void> {
  const { uid, mode, size } = await file.stat();
  if (size > maxBytes) throw new CapstanError("config.malformed", `${path} is larger than ${maxBytes} bytes.`);
  if (process.getuid === undefined) return;
  if (uid !== process.getuid()) {
    throw new CapstanError(
      "config.unsafe_home",
      `${path} belongs to another user. Use a home of your own: --home DIR.`,
    );
  }
  if ((mode & 0o077) !== 0) {
    throw new CapstanError("config.unsafe_home", `Others may use the tokens in ${path}. Run: chmod 600 ${path}`);
  }
}

/** A finished file takes the place of the old one: nobody ever reads half of it, and a power cut leaves one of the two. */
async function replaceFile(folder: string, content: z.infer<typeof CredentialsFile>): Promise<void> {
  const draft = join(folder, `.credentials.json.${randomBytes(8).toString("hex")}`);
  try {
    {
      await using file = await open(draft, "wx", 0o600);
      await file.writeFile(`${JSON.stringify(content, null, 2)}\n`);
      await file.sync();
    }
    await rename(draft, join(folder, "credentials.json"));
    await using directory = await open(folder, constants.O_RDONLY);
    // Where a folder can't be synced (Windows), the rename is as durable as the system makes it.
    await directory.sync().catch(() => {});
  } finally {
    await rm(draft, { force: true });
  }
}
