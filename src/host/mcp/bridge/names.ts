import type { BridgedServer } from "./server.ts";
import { toPublishedName } from "../names.ts";

/** The names under which what servers have is published. */
export interface BridgedNames {
  /** Of a tool: one that every client and model provider takes. */
  toTool(server: BridgedServer, own: string): string;
  toPrompt(server: BridgedServer, own: string): string;
  /** Whose a name is, other than the server's own: it begins as those of another server do. */
  holderOf(server: BridgedServer, name: string): string | undefined;
}

/** `servers`: all in the config, started or not, so that a name never becomes somebody else's while a server is away. */
export function toBridgedNames(servers: readonly string[]): BridgedNames {
  const plain = ({ config }: BridgedServer, own: string): string | undefined => (config.prefix ? undefined : own);
  return {
    toTool(server, own) {
      const isLawful = /^[A-Za-z0-9_-]{1,64}$/.test(own);
      return (isLawful ? plain(server, own) : undefined) ?? toPublishedName(server.name, own);
    },
    toPrompt: (server, own) => plain(server, own) ?? toPublishedName(server.name, own),
    holderOf: (server, name) => servers.find((other) => other !== server.name && name.startsWith(`${other}__`)),
  };
}
