"""``repodrome search``: for people, in directories of their own."""

from __future__ import annotations

import os
from pathlib import Path

from repodrome.envs.search_index import INDEX
from repodrome.tasks.store import Store
from tests.harness.conftest import only_json

NONE = ("--embedder", "none")


def test_finds_and_follows_changes(cli, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("def zebra_stripes():\n    return 1\n")
    (tmp_path / "b.md").write_text("# Zebra\nAbout stripes.\n")
    result = cli("search", tmp_path, "stripes of a zebra", *NONE)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("src/a.py:1-2  ")
    assert "def zebra_stripes():" in result.stdout and "b.md:1-2" in result.stdout
    entries = Store().usage()[INDEX].entries
    (tmp_path / "src/a.py").unlink()
    (tmp_path / "c.py").write_text("def zebra_herd():\n    pass\n")
    answer = only_json(cli("search", tmp_path, "zebra", "--json", *NONE))
    assert {hit["path"] for hit in answer["results"]} == {"c.py", "b.md"}
    assert Store().usage()[INDEX].entries == entries


def test_the_best_results_are_read_again(cli, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def total(entries, remove, old):\n    return entries + old\n")
    (tmp_path / "b.py").write_text("def drop_stale_entries(cache):\n    cache.prune(now())\n")
    question = (tmp_path, "remove cached entries that are too old", "--limit", "1", *NONE)
    assert cli("search", *question).stdout.startswith("a.py:1-2")
    result = cli("search", *question, "--rerank", "minilm")
    assert result.stdout.startswith("b.py:1-2") and len(result.stdout.splitlines()) == 1


def test_a_tree_that_changed_much_is_indexed_anew(cli, tmp_path: Path) -> None:
    for number in range(80):
        (tmp_path / f"m{number}.py").write_text(f"def zebra_{number}():\n    pass\n")
    assert "m1.py" in cli("search", tmp_path, "zebra_1", "--limit", "1", *NONE).stdout
    for number in range(60):
        (tmp_path / f"m{number}.py").write_text(f"def lion_{number}():\n    pass  # changed\n")
    result = cli("search", tmp_path, "lion_1", "--limit", "1", *NONE)
    assert "m1.py" in result.stdout and "indexing" in result.stderr
    assert "indexing" not in cli("search", tmp_path, "lion_1", *NONE).stderr


def test_path_limit_and_nothing_found(cli, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.py", "sub/b.py"):
        (tmp_path / name).write_text("def zebra():\n    pass\n")
    result = cli("search", tmp_path, "zebra", "--path", "sub", *NONE)
    assert result.stdout.startswith("sub/b.py") and "a.py" not in result.stdout
    assert len(cli("search", tmp_path, "zebra", "--limit", "1", *NONE).stdout.splitlines()) == 1
    result = cli("search", tmp_path, "xyzzy", *NONE)
    assert result.exit_code == 0 and result.stdout == "" and "nothing found" in result.stderr


def test_files_are_given_once_each(cli, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def zebra():\n    pass\n\n\ndef zebras():\n    pass\n")
    (tmp_path / "b.py").write_text("def lion(zebra):\n    pass\n\n\ndef cub():\n    pass\n")
    result = cli("search", tmp_path, "count zebras", "--files", *NONE)
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["a.py", "b.py"]


def test_bad_usage(cli, tmp_path: Path) -> None:
    for arguments in (
        (tmp_path / "nothing", "zebra"),
        (tmp_path, "?"),
        (tmp_path, "zebra", "--path", "/etc"),
        (tmp_path, "zebra", "--path", "../x"),
        (tmp_path, "zebra", "--embedder", "nonsense"),
        (tmp_path, "zebra", "--rerank", "nonsense"),
        (tmp_path, "zebra", "--limit", "0"),
        (tmp_path, "zebra", "--files", "--rerank", "minilm"),
    ):
        result = cli("search", *arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""


def test_names_that_drive_terminals_are_escaped(cli, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"x\x1b[31m\xff.py")).write_text("def zebra(): pass\n")
    result = cli("search", tmp_path, "zebra", *NONE)
    assert result.exit_code == 0 and "\x1b[31m" not in result.stdout
