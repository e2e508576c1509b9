"""What installed packages add through entry points: the same way for every kind of part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from repodrome.errors import UnknownNameError, UsageError

# importlib.metadata is imported late: it costs more than those who name built-in parts should pay.


def installed_names(group: str) -> set[str]:
    """The names that installed packages registered in an entry-point group."""
    from importlib.metadata import entry_points

    return set(entry_points(group=group).names)


def load_part(kind: str, name: str, group: str, builtin: Mapping[str, str]) -> Any:
    """The object of a name: built in, or else as :func:`load_installed` finds it.

    Args:
        kind: what it is, for the message, e.g. ``"reward"``.
        name: its name.
        group: the entry-point group.
        builtin: name → ``module:attribute``, imported when it is asked for.

    Raises:
        UnknownNameError: there is none; the nearest names are given.
    """
    if name not in builtin:
        return load_installed(kind, name, group, builtin)
    module, _, attribute = builtin[name].partition(":")
    return getattr(import_module(module), attribute)


def load_installed(kind: str, name: str, group: str, builtin: Iterable[str]) -> Any:
    """The object that an installed package registered under a name.

    Args:
        kind: what it is, for the message, e.g. ``"reward"``.
        name: the name of the entry point.
        group: the entry-point group.
        builtin: the built-in names, to suggest.

    Raises:
        UnknownNameError: no package registered one; the nearest names are given.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group=group, name=name):
        return point.load()
    raise UnknownNameError(kind, name, {*builtin, *installed_names(group)})


def instance_of(kind: type, found: Any, name: str, group: str) -> Any:
    """What an entry point gives: an object of the group's kind, or what a call of it makes.

    Args:
        kind: a class, or a protocol that can be checked at run time.
        found: what was loaded.
        name: the name of the entry point.
        group: the entry-point group.

    Raises:
        UsageError: neither is of that kind.
    """
    ready = not isinstance(found, type) and isinstance(found, kind)
    part = found if ready or not callable(found) else found()
    if isinstance(part, type) or not isinstance(part, kind):
        raise UsageError(
            f"entry point {name!r} of group {group!r} gives {type(part).__name__}, which is no "
            f"{kind.__name__}; it must be one, or a callable without arguments that makes one"
        )
    return part
