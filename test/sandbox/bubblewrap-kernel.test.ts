import { afterAll, expect, test } from "vitest";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { systemCallFilter } from "../../src/sandbox/bubblewrap/seccomp.ts";
import { describeWith } from "../support/machine.ts";
import { runIn } from "./hostile.ts";

const engine = openBubblewrapEngine();
afterAll(() => engine[Symbol.asyncDispose]());
const run = (code: string) => runIn(engine, "python", code);

test("a processor whose system calls are not known has no filter", () => {
  expect(systemCallFilter("mips")).toBeUndefined();
});

const allow = 0x7fff0000;
const kill = 0x80000000;
const refusal = (errorNumber: number): number => 0x00050000 | errorNumber;

test.for<readonly [processor: string, audit: number, calls: Readonly<Record<string, number>>]>([
  ["x64", 0xc000003e, { read: 0, openat: 257, mount: 165, clone: 56, socket: 41, ioctl: 16 }],
  ["arm64", 0xc00000b7, { read: 63, openat: 56, mount: 40, clone: 220, socket: 198, ioctl: 29 }],
])("the filter of %s allows, refuses and kills", ([processor, audit, calls]) => {
  const program = systemCallFilter(processor) ?? Buffer.alloc(0);
  const answer = (name: string, ...args: readonly number[]) => judge(program, audit, calls[name] ?? -1, args);
  expect([answer("read"), answer("openat")]).toEqual([allow, allow]);
  expect(answer("mount")).toBe(refusal(1));
  expect([answer("clone", 0x01200011), answer("clone", 0x10000000)]).toEqual([allow, refusal(1)]);
  expect(judge(program, audit, 435, [])).toBe(refusal(38));
  expect(judge(program, audit, 425, [])).toBe(refusal(1));
  expect([1, 2, 10].map((family) => answer("socket", family))).toEqual([allow, allow, allow]);
  expect([16, 17, 38, 40].map((family) => answer("socket", family))).toEqual(new Array(4).fill(refusal(97)));
  expect([answer("ioctl", 0, 0x5401), answer("ioctl", 0, 0x5412)]).toEqual([allow, refusal(1)]);
  expect(judge(program, 0x40000003, 20, []), "of 32 bits").toBe(kill);
});

/** What the kernel's machine answers for a call: of its instructions those that the filter has. */
function judge(program: Buffer, audit: number, number: number, args: readonly number[]): number {
  const words = [number, audit, 0, 0, ...args.flatMap((low) => [low, 0])];
  let accumulator = 0;
  for (let at = 0; at < program.length; at += 8) {
    const code = program.readUInt16LE(at);
    const value = program.readUInt32LE(at + 4);
    if (code === 0x06) return value;
    if (code === 0x20) accumulator = words[value / 4] ?? 0;
    else {
      const holds: Readonly<Record<number, boolean>> = {
        0x15: accumulator === value,
        0x35: accumulator >= value,
        0x45: (accumulator & value) !== 0,
      };
      at += 8 * program.readUInt8(at + (holds[code] === true ? 2 : 3));
    }
  }
  throw new Error("The program ran past its end.");
}

