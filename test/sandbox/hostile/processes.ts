import { expect } from "vitest";
import { type HostileCase, is } from "./case.ts";

/** Class G: processes and signals. In WebAssembly there are none, which is what must come out there. */
export const processes: readonly HostileCase[] = [
  {
    id: "G70",
    title: "a fork bomb",
    in: {
      python: {
        code: `
import os
while True: os.fork()`,
        native: { status: ["timeout", "error", "memory", "crashed"], limits: { wallMs: 1_000 } },
      },
      bash: {
        code: `f() { f | f & }; f; sleep 60`,
        status: ["timeout", "error", "memory", "crashed"],
        limits: { wallMs: 1_000 },
      },
    },
  },
  {
    id: "G71",
    title: "a bomb of threads",
    in: {
      python: {
        code: `
import threading, time
while True: threading.Thread(target=lambda: time.sleep(60)).start()`,
        native: { status: ["timeout", "error", "memory", "crashed"], limits: { wallMs: 3_000 } },
      },
    },
  },
  {
    id: "G73",
    title: "signals that are ignored and blocked",
    status: "timeout",
    limits: { wallMs: 400 },
    in: {
      python: `
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, RuntimeError, ValueError): pass
try: signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
except (AttributeError, OSError, ValueError): pass
while True: pass`,
    },
  },
  {
    id: "G74",
    title: "a process that stops itself",
    status: ["timeout", "crashed"],
    limits: { wallMs: 400 },
    in: {
      python: {
        code: `import os, signal\nos.kill(os.getpid(), getattr(signal, "SIGSTOP", 19))`,
        // In WebAssembly nobody is there who would hear the signal.
        status: ["ok", "error", "crashed"],
        native: { status: "timeout" },
      },
      bash: { code: `kill -STOP $$; kill -STOP 1; sleep 60`, status: "timeout" },
    },
  },
  {
    id: "G74b",
    title: "a process that kills all that it sees",
    status: ["crashed", "ok", "error"],
    in: { bash: `kill -9 -1; kill -9 1; kill -9 $$; true`, python: `import os\nos.kill(os.getpid(), 9)` },
  },
  {
    id: "G76",
    title: "calls of the kernel that nothing here needs",
    status: "ok",
    in: {
      python: {
        code: `
import ctypes
reached = []
try:
    libc = ctypes.CDLL(None, use_errno=True)
    page = ctypes.create_string_buffer(4096)
    # io_uring_setup with its parameters, userfaultfd, a new user namespace, ptrace of the parent.
    for name, number, args in [("io_uring_setup", 425, (1, page)), ("userfaultfd", 323, (1,)), ("unshare", 272, (0x10000000,)), ("ptrace", 101, (16, 1, 0, 0)), ("add_key", 248, (b"user", b"x", b"y", 1, -3))]:
        if libc.syscall(number, *args) >= 0: reached.append(name)
except (AttributeError, OSError, TypeError): pass
reached`,
        check: is([]),
      },
    },
  },
  {
    id: "G77",
    title: "no program gains rights",
    status: "ok",
    in: {
      python: {
        code: `
import os
reached = []
try: os.setuid(0); reached.append("setuid" if os.getuid() == 0 else "")
except (AttributeError, OSError): pass
try:
    status = open("/proc/self/status").read()
    reached += [line for line in status.splitlines() if line.startswith(("CapEff", "CapPrm", "CapBnd")) and line.split()[1].strip("0")]
    reached += [line for line in status.splitlines() if line.startswith("NoNewPrivs") and line.split()[1] != "1"]
except OSError: pass
[one for one in reached if one]`,
        check: is([]),
      },
      bash: {
        code: `grep -E '^(CapEff|CapPrm|NoNewPrivs)' /proc/self/status; id -u`,
        check: ({ stdout }) => {
          expect(stdout).toMatch(/NoNewPrivs:\s+1\n/);
          expect(stdout).toMatch(/CapEff:\s+0+\n/);
          expect(stdout).not.toMatch(/^0\n$/m);
        },
      },
    },
  },
  {
    id: "G77b",
    title: "nothing is executed from the temporary folder",
    in: {
      bash: {
        code: `cp /bin/true /tmp/true && chmod +x /tmp/true && /tmp/true && echo REACHED; true`,
        status: "ok",
        check: ({ stdout }) => expect(stdout).not.toContain("REACHED"),
      },
    },
  },
];
