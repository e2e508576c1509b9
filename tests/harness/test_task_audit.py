"""A task's audit: attacks that its verifier falls for, faults that its tests miss."""

from __future__ import annotations

import json

import pytest

SOUND = """\
import subprocess, sys
code = "import sys; sys.path.insert(0, '.'); from sums import add; print(%s)"
for numbers, right in (((1, 2), "3"), ((-4, 4), "0"), ((10, 5), "15")):
    argv = [sys.executable, "-c", code % f"add{numbers}"]
    if subprocess.run(argv, capture_output=True, text=True).stdout.strip() != right:
        sys.exit(1)
"""
LONG = """\
def add(a, b):
    first = a * 1
    second = b * 1
    if second > 1000:
        second = second + 0
    if first > 1000:
        first = first + 0
    return first + second
"""


def audited(cli, folder):
    result = cli("task", "validate", str(folder), "--audit", "--json")
    return result, json.loads(result.stdout)["tasks"][0]


@pytest.mark.slow
def test_a_verifier_that_believes_an_exit_status_is_found_out(cli, make_folder):
    result, found = audited(cli, make_folder())
    assert result.exit_code == 1
    assert "exit_at_import" in found["audit"]["paying"]
    problems = [f["problem"] for f in found["findings"] if f["check"] == "audit"]
    assert any("leaves with status 0" in problem for problem in problems)


@pytest.mark.slow
def test_a_sound_verifier_passes_and_its_score_is_told(cli, make_folder):
    result, found = audited(cli, make_folder(check=SOUND))
    assert result.exit_code == 0, found
    assert found["audit"]["paying"] == [] and found["audit"]["attacks"] >= 20
    assert found["audit"]["mutants"] >= 2 and found["audit"]["survivors"] == []
    assert found["audit"]["marks"] == []


@pytest.mark.slow
def test_tests_that_miss_faults_are_marked_weak(cli, make_folder):
    folder = make_folder(check=SOUND, solution={"workspace/sums.py": LONG})
    result, found = audited(cli, folder)
    assert result.exit_code == 0, found
    assert found["audit"]["marks"] == ["weak"]
    assert any("1000" in survivor for survivor in found["audit"]["survivors"])
    assert any(f["check"] == "mutation" for f in found["findings"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["output", "benchmark"])
def test_programs_are_tried_with_faults(cli, tmp_path, kind):
    folder = tmp_path / "scaffold"
    assert cli("task", "new", str(folder), "--verifier", kind).exit_code == 0
    result, found = audited(cli, folder)
    assert result.exit_code == 0, found
    assert found["audit"]["mutants"] >= 1 and found["audit"]["paying"] == []
    assert len(found["audit"]["survivors"]) < found["audit"]["mutants"]
