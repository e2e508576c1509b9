"""What README and docs say is so: their Python runs, their commands, tasks and keys exist."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from repodrome.envs.rewards import communication, effort, misuse
from repodrome.envs.rewards.registry import _BUILTIN, make_reward
from repodrome.envs.rewards.rules import read_rules
from repodrome.harness.agents.openai import OpenAISettings
from repodrome.harness.audit.corpus import load
from repodrome.harness.cli.app import app
from repodrome.tasks import model
from repodrome.tasks.suites import all_task_ids, suite_names
from repodrome.tools.registry import standard_tools
from tests.conformance.reward_suite import CHECKS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

TABLES: dict[str, type[BaseModel]] = {
    "[metadata]": model.Metadata,
    "[source]": model.Source,
    "[[source.edits]]": model.SourceEdit,
    "[environment]": model.EnvironmentSpec,
    "[verifier]": model.VerifierSpec,
    "[tools]": model.ToolsSpec,
    "[[rewards]]": model.RewardSpec,
    "[limits]": model.Limits,
    "[context]": model.ContextSpec,
    "[user]": model.UserSpec,
    "[locate]": model.LocateSpec,
    "[[user.rules]]": model.UserRule,
}


def fences(page: Path) -> Iterator[tuple[str, str, str]]:
    """The line before each fenced block, its language and its text."""
    for found in re.finditer(
        r"(?:^|\n)([^\n]*)\n```(\w*)\n(.*?)\n```(?=\n|$)", page.read_text(), re.DOTALL
    ):
        yield found[1], found[2], found[3]


def runnable() -> list[tuple[str, str, str | None]]:
    """Each Python block marked ``<!-- run -->``, with the output shown below it."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(
            r"<!-- run -->\n```python\n(.*?)\n```\n(?:\n```text\n(.*?)\n```)?", text, re.DOTALL
        ):
            found.append((f"{page.name}:{len(found)}", match[1], match[2]))
    return found


@pytest.mark.parametrize(
    ("code", "shown"), [r[1:] for r in runnable()], ids=[r[0] for r in runnable()]
)
def test_python_blocks_run_and_print_what_is_shown(code: str, shown: str | None) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    if shown is not None:
        assert done.stdout.strip() == shown.strip()


def commands() -> list[tuple[str, str]]:
    """Each ``repodrome …`` line of a shell block, and each one in backticks."""
    found = []
    for page in PAGES:
        for _, language, text in fences(page):
            if language in ("sh", "console"):
                for line in text.split("\n"):
                    line = line.removeprefix("$ ") if language == "console" else line
                    if line.startswith("repodrome "):
                        found.append((page.name, line))
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        found += [(page.name, line) for line in re.findall(r"`(repodrome [^`\n]+)`", prose)]
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_parse(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words, f"{page}: {line} names no command"
        name = words.pop(0)
        assert name in command.commands, f"{page}: no command {name!r} in {line!r}"
        command = command.commands[name]
    if words:  # a mere mention brings no arguments
        command.make_context(command.name, words)


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs/cli.md").read_text()

    def walk(command: Any, path: str) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, f"{path} {name}".strip())
            return
        assert path.split()[-1] in text
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert option in text, f"docs/cli.md says nothing of {path} {option}"

    walk(typer.main.get_command(app), "")


def test_task_ids_exist() -> None:
    known = set(all_task_ids())
    suites = "|".join(suite_names())
    for page in PAGES:
        named = re.findall(rf"\b((?:{suites})/[a-z0-9][a-z0-9-]+)\b", page.read_text())
        assert set(named) <= known, page.name


def documented(section: str) -> set[str]:
    text = (ROOT / "docs/tasks.md").read_text()
    part = re.split(r"\n## ", text.split(f"\n## {section}\n", 1)[1])[0]
    return set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE))


@pytest.mark.parametrize("section", TABLES)
def test_task_toml_keys(section: str) -> None:
    assert documented(section) == set(TABLES[section].model_fields)


def test_the_sections_are_all_of_a_task() -> None:
    ours = {"id", "instruction", "folder", "ignored_keys"}
    sections = {name.strip("[]") for name in TABLES} - {"source.edits", "user.rules"}
    assert sections == set(model.Task.model_fields) - ours


def test_defaults_are_as_shown() -> None:
    import tomllib

    text = (ROOT / "docs/tasks.md").read_text()
    for section, table in TABLES.items():
        part = re.split(r"\n## ", text.split(f"\n## {section}\n", 1)[1])[0]
        for key, shown in re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", part, re.MULTILINE):
            default = table.model_fields[key].default
            value = tomllib.loads(f"x = {shown}")["x"] if not shown.startswith("/") else shown
            if default in ((), "") and isinstance(value, list):
                value = tuple(value)
            if key not in ("run_in",):
                assert value == default, f"{section} {key}"


