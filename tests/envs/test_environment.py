"""Set-up: pip's settings, and a virtual environment built in a real sandbox from a local index."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from repodrome.envs.environment import prepare
from repodrome.envs.episode import Episode
from repodrome.envs.pip_settings import pip_settings
from repodrome.envs.prompt import initial_messages
from repodrome.envs.sandbox.registry import get_backend
from repodrome.errors import SetupError, UsageError
from repodrome.tasks.model import EnvironmentSpec, Task
from tests.envs.conftest import call, turn
from tests.fakes.plain_sandbox import PlainBackend
from tests.fakes.wheel import write_wheel


def test_pip_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "index" / "simple"
    links = tmp_path / "links"
    index.mkdir(parents=True)
    links.mkdir()
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://example.invalid/simple\ntimeout = 9\n"
        f"extra-index-url =\n    {index.as_uri()}\n    https://other.invalid/simple\n"
        f"[install]\nfind-links = {links}\nuser = true\n[list]\nformat = json\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_TIMEOUT", "3")
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    found = pip_settings()
    assert found.env["PIP_INDEX_URL"] == "https://example.invalid/simple"
    assert found.env["PIP_TIMEOUT"] == "3"
    assert found.env["PIP_EXTRA_INDEX_URL"].split() == [
        index.as_uri(),
        "https://other.invalid/simple",
    ]
    assert found.env["PIP_CONFIG_FILE"] == "/dev/null" and "PIP_USER" not in found.env
    # The pages of an index point to files beside it.
    assert {str(links), str(index.parent)} <= set(found.paths)


def test_the_users_home_is_never_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PIP_FIND_LINKS", f"{home} {tmp_path}")
    assert not {str(home), str(tmp_path)} & set(pip_settings().paths)


def test_a_python_that_is_not_there(make_task: Callable[..., Task], backend: PlainBackend) -> None:
    task = make_task(environment=EnvironmentSpec(python="9.9"))
    with pytest.raises(SetupError, match=r"python9\.9 is not on this machine.*install"):
        asyncio.run(prepare(task, backend))


def test_the_hosts_of_a_task_reach_its_sandboxes_and_its_agent(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    allowed = EnvironmentSpec(network_mode="allowlist", allowed_hosts=("pypi.org", "*.example:8"))
    task = make_task(environment=allowed)
    spec = asyncio.run(prepare(task, backend)).spec
    assert (spec.network, spec.allowed_hosts) == ("allowlist", ("pypi.org", "*.example:8"))
    assert "only these hosts" in str(initial_messages(task)[0]["content"])
    # As in Harbor, a list that names nobody lets nobody be reached.
    nobody = make_task("nobody", environment=EnvironmentSpec(network_mode="allowlist"))
    assert asyncio.run(prepare(nobody, backend)).spec.network == "none"
    assert "without network access" in str(initial_messages(nobody)[0]["content"])
    wrong = replace_hosts(allowed, "https://pypi.org")
    with pytest.raises(UsageError, match=r"allowed_hosts.*https://pypi\.org.*Fix"):
        asyncio.run(prepare(make_task("wrong", environment=wrong), backend))


def replace_hosts(environment: EnvironmentSpec, *hosts: str) -> EnvironmentSpec:
    return environment.model_copy(update={"allowed_hosts": hosts})


def test_bubblewrap_names_the_backend_that_has_a_way_out(make_task: Callable[..., Task]) -> None:
    allowed = EnvironmentSpec(network_mode="allowlist", allowed_hosts=("pypi.org",))

    async def scenario() -> None:
        with pytest.raises(UsageError, match='choose the sandbox "docker"'):
            await Episode.start(make_task(environment=allowed), backend="bubblewrap")

    asyncio.run(scenario())


def test_a_cleaned_cache_is_built_again(task: Task, backend: PlainBackend, tmp_path: Path) -> None:
    first = asyncio.run(prepare(task, backend))
    assert asyncio.run(prepare(task, backend)) is first
    (tmp_path / "cache").rename(tmp_path / "gone")
    again = asyncio.run(prepare(task, backend))
    assert again is not first and again.intact


@pytest.mark.slow
def test_packages_in_a_real_sandbox(
    make_task: Callable[..., Task],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    backend = get_backend("bubblewrap")
    backend.check()
    # Not below /tmp, which every sandbox has of its own.
    links = Path(tempfile.mkdtemp(prefix=".test-links-", dir=Path(__file__).parent))
    request.addfinalizer(lambda: shutil.rmtree(links))
    links.chmod(0o755)
    write_wheel(links)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    task = make_task(environment=EnvironmentSpec(packages=("demopkg",), setup=("touch made",)))
    missing = make_task("missing", environment=EnvironmentSpec(packages=("no-such-thing",)))

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            command = "python -c 'import demopkg; print(demopkg.__cached__, demopkg.ANSWER)'; ls"
            step = await episode.step(turn(call("terminal", command=command)))
            assert "42" in step.observation and "made" in step.observation
            command = "find /env -name 'demopkg*.pyc'"
            step = await episode.step(turn(call("terminal", command=command)))
            assert "__pycache__" in step.observation
        with pytest.raises(SetupError, match="no-such-thing"):
            await prepare(missing, backend)
        await backend.close()

    asyncio.run(scenario())
    assert len(list((tmp_path / "cache" / "packages").iterdir())) == 1
    assert not list((tmp_path / "cache" / "staging").iterdir())
