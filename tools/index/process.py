"""Starts one of this package's modules as a process of its own, without the rest of repodrome."""

from __future__ import annotations

import json
import sys
from pathlib import Path

_BOOTSTRAP = """
import importlib, json, sys, types
from pathlib import Path

sys.path[:] = json.loads(sys.argv[2])
# Our package's modules without its __init__, which would bring Gymnasium along.
name, place = "repodrome", Path(sys.argv[1])
for part in (None, "tools", "tools.index"):
    name = f"repodrome.{part}" if part else "repodrome"
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(place.joinpath(*(part or "").split(".")))]
importlib.import_module(f"repodrome.tools.index.{sys.argv[3]}").main()
"""
_PACKAGE = str(Path(__file__).parents[2])


def command(module: str, *arguments: str) -> list[str]:
    """What runs ``main()`` of a module of this package; it finds the arguments in ``sys.argv[4:]``.

    Neither the environment nor the working directory has a say in what is imported.
    """
    path = json.dumps(sys.path)
    return [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, _PACKAGE, path, module, *arguments]
