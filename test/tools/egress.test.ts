import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { toCapstanError } from "../../src/core/error.ts";
import type { UrlRule } from "../../src/permissions/grant.ts";
import { parseUrlRule } from "../../src/permissions/url-rule.ts";
import type { AllowConnect, ConnectTarget } from "../../src/sandbox/engine.ts";
import { type Resolve, toAllowConnect } from "../../src/tools/egress.ts";
import { openServer, openProxy, send } from "../sandbox/egress-support.ts";
import { openTestDoor, testTool } from "../support/door.ts";

const publicAddress = "93.184.216.34";
const names: Readonly<Record<string, readonly string[]>> = {
  "api.example.com": [publicAddress, "2606:2800:220:1::1"],
  localhost: ["127.0.0.1", "::1"],
  "both.example.com": [publicAddress, "10.0.0.1"],
  "mapped.example.com": ["::ffff:127.0.0.1"],
  "translated.example.com": ["64:ff9b::7f00:1"],
  "none.example.com": [],
};
const resolveNames: Resolve = (host) =>
  host in names ? Promise.resolve(names[host] ?? []) : Promise.reject(new Error("ENOTFOUND"));

/** Gives `use` what a tool under these rules has, inside a call through the real door. */
async function withAllow(
  rules: readonly UrlRule[],
  use: (allow: AllowConnect, revoke: () => Promise<void>) => Promise<void>,
  resolve = resolveNames,
) {
  let revoke = () => Promise.resolve();
  const tool = testTool("connects", {
    timeoutMs: () => 20_000,
    async run(_args, context) {
      await use(toAllowConnect(context, resolve), () => revoke());
      await context.record({ action: "net/connect", name: "https://api.example.com:443" });
      await context.record({
        action: "net/connect",
        name: "https://evil.test:443",
        refused: "permission.argument_refused",
      });
      return { type: "done", value: null };
    },
  });
  await using capstan = await openTestDoor([tool]);
  const grant = { ...capstan.grant, rights: { ...capstan.grant.rights, net: [...rules] } };
  revoke = () => capstan.permissions.revoke(grant.id, "a test");
  const { outcome } = await capstan.call("connects", {}, { by: { grant } });
  expect(capstan.faults).toEqual([]);
  expect(outcome).toMatchObject({ type: "done", value: null });
  return await capstan.audit();
}

/** `scheme://host:port`, always with its port, as a target; what it is answered, or the code that it is refused with. */
async function ask(allow: AllowConnect, text: string): Promise<readonly string[] | string> {
  const [, scheme, host = "", port] = /^(https?):\/\/(.+):(\d+)$/.exec(text) ?? [];
  const target: ConnectTarget = { scheme: scheme === "http" ? "http" : "https", host, port: Number(port) };
  return await allow(target).catch((thrown: unknown) => toCapstanError(thrown).code);
}

