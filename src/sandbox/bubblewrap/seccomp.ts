/** Of one processor: its number in the kernel's audit, and of each system call that is named below the number, where it has it. */
interface Architecture {
  readonly audit: number;
  /** System calls of other conventions begin here, as those of x32 do. */
  readonly foreignFrom?: number;
  readonly calls: Readonly<Record<string, number>>;
}

// Values of the kernel's headers: audit.h, seccomp.h, filter.h, sched.h, errno-base.h, and the tables of system calls.
const returnKill = 0x80000000;
const returnAllow = 0x7fff0000;
const returnError = 0x00050000;
const notPermitted = 1;
const notImplemented = 38;
const noAddressFamily = 97;
/** CLONE_NEW…: namespaces of time, mount, cgroup, uts, ipc, user, pid and net. */
const newNamespaces = 0x80 | 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000;
/** Unix, IPv4 and IPv6. A namespace of the network does not hold all others: vsock reaches the host of a virtual machine. */
const families = [1, 2, 10];
/** TIOCSTI and TIOCLINUX put characters into the input of a terminal. */
const terminalRequests = [0x5412, 0x541c];

/** Numbers that are the same on both. */
const sharedCalls = {
  io_uring_setup: 425,
  io_uring_enter: 426,
  io_uring_register: 427,
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  fspick: 433,
  pidfd_getfd: 438,
  process_madvise: 440,
  mount_setattr: 442,
  quotactl_fd: 443,
  memfd_secret: 447,
  open_tree_attr: 467,
};

const architectures: Readonly<Record<string, Architecture>> = {
  x64: {
    audit: 0xc000003e,
    foreignFrom: 0x40000000,
    calls: {
      ...sharedCalls,
      ...{ ptrace: 101, process_vm_readv: 310, process_vm_writev: 311, kcmp: 312, perf_event_open: 298 },
      ...{ mount: 165, umount2: 166, pivot_root: 155, chroot: 161, unshare: 272, setns: 308 },
      ...{ name_to_handle_at: 303, open_by_handle_at: 304, fanotify_init: 300, userfaultfd: 323, bpf: 321 },
      ...{ add_key: 248, request_key: 249, keyctl: 250, kexec_load: 246, kexec_file_load: 320 },
      ...{ create_module: 174, init_module: 175, finit_module: 313, delete_module: 176, query_module: 178 },
      ...{ get_kernel_syms: 177, reboot: 169, swapon: 167, swapoff: 168, acct: 163, syslog: 103, quotactl: 179 },
      ...{ settimeofday: 164, clock_settime: 227, adjtimex: 159, clock_adjtime: 305, sethostname: 170 },
      ...{ setdomainname: 171, vhangup: 153, iopl: 172, ioperm: 173, modify_ldt: 154, uselib: 134, _sysctl: 156 },
      ...{ nfsservctl: 180, lookup_dcookie: 212, move_pages: 279, migrate_pages: 256 },
      ...{ clone: 56, clone3: 435, socket: 41, socketpair: 53, ioctl: 16 },
    },
  },
  arm64: {
    audit: 0xc00000b7,
    calls: {
      ...sharedCalls,
      ...{ ptrace: 117, process_vm_readv: 270, process_vm_writev: 271, kcmp: 272, perf_event_open: 241 },
      ...{ mount: 40, umount2: 39, pivot_root: 41, chroot: 51, unshare: 97, setns: 268 },
      ...{ name_to_handle_at: 264, open_by_handle_at: 265, fanotify_init: 262, userfaultfd: 282, bpf: 280 },
      ...{ add_key: 217, request_key: 218, keyctl: 219, kexec_load: 104, kexec_file_load: 294 },
      ...{ init_module: 105, finit_module: 273, delete_module: 106 },
      ...{ reboot: 142, swapon: 224, swapoff: 225, acct: 89, syslog: 116, quotactl: 60 },
      ...{ settimeofday: 170, clock_settime: 112, adjtimex: 171, clock_adjtime: 266, sethostname: 161 },
      ...{ setdomainname: 162, vhangup: 58, nfsservctl: 42, lookup_dcookie: 18, move_pages: 239, migrate_pages: 238 },
      ...{ clone: 220, clone3: 435, socket: 198, socketpair: 199, ioctl: 29 },
    },
  },
};

/** Calls that are looked at before they are allowed or refused; all others of the tables are refused. */
const examined = new Set(["clone", "clone3", "socket", "socketpair", "ioctl"]);

/** One instruction of the kernel's filter machine (BPF): its code, how many to skip when true and when false, and a number. */
type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, value: number];
const load = (offset: number): Instruction => [0x20, 0, 0, offset];
const jumpIfEqual = (value: number, whenTrue: number, whenFalse: number): Instruction => [
  0x15,
  whenTrue,
  whenFalse,
  value,
];
const jumpIfAtLeast = (value: number, whenTrue: number, whenFalse: number): Instruction => [
  0x35,
  whenTrue,
  whenFalse,
  value,
];
const jumpIfAnyBit = (value: number, whenTrue: number, whenFalse: number): Instruction => [
  0x45,
  whenTrue,
  whenFalse,
  value,
];
const answer = (value: number): Instruction => [0x06, 0, 0, value];
const refuse = (errorNumber: number): Instruction => answer(returnError | errorNumber);

// Where the kernel's description of a call has what; both processors are little-endian, so an argument's low half comes first.
const callNumber = load(0);
const architecture = load(4);
const argument = (index: number): Instruction => load(16 + 8 * index);

/**
 * The filter that bubblewrap loads (`--seccomp`) for a processor as Node names it: what code in a sandbox has no use for and what has opened
 * sandboxes before is refused, calls of another architecture kill. undefined: the system calls of this processor are not known here.
 */
export function systemCallFilter(processor: string): Buffer | undefined {
  const known = architectures[processor];
  if (known === undefined) return undefined;
  const { audit, foreignFrom, calls } = known;
  const on = (name: string, instructions: readonly Instruction[]): readonly Instruction[] => {
    const number = calls[name];
    return number === undefined ? [] : [jumpIfEqual(number, 0, instructions.length), ...instructions];
  };
  const onlyFamilies = [
    argument(0),
    ...families.flatMap((family) => [jumpIfEqual(family, 0, 1), answer(returnAllow)]),
    refuse(noAddressFamily),
  ];
  const program: readonly Instruction[] = [
    architecture,
    jumpIfEqual(audit, 1, 0),
    answer(returnKill),
    callNumber,
    ...(foreignFrom === undefined ? [] : [jumpIfAtLeast(foreignFrom, 0, 1), answer(returnKill)]),
    ...Object.keys(calls)
      .filter((name) => !examined.has(name))
      .flatMap((name) => on(name, [refuse(notPermitted)])),
    // What it asks for stands behind a pointer, where no filter can look. Without it the C library takes clone.
    ...on("clone3", [refuse(notImplemented)]),
    ...on("clone", [argument(0), jumpIfAnyBit(newNamespaces, 0, 1), refuse(notPermitted), answer(returnAllow)]),
    ...on("socket", onlyFamilies),
    ...on("socketpair", onlyFamilies),
    ...on("ioctl", [
      argument(1),
      ...terminalRequests.flatMap((request) => [jumpIfEqual(request, 0, 1), refuse(notPermitted)]),
      answer(returnAllow),
    ]),
    answer(returnAllow),
  ];
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, [code, whenTrue, whenFalse, value]] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(whenTrue, index * 8 + 2);
    bytes.writeUInt8(whenFalse, index * 8 + 3);
    bytes.writeUInt32LE(value, index * 8 + 4);
  }
  return bytes;
}
