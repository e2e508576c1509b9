"""What init and shells are told, in bash, and how they answer: the same for hosts and for keepers.

Status and framing travel on FIFOs of their own. Standard library only: it runs in containers too.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from repodrome.envs.sandbox.base import WORKSPACE
from repodrome.envs.sandbox.direct.capture import claimed

BASH = ("/bin/bash", "--noprofile", "--norc", "-c")
# A shell that may not fork exits. With init all would end, so it begins anew in its own place: what
# it was told is lost, and whoever waits for that runs out of time.
INIT = f"""trap 'exec {" ".join(BASH)} "$BASH_EXECUTION_STRING"' EXIT
while IFS= read -r -d '' _line; do eval "$_line"; done
trap - EXIT"""
SESSION = rf"""
builtin cd -- "$1" || builtin cd {WORKSPACE}
if [ -n "$2" ]; then . "$2" 2>/dev/null; fi
printf '0 %s\0' "$$" >&9
while IFS= read -r -d '' -u 8 _rd_number && IFS= read -r -d '' -u 8 _rd_command; do
  eval "$_rd_command" </dev/null 8<&- 9>&-
  builtin printf '%s %s %s\0' "$_rd_number" "$?" "$PWD" >&9
done
"""
STATE = r"""{ printf 'builtin cd -- %q\n' "$PWD"; export -p; declare -f; alias -p; shopt -p; } """
OPEN_SECONDS = 10.0
"""What a new shell or init gets to answer."""
GRACE = 1.0
"""Seconds that a shell gets to answer after its command was killed."""
BIG_COMMAND = 2048
"""bash reads a pipe byte by byte: what is longer than this many bytes travels as a file."""
MAX_RECORD = 1 << 15
"""Bytes of one answer; the longest real one holds a path of a few KB."""


def shell_line(base: str, entrance: str, cwd: str, state: str) -> str:
    """What init evaluates to start a persistent shell.

    Args:
        base: path of its FIFOs, without what tells them apart.
        entrance: bash in front of its words, which ends with ``exec``.
        state: path of a script that brings back a former shell's state, or ``""``.
    """
    words = shlex.join([*BASH, SESSION, "bash", cwd, state])
    return f"{{ {entrance}{words}; }} </dev/null >{base}.out 2>&1 8<{base}.in 9>{base}.st &"


def program_line(
    base: str, entrance: str, argv: Sequence[str], source: str, cwd: str, env: Mapping[str, str]
) -> str:
    """What init evaluates to run a program: a wrapper says its pid, runs it, says its status.

    Args:
        base, entrance: as for :func:`shell_line`.
        source: path of its input.
        env: variables beside those that the entrance sets.
    """
    words = ["env", *(f"{k}={v}" for k, v in env.items())] if env else []
    program = (
        f"cd -- {shlex.quote(cwd)} && {entrance}{shlex.join([*words, *argv])}"
        f" <{source} >{base}.out 2>{base}.err 9>&-"
    )
    wrapper = f'{{ printf "%s\\0" "$BASHPID" >&9; ( {program} ); printf "%s\\0" "$?" >&9; }}'
    return f"{wrapper} </dev/null >/dev/null 2>&1 9>{base}.st &"


def take_records(said: bytearray, first: bytes) -> list[list[bytes]]:
    """Take a shell's complete records, and give those that begin so; all else is a forgery.

    Args:
        said: what came over its status FIFO; an incomplete record stays.
        first: the number of the command whose answer is awaited; ``0`` when it has just begun.
    """
    *records, rest = bytes(said).split(b"\0")
    said[:] = rest[:MAX_RECORD]
    begun = first + b" "  # looked at first: a flood may be of a million records
    found = [r.split(b" ", 2) for r in records if r.startswith(begun) and len(r) < MAX_RECORD]
    return [f for f in found if claimed(f[1]) >= 0]
