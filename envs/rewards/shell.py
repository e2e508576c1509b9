"""What a terminal command is for, as far as its words say: read by rewards, never executed.

A guess by design: shells are too rich to be read without running them. Where a command can't be
split into words, nothing is said of it.
"""

from __future__ import annotations

import re
import shlex
from functools import lru_cache

MAX_COMMAND = 20_000
"""Characters of a command that are looked at."""

_OPERATORS = frozenset({";", "&&", "||", "&", "|", "|&", "(", ")", "\n"})
_PREFIXES = frozenset({"sudo", "time", "nohup", "command", "builtin", "exec", "nice", "env"})
_ASSIGNMENT = re.compile(r"\w+=")
_READERS = frozenset({"cat", "head", "tail", "less", "more", "nl", "bat"})
_SEARCHERS = frozenset({"grep", "egrep", "fgrep", "rg", "ag", "ack"})
_HARMLESS = frozenset(
    {*_READERS, *_SEARCHERS, "ls", "find", "fd", "tree", "pwd", "wc", "which", "echo", "file"}
    | {"stat", "du", "diff", "sort", "uniq", "cut", "true", "cd", "date", "whoami", "printf"}
)
_HARMLESS_GIT = frozenset({"status", "diff", "log", "show", "blame", "branch", "ls-files", "grep"})
_TEST_RUNNERS = frozenset(
    {"pytest", "py.test", "tox", "nox", "nosetests", "ctest", "jest", "vitest", "mocha", "rspec"}
    | {"phpunit", "runtests.py"}
)
_TEST_MODULES = frozenset({"pytest", "unittest", "doctest", "tox", "nox", "nose", "nose2"})
_BUILDERS = frozenset(
    {"npm", "yarn", "pnpm", "bun", "go", "cargo", "mvn", "gradle", "gradlew", "dotnet", "mix"}
    | {"make", "just", "swift", "hatch", "rake", "manage.py"}
)
_WRAPPERS = frozenset({"uv", "poetry", "pdm", "pipenv", "rye", "timeout", "xvfb-run"})
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*")
_TEST_FILE = re.compile(r"(?:^|[/_])tests?(?:[/_.]|$)")
_HEREDOC_WRITE = re.compile(r"\b(?:cat|tee)\b[^\n|;&]{0,200}<<-?\s*['\"\\]?\w+")
_REDIRECT = re.compile(r"^\d*>{1,2}\|?$")
_PLACES = frozenset({"/", "/*", "~", "~/", "~/*", "*", ".", "./", "./*", "..", ".git", "./.git"})
_FORK_BOMB = re.compile(r":\s*\(\s*\)\s*\{")


