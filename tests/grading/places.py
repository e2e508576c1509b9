"""Where tests of grading run: the embedded sandbox where this machine has it, else the fake."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from importlib.metadata import files
from pathlib import Path

from repodrome.envs.grading.grader import grade
from repodrome.envs.grading.pytest_run import PYTHON
from repodrome.envs.grading.verdict import Verdict
from repodrome.envs.sandbox.base import Change, SandboxBackend, SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend
from tests.fakes.plain_sandbox import PlainBackend
from tests.grading.benches import Till


def place(spec: SandboxSpec, *, real: bool) -> tuple[SandboxBackend, SandboxSpec, str]:
    """A backend, the spec made fit for it, and the interpreter inside."""
    if real:
        backend = BubblewrapBackend()
        layers = (*spec.layers, python_layer(spec.layers[0].parent / "python"))
        for layer in layers:
            for path in (layer, *layer.rglob("*")):
                os.chown(path, *backend.owner, follow_symlinks=False)
        toolchains = () if sys.base_prefix == "/usr" else (sys.base_prefix,)
        return backend, replace(spec, layers=layers, toolchains=toolchains), PYTHON
    return PlainBackend(), spec, PYTHON


def python_layer(layer: Path) -> Path:
    """A layer whose ``/env`` has this interpreter and a copy of its pytest; needs no network."""
    if layer.exists():
        return layer
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = layer / "env" / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True)
    for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        for file in files(name) or ():
            source = Path(str(file.locate()))
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, packages / file)
    (layer / "env" / "bin").mkdir()
    base = Path(sys.base_prefix) / "bin"
    (layer / "env" / "bin" / "python").symlink_to(base / f"python{version}")
    (layer / "env" / "pyvenv.cfg").write_text(f"home = {base}\nversion = {version}\n")
    return layer


async def judged(till: Till, change: Change, *, real: bool = False) -> Verdict:
    """The verdict on a change."""
    backend, spec, python = place(till.spec, real=real)
    try:
        return await grade(
            till.task,
            change,
            backend=backend,
            spec=spec,
            hidden=None,
            pristine=till.pristine,
            python=python,
        )
    finally:
        await backend.close()
