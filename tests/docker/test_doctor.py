"""``repodrome doctor`` and ``clean`` about Docker daemons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repodrome.envs.sandbox.check import Check
from repodrome.envs.sandbox.docker.doctor import docker_checks
from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from repodrome.envs.sandbox.docker.hosts import VARIABLE
from repodrome.envs.sandbox.docker.labels import MACHINE, OWNER, labels
from repodrome.envs.sandbox.owner import Owner
from repodrome.harness.cli.app import app
from tests.docker.daemon import Daemon, running


def checks() -> dict[str, Check]:
    return {check.name: check for check in docker_checks()}


def test_a_daemon_that_is_not_there_is_said_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "unix:///no/such.sock")
    [check] = checks().values()
    assert not check.ok and not check.required
    assert "No such file" in check.detail and "systemctl start docker" in check.fix


def test_a_variable_that_does_not_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "tcp://a=none")
    [check] = checks().values()
    assert not check.ok and VARIABLE in check.detail and check.fix


@pytest.mark.slow
def test_what_a_daemon_can_do_is_said(own_daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{own_daemon.url}=7")
    found = checks()
    assert found["docker"].ok and "7 sandboxes" in found["docker"].detail
    assert found["docker image"].ok and found["docker limits"].ok and found["docker mode"].ok
    assert "GiB free" in found["docker disk"].detail
    assert "runc" in found["docker runtimes"].detail


@pytest.mark.slow
def test_several_daemons_are_told_apart_and_each_has_its_fixes(
    own_daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(image=None, tcp=True) as bare:
        monkeypatch.setenv(VARIABLE, f"{own_daemon.url} {bare.tcp_url}")
        found = checks()
        assert found[f"docker {own_daemon.url} image"].ok
        assert "make-base-image" in found[f"docker {bare.tcp_url} image"].fix
        mode = found[f"docker {bare.tcp_url} mode"]
        assert not mode.ok and "over the API" in mode.detail


@pytest.mark.slow
def test_clean_asks_daemons_and_spares_owners_elsewhere(
    own_daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, f"{own_daemon.url} unix:///no/such.sock")
    monkeypatch.setenv("REPODROME_CACHE", str(tmp_path))
    engine = Engine(Address(own_daemon.url), connect)
    here = Owner.current()
    dead, elsewhere = replace(here, started=here.started - 1), replace(here, boot="0" * 12)
    for name, owner, machine in (("dead", dead, "this"), ("elsewhere", elsewhere, "another")):
        marks = {**labels("test"), OWNER: str(owner), MACHINE: machine}
        engine.client().create_volume(name, labels=marks)
    said = CliRunner().invoke(app, ["clean"]).output.replace("\n", " ")
    assert "removed Docker volume dead (test)" in said and "elsewhere" not in said
    assert "not looked at: unix:///no/such.sock" in said
    assert "elsewhere" in CliRunner().invoke(app, ["clean", "--all-owners"]).output
    engine.close()
