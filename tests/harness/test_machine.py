"""``repodrome doctor``, ``clean``, ``version`` and the script's own help."""

from __future__ import annotations

import os
from pathlib import Path

from repodrome.version import __version__
from tests.harness.conftest import only_json


def test_version_and_help(cli):
    assert cli("version").stdout == f"repodrome {__version__}\n"
    help_text = cli("--help").stdout
    assert all(word in help_text for word in ("run", "replay", "task", "doctor", "clean"))


def test_doctor(cli):
    result = cli("doctor", "--json")
    answer = only_json(result)
    assert result.exit_code == (0 if answer["ok"] else 1)
    assert {"name", "ok", "detail", "fix", "required"} <= set(answer["checks"][0])
    # A machine that is merely weaker (no cgroups, no ripgrep) is well enough to play on.
    assert answer["ok"] == all(check["ok"] for check in answer["checks"] if check["required"])
    assert all(check["fix"] for check in answer["checks"] if not check["ok"])
    assert answer["checks"][0]["name"] in cli("doctor").stdout


def test_clean_empties_the_cache_only_when_asked(cli, make_folder):
    assert cli("run", make_folder(), "--agent", "nop").exit_code == 0
    entries = Path(os.environ["REPODROME_CACHE"], "pristine")
    assert list(entries.iterdir())
    assert cli("clean").exit_code == 0
    assert list(entries.iterdir())
    result = cli("clean", "--cache")
    assert result.exit_code == 0, result.output
    assert not entries.exists() or not list(entries.iterdir())
    assert cli("run", make_folder(), "--agent", "nop").exit_code == 0
