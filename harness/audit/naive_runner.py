# mypy: disable-error-code="no-untyped-def,no-untyped-call"
"""A deliberately naive runner: it starts the agent's command beside itself, without any limit.

Travels as ``python -c SOURCE`` with the command on standard input, into a small sandbox that plays
the host for it and for its neighbour. The last line says ``unharmed`` where, once the agent is
done, the neighbour can work for a while; a runner that was killed says nothing.
"""

import os
import subprocess
import sys
import time

SECONDS = 5.0
"""How long the neighbour works: what the agent left behind may need a moment to strike."""


def main():
    command = sys.stdin.read()
    try:
        # All of the output is kept, however much it is.
        subprocess.run(["bash", "-c", command], capture_output=True)
    except OSError:
        pass
    ends = time.monotonic() + SECONDS
    try:
        while time.monotonic() < ends:
            work()
            time.sleep(0.02)
    except (OSError, MemoryError, subprocess.CalledProcessError) as error:
        sys.stdout.write(f"harmed: {error}\n")
    else:
        sys.stdout.write("unharmed\n")


def work():
    if any(is_audits(process) for process in os.listdir("/proc") if process.isdigit()):
        raise OSError("processes outlived the agent")
    for number in range(20):
        with open(f"neighbour{number}", "w") as file:
            file.write("x" * 100000)
    held = bytearray(64 << 20)
    for place in range(0, len(held), 4096):
        held[place] = 1
    subprocess.run(["true"], check=True)


def is_audits(number):
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            return b"audit-survivor" in file.read().split(b"\0")[0]
    except OSError:
        return False


main()
