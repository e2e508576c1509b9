"""Nothing of a dead owner stays at a daemon, and nothing of a living one goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from repodrome.envs.sandbox.docker.labels import MACHINE, OWNER, labels, machine_id
from repodrome.envs.sandbox.docker.reaper import reap, release
from repodrome.envs.sandbox.owner import Owner
from tests.docker.daemon import BASE, Daemon

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(own_daemon: Daemon) -> Iterator[Engine]:
    engine = Engine(Address(own_daemon.url), connect)
    yield engine
    for what in things(engine):
        assert not what, f"a test left {what}"
    engine.close()


def things(engine: Engine) -> list[list[str]]:
    """Ids of the containers, networks, volumes and nameless images of whatever owner."""

    def ask(client: Any) -> list[list[str]]:
        filters = {"label": OWNER}
        return [
            [c["Id"] for c in client.containers(all=True, filters=filters)],
            [n["Id"] for n in client.networks(filters=filters)],
            [v["Name"] for v in client.volumes(filters=filters)["Volumes"] or ()],
            [i["Id"] for i in client.images(filters={**filters, "dangling": True})],
        ]

    return engine.call_now(ask)


def make_one_of_each(engine: Engine, marks: dict[str, str], name: str) -> None:
    """A running container on a network of its own with a volume, and an image of it."""

    def make(client: Any) -> None:
        client.create_network(name, labels=marks, internal=True)
        client.create_volume(name, labels=marks)
        config = client.create_host_config(network_mode=name, binds=[f"{name}:/data"])
        made = client.create_container(
            BASE, ["sleep", "1000"], labels=marks, host_config=config, name=name
        )
        client.start(made)
        client.commit(made, changes="\n".join(f"LABEL {k}={v}" for k, v in marks.items()))

    engine.call_now(make)


def dead_owner() -> Owner:
    process = subprocess.Popen([sys.executable, "-c", ""])
    owner = replace(Owner.current(), pid=process.pid, started=1)
    process.wait()
    return owner


def test_everything_of_a_dead_owner_goes_and_nothing_of_a_living_one(engine: Engine) -> None:
    make_one_of_each(engine, {**labels("test"), OWNER: str(dead_owner())}, "dead")
    make_one_of_each(engine, labels("test"), "ours")
    before = things(engine)
    removed = reap(engine)
    after = things(engine)
    assert [len(found) for found in after] == [1, 1, 1, 1]
    assert len(removed) == sum(map(len, before)) - 4
    assert reap(engine) == []
    release(engine)
    assert things(engine) == [[], [], [], []]


def test_a_reused_pid_is_not_its_former_owner(engine: Engine) -> None:
    former = replace(Owner.current(), started=Owner.current().started - 1)
    engine.call_now(
        lambda client: client.create_volume("former", labels={**labels("t"), OWNER: str(former)})
    )
    assert len(reap(engine)) == 1


def test_owners_elsewhere_are_only_reaped_by_consent(engine: Engine) -> None:
    here = Owner.current()
    owners = {
        # This machine, before it was booted again: surely gone.
        "rebooted": (replace(here, boot="0" * 12), machine_id()),
        # Another machine at the same daemon, and a container on this one: who knows?
        "elsewhere": (replace(here, boot="0" * 12), "another"),
        "contained": (replace(here, namespace=here.namespace + 1, started=1), "another"),
        "ours": (here, machine_id()),
    }
    for name, (owner, machine) in owners.items():
        marks = {**labels("test"), OWNER: str(owner), MACHINE: machine}
        engine.client().create_volume(name, labels=marks)
    assert reap(engine) == ["Docker volume rebooted (test)"]
    assert len(reap(engine, all_owners=True)) == 2
    assert things(engine)[2] == ["ours"]
    release(engine)


CLIENT = """
import os, sys, time
from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from repodrome.envs.sandbox.docker.labels import labels
from repodrome.envs.sandbox.docker.reaper import release_at_exit
engine = Engine(Address(sys.argv[1]), connect)
release_at_exit(engine)
for _ in range(int(sys.argv[2])):
    made = engine.call_now(lambda client: client.create_container(
        "repodrome/base:latest", ["sleep", "1000"], labels=labels("test")))
    engine.call_now(lambda client: client.start(made))
if os.fork() == 0:
    sys.exit()  # a child's end releases nothing
os.wait()
print("made", flush=True)
if sys.argv[3] == "stay":
    time.sleep(1000)
"""


def client(daemon: Daemon, count: int, then: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CLIENT, daemon.url, str(count), then]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "made\n"
    return process


def test_a_killed_client_leaves_nothing_after_the_next_reap(
    engine: Engine, own_daemon: Daemon
) -> None:
    killed = client(own_daemon, 12, "stay")
    other = client(own_daemon, 2, "stay")
    os.kill(killed.pid, signal.SIGKILL)
    # Not reaped by its parent yet: a zombie owns nothing any more.
    while not reap(engine):
        time.sleep(0.05)
    assert len(things(engine)[0]) == 2, "the other trainer's stay"
    other.kill()
    other.wait()
    killed.wait()
    reap(engine)


def test_a_client_that_ends_releases_its_own(engine: Engine, own_daemon: Daemon) -> None:
    ending = client(own_daemon, 3, "end")
    ending.wait()
    assert things(engine)[0] == []
