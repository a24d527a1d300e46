import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { parseCursor, toCursor } from "../files/cursor.ts";
import type { Found } from "../files/list-folder.ts";
import { listFolder } from "../files/list-folder.ts";
import { howToGrant, locate, readNeeds } from "../files/locate.ts";
import { Kind, Metadata, toKind, toMetadata } from "../files/metadata.ts";
import type { FolderId, Root } from "../permissions/safe-path.ts";
import { leadsOutside, openInside, openRoot } from "../permissions/safe-path.ts";
import { isShownExactly, showName } from "../permissions/safe-path-text.ts";
import { toFailure } from "./result.ts";
import { fromZod } from "./schema.ts";
import type { CallContext, Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

const maxEntries = 200;
/** Of the entries as JSON: some 64,000 tokens, and with its copy as text far below what a transport bears. */
const maxAnswerBytes = 256 * 1024;

// Defaults are applied in `run`, not by the schema: a grant that constrains `path` alone is not tripped by what nobody passed.
const Input = z.strictObject({
  path: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe("The folder, absolute, or relative where one folder is granted. Missing: lists what is granted."),
  depth: z.int().min(1).max(3).optional().describe("Levels below the folder; default 1, its own entries."),
  limit: z.int().min(1).max(maxEntries).optional().describe(`Entries in one answer; default ${maxEntries}.`),
  cursor: z
    .string()
    .min(1)
    .max(8192)
    .optional()
    .describe("nextCursor of the answer before, with the same path and order."),
  sort: z
    .enum(["name", "size", "modified"])
    .optional()
    .describe("Default name: by bytes, a folder before what is in it."),
  order: z.enum(["asc", "desc"]).optional().describe("Default asc."),
  fields: z
    .array(Metadata.keyof())
    .max(8)
    .optional()
    .describe("What to tell of each entry; default size and modifiedAt."),
});
type Input = Readonly<z.infer<typeof Input>>;

const Entry = z.strictObject({
  path: z.string().describe("from the listed folder; absolute where no folder was asked for"),
  kind: Kind.optional(),
  ...Metadata.partial().shape,
  target: z.string().optional().describe("where a symbolic link says that it leads"),
  escapes: z.boolean().optional().describe("true: the link leads out of the granted folder and can't be followed"),
  inexact: z
    .boolean()
    .optional()
    .describe("true: the name is not UTF-8, its bytes stand as \\xNN, and it can't be asked for"),
  unread: z.string().optional().describe("the error code why the entry, or what is in it, is missing"),
});
type Entry = z.infer<typeof Entry>;

const Output = z.strictObject({
  folder: z.string().nullable(),
  entries: z.array(Entry),
  truncated: z.boolean(),
  nextCursor: z.string().optional(),
  note: z.string().optional(),
});
type Output = z.infer<typeof Output>;

/** `fs_list`: the entries of a granted folder in pages, links as links. Nothing outside the granted folders, nor in `hidden`, is looked at. */
export function fsListTool(hidden?: FolderId): Tool {
  return defineTool({
    name: "fs_list",
    title: "List a folder",
    description:
      "Lists a granted folder: names, kinds, sizes and times, in pages. Symbolic links are listed as links and not followed. " +
      "Without a path it lists the granted folders.",
    input: fromZod(Input),
    output: fromZod(Output),
    hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
    effect: "read",
    needs: ({ path }) => readNeeds(path === undefined ? [] : [path]),
    async run(args, context) {
      const { read } = context.grant.rights;
      // The granted folders are the operator's own words; all that is in them is not.
      if (args.path === undefined) return { type: "done", value: listGranted(read, hidden) };
      try {
        return { type: "done", value: await listPath({ ...args, path: args.path }, context, hidden), taint: ["files"] };
      } catch (thrown) {
        if (!(thrown instanceof CapstanError)) throw thrown;
        // The sentence may quote names and targets of links, which came from the folder too.
        return toFailure(thrown, ["files"]);
      }
    },
  });
}

function listGranted(granted: readonly string[], hidden: FolderId | undefined): Output {
  const note = granted.length === 0 ? { note: `No folder is granted. ${howToGrant}` } : {};
  return { folder: null, entries: granted.map((path) => toGrantedEntry(path, hidden)), truncated: false, ...note };
}

function toGrantedEntry(path: string, hidden: FolderId | undefined): Entry {
  try {
    using root = openRoot(path, { hidden });
    using opened = openInside(root, [], { want: "any", symlinks: "deny" });
    return { path, kind: opened.kind };
  } catch (refusal) {
    if (!(refusal instanceof CapstanError)) throw refusal;
    return { path, unread: refusal.code };
  }
}

async function listPath(
  args: Input & { readonly path: string },
  context: CallContext,
  hidden: FolderId | undefined,
): Promise<Output> {
  const { depth = 1, limit = maxEntries, sort = "name", order = "asc", cursor } = args;
  const { root, names } = locate(context.grant.rights.read, args.path);
  using from = openRoot(root, { hidden });
  using folder = openInside(from, names, { want: "folder", symlinks: "deny" });
  const listing = { folder: folder.path, sort, order };
  const after = cursor === undefined ? null : parseCursor(listing, cursor);
  const { found, more } = await listFolder(folder, { depth, limit, sort, order, after }, context.signal);

  const entries: Entry[] = [];
  let bytes = 0;
  for (const each of found) {
    const entry = toEntry(from, names, each, args.fields ?? ["size", "modifiedAt"]);
    bytes += Buffer.byteLength(JSON.stringify(entry));
    if (bytes > maxAnswerBytes && entries.length > 0) break;
    entries.push(entry);
  }
  const last = found[entries.length - 1];
  const truncated = more || entries.length < found.length;
  const next = truncated && last !== undefined ? { nextCursor: toCursor(listing, last) } : {};
  return { folder: folder.path, entries, truncated, ...next };
}

function toEntry(
  root: Root,
  folder: readonly Buffer[],
  { parts, stat, unlisted }: Found,
  fields: readonly (keyof Metadata)[],
): Entry {
  const metadata = toMetadata(stat);
  return {
    path: parts.map(showName).join("/"),
    kind: toKind(stat),
    ...Object.fromEntries(fields.map((field) => [field, metadata[field]])),
    ...(stat.isSymbolicLink() ? toLink(root, [...folder, ...parts]) : {}),
    ...(parts.every(isShownExactly) ? {} : { inexact: true }),
    ...(unlisted === undefined ? {} : { unread: unlisted }),
  };
}

/** Where a link leads; nothing when it went away meanwhile. */
function toLink(root: Root, names: readonly Buffer[]): Pick<Entry, "target" | "escapes"> {
  try {
    using link = openInside(root, names, { want: "any", symlinks: "show" });
    if (link.target === undefined) return {};
    return { target: showName(link.target), escapes: leadsOutside(root, names) };
  } catch (refusal) {
    if (!(refusal instanceof CapstanError)) throw refusal;
    return {};
  }
}
