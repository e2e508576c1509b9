"""Whether a process that left something behind still lives: its id may be another's by now."""

from __future__ import annotations

from pathlib import Path


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None when it isn't there (or is a zombie).

    Raises:
        OSError: it can't be known (no descriptors left, for example).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in it may hold any bytes, blanks and parentheses too: count from the last ')'.
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def has_ended(pid: int, started: int) -> bool:
    """Whether the process of that id and start time is surely gone; False where it can't be known.

    Args:
        pid: in the caller's own pid namespace.
        started: clock ticks since boot, as :func:`start_time` said.
    """
    try:
        return start_time(pid) != started
    except OSError:
        return False
