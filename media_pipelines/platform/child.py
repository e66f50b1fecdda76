"""Arranges the process it runs in, then becomes the command after `--`.

Run by path with `python -S -P`: standard library only, and nothing of ours, so that it costs milliseconds.
"""

import argparse
import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_CHILD_SUBREAPER, _PR_CAP_AMBIENT = 1, 8, 36, 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc().prctl(option, *padded), f"prctl({option})")


def _hold(capabilities: int) -> None:
    """Keep some of root's capabilities across the coming exec, in a process that is no longer root."""
    low = _Sets(capabilities, capabilities, capabilities)
    _check(
        _libc().capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), ctypes.byref((_Sets * 2)(low, _Sets()))),
        "capset",
    )
    for bit in range(32):
        if capabilities >> bit & 1:
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, bit)


def _held() -> int:
    sets = (_Sets * 2)()
    _check(_libc().capget(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), ctypes.byref(sets)), "capget")
    return int(sets[0].permitted)


def become(account: str, *, enter_anywhere: bool) -> None:
    """Drop root for an account; it may keep the right to pass closed directories, such as /root.

    That right is less than root has, and opening those directories to everybody would be more.
    """
    entry = pwd.getpwnam(account)
    capabilities = _held() & (1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH) if enter_anywhere else 0
    if capabilities:
        _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    os.environ.update(HOME="/", USER=account, LOGNAME=account)
    if capabilities:
        _hold(capabilities)


def remove_stale_pid_file(pid_file: Path, owner_argument: str) -> None:
    """Remove a pid file whose number now belongs to a program not started with `owner_argument`.

    A dead pid is left alone: Postgres recognises that by itself, and then checks for living backends.
    """
    try:
        command_line = Path(f"/proc/{abs(int(pid_file.read_text().split()[0]))}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        return
    if owner_argument.encode() not in command_line.split(b"\0"):
        pid_file.unlink(missing_ok=True)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent has gone; kept across exec, not inherited by children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal_name: str) -> None:
    """Ask the kernel for a signal when the parent goes away, however it goes."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, getattr(signal, f"SIG{signal_name}"))
    if os.getppid() != parent:
        sys.exit("the parent has already gone")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="child")
    parser.add_argument("--account", help="run as this account instead of root")
    parser.add_argument("--enter-anywhere", action="store_true", help="let that account pass closed directories")
    parser.add_argument("--adopt-orphans", action="store_true", help="become the parent of orphaned descendants")
    parser.add_argument("--die-with-parent", metavar="SIGNAL", help="TERM, INT: sent when the parent dies")
    parser.add_argument("--stale-pid-file", nargs=2, action="append", default=[], metavar=("FILE", "ARGUMENT"))
    parser.add_argument("command", nargs="+")
    return parser


def main() -> None:
    options = _parser().parse_args()
    for pid_file, argument in options.stale_pid_file:
        remove_stale_pid_file(Path(pid_file), argument)
    if options.adopt_orphans:
        adopt_orphans()
    if options.account:
        become(options.account, enter_anywhere=options.enter_anywhere)
    if options.die_with_parent:  # last: the kernel forgets it when the user changes
        die_with_parent(options.die_with_parent)
    os.execvp(options.command[0], options.command)  # noqa: S606


if __name__ == "__main__":
    main()
