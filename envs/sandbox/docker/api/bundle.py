"""The keeper's program, as it travels to its container: our own modules, by name and text."""

from __future__ import annotations

import importlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

_MODULES = (  # each after what it imports
    "repodrome.errors",
    "repodrome.tools.workspace",
    "repodrome.envs.sandbox.base",
    "repodrome.envs.sandbox.beneath",
    "repodrome.envs.sandbox.direct.capture",
    "repodrome.envs.sandbox.direct.dialogue",
    "repodrome.envs.sandbox.direct.export",
    "repodrome.envs.sandbox.direct.changed",
    "repodrome.envs.sandbox.direct.lineage",
    "repodrome.envs.sandbox.docker.api.inside.processes",
    "repodrome.envs.sandbox.docker.api.inside.live",
    "repodrome.envs.sandbox.docker.api.inside.agent",
    "repodrome.envs.sandbox.docker.api.inside.layer",
    "repodrome.envs.sandbox.docker.api.inside.pack",
    "repodrome.envs.sandbox.docker.api.inside.keeper",
)
LOADER = """
import json, sys, types

size = int(sys.stdin.buffer.readline())
modules, config = json.loads(sys.stdin.buffer.read(size))
for name, text in modules:
    parts = name.split(".")
    for end in range(1, len(parts)):
        parent = ".".join(parts[:end])
        if parent not in sys.modules:
            sys.modules[parent] = types.ModuleType(parent)
            sys.modules[parent].__path__ = []
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
module.main(config)
"""
"""What the container's python3 is started with."""


def program(config: dict[str, Any]) -> bytes:
    """What the loader reads first: the modules, and the configuration of ``keeper.main``."""
    content = json.dumps([_modules(), config]).encode()
    return b"%d\n" % len(content) + content


@cache
def _modules() -> list[tuple[str, str]]:
    found = []
    for name in _MODULES:
        importlib.import_module(name)
        file = sys.modules[name].__file__
        assert file is not None
        found.append((name, Path(file).read_text(encoding="utf-8")))
    return found
