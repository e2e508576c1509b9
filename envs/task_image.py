"""What a task and its image have to do with each other, for backends that have images."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import anyio.from_thread

from repodrome.envs.sandbox.base import ENV_PREFIX, HOME, WORKSPACE, SandboxBackend
from repodrome.envs.sandbox.image import Image, ImageBackend, ImageSource, Progress
from repodrome.errors import SetupError, UsageError
from repodrome.tasks.model import Task

if TYPE_CHECKING:
    from repodrome.tasks.origins import Supplied


async def find_image(task: Task, backend: SandboxBackend, tell: Progress) -> Image | None:
    """The task's image, where the backend has images."""
    environment, folder = task.environment, task.folder / "environment"
    source = ImageSource(
        reference=environment.docker_image or "",
        context=folder if (folder / "Dockerfile").is_file() else None,
        task=task.id,
        timeout=environment.build_timeout_sec,
    )
    for name in ("docker-compose.yaml", "docker-compose.yml"):
        if (folder / name).is_file():
            tell(f"environment/{name} of {task.id} is not read: there is one container a sandbox")
    if isinstance(backend, ImageBackend):
        return await backend.image(source, tell)
    if source.reference or source.context:
        if not _has_origin(task):
            raise UsageError(
                f"the workspace of task {task.id} is that of its image, and the sandbox "
                f"{backend.name!r} has no images; play it with the sandbox 'docker' "
                "(--sandbox docker)"
            )
        tell(f"the sandbox {backend.name} has no images; that of {task.id} is left aside")
    return None


def _has_origin(task: Task) -> bool:
    return bool(task.source.directory or task.source.git or task.source.pypi)


def supplied_by(task: Task, backend: SandboxBackend, image: Image | None) -> Supplied | None:
    """The working directory of the task's own image, for a task without a workspace."""
    from repodrome.tasks.origins import Supplied

    own = task.environment.docker_image or (task.folder / "environment" / "Dockerfile").is_file()
    if _has_origin(task) or not own or image is None or not image.workdir:
        return None
    assert isinstance(backend, ImageBackend)
    # Called in the thread that materialises.
    copy_out = functools.partial(backend.copy_out, image, image.workdir)
    return Supplied(
        f"{image.workdir} of the image {image.id}",
        functools.partial(anyio.from_thread.run, copy_out),
    )


def seen_at(workdir: str) -> str:
    """An image's working directory, unless the sandbox has something of its own there."""
    own = (WORKSPACE, ENV_PREFIX, HOME, "/tmp", "/run", "/dev", "/proc", "/sys")
    return "" if any(f"{workdir}/".startswith(f"{place}/") for place in own) else workdir


def check_python(task: Task, image: Image) -> None:
    """See that the image's own interpreter will do.

    Raises:
        SetupError: the task needs one and it has none, or one of another version.
    """
    wanted, kind = task.environment.python, task.verifier.kind
    for what, needed in (
        ("packages", task.environment.packages),
        (f"{kind} verifier", kind in ("pytest", "mutants", "script")),
    ):
        if needed and not image.python:
            raise SetupError(
                f"the image {image.reference} has no python3, which the {what} of task {task.id} "
                "can't do without. Fix: add it in its Dockerfile (RUN apt-get update && apt-get "
                "install -y python3 python3-venv)"
            )
    if (
        image.python
        and wanted != "host"
        and not f"{image.python_version}.".startswith(f"{wanted}.")
    ):
        raise SetupError(
            f"the image {image.reference} has Python {image.python_version}, and task {task.id} "
            f"wants {wanted}. Fix: name an image that has it in environment.docker_image, or drop "
            "environment.python"
        )