describeWith("bubblewrap")("in bubblewrap", () => {
  test.skipIf(process.arch !== "x64")(
    "system calls that open sandboxes are refused, and their neighbours are not",
    async () => {
      const { result, error } = await run(`
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    return "done" if libc.syscall(number, *args) >= 0 else errno.errorcode[ctypes.get_errno()]
refused = {
    "io_uring_setup": call(425, 1, ctypes.create_string_buffer(256)), "ptrace": call(101, 0, 0, 0, 0), "bpf": call(321, 0, 0, 0),
    "userfaultfd": call(323, 0), "keyctl": call(250, 0, -3, 1), "perf_event_open": call(298, 0, 0, 0, 0, 0),
    "mount": call(165, 0, b"/tmp", b"tmpfs", 0, 0), "fsopen": call(430, b"tmpfs", 0), "pivot_root": call(155, b"/", b"/"),
    "unshare of users": call(272, 0x10000000), "setns": call(308, 0, 0), "clone of users": call(56, 0x10000000 | 17, 0, 0, 0, 0),
    "open_by_handle_at": call(304, 0, 0, 0), "process_vm_readv": call(310, 1, 0, 0, 0, 0, 0), "kexec_load": call(246, 0, 0, 0, 0),
    "finit_module": call(313, 0, b"", 0), "chroot": call(161, b"/tmp"), "input of a terminal": call(16, 0, 0x5412, b"x"),
}
other = {
    "clone3": call(435, 0, 0), "vsock": call(41, 40, 1, 0), "crypto of the kernel": call(41, 38, 5, 0), "packets": call(41, 17, 3, 0),
    "netlink": call(41, 16, 3, 0), "size of a terminal": call(16, 0, 0x5413, ctypes.create_string_buffer(8)),
}
child = os.fork()
if child == 0: os._exit(7)
lawful = {
    "internet": call(41, 2, 1, 0), "internet 6": call(41, 10, 1, 0), "unix": call(41, 1, 1, 0),
    "fork": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
}
[refused, other, lawful]`);
      expect(error).toBeUndefined();
      const [refused, other, lawful] = Array.isArray(result) ? result : [];
      expect(new Set(Object.values(Object(refused)))).toEqual(new Set(["EPERM"]));
      expect(other).toEqual({
        clone3: "ENOSYS",
        vsock: "EAFNOSUPPORT",
        "crypto of the kernel": "EAFNOSUPPORT",
        packets: "EAFNOSUPPORT",
        netlink: "EAFNOSUPPORT",
        "size of a terminal": "ENOTTY",
      });
      expect(lawful).toEqual({ internet: "done", "internet 6": "done", unix: "done", fork: 7 });
    },
  );

  test.skipIf(process.arch !== "x64")("a system call of another architecture kills who makes it", async () => {
    const { result } = await run(String.raw`
import ctypes, mmap, os
def in_child(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    child = os.fork()
    if child == 0:
        ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
native = in_child(b"\xb8\x27\x00\x00\x00\x0f\x05\xc3")  # getpid of x86-64
of_i386 = in_child(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # getpid of i386
of_x32 = in_child(b"\xb8\x27\x00\x00\x40\x0f\x05\xc3")  # getpid of x32
[native, of_i386, of_x32]`);
    const badSystemCall = -31;
    expect(result).toEqual([0, badSystemCall, badSystemCall]);
  });

  test("the machine is read-only, and what is private of it is not there", async () => {
    const { result } = await run(String.raw`
import os
def outcome(action):
    try:
        action()
        return "done"
    except OSError as error:
        return error.strerror
def write(path):
    with open(path, "w") as file: file.write("x")
held = {path: outcome(lambda: write(path)) for path in (
    "/usr/bin/evil", "/etc/evil", "/evil", "/capstan/node", "/dev/evil", "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/fs/cgroup/release_agent")}
absent = [path for path in ("/home", "/root", "/var", "/run", "/sys", "/boot", "/etc/passwd", "/etc/shadow", "/etc/hostname",
    "/var/run/docker.sock", "/dev/sda", "/dev/mem", "/dev/kmsg") if os.path.lexists(path)]
lawful = [outcome(lambda: write(path)) for path in ("/tmp/a", "/out/a", "/dev/shm/a", "/dev/null")]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
[held, absent, lawful, {name: status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
 sorted(os.environ), len([name for name in os.listdir("/proc") if name.isdigit()])]`);
    const [held, absent, lawful, status, environment, processes] = Array.isArray(result) ? result : [];
    expect(Object.values(Object(held))).not.toContain("done");
    expect(absent).toEqual([]);
    expect(lawful).toEqual(["done", "done", "done", "done"]);
    expect(status).toEqual({ CapEff: "0".repeat(16), CapBnd: "0".repeat(16), NoNewPrivs: "1", Seccomp: "2" });
    expect(environment).toEqual([
      ...[
        "HOME",
        "LANG",
        "MPLBACKEND",
        "MPLCONFIGDIR",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "PWD",
        "TMPDIR",
      ],
    ]);
    expect(processes).toBe(2);
  });
});
