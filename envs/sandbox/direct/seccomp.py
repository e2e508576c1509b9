"""The system calls that sandboxed processes may not make, as a compiled filter.

Built with pyseccomp (extra ``[seccomp]``) over libseccomp, both kept by others. Without it bwrap's
own ``--disable-userns`` closes the widest door, and ``repodrome doctor`` says what is missing.
"""

from __future__ import annotations

import os
from functools import cache

CLONE_NEWUSER = 0x10000000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
ENOSYS = 38
REFUSED = (
    "acct",
    "add_key",
    "bpf",
    "chroot",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "process_vm_writev",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "userfaultfd",
    "vhangup",
)
AF_ALG, AF_VSOCK = 38, 40


@cache
def program() -> bytes | None:
    """The filter as BPF, or None where pyseccomp or libseccomp is missing."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        return None
    refuse = pyseccomp.ERRNO(1)
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in REFUSED:
        try:
            rules.add_rule(refuse, name)
        except (OSError, ValueError):  # a call that this architecture or libseccomp doesn't have
            continue
    user = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER)
    for name in ("clone", "unshare"):
        rules.add_rule(refuse, name, user)
    # Its flags lie behind a pointer; with "not implemented" the C library falls back to clone.
    rules.add_rule(pyseccomp.ERRNO(ENOSYS), "clone3")
    for request in (TIOCSTI, TIOCLINUX):
        # The kernel reads 32 bits of the request, so compare just those.
        rules.add_rule(refuse, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request))
    for family in (AF_ALG, AF_VSOCK):  # a vsock is not bound to the network namespace
        arg = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, 0xFFFFFFFF, family)  # an int to the kernel
        rules.add_rule(refuse, "socket", arg)
    memory = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with os.fdopen(memory, "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def open_program() -> int | None:
    """A fresh descriptor on the filter (readers share an offset, so each needs its own)."""
    code = program()
    if code is None:
        return None
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(fd, code)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
