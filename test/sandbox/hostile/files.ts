import { expect } from "vitest";
import { either, type HostileCase, is, says } from "./case.ts";

const badNames = ["../../evil", "a\u0000b", "CON", "x".repeat(240), "a\nb", "a\\b", "C:x", "dot.", "\u202ereversed"];

/** Classes B and C: files, environment, secrets. */
export const files: readonly HostileCase[] = [
  {
    id: "B22",
    title: "the machine's files are not there",
    in: {
      // What the file says of the machine's users must not come: an image has one of its own.
      python: {
        code: `open("/etc/passwd").read()`,
        native: { code: `open("/etc/shadow").read()`, check: says(/FileNotFound|Permission/) },
      },
      javascript: {
        code: `files.read("/etc/passwd")`,
        native: { code: `require("node:fs").readFileSync("/etc/shadow", "utf8")`, check: says(/ENOENT|EACCES/) },
      },
      bash: { code: `cat /etc/shadow || exit 1`, status: ["error", "crashed"] },
    },
  },
  {
    id: "B23",
    title: "a way up leads to nothing",
    in: {
      python: ({ file }) => `open("/in/../../../../../..${file}").read()`,
      javascript: {
        code: ({ file }) => `const texts = [];
          for (const path of [${JSON.stringify(file)}, "../".repeat(12) + ${JSON.stringify(file.slice(1))}, "/etc/passwd"]) {
            try { texts.push(files.read(path)) } catch (error) { texts.push("denied") }
          } texts`,
        status: "ok",
        check: is(["denied", "denied", "denied"]),
        native: {
          code: ({ file }) => `const { readFileSync } = require("node:fs");
            [${JSON.stringify(file)}, "../".repeat(12) + ${JSON.stringify(file.slice(1))}].map((path) => {
              try { return readFileSync(path, "utf8") } catch { return "denied" }
            })`,
          check: is(["denied", "denied"]),
        },
      },
      bash: { code: ({ file }) => `cat "${file}" || exit 1`, status: ["error", "crashed"] },
    },
  },
  {
    id: "B25",
    title: "names of outputs that lead elsewhere or mean something elsewhere",
    status: "ok",
    in: {
      javascript: {
        code: ({
          absent,
        }) => `const names = ${JSON.stringify(badNames)}.concat("x".repeat(300), "", ".", "a/../b", "\\ud800", ${JSON.stringify(absent)});
          names.filter((name) => { try { files.write(name, "x"); return true } catch { return false } })`,
        native: {
          code: ({ absent }) => `const { writeFileSync } = require("node:fs");
            const names = ${JSON.stringify(badNames)}.concat(${JSON.stringify(absent)});
            for (const name of names) { try { writeFileSync("/out/" + name, "x") } catch {} } []`,
        },
      },
      python: ({ absent }) => `
names = ${JSON.stringify(badNames)} + ["x" * 300, "${absent}"]
for name in names:
    try: open("/out/" + name, "w").write("x")
    except (OSError, ValueError): pass
[]`,
    },
    check: ({ result, artifacts }) => {
      expect(result).toEqual([]);
      expect(artifacts).toEqual([]);
    },
  },
  {
    id: "B26",
    title: "a link, a FIFO, a device and a socket in /out stay there, and nothing waits for them",
    in: {
      python: {
        code: `
import os, socket
open("/out/good.txt", "w").write("good")
os.symlink("/out/good.txt", "/out/link.txt")
os.symlink("/etc/passwd", "/out/passwd")
os.makedirs("/out/empty/folder")
os.symlink("/etc", "/out/empty/etc")
def bind(): socket.socket(socket.AF_UNIX).bind("/out/socket")
for make in (lambda: os.mkfifo("/out/fifo"), lambda: os.mknod("/out/device", 0o20666, 0), bind):
    try: make()
    except (AttributeError, OSError): pass
None`,
        status: "ok",
        check: ({ artifacts, resultNote }) => {
          expect(artifacts.map(({ path }) => path)).toEqual(["good.txt"]);
          expect(resultNote).toContain("/out");
        },
      },
      bash: {
        code: `cd /out && echo good > good.txt && ln -s good.txt link.txt && ln -s /etc/passwd passwd; mkfifo fifo; true`,
        status: "ok",
        check: ({ artifacts }) => expect(artifacts.map(({ path }) => path)).toEqual(["good.txt"]),
      },
    },
  },
  {
    id: "B26b",
    title: "a hard link to an input is a copy at most",
    in: {
      python: {
        code: `
import os
try: os.link("/in/given.txt", "/out/hard.txt")
except (AttributeError, OSError): pass
None`,
        status: "ok",
        request: { files: [{ path: "given.txt", bytes: Buffer.from("given") }] },
        check: ({ artifacts }) =>
          expect(artifacts.every(({ bytes }) => Buffer.from(bytes).toString() === "given")).toBe(true),
      },
    },
  },
  {
    id: "B28",
    title: "files beyond their size and number",
    status: "ok",
    in: {
      javascript: {
        code: `const refused = [];
          for (let i = 0; i < 50; i++) try { files.write("f" + i, "x".repeat(300_000)) } catch (error) { refused.push(error.message) }
          try { files.write("big", new Uint8Array(50_000_000)) } catch (error) { refused.push(error.message) }
          refused.length`,
        check: ({ result, artifacts }) => {
          expect(result).toBe(48);
          expect(artifacts.map(({ path }) => path)).toEqual(["f0", "f1", "f2"]);
        },
        native: null,
      },
      python: {
        code: `
for n in range(50): open(f"/out/f{n:02}", "w").write("x" * 300_000)
None`,
        check: ({ artifacts, resultNote }) => {
          expect(artifacts.map(({ path }) => path)).toEqual(["f00", "f01", "f02"]);
          expect(resultNote).toContain("/out");
        },
      },
    },
  },
  {
    id: "B28b",
    title: "a sparse file of a tebibyte takes nothing of the host's disk",
    in: {
      python: {
        code: `open("/out/sparse", "wb").truncate(1 << 40)`,
        status: ["error", "ok"],
        check: ({ artifacts }) => expect(artifacts.every(({ bytes }) => bytes.length === 0)).toBe(true),
      },
      bash: {
        code: `truncate -s 1T /out/sparse`,
        status: ["error", "ok", "crashed"],
        check: ({ artifacts }) => expect(artifacts.every(({ bytes }) => bytes.length === 0)).toBe(true),
      },
    },
  },
  {
    id: "B28c",
    title: "a sparse file beyond the limits stays there",
    in: {
      python: {
        code: `open("/out/sparse", "wb").truncate(8 << 20)\nNone`,
        status: "ok",
        check: ({ artifacts, resultNote }) => {
          expect(artifacts).toEqual([]);
          expect(resultNote).toContain("/out");
        },
      },
    },
  },
  {
    id: "B29",
    title: "the disk is full at its limit, and room comes back",
    status: "ok",
    in: {
      python: {
        code: `
import os
def fill(name):
    taken = 0
    try:
        with open(name, "wb", buffering=0) as file:
            while True: taken += file.write(b"x" * (1 << 20))
    except OSError as error:
        return error.strerror, 48 <= taken >> 20 <= 64
full = fill("/tmp/full")
os.unlink("/tmp/full")
open("/tmp/again", "wb").write(b"x" * (32 << 20))
full`,
        check: is(["No space left on device", true]),
        // Memory files count as memory there, so the run may end by its limit before the disk is full.
        native: {
          limits: { memoryBytes: 256 << 20 },
          status: ["ok", "memory"],
          check: ({ status, result }) =>
            expect(result).toEqual(status === "ok" ? ["No space left on device", true] : null),
        },
      },
    },
  },
  {
    id: "B31",
    title: "/proc shows no process of the machine",
    in: {
      python: {
        code: `
import os
seen = []
for path in ("/proc/1/root", "/proc/1/environ", "/proc/self/environ", "/proc/self/cmdline"):
    try: seen.append(os.listdir(path) if os.path.isdir(path) else open(path).read())
    except OSError: pass
seen`,
        status: "ok",
        check: is([]),
        native: {
          code: ({ file }) => `
import os
seen = []
for pid in os.listdir("/proc"):
    for path in (f"/proc/{pid}/environ", f"/proc/{pid}/cmdline", f"/proc/{pid}/root${file}"):
        try: seen.append(open(path).read())
        except OSError: pass
for fd in os.listdir("/proc/self/fd"):
    try: seen.append(os.readlink(f"/proc/self/fd/{fd}"))
    except OSError: pass
[os.getpid() < 100, len(seen) > 0, [word for word in ("vitest", "capstan-", "/root/", "/home/") if any(word in one for one in seen)], "".join(seen)[:30_000]]`,
          check: ({ result }) => expect(result).toEqual([true, true, [], expect.any(String)]),
        },
      },
      bash: { code: `cat /proc/*/environ /proc/*/cmdline; ls /proc/1/root /proc/1/cwd; true`, ...either },
    },
  },
  {
    id: "B32",
    title: "the kernel's own files and calls are not to be written or made",
    in: {
      python: {
        code: `
import ctypes, os
reached = []
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent", "/dev/mem", "/dev/sda"):
    try: open(path, "r+").close(); reached.append(path)
    except OSError: pass
try:
    libc = ctypes.CDLL(None, use_errno=True)
    for name, args in {"mount": (b"none", b"/tmp", b"tmpfs", 0, None), "umount2": (b"/proc", 2), "chroot": (b"/tmp",), "swapon": (b"/tmp/x", 0), "reboot": (0,)}.items():
        if getattr(libc, name)(*args) == 0: reached.append(name)
    for name, number in {"pivot_root": 155, "open_by_handle_at": 304, "init_module": 175, "kexec_load": 246, "bpf": 321, "perf_event_open": 298, "keyctl": 250}.items():
        if libc.syscall(number, b"/tmp", b"/tmp", 0, 0, 0) >= 0: reached.append(name)
except (AttributeError, OSError, TypeError): pass
reached`,
        status: "ok",
        check: is([]),
      },
      bash: {
        code: `mount -t tmpfs none /tmp && echo REACHED; echo x > /proc/sys/kernel/core_pattern && echo REACHED; mknod /tmp/sda b 8 0 && cat /tmp/sda && echo REACHED; true`,
        status: "ok",
        check: ({ stdout }) => expect(stdout).not.toContain("REACHED"),
      },
    },
  },
  {
    id: "B34",
    title: "an input file is a copy",
    request: { files: [{ path: "given.txt", bytes: Buffer.from("given") }] },
    in: {
      // Whether the code may write over it differs; that nothing of it reaches the host's bytes does not.
      python: { code: `open("/in/given.txt", "w").write("changed")`, ...either },
      javascript: {
        code: 'files.write("given.txt", "changed"); files.read("given.txt")',
        status: "ok",
        check: is("changed"),
        native: { code: 'require("node:fs").writeFileSync("/in/given.txt", "changed")', ...either },
      },
      bash: { code: `echo changed > /in/given.txt || true`, status: "ok" },
    },
  },
  {
    id: "C35",
    title: "the environment is empty of the machine's",
    status: "ok",
    in: {
      python: {
        code: `import os\ndict(os.environ)`,
        check: ({ result }) => expect(Object.keys(Object(result))).not.toContain("CANARY_ENV"),
      },
      javascript: {
        code: "[typeof process, Object.getOwnPropertyNames(globalThis).filter((name) => /env|canary|process/i.test(name))]",
        check: is(["undefined", []]),
        native: {
          code: "Object.keys(process.env)",
          check: ({ result }) => expect(result).not.toContain("CANARY_ENV"),
        },
      },
      bash: { code: `env; set`, check: ({ stdout }) => expect(stdout).not.toContain("CANARY_ENV") },
    },
  },
  {
    id: "C37",
    title: "no process of the machine is to be seen or signalled",
    status: "ok",
    in: {
      python: {
        code: () => `
import os
seen = [os.getppid() in (0, 1)] if hasattr(os, "getppid") else [True]
try: os.kill(${process.pid}, 0); seen.append("REACHED")
except (AttributeError, OSError): pass
seen`,
        check: ({ result }) => expect(JSON.stringify(result)).not.toContain("REACHED"),
      },
      bash: {
        code: () => `kill -0 ${process.pid} && test ${process.pid} -gt 50 && echo REACHED; true`,
        check: ({ stdout }) => expect(stdout).not.toContain("REACHED"),
      },
    },
  },
  {
    id: "C38",
    title: "no socket of a container engine is there",
    status: "ok",
    in: {
      python: {
        code: `
import os
[path for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/podman", "/run/containerd", "/run/user", "/run/dbus") if os.path.exists(path)]`,
        check: is([]),
      },
      bash: {
        code: `ls -d /run/docker.sock /run/podman /run/containerd /run/dbus 2>/dev/null; true`,
        check: ({ stdout }) => expect(stdout).toBe(""),
      },
    },
  },
];
