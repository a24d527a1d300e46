import type { Json } from "../../core/json.ts";
import type { WireTool } from "./connection.ts";

/** A tool as its server defined it when it was approved, cut down to what the pin covers. */
export interface PinnedTool {
  readonly definition: WireTool;
  /** SHA-256 of name, title, description, inputSchema, outputSchema and annotations as canonical JSON. */
  readonly pin: string;
}

/** What is approved of one server. */
export interface PinnedServer {
  /** Its command, arguments, environment, folder or URL changed: it must not be started or reached until that is approved. */
  readonly isLaunchBlocked: boolean;
  /** Whether its tools were ever listed. */
  readonly isKnown: boolean;
  /** Approved and not changed since; sorted by name. */
  readonly tools: readonly PinnedTool[];
}

/** What changed and waits for an approval. */
export interface Difference {
  readonly server: string;
  /** By the server's own name for it. Missing: the server's command, arguments, environment, folder or URL. */
  readonly tool?: string;
  readonly before: Json | null;
  readonly after: Json | null;
}

/** What the operator trusts of the servers behind: on first use as it comes, from then on as it was. */
export interface Pins {
  /**
   * What is known without connecting. Compares the launch (stdio: command, args, env as configured with the variables of Capstan's
   * environment filled in, cwd; HTTP: the url) with the pinned one; a first launch is pinned.
   */
  load(server: string, launch: Json): Promise<PinnedServer>;
  /**
   * After tools/list: pins new tools, keeps what changed beside its pin as pending (blocked), and answers what may be published. A tool
   * that is not listed any more is left out but its pin stays.
   */
  observe(server: string, tools: readonly WireTool[]): Promise<PinnedServer>;
  /** All that is pending, of all servers or one. */
  differences(server?: string): Promise<readonly Difference[]>;
  /** `server` or a published tool name; answers what it approved, empty when nothing was pending. */
  approve(target: string): Promise<readonly Difference[]>;
}