describe("where code may connect to", () => {
  test("is what the grant names, by scheme, name and port", async () => {
    const rules = ["api.example.com", "*.example.com:8443", "http://api.example.com:8080"].map(parseUrlRule);
    await withAllow(
      [...rules, { hosts: ["api.example.com:9000"], schemes: ["wss"], private: false }],
      async (allow) => {
        const granted = [
          "https://api.example.com:443",
          "https://api.example.com:8443",
          "http://api.example.com:8080",
          "https://api.example.com:9000",
        ];
        for (const target of granted) expect(await ask(allow, target), target).toEqual(names["api.example.com"]);
        const others = [
          ...[
            "http://api.example.com:80",
            "http://api.example.com:443",
            "https://api.example.com:80",
            "https://api.example.com:8080",
          ],
          ...[
            "http://api.example.com:9000",
            "https://example.com:8443",
            "https://evil.test:443",
            "https://api.example.com.evil.test:443",
          ],
          ...[
            "https://api.example.com.:443",
            "https://127.0.0.1:443",
            "https://[::1]:443",
            `https://${publicAddress}:443`,
          ],
          ...[
            "https://0x7f000001:443",
            "https://[::ffff:127.0.0.1]:443",
            "http://169.254.169.254:80",
            "https://api.example.com@evil.test:443",
          ],
        ];
        for (const target of others) expect(await ask(allow, target), target).toBe("permission.argument_refused");
      },
    );
  });

  test("is public, also where any host is granted, unless private is granted", async () => {
    const inner = [
      ...[
        "localhost",
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
      ],
      ...[
        "[::1]",
        "[::]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[2002:7f00:1::]",
      ],
      ...[
        "both.example.com",
        "mapped.example.com",
        "translated.example.com",
        "metadata.google.internal",
        "printer.local",
      ],
    ];
    await withAllow([{ hosts: ["*"], schemes: ["https"], private: false }], async (allow) => {
      for (const host of inner)
        expect(await ask(allow, `https://${host}:443`), host).toBe("permission.argument_refused");
      expect(await ask(allow, "https://api.example.com:443")).toEqual(names["api.example.com"]);
      expect(await ask(allow, `https://${publicAddress}:443`)).toEqual([publicAddress]);
      expect(await ask(allow, "https://none.example.com:443")).toBe("sandbox.unreachable");
      expect(await ask(allow, "https://unknown.example.com:443")).toBe("sandbox.unreachable");
    });
    await withAllow([parseUrlRule("http://localhost:8080"), parseUrlRule("10.1.2.3")], async (allow) => {
      expect(await ask(allow, "http://localhost:8080")).toEqual(names["localhost"]);
      expect(await ask(allow, "https://10.1.2.3:443")).toEqual(["10.1.2.3"]);
      expect(await ask(allow, "http://127.0.0.1:8080")).toBe("permission.argument_refused");
      expect(await ask(allow, "http://localhost:8081")).toBe("permission.argument_refused");
    });
  });

  test("is asked anew each time: a name that leads elsewhere now is refused now, and nothing is looked up that is not granted", async () => {
    const asked: string[] = [];
    const answers = [[publicAddress], ["127.0.0.1"], [publicAddress, "169.254.169.254"], [publicAddress]];
    const rebinding: Resolve = async (host) => {
      asked.push(host);
      return answers.shift() ?? [];
    };
    const told: unknown[] = [];
    await withAllow(
      [parseUrlRule("api.example.com")],
      async (allow) => {
        for (const host of ["api", "api", "api", "secret-in-a-name", "api"])
          told.push(await ask(allow, `https://${host}.example.com:443`));
      },
      rebinding,
    );
    const refused = "permission.argument_refused";
    expect(told).toEqual([[publicAddress], refused, refused, refused, [publicAddress]]);
    expect(asked).toEqual(Array.from({ length: 4 }, () => "api.example.com"));
  });

  test("looks up two names at a time", async () => {
    let [running, most] = [0, 0];
    const slow: Resolve = async () => {
      running += 1;
      most = Math.max(most, running);
      await sleep(5);
      running -= 1;
      return [publicAddress];
    };
    await withAllow(
      [parseUrlRule("*.example.com")],
      async (allow) => {
        await Promise.all(Array.from({ length: 8 }, (_, index) => ask(allow, `https://n${index}.example.com:443`)));
      },
      slow,
    );
    expect(most).toBe(2);
  });

  test("ends when the grant is revoked, also in the middle of a call", async () => {
    const told: unknown[] = [];
    await withAllow([parseUrlRule("api.example.com")], async (allow, revoke) => {
      told.push(await ask(allow, "https://api.example.com:443"));
      await revoke();
      told.push(await ask(allow, "https://api.example.com:443"));
    });
    expect(told).toEqual([names["api.example.com"], "token.revoked"]);
  });

  test("is on record where the tool says so, under its call", async () => {
    const rows = await withAllow([parseUrlRule("api.example.com")], async () => {});
    const [call, ...acts] = rows.map(({ entry: { action, name, decision, reason, callId } }) => [
      action,
      name,
      decision,
      reason,
      callId,
    ]);
    expect(call?.slice(0, 3)).toEqual(["tools/call", "connects", "allow"]);
    expect(acts).toEqual([
      ["net/connect", "https://api.example.com:443", "allow", undefined, call?.[4]],
      ["net/connect", "https://evil.test:443", "deny", "permission.argument_refused", call?.[4]],
    ]);
  });

  test("holds through the proxy: a granted name that stands for this machine leads nowhere, a granted local name does", async () => {
    await using server = await openServer("http");
    const here: Resolve = () => Promise.resolve(["127.0.0.1"]);
    const [outer, local] = [`api.example.com:${server.port}`, `localhost:${server.port}`];
    const rules = [outer, local].map((host) => parseUrlRule(`http://${host}`));
    await withAllow(
      rules,
      async (allow) => {
        await using proxy = await openProxy([], {}, allow);
        const get = (host: string) =>
          send(proxy, `GET http://${host}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
        expect(await get(outer)).toMatch(/^HTTP\/1\.1 403 permission\.argument_refused/);
        expect(await get(local)).toMatch(/^HTTP\/1\.1 200 /);
      },
      here,
    );
    expect(server.seen).toEqual([`GET / ${local}`]);
  });
});
