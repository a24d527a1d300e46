import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import type { HashBudget } from "../files/content.ts";
import { hashContent, readMediaType } from "../files/content.ts";
import { howToGrant, locate, readNeeds } from "../files/locate.ts";
import { Kind, Metadata, toMetadata } from "../files/metadata.ts";
import type { FolderId, Opened } from "../permissions/safe-path.ts";
import { leadsOutside, openInside, openRoot } from "../permissions/safe-path.ts";
import { showName } from "../permissions/safe-path-text.ts";
import { fromZod } from "./schema.ts";
import type { Outcome, Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

const maxPaths = 100;
/** How much one call hashes, all files together: some seconds. */
const maxHashBytes = 1024 ** 3;

const Input = z.strictObject({
  paths: z
    .array(z.string().min(1).max(4096))
    .min(1)
    .max(maxPaths)
    .optional()
    .describe("Absolute, or relative where one folder is granted. Missing: describes what is granted."),
  sha256: z.boolean().optional().describe("Hash the files too; default false. At most 1 GiB in one call."),
});

const Failure = z.strictObject({ code: z.string(), message: z.string() });

const Item = z.strictObject({
  path: z.string(),
  kind: Kind.optional(),
  ...Metadata.partial().shape,
  mediaType: z.string().optional().describe("by the first bytes of the file, not by its name"),
  sha256: z.string().optional(),
  target: z.string().optional().describe("where a symbolic link says that it leads"),
  escapes: z.boolean().optional().describe("true: the link leads out of the granted folder and can't be followed"),
  contentError: Failure.optional().describe("why mediaType or sha256 is missing"),
  error: Failure.optional().describe("why everything is missing"),
});
type Item = z.infer<typeof Item>;

const Output = z.strictObject({ items: z.array(Item), note: z.string().optional() });

/** `fs_stat`: metadata of up to 100 granted paths, each described or refused by itself. A link is described, never followed; nothing in `hidden` is. */
export function fsStatTool(hidden?: FolderId): Tool {
  return defineTool({
    name: "fs_stat",
    title: "Describe files and folders",
    description:
      "Tells kind, size, mode, owner, times, hard links and media type of up to 100 paths in the granted folders, and their SHA-256 " +
      "on request. A symbolic link is described, not followed. Without paths it describes the granted folders.",
    input: fromZod(Input),
    output: fromZod(Output),
    hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
    effect: "read",
    needs: ({ paths }) => readNeeds(paths ?? []),
    timeoutMs: ({ sha256 }) => (sha256 === true ? 120_000 : 30_000),
    async run({ paths, sha256 }, { grant, signal }) {
      const { read } = grant.rights;
      const hash = sha256 === true ? { left: maxHashBytes } : null;
      const items: Item[] = [];
      for (const path of paths ?? read) items.push(await describe({ read, hidden }, path, hash, signal));
      const note = paths === undefined && read.length === 0 ? { note: `No folder is granted. ${howToGrant}` } : {};
      return { type: "done", value: { items, ...note }, ...toFailure(items), taint: ["files"] };
    },
  });
}

async function describe(
  { read, hidden }: { readonly read: readonly string[]; readonly hidden: FolderId | undefined },
  path: string,
  hash: HashBudget | null,
  signal: AbortSignal,
): Promise<Item> {
  signal.throwIfAborted();
  try {
    const { root, names } = locate(read, path);
    using from = openRoot(root, { hidden });
    using opened = openInside(from, names, { want: "any", symlinks: "show" });
    const { target } = opened;
    return {
      path: opened.path,
      kind: opened.kind,
      ...toMetadata(opened.stat),
      ...(target === undefined ? {} : { target: showName(target), escapes: leadsOutside(from, names) }),
      ...(opened.kind === "file" ? await readContent(opened, hash, signal) : {}),
    };
  } catch (refusal) {
    return { path, error: toItemFailure(refusal) };
  }
}

/** What the bytes tell; metadata of a file that can't be read is still worth telling. */
async function readContent(file: Opened, hash: HashBudget | null, signal: AbortSignal): Promise<Partial<Item>> {
  const content: Partial<Item> = {};
  try {
    content.mediaType = await readMediaType(file, signal);
    if (hash !== null) content.sha256 = await hashContent(file, hash, signal);
  } catch (refusal) {
    content.contentError = toItemFailure(refusal);
  }
  return content;
}

function toItemFailure(thrown: unknown): z.infer<typeof Failure> {
  if (!(thrown instanceof CapstanError)) throw thrown;
  return { code: thrown.code, message: thrown.message };
}

/** A call that could describe nothing has failed, for the first reason. */
function toFailure(items: readonly Item[]): Pick<Outcome & { type: "done" }, "isError" | "code" | "content"> {
  const first = items[0]?.error;
  if (first === undefined || items.some(({ error }) => error === undefined)) return {};
  return { isError: true, code: first.code, content: [{ type: "text", text: `${first.code}: ${first.message}` }] };
}
