"""A layer to start sandboxes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repodrome.envs.sandbox.direct.client import sandbox_owner


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    root = tmp_path / "layer"
    (root / "workspace").mkdir(parents=True)
    (root / "workspace/a.txt").write_text("a\n")
    tmp_path.chmod(0o755)
    for path in (root, *root.rglob("*")):
        os.chown(path, *sandbox_owner())
    return root
