"""What is inside an image: asked once an image, in a container without network."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from repodrome.envs.build_once import built
from repodrome.envs.sandbox.base import SandboxLimits
from repodrome.envs.sandbox.docker.engine import DockerError, Engine, NotFoundError
from repodrome.envs.sandbox.docker.hardening import USER, host_config
from repodrome.envs.sandbox.docker.labels import labels
from repodrome.envs.sandbox.image import Image
from repodrome.errors import SandboxError, SetupError
from repodrome.tasks.store import Store

PROBE_SECONDS = 120
_FORMAT = 2
_PROBE = """
command -v bash || echo
command -v cat || echo
python=$(command -v python3)
echo "$python"
[ -z "$python" ] || "$python" -I -c 'import platform; print(platform.python_version())' || echo
"""


async def described(
    engine: Engine, reference: str, inspected: dict[str, Any], store: Store
) -> Image:
    """What an image says of itself and what is in it.

    Raises:
        SetupError: it has no bash, or can't be run at all.
        SandboxError: the daemon is gone or refused.
    """
    config = inspected.get("Config") or {}
    identity = str(inspected["Id"])

    async def ask(staged: Path) -> None:
        (staged / "layer").mkdir()
        facts = await _asked(engine, reference, identity)
        (staged / "layer" / "facts.json").write_text(json.dumps(facts))

    key = f"{identity.rpartition(':')[2][:40]}.{_FORMAT}"
    entry = await built(store, "image", key, ask)
    facts = json.loads((entry / "facts.json").read_bytes())
    return Image(
        id=identity,
        reference=reference,
        env=tuple(variables(config).items()),
        workdir=_directory(config.get("WorkingDir") or ""),
        **facts,
    )


def variables(config: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of an image or container, from the ``Config`` it is inspected with.

    There they are a list of ``NAME=value``, or null
    (https://docs.docker.com/reference/api/engine/).
    """
    words = (entry.partition("=") for entry in config.get("Env") or ())
    return {name: value for name, _, value in words}


async def save_directory(engine: Engine, image: Image, path: str, target: Path) -> None:
    """Write a directory of an image to ``target``, as a tar archive with one top directory.

    Raises:
        SetupError: it isn't there, or is no directory.
        SandboxError: the daemon is gone or refused.
        OSError: our own disk is full.
    """
    async with _container(engine, image.id, "true", {}) as container:
        try:
            blocks, found = await engine.call(lambda client: client.get_archive(container, path))
            if found.get("linkTarget"):
                blocks.close()
                path = found["linkTarget"]
                blocks, _ = await engine.call(lambda client: client.get_archive(container, path))
        except NotFoundError as error:
            raise SetupError(f"the image {image.reference} has no {path}") from error
        await anyio.to_thread.run_sync(_write, engine, blocks, target, abandon_on_cancel=True)


def _write(engine: Engine, blocks: Any, target: Path) -> None:
    with target.open("wb") as file:
        while block := engine.call_now(lambda _: next(blocks, b"")):
            file.write(block)


async def _asked(engine: Engine, reference: str, identity: str) -> dict[str, str]:
    from docker.types import LogConfig

    # Not the one of sandboxes, which keeps nothing: these few lines are read afterwards.
    log = {"log_config": LogConfig(type="json-file")}
    async with _container(engine, identity, _PROBE, log) as container:
        try:
            await engine.call(lambda client: client.start(container))
        except DockerError as error:
            raise SetupError(
                f"the image {reference} can't be run: {error}. Fix: it has to be for this "
                "daemon's platform, with /bin/sh and bash in it"
            ) from error
        ended = await engine.call(lambda client: client.wait(container, timeout=PROBE_SECONDS))
        printed = await engine.call(lambda client: client.logs(container, stderr=False))
    lines = printed.decode("utf-8", errors="replace").splitlines()
    if ended.get("StatusCode") != 0 or len(lines) < 3:
        raise SetupError(f"the image {reference} can't be run; try: docker run {reference} sh")
    bash, cat, python, version = (*lines, "", "")[:4]
    for path, package in ((bash, "bash"), (cat, "coreutils")):
        if not path.startswith("/"):
            raise SetupError(
                f"the image {reference} has no {package}, which sandboxes need. Fix: add it in its "
                f"Dockerfile (RUN apt-get update && apt-get install -y {package}; on Alpine: "
                f"RUN apk add {package})"
            )
    works = python.startswith("/") and version
    return {
        "bash": bash,
        "python": python if works else "",
        "python_version": version if works else "",
    }


@asynccontextmanager
async def _container(
    engine: Engine, image: str, script: str, options: dict[str, Any]
) -> AsyncIterator[str]:
    """A container of the image that isn't started yet; removed at the end, come what may."""

    def create(client: Any) -> str:
        made = client.create_container(
            image,
            entrypoint=["/bin/sh", "-c"],
            command=[script],
            user=USER,
            working_dir="/",
            labels=labels("probe"),
            host_config=client.create_host_config(**{**host_config(SandboxLimits()), **options}),
        )
        return str(made["Id"])

    # Shielded: a cancelled create would leave a container whose id nobody knows.
    with anyio.CancelScope(shield=True):
        container = await engine.call(create)
    try:
        yield container
    finally:
        with anyio.CancelScope(shield=True):
            with suppress(SandboxError):  # the reaper will
                await engine.call(lambda c: c.remove_container(container, force=True, v=True))


def _directory(path: str) -> str:
    """A working directory that is one of its own."""
    path = "/" + path.strip("/")
    return "" if path == "/" else path
