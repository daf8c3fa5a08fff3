"""Becomes another program that ends with its parent and, when asked, does not run as root.

Called as `python launch.py [--apart] [--signal NAME] PARENT PROGRAM ARGUMENT…`; it ends in an exec, so the
process id stays. PostgreSQL refuses to run as root: `--apart` puts it into a user namespace in which the
same person has another number. Where the kernel allows none, the answer is `nobody`.

Stands alone and imports little: every process of the platform passes through it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
STRANGER = 1000  # any number but 0: what the person is called inside the namespace
NOBODY = 65534
TRY = "--try"


def enter_namespace() -> bool:
    """Leave root behind in a user namespace of our own; say whether the kernel allowed it."""
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER) != 0:
        return False
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{STRANGER} {user} 1"),
        ("gid_map", f"{STRANGER} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    return True


def can_enter_namespace() -> bool:
    """Whether the kernel lets us make a user namespace; tried in a process of its own.

    A fork would not do: one that libraries have given threads may not leave its namespace.
    """
    return subprocess.run([sys.executable, "-I", "-S", __file__, TRY]).returncode == 0


def end_with(parent: int, number: int) -> None:
    """Let the kernel send us *number* when the parent dies, however it dies (Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


def become_nobody() -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def main(arguments: list[str]) -> None:
    """Read the command line above and become the program."""
    if arguments == [TRY]:
        sys.exit(0 if enter_namespace() else 1)
    number = signal.SIGTERM
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option == "--apart" and os.geteuid() == 0 and not enter_namespace():
            become_nobody()
        elif option == "--signal":
            number = signal.Signals[arguments.pop(0)]
    end_with(int(arguments[0]), number)
    os.execv(arguments[1], arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
