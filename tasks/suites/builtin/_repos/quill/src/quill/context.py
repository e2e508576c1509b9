"""The names that a template sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quill.environment import Environment

UNDEFINED = object()


class Context:
    """A stack of scopes.

    Args:
        environment: settings and other templates.
        name: the template, for messages.
        names: the outermost scope.
    """

    def __init__(
        self, environment: Environment, name: str | None, names: Mapping[str, Any]
    ) -> None:
        self.environment = environment
        self.name = name
        self._scopes: list[dict[str, Any]] = [dict(names)]

    @property
    def strict(self) -> bool:
        """Are unknown names errors?"""
        return self.environment.strict

    @property
    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """The filters by name."""
        return self.environment.filters

    def get(self, name: str) -> Any:
        """The value of a name, or ``UNDEFINED``."""
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return UNDEFINED

    def set(self, name: str, value: Any) -> None:
        """Set a name in the innermost scope."""
        self._scopes[-1][name] = value

    @contextmanager
    def scope(self, /, **names: Any) -> Iterator[None]:
        """A scope for the time of a ``with`` block."""
        self._scopes.append(names)
        try:
            yield
        finally:
            self._scopes.pop()

    def top(self) -> Mapping[str, Any]:
        """The outermost scope, live."""
        return self._scopes[0]

    def flat(self) -> dict[str, Any]:
        """All names that are seen now."""
        merged: dict[str, Any] = {}
        for scope in self._scopes:
            merged.update(scope)
        return merged

    @contextmanager
    def named(self, name: str | None) -> Iterator[None]:
        """Messages name another template for a while."""
        self.name, before = name, self.name
        try:
            yield
        finally:
            self.name = before
