"""An image of a few megabytes, bash and cat and nothing else, and a registry that serves it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def tiny_root(shell: str = "bash") -> bytes:
    """A root filesystem as a tar archive: the host's bash and cat with their libraries.

    Args:
        shell: what bash is called beside ``sh``.
    """
    needed = ["ldd", "/bin/bash", "/bin/cat"]
    found = subprocess.run(needed, capture_output=True, text=True, check=True)
    libraries = sorted(set(re.findall(r"(/\S+) \(", found.stdout)))
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", dereference=True) as tar:
        for path in libraries:
            tar.add(path)
        for name in {"sh", shell}:
            tar.add("/bin/bash", f"bin/{name}")
        tar.add("/bin/cat", "bin/cat")
        for name in ("tmp", "dev", "proc", "sys", "etc"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
    return data.getvalue()


@contextmanager
def registry(root: bytes) -> Iterator[str]:
    """Serve ``ADDRESS/tiny:1``, of that root, on 127.0.0.1 (OCI distribution, plain HTTP).

    Yields:
        The address, ``127.0.0.1:PORT``.
    """
    digest = _digest(root)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin", "TINY=yes"], "WorkingDir": "/etc"},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
            "history": [{"created": "2026-01-01T00:00:00Z"}],
        }
    ).encode()
    kind = "application/vnd.docker.{}+json"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kind.format("distribution.manifest.v2"),
            "config": {
                "mediaType": kind.format("container.image.v1"),
                "size": len(config),
                "digest": _digest(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "size": len(root),
                    "digest": digest,
                }
            ],
        }
    ).encode()
    blobs = {_digest(data): data for data in (config, root, manifest)}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            data = b"{}" if name == "" else manifest if name == "1" else blobs.get(name, b"")
            self.send_response(200 if data else 404)
            self.send_header("Content-Length", str(len(data)))
            if data == manifest:
                self.send_header("Content-Type", kind.format("distribution.manifest.v2"))
                self.send_header("Docker-Content-Digest", _digest(manifest))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
