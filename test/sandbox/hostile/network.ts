import { expect } from "vitest";
import { either, type HostileCase, is } from "./case.ts";

/** Class D: the network. Whatever the code says it reached, the listeners outside count. */
export const network: readonly HostileCase[] = [
  {
    id: "D40",
    title: "no TCP connection is made",
    in: {
      python: ({ port }) => `
import socket
it = socket.socket()
it.connect(("127.0.0.1", ${port}))
it.send(b"GET / HTTP/1.0\\r\\n\\r\\n")`,
      bash: { code: ({ port }) => `echo x > /dev/tcp/127.0.0.1/${port} || exit 1`, status: ["error", "crashed"] },
    },
  },
  {
    id: "D40b",
    title: "no TCP connection is made by asyncio",
    in: {
      python: ({ port }) => `
import asyncio
reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", ${port}), 2)
await reader.read()`,
    },
  },
  {
    id: "D40c",
    title: "Pyodide's own sockets are not to be had",
    in: {
      python: ({ port }) => `
import pyodide_js
await pyodide_js.useNodeSockFS()
import asyncio
await asyncio.open_connection("127.0.0.1", ${port})`,
    },
  },
  {
    id: "D40d",
    title: "nothing is fetched",
    in: {
      python: ({ port }) => `
from pyodide.http import pyfetch
await pyfetch("http://127.0.0.1:${port}/")`,
      javascript: ({ port }) => `await fetch("http://127.0.0.1:${port}/")`,
    },
  },
  {
    id: "D40e",
    title: "urllib fetches nothing",
    in: {
      python: ({ port }) => `import urllib.request\nurllib.request.urlopen("http://127.0.0.1:${port}/", timeout=2)`,
    },
  },
  {
    id: "D41",
    title: "no packet is sent and no name is asked for",
    status: "ok",
    in: {
      python: {
        code: ({ port }) => `
import socket, time
start = time.perf_counter()
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", ${port}))
except Exception: pass
try: socket.create_connection(("example.invalid", 80), timeout=1)
except Exception: pass
time.perf_counter() - start < 5`,
        check: is(true),
      },
      bash: {
        code: ({ port }) => `echo x > /dev/udp/127.0.0.1/${port}; getent hosts example.invalid && echo REACHED; true`,
        check: ({ stdout }) => expect(stdout).not.toContain("REACHED"),
      },
    },
  },
  {
    id: "D42",
    title: "the metadata addresses of clouds answer nothing",
    in: {
      python: {
        code: `
import socket
answers = []
for family, address in [(socket.AF_INET, "169.254.169.254"), (socket.AF_INET6, "fd00:ec2::254")]:
    try:
        it = socket.socket(family)
        it.settimeout(1)
        it.connect((address, 80))
        it.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answers.append(it.recv(1).decode())
    except Exception as error:
        answers.append(type(error).__name__)
answers`,
        status: "ok",
        check: ({ result }) =>
          expect(result).toSatisfy(
            (answers: unknown) =>
              Array.isArray(answers) && answers.every((answer) => /Error|timeout/.test(String(answer))),
          ),
      },
      bash: {
        code: `for host in 169.254.169.254 fd00:ec2::254; do timeout 1 bash -c "exec 3<>/dev/tcp/$host/80" 2>/dev/null && echo REACHED; done; true`,
        status: "ok",
        check: ({ stdout }) => expect(stdout).toBe(""),
      },
    },
  },
  {
    id: "D43",
    title: "no form of the address connects, nor an abstract socket",
    status: "ok",
    in: {
      python: ({ port, abstract }) => `
import socket
for family, address in [(socket.AF_INET6, "::1"), (socket.AF_INET6, "::ffff:127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "0x7f000001")]:
    try:
        it = socket.socket(family)
        it.connect((address, ${port}))
        it.send(b"x")
    except Exception: pass
try:
    it = socket.socket(socket.AF_UNIX)
    it.connect("\\0${abstract}")
except Exception: pass
None`,
      javascript: {
        code: "null",
        native: {
          code: ({ port, abstract }) => `const { connect } = require("node:net");
            for (const to of [{ host: "::1", port: ${port} }, { host: "0.0.0.0", port: ${port} }, { path: "\\0${abstract}" }]) {
              await new Promise((resolve) => connect(to, resolve).on("error", resolve).setTimeout(500, resolve));
            }`,
        },
      },
      bash: ({ port }) =>
        `for host in ::1 ::ffff:127.0.0.1 0.0.0.0 0x7f000001 localhost; do echo x > /dev/tcp/$host/${port}; done 2>/dev/null; true`,
    },
  },
  {
    id: "D44",
    title: "nothing of a network is there",
    status: "ok",
    in: {
      javascript: {
        code: ({
          port,
        }) => `const found = ["fetch", "WebSocket", "XMLHttpRequest", "EventSource", "navigator", "Worker", "WebAssembly"]
          .filter((name) => typeof globalThis[name] !== "undefined");
        try { await import("http://127.0.0.1:${port}/x.js"); found.push("import") } catch {}
        found`,
        check: is([]),
        native: either,
      },
    },
  },
  {
    id: "D46",
    title: "nobody outside reaches a listener",
    status: ["error", "timeout"],
    limits: { wallMs: 1_000 },
    in: {
      python: `
import socket
it = socket.socket()
it.bind(("0.0.0.0", 0))
it.listen()
it.accept()`,
    },
  },
];
