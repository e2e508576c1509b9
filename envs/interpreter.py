"""Which Python a task's sandboxes have, where it is one of this host's."""

from __future__ import annotations

import asyncio
import importlib.util
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from repodrome.errors import SetupError
from repodrome.tasks.model import EnvironmentSpec


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter of the host (or image).

    Attributes:
        path: of the executable.
        version: ``X.Y.Z``, or as the task has it where the host can't ask it.
        prefix: to be bound into the sandbox, or None where the sandbox has it anyway.
    """

    path: str
    version: str
    prefix: str | None


async def find_python(environment: EnvironmentSpec) -> Interpreter:
    """The interpreter that ``environment.python`` names.

    Raises:
        SetupError: it isn't there, or can't make virtual environments; names the fix.
    """
    wanted = environment.python
    if wanted == "host":
        if environment.packages and importlib.util.find_spec("ensurepip") is None:
            raise SetupError(
                "this Python has no 'ensurepip', so no virtual environment can be made with it; "
                "install it (Debian and Ubuntu: apt-get install python3-venv)"
            )
        path = Path(sys.base_exec_prefix) / "bin" / "python{}.{}".format(*sys.version_info[:2])
        return Interpreter(str(path), platform.python_version(), _to_bind(sys.base_prefix))
    found = shutil.which(f"python{wanted}")
    if found is None:
        raise SetupError(
            f"python{wanted} is not on this machine's PATH; install it, or set "
            'environment.python = "host" in task.toml'
        )
    return await _asked(str(Path(found).resolve()))


_interpreters: dict[str, Interpreter] = {}


async def _asked(path: str) -> Interpreter:
    """What an interpreter says of itself; asked once a process."""
    if path not in _interpreters:
        code = "import platform, sys; print(platform.python_version()); print(sys.base_prefix)"
        process = await asyncio.create_subprocess_exec(
            path, "-I", "-c", code, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        lines = output.decode().splitlines()
        if process.returncode != 0 or len(lines) != 2:
            raise SetupError(f"{path} doesn't run; mend it, or set environment.python")
        _interpreters[path] = Interpreter(path, lines[0], _to_bind(lines[1]))
    return _interpreters[path]


def _to_bind(prefix: str) -> str | None:
    """What has to be bound for an interpreter: every sandbox has the host's ``/usr``."""
    return None if Path(prefix).resolve().is_relative_to("/usr") else prefix
