"""The user's own pip options, as pip itself reads them from its files and the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Literal

from repodrome.tasks.python_source import literal


def pip_options(command: Literal["download", "install"]) -> dict[str, str]:
    """Option, e.g. ``index-url``, → value; options without a value are left out, as pip does.

    Args:
        command: whose own section counts, besides ``[global]``; the environment beats both. Where
            this Python has no pip, the environment is all there is.
    """
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    layers: dict[str, dict[str, str]] = {"global": {}, command: {}, ":env:": {}}
    if listing.returncode == 0:
        for line in listing.stdout.splitlines():
            name, _, quoted = line.partition("=")
            section, _, option = name.rpartition(".")
            if section in layers:
                layers[section][option] = str(literal(quoted))
    for variable, value in os.environ.items():
        if variable.startswith("PIP_"):
            layers[":env:"][variable[4:].lower().replace("_", "-")] = value
    options: dict[str, str] = {}
    for layer in layers.values():  # later ones win, as in pip
        options |= {option: value for option, value in layer.items() if value}
    return options
