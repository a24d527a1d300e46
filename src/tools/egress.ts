import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { CapstanError } from "../core/error.ts";
import { openSlots } from "../core/slots.ts";
import { isPrivateAddress } from "../permissions/address.ts";
import { allowsPrivate, checkUrl } from "../permissions/url-rule.ts";
import type { AllowConnect, ConnectTarget } from "../sandbox/engine.ts";
import type { CallContext } from "./tool.ts";

/** All addresses of a host, by its name. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** Names that are looked up at a time for one execution: each keeps one of the four threads busy on which all of Node's files wait. */
const maxLookups = 2;

/** What a connection may be, in the words of grants: from outside, a WebSocket inside TLS is TLS. */
const schemes = { http: ["http"], https: ["https", "wss"] } as const;

/**
 * Where the code of a call may connect to. The door decides by name, scheme and port, anew each time; then each address that the name
 * stands for must be public, or private addresses granted for that name. What is answered has been checked.
 */
export function toAllowConnect(
  { grant, demand, signal }: Pick<CallContext, "grant" | "demand" | "signal">,
  resolve: Resolve = system,
): AllowConnect {
  const slots = openSlots(maxLookups);
  const { net } = grant.rights;

  async function toAddresses(host: string): Promise<readonly string[]> {
    const bare = host.replace(/^\[|\]$/g, "");
    if (isIP(bare) !== 0) return [bare];
    const release = await slots.take(signal);
    try {
      return await resolve(host);
    } catch {
      return [];
    } finally {
      release();
    }
  }

  return async (target) => {
    const urls = toUrls(target);
    const url = urls.find((one) => net.some((rule) => checkUrl(rule, one))) ?? urls[0];
    await demand([{ type: "net", url }]);
    const addresses = await toAddresses(target.host);
    if (addresses.length === 0) throw new CapstanError("sandbox.unreachable", `${target.host} has no address.`);
    if (urls.some((one) => allowsPrivate(net, one)) || !addresses.some(isPrivateAddress)) return addresses;
    // Which address it is, the code need not know.
    throw new CapstanError(
      "permission.argument_refused",
      `${target.host} leads to a private address, and private addresses are not granted for it.`,
    );
  };
}

function toUrls({ scheme, host, port }: ConnectTarget): readonly [string, ...string[]] {
  const [first, ...others] = schemes[scheme].map((name) => `${name}://${host}:${port}/`);
  return [first ?? "", ...others];
}

const system: Resolve = async (host) => (await lookup(host, { all: true })).map(({ address }) => address);
