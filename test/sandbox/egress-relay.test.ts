import { spawn } from "node:child_process";
import { describe, expect } from "vitest";
import { relayCommand, relayEnvironment } from "../../src/sandbox/egress/relay.ts";
import { testWith } from "../support/machine.ts";
import { inShort, openProxy, openServer } from "./egress-support.ts";
import { identity } from "./egress-identity.ts";
import { tempFolder } from "../support/temp.ts";
import { join } from "node:path";
import { writeFile } from "node:fs/promises";

/** Runs a command in a network namespace of its own, with the relay in front of it, and answers what it printed. */
async function runInside(socketPath: string, ca: string, command: readonly string[]): Promise<string> {
  const env = { ...relayEnvironment, PATH: "/usr/bin:/bin", NODE_EXTRA_CA_CERTS: ca, SSL_CERT_FILE: ca };
  const args = [
    ...["--unshare-all", "--die-with-parent", "--clearenv", "--ro-bind", "/", "/", "--tmpfs", "/mnt", "--dev", "/dev"],
    ...["--ro-bind", socketPath, "/mnt/proxy"],
    ...Object.entries(env).flatMap(([name, value]) => ["--setenv", name, value]),
  ];
  const inside = [...relayCommand(process.execPath, "/mnt/proxy", 3), ...command];
  const child = spawn("bwrap", [...args, "--", ...inside], { stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => (printed += text));
  await new Promise((resolve) => child.on("close", resolve));
  return printed.trim();
}

describe("the relay in a network namespace", () => {
  testWith("bubblewrap")("lets the machine's programs out to what is granted, and to nothing else", async () => {
    await using folder = await tempFolder();
    const ca = join(folder.path, "ca.pem");
    await writeFile(ca, identity.cert);
    await using server = await openServer("https");
    await using plain = await openServer("http");
    const secureUrl = `https://api.example.test:${server.port}`;
    const plainUrl = `http://api.example.test:${plain.port}`;
    await using proxy = await openProxy([secureUrl, plainUrl]);
    const inside = (command: string, ...args: string[]) => runInside(proxy.socketPath, ca, [command, ...args]);
    const fetching = (url: string) =>
      `fetch(${JSON.stringify(url)}).then((r) => r.text()).then(console.log, (e) => console.log(String(e.cause)))`;
    const opening = (url: string) => `from urllib.request import urlopen
try: print(urlopen(${JSON.stringify(url)}).read().decode())
except Exception as e: print(e)`;

    expect(await inside(process.execPath, "-e", fetching(`${secureUrl}/n`))).toBe("seen 1");
    expect(await inside(process.execPath, "-e", fetching(`${plainUrl}/n`))).toBe("seen 1");
    expect(await inside("/usr/bin/python3", "-c", opening(`${secureUrl}/p`))).toBe("seen 2");
    expect(await inside("/usr/bin/python3", "-c", opening(`${plainUrl}/p`))).toBe("seen 2");
    expect(await inside("/usr/bin/python3", "-c", opening("https://other.example.test/"))).toContain(
      "403 permission.argument_refused",
    );
    const direct = `require("net").connect(${plain.port}, "127.0.0.1").on("error", (e) => console.log(e.code)).on("connect", () => console.log("out"))`;
    expect(await inside(process.execPath, "-e", direct)).toBe("ECONNREFUSED");
    expect([server.connections(), plain.connections()]).toEqual([2, 2]);
    expect(inShort(proxy.events).at(-1)).toBe("refused other.example.test:443 permission.argument_refused");
  });
});
