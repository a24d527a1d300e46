import { homedir, platform } from "node:os";
import { join, resolve } from "node:path";
import { CapstanError } from "../core/error.ts";

/** Where a client keeps its servers: the files, of which the first is the usual one, and the key that holds them. */
export interface Client {
  readonly places: Readonly<Partial<Record<Place, () => string>>>;
  readonly key: "mcpServers" | "servers";
  /** What the entry says of the transport, for a client that wants it said. */
  readonly type?: "stdio";
}

/** What stands under the key, in the form that all these clients share. */
export interface Entry {
  readonly type?: "stdio";
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

type Place = "user" | "project";

/** The formats are those that each client's own documentation states; README.md shows them. */
export const clients: Readonly<Record<string, Client>> = {
  "claude-desktop": {
    places: { user: () => join(dataFolder(), "Claude", "claude_desktop_config.json") },
    key: "mcpServers",
  },
  // Its user's servers stand in a file that it rewrites as it runs; `claude mcp add --scope user` is its own way in.
  "claude-code": { places: { project: () => resolve(".mcp.json") }, key: "mcpServers" },
  cursor: {
    places: {
      user: () => join(homedir(), ".cursor", "mcp.json"),
      project: () => resolve(".cursor", "mcp.json"),
    },
    key: "mcpServers",
  },
  vscode: {
    places: {
      project: () => resolve(".vscode", "mcp.json"),
      user: () => join(dataFolder(), "Code", "User", "mcp.json"),
    },
    key: "servers",
    type: "stdio",
  },
};

/** The file of a client at a place, or at its usual one. Throws `usage.bad_option` for a place that it does not have. */
export function toPlace(name: string, { places }: Client, wanted: string | undefined): string {
  for (const [place, file] of Object.entries(places)) {
    if (wanted === undefined || wanted === place) return file();
  }
  const known = Object.keys(places).join(" or ");
  const more = name === "claude-code" ? " For all projects, use `claude mcp add --scope user`." : "";
  throw new CapstanError("usage.bad_option", `--place for ${name} is ${known}, not "${wanted}".${more}`);
}

/** Where programs keep what is a user's, on this system. */
function dataFolder(): string {
  switch (platform()) {
    case "darwin":
      return join(homedir(), "Library", "Application Support");
    case "win32":
      return process.env["APPDATA"] ?? join(homedir(), "AppData", "Roaming");
    default:
      return join(homedir(), ".config");
  }
}
