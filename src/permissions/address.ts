import { BlockList, isIP } from "node:net";

/**
 * Addresses that are not the public internet, after the IANA special-purpose registries. Prefixes that carry an IPv4 address inside
 * an IPv6 one (mapped, compatible, NAT64, 6to4, Teredo) are here whole: what they lead to is decided elsewhere than by us. Mapped
 * addresses of the IPv4 ranges below are matched by BlockList itself.
 */
const privateRanges: readonly (readonly [string, number, "ipv4" | "ipv6"])[] = [
  ["0.0.0.0", 8, "ipv4"],
  ["10.0.0.0", 8, "ipv4"],
  ["100.64.0.0", 10, "ipv4"],
  ["127.0.0.0", 8, "ipv4"],
  ["169.254.0.0", 16, "ipv4"],
  ["172.16.0.0", 12, "ipv4"],
  ["192.0.0.0", 24, "ipv4"],
  ["192.0.2.0", 24, "ipv4"],
  ["192.88.99.0", 24, "ipv4"],
  ["192.168.0.0", 16, "ipv4"],
  ["198.18.0.0", 15, "ipv4"],
  ["198.51.100.0", 24, "ipv4"],
  ["203.0.113.0", 24, "ipv4"],
  ["224.0.0.0", 3, "ipv4"],
  ["::", 96, "ipv6"],
  ["64:ff9b::", 96, "ipv6"],
  ["64:ff9b:1::", 48, "ipv6"],
  ["100::", 64, "ipv6"],
  ["2001::", 23, "ipv6"],
  ["2001:db8::", 32, "ipv6"],
  ["2002::", 16, "ipv6"],
  ["3fff::", 20, "ipv6"],
  ["5f00::", 16, "ipv6"],
  ["fc00::", 7, "ipv6"],
  ["fe80::", 10, "ipv6"],
  ["fec0::", 10, "ipv6"],
  ["ff00::", 8, "ipv6"],
];

const blocked = new BlockList();
for (const [address, prefix, family] of privateRanges) blocked.addSubnet(address, prefix, family);

/** Names that never lead to the public internet (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`), without a leading dot. */
const privateNames: readonly string[] = ["localhost", "local", "internal", "home.arpa", "localdomain"];

/** Whether a literal IPv4 or IPv6 address (no brackets) lies outside the public internet. What is no address counts as private. */
export function isPrivateAddress(address: string): boolean {
  const [bare = ""] = address.split("%", 1);
  const family = isIP(bare);
  return family === 0 || blocked.check(bare, family === 4 ? "ipv4" : "ipv6");
}

/**
 * Whether a host of a URL (lower case, IPv6 in brackets) is private by its spelling alone: a private address, or a name that is
 * local by definition. Any other name may still resolve to a private address: whoever connects checks that again.
 */
export function isPrivateHost(host: string): boolean {
  const bare = host.startsWith("[") ? host.slice(1, -1) : host;
  if (isIP(bare) !== 0) return isPrivateAddress(bare);
  return privateNames.some((name) => bare === name || bare.endsWith(`.${name}`)) || !bare.includes(".");
}
