"""Pinned sdists: found through pip's settings, checked, unpacked safely, and never run."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from repodrome.errors import SetupError, TaskFormatError, UsageError
from repodrome.tasks.folder import load_task
from repodrome.tasks.origins import unpack_sdist
from repodrome.tasks.pypi import PipSettings, fetch_sdist, pip_settings
from repodrome.tasks.source import materialise
from repodrome.tasks.store import Store

TASK = "[source]\npypi = '{}'\nversion = '{}'\nsha256 = '{}'\n"


def archive(path: Path, *members: tarfile.TarInfo | tuple[str, str]) -> str:
    """Write a tar.gz; its sha256."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1].encode())
                tar.addfile(info, io.BytesIO(member[1].encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path) -> tuple[Path, str]:
    """A simple index with one project, whose setup.py tells when it is run; and the hash."""
    page = tmp_path / "index/simple/my-pkg"
    page.mkdir(parents=True)
    ran = tmp_path / "ran"
    sha = archive(
        tmp_path / "index/My_Pkg-1.0.tar.gz",
        ("My_Pkg-1.0/setup.py", f"open({str(ran)!r}, 'w').close()\n"),
        ("My_Pkg-1.0/my_pkg.py", "x = 1\n"),
    )
    (page / "index.html").write_text(
        "<a href='../../other-1.0.tar.gz'>x</a><a href='../../My_Pkg-1.0-py3-none-any.whl'>w</a>"
        f"<a href='../../My_Pkg-1.0.tar.gz#sha256={sha}'>My_Pkg-1.0.tar.gz</a>"
    )
    return tmp_path / "index", sha


@pytest.fixture
def served(index: tuple[Path, str]) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None: ...

    handler = functools.partial(Quiet, directory=str(index[0]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_each_kind_of_place(index: tuple[Path, str], served: str, tmp_path: Path) -> None:
    root, sha = index
    empty = (tmp_path / "no-index").as_uri()
    places = {
        "file index": PipSettings(indexes=((root / "simple").as_uri(),)),
        "http index": PipSettings(indexes=(f"{served}/simple/",)),
        "extra index": PipSettings(indexes=(empty, f"{served}/simple")),
        "find-links directory": PipSettings(indexes=(), find_links=(str(root),)),
        "find-links page": PipSettings(indexes=(), find_links=(f"{served}/simple/my-pkg/",)),
    }
    for name, settings in places.items():
        target = tmp_path / name
        target.mkdir()
        file = fetch_sdist("my.pkg", "1.0", sha.upper(), target, settings=settings)
        assert hashlib.sha256(file.read_bytes()).hexdigest() == sha, name
        assert [p.name for p in target.iterdir()] == ["My_Pkg-1.0.tar.gz"]


def test_another_hash_is_refused_before_anything_is_kept(
    index: tuple[Path, str], tmp_path: Path
) -> None:
    root, sha = index
    for settings in (
        PipSettings(indexes=((root / "simple").as_uri(),)),
        PipSettings(indexes=(), find_links=(str(root),)),
    ):
        target = tmp_path / f"t{len(settings.indexes)}"
        target.mkdir()
        with pytest.raises(UsageError, match=sha):
            fetch_sdist("my-pkg", "1.0", "0" * 64, target, settings=settings)
        assert not list(target.iterdir())


def test_not_found_says_where_it_was_looked_for(index: tuple[Path, str], tmp_path: Path) -> None:
    settings = PipSettings(
        indexes=("http://user:secret@127.0.0.1:9/simple", (index[0] / "simple").as_uri())
    )
    with pytest.raises(SetupError) as caught:
        fetch_sdist("my-pkg", "2.0", "0" * 64, tmp_path, settings=settings)
    text = str(caught.value)
    assert "my-pkg 2.0" in text and "3 files, 0 of them fit" in text and "127.0.0.1:9" in text
    assert "secret" not in text


def test_the_users_pip_settings_are_used_and_no_code_is_run(
    make_task, index: tuple[Path, str], store: Store, tmp_path: Path
) -> None:
    root, sha = index
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nindex-url = {tmp_path.as_uri()}/none\ntimeout = 7\n"
        f"extra-index-url =\n  {tmp_path.as_uri()}/none2\n  {(root / 'simple').as_uri()}\n"
        "[download]\ntrusted-host = localhost\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    env |= {"PIP_CONFIG_FILE": str(config), "PYTHONPATH": os.pathsep.join(sys.path)}
    code = (
        "import sys\nfrom pathlib import Path\nfrom repodrome.tasks.folder import load_task\n"
        "from repodrome.tasks.source import materialise\nfrom repodrome.tasks.store import Store\n"
        "from repodrome.tasks.pypi import pip_settings\n"
        "s = pip_settings()\nprint(s.timeout, len(s.indexes), s.trusted_hosts)\n"
        "materialise(load_task(Path(sys.argv[1])), Store(Path(sys.argv[2])))"
    )
    folder = make_task(TASK.format("my-pkg", "1.0", sha))
    argv = [sys.executable, "-c", code, str(folder), str(store.root)]
    out = subprocess.check_output(argv, env=env, text=True)
    assert "7.0" in out and "('localhost',)" in out
    # By now the archive and the tree are in the store: no index is asked again.
    made = materialise(load_task(folder), store)
    assert (made.workspace / "my_pkg.py").read_text() == "x = 1\n"
    assert not (tmp_path / "ran").exists()


def test_without_an_index_set_pips_own_default_is_asked() -> None:
    code = "from repodrome.tasks.pypi import pip_settings; print(*pip_settings().indexes)"
    env = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    env |= {"PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
    assert out.startswith("https://") and out.rstrip().endswith("/simple")


def entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "bad",
    [
        entry("p-1/../../evil", tarfile.REGTYPE),
        entry("p-1/link", tarfile.SYMTYPE, "../../etc"),
        entry("p-1/link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("p-1/link", tarfile.LNKTYPE, "../../etc/passwd"),
        entry("p-1/device", tarfile.CHRTYPE),
        entry("p-1/pipe", tarfile.FIFOTYPE),
        entry("p-1/a.py/below", tarfile.REGTYPE),
        entry("/p-1/absolute", tarfile.REGTYPE),
    ],
    ids=lambda info: f"{info.name} {info.linkname}",
)
def test_entries_that_lead_out_are_refused(make_task, tmp_path: Path, bad: tarfile.TarInfo) -> None:
    file = tmp_path / "p-1.tar.gz"
    sha = archive(file, ("p-1/a.py", ""), bad)
    task = load_task(make_task(TASK.format("p", "1", sha)))
    (tmp_path / "target").mkdir()
    (tmp_path / "scratch").mkdir()
    with pytest.raises(TaskFormatError, match=r"source\.remove"):
        unpack_sdist(task, file, tmp_path / "target", tmp_path / "scratch")
    assert not (tmp_path / "evil").exists() and not list((tmp_path / "target").iterdir())


def test_nothing_is_written_through_a_link(make_task, tmp_path: Path) -> None:
    file = tmp_path / "p-1.tar.gz"
    up = entry("p-1/a/b/up", tarfile.SYMTYPE, "../../c")
    sha = archive(file, ("p-1/c/x", ""), up, ("p-1/a/b/up/evil", ""))
    task = load_task(make_task(TASK.format("p", "1", sha)))
    (tmp_path / "target").mkdir()
    (tmp_path / "scratch").mkdir()
    with pytest.raises(TaskFormatError, match="below a link"):
        unpack_sdist(task, file, tmp_path / "target", tmp_path / "scratch")


def test_links_inside_are_kept(make_task, tmp_path: Path) -> None:
    file = tmp_path / "p-1.tar.gz"
    hard = entry("p-1/hard", tarfile.LNKTYPE, "p-1/d/x")
    soft = entry("p-1/d/soft", tarfile.SYMTYPE, "../top")
    sha = archive(file, soft, ("p-1/d/x", "content"), ("p-1/top", ""), hard)
    task = load_task(make_task(TASK.format("p", "1", sha)))
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "scratch").mkdir()
    unpack_sdist(task, file, target, tmp_path / "scratch")
    assert (target / "hard").read_text() == "content" and not (target / "hard").is_symlink()
    assert (target / "d/soft").readlink() == Path("../top")


def test_bad_archives(make_task, tmp_path: Path) -> None:
    task = load_task(make_task(TASK.format("p", "1", "0" * 64)))
    broken, two = tmp_path / "b.tar.gz", tmp_path / "two.tar.gz"
    broken.write_bytes(b"not a tar")
    archive(two, ("a/x", ""), ("b/x", ""))
    for number, (file, problem) in enumerate([(broken, "unpacked"), (two, "single top")]):
        (tmp_path / f"s{number}").mkdir()
        with pytest.raises(TaskFormatError, match=problem):
            unpack_sdist(task, file, tmp_path / "target", tmp_path / f"s{number}")


@pytest.mark.network
def test_a_real_project(make_task, store: Store) -> None:
    sha = "1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926"
    toml = TASK.format("six", "1.16.0", sha) + "hidden = ['test_six.py']\n"
    made = materialise(load_task(make_task(toml)), store)
    assert (made.workspace / "six.py").is_file() and (made.hidden / "test_six.py").is_file()
    assert pip_settings().indexes
