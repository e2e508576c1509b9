"""A sandbox's init, without one: what is asked of the control groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from repodrome.envs.sandbox.direct.live import Live


@dataclass
class Order:
    cgroup: dict[str, str]


def test_it_is_frozen_until_the_last_copy_is_taken(tmp_path: Path) -> None:
    asked = tmp_path / "cgroup.freeze"
    asked.touch()
    order = Order({"unified": str(tmp_path)})
    live = Live(order, control=-1, ctl=-1, stderr=-1, owner=None, enter="")  # type: ignore[arg-type]
    with live.frozen():
        with live.frozen():
            assert asked.read_text() == "1"
        assert asked.read_text() == "1"
    assert asked.read_text() == "0"
