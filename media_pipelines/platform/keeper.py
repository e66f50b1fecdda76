"""Runs a server while anybody shares a lock file, and ends it when nobody does any more, however they went.

Run by path with `python -S -P`, standard library only, so that it costs milliseconds:
`keeper.py FILE DESCRIPTOR COMMAND…`. The descriptor holds a lock that says who may run the server; it is ours until
the server has gone, and never the server's.
"""

import fcntl
import os
import signal
import subprocess
import sys
from types import FrameType

# A fast shutdown, one without a farewell, and the end: of Postgres. It recovers after each.
_LADDER = ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 10))
_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Over(Exception):
    """The server has ended, or somebody asks for its end."""


def _over(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _Over


def _stop(server: "subprocess.Popen[bytes]") -> None:
    for number, patience_s in _LADDER:
        if server.poll() is None:
            server.send_signal(number)
            try:
                server.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        return


def main() -> None:
    users_file, owner, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    os.set_inheritable(owner, False)
    users = os.open(users_file, os.O_RDWR | os.O_CREAT, 0o600)
    for number in (*_END, signal.SIGCHLD):
        signal.signal(number, _over)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        fcntl.flock(users, fcntl.LOCK_EX)  # nobody uses it, and nobody can begin to until we have gone
    except _Over:
        pass
    finally:
        for number in _END:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _stop(server)


if __name__ == "__main__":
    main()
