"""Images of a daemon: there already, pulled, or built; and what has to be known of them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import anyio

from repodrome.envs.build_once import once
from repodrome.envs.sandbox.docker import build, contents
from repodrome.envs.sandbox.docker.engine import DockerError, Engine, NotFoundError
from repodrome.envs.sandbox.image import Image, ImageSource, Progress
from repodrome.errors import SandboxError, SandboxUnavailableError, SetupError
from repodrome.tasks.store import Store

RECIPE = Path(__file__).parent / "base"
"""What the base image is made of; ``scripts/make-base-image`` reads it too."""
KIND_LABEL = "repodrome.image"
TASK_LABEL = "repodrome.task"
CARRIED = "repodrome/carried:"
"""How an image is called that came from another daemon, and whose own name is another's here."""
BASE_SECONDS = 900.0
SEEN_SECONDS = 60.0
"""How long an image that was there is taken to be there still."""


@cache
def _base_version() -> str:
    return (RECIPE / "version").read_text().strip()


def base_reference() -> str:
    """The base image's name: ``$REPODROME_BASE_IMAGE``, else the one that fits this version."""
    return os.environ.get("REPODROME_BASE_IMAGE") or f"repodrome/base:{_base_version()}"


async def ensure_image(
    engine: Engine,
    wanted: str | ImageSource | None = None,
    progress: Progress = lambda _: None,
    *,
    store: Store | None = None,
) -> Image:
    """An image that the daemon has, pulled or built if it hadn't.

    Args:
        engine: the daemon.
        wanted: an image's name, or what a task asks for; None: the base image.
        progress: told, in a line each, what takes time and what a build prints.
        store: keeps what is known of images, and the locks; default: the user's cache.

    Raises:
        SetupError: it can't be pulled or built, or has no bash; holds the end of the log.
        SandboxUnavailableError: the daemon is gone, or the base image can't be had.
        SandboxError: the daemon refused.
    """
    store = store or Store()
    source = wanted if isinstance(wanted, ImageSource) else ImageSource(reference=wanted or "")
    if source.context is not None and not source.reference:
        reference = await _built(engine, source, progress, store)
    else:
        reference = source.reference or base_reference()
        await _present(engine, source, reference, progress, store)
    found = await _inspected(engine, reference)
    if found is None:
        raise SandboxError(f"the image {reference} was removed from {engine.name}; start again")
    return await contents.described(engine, reference, found, store)


class Images:
    """The images of several daemons: had on one, carried to the others as sandboxes go there."""

    def __init__(self) -> None:
        self._had: dict[str, tuple[Image, Engine]] = {}
        self._seen: dict[tuple[Engine, str], tuple[float, str]] = {}

    async def ensure(
        self, engine: Engine, wanted: str | ImageSource | None, progress: Progress
    ) -> Image:
        """As :func:`ensure_image`; remembers where it is."""
        image = await ensure_image(engine, wanted, progress)
        self._had[image.id] = image, engine
        return image

    async def bring(self, engine: Engine, identity: str | None) -> str:
        """Have an image that some daemon has on this one; returns its id.

        Args:
            engine: where.
            identity: its id; None: the base image.

        Raises:
            SandboxError: it is nowhere, or a daemon is gone or refused.
        """
        when, found = self._seen.get((engine, identity or ""), (-SEEN_SECONDS, ""))
        if time.monotonic() - when < SEEN_SECONDS:
            return found
        if identity is None:
            found = (await ensure_image(engine)).id
        else:
            found = identity
            if identity in self._had:
                image, origin = self._had[identity]
                if origin is not engine:
                    await carry(image, origin, engine)
        self._seen[engine, identity or ""] = time.monotonic(), found
        return found

    async def copy_out(self, image: Image, path: str, target: Path) -> None:
        """As :func:`~repodrome.envs.sandbox.docker.contents.save_directory`, from where it is."""
        _, engine = self._had[image.id]
        await contents.save_directory(engine, image, path, target)


async def carry(image: Image, origin: Engine, target: Engine) -> None:
    """Have an image of one daemon in another as well, with the same id, once.

    Raises:
        SandboxError: one of them is gone or refused; the id is not the same there.
    """
    if await _inspected(target, image.id) is not None:
        return
    async with once(Store(), "image", _key(target.name, image.id)):
        if await _inspected(target, image.id) is None:
            await _carry(image, origin, target)


