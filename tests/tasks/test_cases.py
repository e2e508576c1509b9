"""Held-out inputs: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from repodrome.errors import TaskFormatError
from repodrome.tasks.cases import read_cases
from repodrome.tasks.folder import load_task


def folder(base: Path, text: str, **files: str) -> Path:
    (base / "tests/cases").mkdir(parents=True)
    (base / "tests/cases.toml").write_text(text)
    for name, content in files.items():
        path = base / "tests/cases" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return base


def test_a_case_and_its_files(tmp_path: Path) -> None:
    text = '[[case]]\nname = "a"\nargs = ["-x", "1"]\nstatus = 3\nkeep = true\n'
    text += '[[case]]\nname = "b"\nstdin = "in"\nstdout = "é"\ntimed = false\n'
    made = folder(tmp_path, text, a__stdin="long", a__stdout="", a__files__data__x="1")
    first, second = read_cases(made, kind="output")
    assert (first.id, first.args, first.status, first.keep) == ("case:a", ("-x", "1"), 3, True)
    assert (first.stdin, first.stdout, first.files) == (b"long", b"", {"data/x": b"1"})
    assert (second.stdin, second.stdout, second.timed) == (b"in", "é".encode(), False)


CASE = '[[case]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("text", "kind", "key", "says"),
    [
        ("", "output", "case", "[[case]]"),
        ("case = 3", "output", "case", "[[case]]"),
        ("[[case]\n", "output", "", "mend that line"),
        (CASE, "output", "case.0.stdout", "tests/cases/a/stdout"),
        (CASE + "stdout = ''\nkeep = true", "output", "case", "must mend"),
        (CASE + "timed = false", "benchmark", "case", "timed"),
        (CASE + CASE, "benchmark", "case.1.name", "each once"),
        (CASE + "argv = []", "benchmark", "case.0.argv", "args"),
        (CASE + "args = [1]", "benchmark", "case.0.args.0", "list of text"),
        (CASE + "status = 256", "benchmark", "case.0.status", "0 to 255"),
        (CASE + "keep = 3", "benchmark", "case.0.keep", "true or false"),
        (CASE + "stdin = 3", "benchmark", "case.0.stdin", "write text"),
        ("[[case]]\nname = '../a'", "benchmark", "case.0.name", "letters"),
        ("[[case]]\n", "benchmark", "case.0.name", "letters"),
        (CASE + "[other]\n", "benchmark", "other", "only [[case]]"),
    ],
)
def test_faults_name_file_key_and_fix(
    text: str, kind: str, key: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(TaskFormatError) as raised:
        read_cases(folder(tmp_path, text), kind=kind)
    assert raised.value.file.endswith("tests/cases.toml")
    assert raised.value.key == key
    assert says in str(raised.value)


def test_a_text_is_given_once(tmp_path: Path) -> None:
    made = folder(tmp_path, CASE + "stdin = 'x'", a__stdin="y")
    with pytest.raises(TaskFormatError, match="as well") as raised:
        read_cases(made, kind="benchmark")
    assert raised.value.key == "case.0.stdin"


@pytest.mark.parametrize("kind", ["output", "benchmark"])
def test_a_task_is_loaded_with_them(kind: str, tmp_path: Path) -> None:
    made = folder(tmp_path, CASE + "stdout = 'x'")
    (made / "workspace").mkdir()
    (made / "instruction.md").write_text("Do it.")
    (made / "task.toml").write_text(f'[verifier]\nkind = "{kind}"\n')
    with pytest.raises(TaskFormatError, match=r"verifier\.command: is missing"):
        load_task(made)
    (made / "task.toml").write_text(f'[verifier]\nkind = "{kind}"\ncommand = ["cat"]\n')
    assert load_task(made).verifier.kind == kind
    (made / "task.toml").write_text(f'[verifier]\nkind = "{kind}"\ncommand = "cat"\n')
    assert load_task(made).verifier.command == "cat"
    (made / "tests/cases.toml").write_text(CASE + "stdout = 'x'\nargs = ['y']")
    with pytest.raises(TaskFormatError, match=r'"\$@"'):
        load_task(made)
    (made / "tests/cases.toml").unlink()
    with pytest.raises(TaskFormatError, match=r"cases\.toml: can't be read"):
        load_task(made)
