/** By what they are for. Names that a processor does not have are skipped by the daemon. */
const allowed = {
  files:
    "access chdir chmod close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate fchdir fchmod " +
    "fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fstat fstatfs fsync ftruncate futimesat getcwd " +
    "getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat " +
    "listxattr llistxattr lseek lstat mkdir mkdirat newfstatat open openat pread64 preadv preadv2 pwrite64 pwritev pwritev2 read " +
    "readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile splice stat statfs statx symlink symlinkat sync " +
    "sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev chown",
  memory:
    "brk get_mempolicy madvise membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall " +
    "munmap pkey_alloc pkey_free pkey_mprotect",
  processes:
    "arch_prctl capget capset execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getegid geteuid getgid " +
    "getgroups getpgid getpgrp getpid getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid pidfd_open " +
    "pidfd_send_signal prctl prlimit64 rseq sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr " +
    "sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler " +
    "sched_yield set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setpgid setpriority setregid " +
    "setresgid setresuid setreuid setrlimit setsid setuid sysinfo times uname vfork wait4 waitid",
  signals:
    "kill pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait " +
    "rt_tgsigqueueinfo sigaltstack signalfd signalfd4 tgkill tkill",
  time:
    "alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time timer_create timer_delete " +
    "timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime",
  waiting:
    "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 futex futex_waitv pipe pipe2 poll " +
    "ppoll pselect6 select",
  sockets:
    "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto " +
    "setsockopt shutdown socketpair",
  sharing:
    "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop " +
    "semtimedop shmat shmctl shmdt shmget",
  random: "getrandom",
};

/**
 * What an attack asks for gets "not permitted"; what nobody has named gets "not implemented", on which the C library does without it. The
 * flags of clone3 lie in memory, where no filter can look.
 */
const notPermitted =
  "acct add_key bpf delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick init_module io_setup io_submit " +
  "io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind mount " +
  "mount_setattr move_mount move_pages name_to_handle_at open_by_handle_at open_tree perf_event_open pivot_root process_madvise " +
  "process_vm_readv process_vm_writev ptrace quotactl reboot request_key set_mempolicy setdomainname sethostname setns settimeofday " +
  "swapoff swapon syslog umount2 unshare userfaultfd vhangup chroot clock_settime adjtimex clock_adjtime mknod mknodat";

const errors = { notPermitted: 1, notImplemented: 38 };
/** New namespaces of every kind: time is 0x80, cgroup 0x02000000, the others lie between 0x00020000 and 0x40000000. */
const namespaceFlags = 0x7e020080;
const families = { unix: 1, inet: 2, inet6: 10, netlink: 16 };

/**
 * The system calls that code in a container may make, as the text for Docker's security option `seccomp`. Docker's own list changes
 * with its version and has let io_uring through; this one is ours and names what interpreters and their libraries use. On a
 * processor of another kind than is named here, and in its 32-bit modes, every call kills.
 */
export function toSeccompProfile(): string {
  return JSON.stringify({
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: errors.notImplemented,
    archMap: ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"].map((architecture) => ({ architecture, subArchitectures: [] })),
    syscalls: [
      ...Object.values(allowed).map((names) => allow(names)),
      allow("clone", { index: 0, value: namespaceFlags, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }),
      ...Object.values(families).map((family) => allow("socket", { index: 0, value: family, op: "SCMP_CMP_EQ" })),
      // Asking what it is, and nothing else: 0 and the question.
      ...[0, 0xffffffff].map((value) => allow("personality", { index: 0, value, op: "SCMP_CMP_EQ" })),
      { names: notPermitted.split(" "), action: "SCMP_ACT_ERRNO", errnoRet: errors.notPermitted },
      // Daemons before 22 know no `defaultErrnoRet`, and without clone3 the C library falls back only if there is none.
      { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: errors.notImplemented },
    ],
  });
}

interface Condition {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: "SCMP_CMP_EQ" | "SCMP_CMP_MASKED_EQ";
}

const allow = (names: string, ...args: readonly Condition[]) => ({
  names: names.split(" "),
  action: "SCMP_ACT_ALLOW",
  args,
});
