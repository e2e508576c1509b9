"""A sandbox's init, without one: what is asked of the control groups."""

from __future__ import annotations

from dataclasses import dataclass, field

from repodrome.envs.sandbox.bubblewrap.live import Live


@dataclass
class Groups:
    """Remembers whether it was asked to stop a group or to let it go on."""

    asked: list[bool] = field(default_factory=list)

    def freeze(self, name: str, frozen: bool) -> None:
        assert name == "group"
        self.asked.append(frozen)


@dataclass
class Spawner:
    cgroups: Groups


@dataclass
class Order:
    cgroup: str = "group"


def test_it_is_frozen_until_the_last_copy_is_taken() -> None:
    groups = Groups()
    live = Live(Spawner(groups), Order(), control=-1, ctl=-1, stderr=-1, owner=None, enter="")
    with live.frozen():
        with live.frozen():
            assert groups.asked[-1]
        assert groups.asked[-1]
    assert not groups.asked[-1]