@lru_cache(maxsize=4096)
def simple_commands(command: str) -> tuple[tuple[str, ...], ...]:
    """The words of each simple command, without assignments and words such as ``sudo``."""
    text = command[:MAX_COMMAND]
    lexer = shlex.shlex(text.replace("\n", " ; "), posix=True, punctuation_chars="();&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return ()
    found: list[tuple[str, ...]] = []
    part: list[str] = []
    for word in [*words, ";"]:
        if word in _OPERATORS or not word.strip(";&|()"):
            if part:
                found.append(tuple(part))
            part = []
        elif part or not (word in _PREFIXES or _ASSIGNMENT.match(word)):
            part.append(word)
    return tuple(found)


def instead_of(command: str) -> str:
    """The tool that does what the command is for: ``read_file``, ``edit_file``, ``write_file``,
    ``grep``, ``glob`` or ``list_dir``; ``""`` where it does more, or something else."""
    if _HEREDOC_WRITE.search(command[:MAX_COMMAND]) and ">" in command:
        return "write_file"
    commands = [words for words in simple_commands(command) if words[0] != "cd"]
    if not commands:
        return ""
    for words in commands:
        if words[0] in ("sed", "perl") and any(w.startswith(("-i", "-pi")) for w in words[1:]):
            return "edit_file"
    first = commands[0]
    writes = any(_REDIRECT.match(w) or (w.startswith(">") and w != ">&1") for w in first)
    if first[0] in ("echo", "printf", "cat") and writes and len(commands) == 1:
        return "write_file"
    # Only a filter of what it shows may follow: "cat x | python" does more than look.
    if writes or any(
        words[0] not in (*_READERS, *_SEARCHERS, "sed", "wc") for words in commands[1:]
    ):
        return ""
    return _looks(first)


def _looks(words: tuple[str, ...]) -> str:
    name, files = words[0], [w for w in words[1:] if not w.startswith("-")]
    if name in _READERS and files:
        return "read_file"
    if name == "sed" and "-n" in words and len(files) >= 2:
        return "read_file"
    if name in _SEARCHERS and (len(files) >= 2 or any(w in ("-r", "-R", "-rn") for w in words)):
        return "grep"
    if name in ("find", "fd") and not any(w in ("-exec", "-delete", "-execdir") for w in words):
        return "glob"
    return "list_dir" if name in ("ls", "tree") else ""


def is_destructive(command: str) -> bool:
    """It throws work away, or reaches for more than the workspace."""
    if _FORK_BOMB.search(command[:MAX_COMMAND]):
        return True
    return any(_destroys(words) for words in simple_commands(command))


def _destroys(words: tuple[str, ...]) -> bool:
    name, rest = words[0].rpartition("/")[2], words[1:]
    flags = "".join(w.lstrip("-") for w in rest if w.startswith("-") and not w.startswith("--"))
    if name == "rm":
        recursive = "r" in flags or "R" in flags or "--recursive" in rest
        return recursive and any(
            w in _PLACES or w.rstrip("/") in ("/workspace", "/workspace/.git", "$HOME")
            for w in rest
        )
    if name == "git":
        return _git_destroys(rest)
    if name in ("chmod", "chown"):
        return "R" in flags and any(w in _PLACES for w in rest)
    if name == "dd":
        return any(w.startswith("of=/dev/") for w in rest)
    if name == "find":
        return "-delete" in rest and rest[:1] in ((".",), ("/",)) and "-name" not in rest
    return name.startswith("mkfs") or name in ("shutdown", "reboot") or (
        name == "kill" and "-1" in rest[-1:]
    )  # fmt: skip


def _git_destroys(words: tuple[str, ...]) -> bool:
    action, rest = (words[0], words[1:]) if words else ("", ())
    if action == "reset":
        return "--hard" in rest
    if action == "clean":
        return any(w.startswith("-") and "f" in w for w in rest)
    if action in ("checkout", "restore"):
        return "." in rest or "-f" in rest
    if action == "stash":
        return rest[:1] in (("drop",), ("clear",))
    if action == "push":
        return "-f" in rest or "--force" in rest
    return action in ("filter-branch", "filter-repo") or (action == "branch" and "-D" in rest)


def runs_tests(command: str) -> bool:
    """It runs a test suite, or a part of one."""
    return any(_tests(words) for words in simple_commands(command))


def _tests(words: tuple[str, ...]) -> bool:
    while words and words[0] in _WRAPPERS:
        # "uv run x", "timeout 60 x": what follows is the command.
        words = words[2:]
    if not words:
        return False
    name, rest = words[0].rpartition("/")[2], words[1:]
    if name in _TEST_RUNNERS:
        return True
    if name in _BUILDERS:
        return any(word in ("test", "tests", "check") for word in rest[:2])
    if name == "coverage":
        name, rest = "python", rest[1:]
    if not _PYTHON.fullmatch(name):
        return False
    if "-m" in rest:
        return bool(_TEST_MODULES.intersection(rest[rest.index("-m") + 1 :][:1]))
    scripts = [word for word in rest if word.endswith(".py")]
    return bool(scripts) and (
        _TEST_FILE.search(scripts[0]) is not None or "test" in rest[rest.index(scripts[0]) + 1 :]
    )


def only_looks(command: str) -> bool:
    """It changes nothing, as far as its words say."""
    commands = simple_commands(command)
    if not commands or ">" in command:
        return False
    return all(
        words[0] in _HARMLESS
        or (words[0] == "sed" and "-n" in words)
        or (words[0] == "git" and len(words) > 1 and words[1] in _HARMLESS_GIT)
        for words in commands
    )
