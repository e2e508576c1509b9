"""The project's own site, as agents find it where they reach the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from repodrome.envs.sandbox.base import SandboxBackend, SandboxSpec
from repodrome.errors import SandboxError

_SECONDS = 30.0
# At the address of the sandbox's own name: in a container that which others reach it by, and the
# host's loopback where the sandbox shares its network.
_SERVER = """\
import functools, http.server, socket, sys

handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
address = socket.gethostbyname(socket.gethostname())
with http.server.ThreadingHTTPServer((address, 0), handler) as server:
    with open(sys.argv[2], "w") as file:
        file.write(f"http://{address}:{server.server_port}\\n")
    server.serve_forever()
"""
_START = """\
setsid python3 server.py released address </dev/null >/dev/null 2>&1 &
until [ -s address ]; do sleep 0.05; done
"""


@asynccontextmanager
async def serving(
    backend: SandboxBackend, spec: SandboxSpec, path: str, data: bytes
) -> AsyncIterator[str]:
    """The address at which a sandbox with network serves ``data`` as ``path``.

    Raises:
        SandboxError: it serves nothing.
    """
    async with await backend.start(replace(spec, network="full")) as sandbox:
        await sandbox.write("server.py", _SERVER.encode())
        await sandbox.write(f"released/{path}", data)
        done = await sandbox.shell(_START, timeout=_SECONDS)
        if done.exit_code != 0:
            raise SandboxError(f"the audit's upstream did not start: {done.stderr!r}")
        yield (await sandbox.read("address")).decode().strip()
