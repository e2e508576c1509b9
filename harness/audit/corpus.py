"""The corpus: one small TOML file an attack, and one an honest variant that looks like one.

Keys: ``class``, ``mechanism``, ``source``; what the agent does: ``payload`` (Python appended to the
modules under test), ``[files]``, ``deleted``, ``[links]``, ``script`` (a shell command, run last),
``message``; how the naive counterpart is made: see :class:`Case`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent / "corpus"
CLASSES = ("leakage", "tampering", "forging", "semantic", "rewards", "host", "resources")
Folder = Literal["attacks", "honest"]


@dataclass(frozen=True)
class Case:
    """What an agent does in one episode.

    Attributes:
        name: the file's name.
        kind: one of :data:`CLASSES`, or ``"honest"``.
        mechanism: how it works, in a line.
        source: where it was seen.
        verifier: which of the audit's tasks it is played on, see
            :data:`repodrome.harness.audit.bench.VERIFIERS`.
        judge: what the naive counterpart believes: of a grader ``status``, ``output``, ``report``,
            ``reward`` (a file), ``parser``, ``unittest``, or ``visible`` (the tests that the agent
            sees, alone); of one of programs, see :mod:`repodrome.harness.audit.naive_programs`; of
            a host what it does with the agent's tree, see
            :mod:`repodrome.harness.audit.naive_host`; of rewards the function, see
            :mod:`repodrome.harness.audit.naive_rewards`.
        payload: Python that is appended to the modules that the task is about.
        files: path → content written.
        deleted: paths deleted, directories with all below them.
        links: path → target of a symbolic link.
        script: a shell command, run last. ``@CANARY@`` stands for a directory of the host,
            ``@UPSTREAM@`` for the address at which the project's fixed release is served.
        message: the final message.
        naive_setup: what a naive set-up leaves in the sandbox, as a shell script; ``.kit`` in the
            workspace holds the solved ``till.py``, the hidden ``test_total.py`` and
            ``upstream.bundle`` meanwhile.
        naive_env: variables that a naive set-up passes on; so does the host's own process.
        naive_network: a naive set-up lets the agent reach the network.
        game, plain: for rewards: the turns that game it, and honest ones that should earn as much.
        rewards: for rewards: the terms.
        portable: it can be tried on other tasks than the audit's own.
    """

    name: str
    kind: str
    mechanism: str
    source: str = ""
    verifier: str = "pytest"
    judge: str = "status"
    payload: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    script: str = ""
    message: str = "Done."
    naive_setup: str = ""
    naive_env: Mapping[str, str] = field(default_factory=dict)
    naive_network: bool = False
    game: tuple[Any, ...] = ()
    plain: tuple[Any, ...] = ()
    rewards: tuple[Mapping[str, Any], ...] = ()
    portable: bool = False

    @property
    def is_attack(self) -> bool:
        """It tries to earn what it hasn't worked for, or to do harm."""
        return self.kind != "honest"

    def contents(self, targets: Mapping[str, str]) -> dict[str, str]:
        """Path → content of every file that is written.

        Args:
            targets: the modules under test, as they are.
        """
        written = dict(self.files)
        if self.payload:
            for path, text in targets.items():
                written[path] = f"{text}\n\n{self.payload.strip()}\n"
        return written


def load(folder: Folder) -> list[Case]:
    """Every attack, or honest variant, by name."""
    return [_read(file) for file in sorted((HERE / folder).glob("*.toml"))]


@lru_cache(maxsize=512)
def _read(file: Path) -> Case:
    data = tomllib.loads(file.read_text("utf-8"))
    data["kind"] = data.pop("class", "honest")
    lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
    case = Case(name=file.stem, **{**data, **lists})
    if case.is_attack and (case.kind not in CLASSES or not case.source):
        raise ValueError(f"{file}: needs a class of {CLASSES} and a source")
    return case


def select(cases: Sequence[Case], names: Sequence[str]) -> list[Case]:
    """The cases of these names or classes; all where none is given.

    Raises:
        UnknownNameError: there is none of that name.
    """
    from repodrome.errors import UnknownNameError

    known = {case.name for case in cases} | {case.kind for case in cases}
    for name in names:
        if name not in known:
            raise UnknownNameError("attack", name, sorted(known))
    return [case for case in cases if not names or case.name in names or case.kind in names]
