"""SWE-ReX's part of :mod:`benchmarks.docker`, run by a Python that has it; prints JSON lines."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time


async def main(image: str, env: str, n: int) -> None:
    """Start its container, time commands in its session and file access."""
    from swerex.deployment.docker import DockerDeployment
    from swerex.runtime.abstract import (
        BashAction,
        CreateBashSessionRequest,
        ReadFileRequest,
        WriteFileRequest,
    )

    logging.disable(logging.CRITICAL)
    starts = []
    for _ in range(max(2, n // 10)):
        deployment = DockerDeployment(
            image=image,
            pull="never",
            docker_args=["-v", f"{env}:/env:ro", "-e", "PATH=/env/bin:/usr/bin:/bin"],
            startup_timeout=60.0,
        )
        began = time.perf_counter()
        await deployment.start()
        runtime = deployment.runtime
        await runtime.create_session(CreateBashSessionRequest())
        await runtime.run_in_session(BashAction(command="echo ready"))
        starts.append(time.perf_counter() - began)
        if len(starts) < max(2, n // 10):
            await deployment.stop()
    said("start to the first command's output", starts)
    for what, command in (("builtin", ":"), ("fork+exec", "/bin/true")):
        taken = []
        for _ in range(n):
            began = time.perf_counter()
            await runtime.run_in_session(BashAction(command=command))
            taken.append(time.perf_counter() - began)
        said(f"session command, {what}", taken)
    writes, reads = [], []
    for _ in range(n):
        began = time.perf_counter()
        await runtime.write_file(WriteFileRequest(path="/tmp/f", content="x" * 10_000))
        writes.append(time.perf_counter() - began)
        began = time.perf_counter()
        await runtime.read_file(ReadFileRequest(path="/tmp/f"))
        reads.append(time.perf_counter() - began)
    said("write of 10 KB", writes)
    said("read of 10 KB", reads)
    await deployment.stop()


def said(figure: str, seconds: list[float]) -> None:
    """One row."""
    print(json.dumps({"figure": figure, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