async def _carry(image: Image, origin: Engine, target: Engine) -> None:
    from docker.utils import parse_repository_tag

    blocks = await origin.call(lambda client: client.get_image(image.id))

    def load(client: Any) -> Iterable[dict[str, Any]]:
        client.timeout = None  # it says nothing until all of it is there
        answer: Iterable[dict[str, Any]] = client.load_image(blocks)
        return answer

    await target.follow(load, lambda _: None)
    if await _inspected(target, image.id) is None:
        raise SandboxError(
            f"{target.name} gave the image {image.reference} another id than {origin.name}; "
            f"pull it there: docker pull {image.reference}"
        )
    # Its own name may be another image's there; without any, it would be taken for rubbish.
    name = image.reference
    if ":" not in name or "sha256:" in name or await _inspected(target, name) is not None:
        name = f"{CARRIED}{image.id.rpartition(':')[2][:24]}"
    await target.call(lambda client: client.tag(image.id, *parse_repository_tag(name)))


async def _inspected(engine: Engine, reference: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await engine.call(lambda client: client.inspect_image(reference))
    except NotFoundError:
        return None
    except DockerError as error:
        if "invalid reference" in str(error):
            raise SetupError(
                f"{reference!r} is no name of an image ({error}). Fix: correct "
                "environment.docker_image in task.toml, or FROM in its Dockerfile"
            ) from error
        raise
    return found


# -- having it ------------------------------------------------------------------------------------


async def _present(
    engine: Engine, source: ImageSource, reference: str, tell: Progress, store: Store
) -> None:
    if await _inspected(engine, reference) is not None:
        return
    async with once(store, "image", _key(engine.name, reference)):
        if await _inspected(engine, reference) is not None:
            return
        try:
            with anyio.fail_after(source.timeout):
                await _pull(engine, reference, tell)
        except TimeoutError:
            raise SetupError(
                f"pulling the image {reference} took longer than {source.timeout:g} s; pull it "
                f"beforehand (docker pull {reference}), or raise environment.build_timeout_sec"
            ) from None
        except DockerError as error:
            if reference == base_reference():
                await _make_base(engine, reference, tell, error)
                return
            raise SetupError(
                f"the image {reference}{build.whose(source)} is not on {engine.name} and can't be "
                f"pulled: {error}. Fix: check its name (environment.docker_image), see that the "
                f"daemon reaches its registry (docker login, docker pull {reference}), or load it "
                "(docker load)"
            ) from error


async def _pull(engine: Engine, reference: str, tell: Progress) -> None:
    tell(f"pulling {reference}")
    layers: dict[str, bool] = {}
    faults: list[str] = []

    def see(entry: dict[str, Any]) -> None:
        if "error" in entry:
            faults.append(str(entry["error"]))
        elif entry.get("id") and entry.get("status") in _LAYER_STATUS:
            done = _LAYER_STATUS[entry["status"]]
            if layers.get(entry["id"]) is not done:
                layers[entry["id"]] = done
                if done:
                    tell(f"pulling {reference}: {sum(layers.values())} of {len(layers)} layers")

    # The tag has to be named, or the daemon brings every one that there is.
    await engine.follow(lambda client: client.pull(reference, stream=True, decode=True), see)
    if faults:
        raise DockerError(f"{engine.name} refused: {faults[-1]}")


_LAYER_STATUS = {
    "Pulling fs layer": False,
    "Waiting": False,
    "Pull complete": True,
    "Already exists": True,
}


async def _make_base(engine: Engine, reference: str, tell: Progress, pulling: DockerError) -> None:
    """Build the base image ourselves, where at least Debian's can be pulled."""
    tell(f"{reference} can't be pulled; building it")
    try:
        await build.build(
            engine,
            build.context(RECIPE),
            reference,
            {KIND_LABEL: "base"},
            ImageSource(context=RECIPE, timeout=BASE_SECONDS),
            tell,
        )
    except SetupError as error:
        why = str(error).splitlines()[0]
        raise SandboxUnavailableError(
            f"the base image {reference} is not on {engine.name}, can't be pulled ({pulling}) and "
            f"can't be built there ({why}). Fix: make it with scripts/make-base-image (root; needs "
            f"a Debian mirror only), get it with `docker pull {reference}` or `docker load`, or "
            "name another with REPODROME_BASE_IMAGE"
        ) from error


async def _built(engine: Engine, source: ImageSource, tell: Progress, store: Store) -> str:
    """The name of the image of a task's Dockerfile, built if it isn't there."""
    assert source.context is not None
    context = await anyio.to_thread.run_sync(build.context, source.context)
    bases = []
    for base in context.bases:
        await _present(engine, source, base, tell, store)
        found = await _inspected(engine, base)
        bases.append((base, found and found["Id"]))
    reference = f"repodrome/task:{_key(context.digest, bases)}"
    if await _inspected(engine, reference) is None:
        async with once(store, "image", _key(engine.name, reference)):
            if await _inspected(engine, reference) is None:
                labels = {KIND_LABEL: "task", TASK_LABEL: source.task}
                await build.build(engine, context, reference, labels, source, tell)
    return reference


def _key(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
