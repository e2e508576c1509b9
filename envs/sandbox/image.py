"""Images: the root filesystems of sandboxes that don't take the host's own toolchain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from repodrome.envs.sandbox.base import SandboxBackend

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Which image is wanted; with neither a reference nor a context: the backend's base image.

    Attributes:
        reference: an image's name, to be pulled where it is missing.
        context: a directory with a ``Dockerfile``, to be built.
        task: whose it is; for messages and listings.
        timeout: seconds that pulling or building may take.
    """

    reference: str = ""
    context: Path | None = None
    task: str = ""
    timeout: float = 900.0


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is there.

    Attributes:
        id: of its content, ``sha256:…``.
        reference: a name that it goes by.
        env: its own environment variables.
        workdir: its working directory, ``""`` where it names none.
        python: path of its ``python3``, ``""`` where it has none.
        python_version: ``X.Y.Z``.
        bash: path of its ``bash``, ``""`` where it has none.
    """

    id: str
    reference: str
    env: tuple[tuple[str, str], ...] = ()
    workdir: str = ""
    python: str = ""
    python_version: str = ""
    bash: str = ""


@runtime_checkable
class ImageBackend(SandboxBackend, Protocol):
    """A backend whose sandboxes have an image's root: ``SandboxSpec.image`` is an image's id."""

    async def image(self, source: ImageSource, progress: Progress) -> Image:
        """The image, pulled or built if it isn't there, however many ask for it at once.

        Raises:
            SetupError: it can't be pulled or built; holds the end of the log.
            SandboxError: the backend can't be reached, or was lost.
        """

    async def copy_out(self, image: Image, path: str, target: Path) -> None:
        """Write a directory of an image to the file ``target``, as a tar archive.

        Args:
            path: absolute; its last part is the archive's single top directory.

        Raises:
            SetupError: it isn't there, or is no directory.
            SandboxError: the backend can't be reached, or was lost.
        """