@pytest.mark.parametrize("name", standard_tools())
def test_every_tool_is_documented_with_arguments_and_settings(name: str) -> None:
    text = (ROOT / "docs/tools.md").read_text()
    part = re.split(r"\n## ", text.split(f"\n## {name}\n", 1)[1])[0]
    tool = standard_tools()[name]
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\|", part, re.MULTILINE))
    assert list(rows) == list(tool.arguments.model_fields)
    for argument, shown in rows.items():
        field = tool.arguments.model_fields[argument]
        assert shown == ("" if field.is_required() else json.dumps(field.default)), argument
    for one in dataclasses.fields(tool):  # type: ignore[arg-type]
        assert one.name in ("name", "description") or f"`{one.name}`" in part, one.name
    assert f"[`{name}`](#{name})" in text


def test_agent_settings_are_documented_with_their_defaults() -> None:
    part = (ROOT / "docs/agents.md").read_text().split("\n### Settings\n", 1)[1]
    shown = {
        key: default
        for keys, default in re.findall(
            r"^\| (`\w+`(?:, `\w+`)*) \| (?:`([^`]*)`)? ?\|", part, re.M
        )
        for key in re.findall(r"\w+", keys)
    }
    for name, field in OpenAISettings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        assert shown.pop(name) == ("" if default is None else json.dumps(default)), name


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def reward_pages() -> dict[str, str]:
    """The part of docs/rewards.md on each reward, by its name."""
    parts = re.split(r"\n## ([^\n]+)\n", (ROOT / "docs/rewards.md").read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", sorted(_BUILTIN))
def test_every_reward_is_documented_with_an_example(name: str) -> None:
    text = reward_pages()[name]
    module, _, attribute = _BUILTIN[name].partition(":")
    fields = dataclasses.fields(getattr(importlib.import_module(module), attribute))
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\|(?! [\d.]+ \|)", text, re.MULTILINE))
    for field in fields:
        assert field.name in rows, f"{name}: {field.name}"
        if rows[field.name]:
            default = field.default
            if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            shown = tomllib.loads(f"x = {rows[field.name]}")["x"]
            assert shown == (list(default) if isinstance(default, tuple) else default)
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (table,) = tomllib.loads(example)["rewards"]
    assert table["name"] == name
    make_reward(model.RewardSpec.model_validate(table))


def test_reward_weights_are_as_shown() -> None:
    pages = reward_pages()
    for name, weights in (
        ("misuse", misuse.WEIGHTS),
        ("communication", {k: v[:2] for k, v in communication.KINDS.items()}),
    ):
        rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|", pages[name], re.MULTILINE)
        assert {kind: (float(w), float(c)) for kind, w, c in rows} == dict(weights)
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| [`a-z]", pages["effort"], re.MULTILINE)
    assert {part: float(w) for part, w in rows} == dict(effort.WEIGHTS)


def test_the_rules_and_the_reward_shown_are_right(tmp_path: Path) -> None:
    pages = reward_pages()
    (rules,) = re.findall(r"```toml\n(.*?)```", pages["Rules files"], re.DOTALL)
    (tmp_path / "rules.toml").write_text(rules)
    assert read_rules(tmp_path / "rules.toml").version.startswith("7@")
    (own,) = re.findall(r"```python\n(.*?)```", pages["Your own"], re.DOTALL)
    (tmp_path / "rewards.py").write_text(own)
    reward = make_reward(model.RewardSpec(name="rewards.py:FewFiles"), folder=tmp_path)
    for check in CHECKS:
        check(reward, 0.0, 1.0)


def test_the_corpus_is_counted_right() -> None:
    attacks, honest = len(load("attacks")), len(load("honest"))
    said = 0
    for page in [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]:
        text = page.read_text()
        for pattern, number in (
            (r"(\d+) attacks\b", attacks),
            (r"attacks that pay naively: (\d+); that pay here: 0", attacks),
            (r"flags: recall [\d.]+ \(\d+ of (\d+)\)", attacks),
            (r"(\d+) honest\b", honest),
            (r"honest variants: (\d+); refused: 0", honest),
        ):
            found = [int(count) for count in re.findall(pattern, text)]
            assert set(found) <= {number}, f"{page.name}: {pattern}"
            said += len(found)
    assert said >= 5


def test_every_builtin_task_has_a_mutation_score() -> None:
    text = (ROOT / "docs/integrity.md").read_text()
    listed = re.findall(r"^\| `(builtin/[^`]+)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(i for i in all_task_ids() if i.startswith("builtin/"))
