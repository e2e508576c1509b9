"""What a parsed template is made of. Rendering appends text to a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from quill.context import Context
from quill.errors import TemplateError
from quill.expressions import Expression
from quill.markup import escape, to_text


class Node:
    """Something that can be rendered."""

    line = 0

    def render(self, context: Context, out: list[str]) -> None:
        """Append the output."""
        raise NotImplementedError

    def bodies(self) -> Iterator[list[Node]]:
        """The lists of nodes inside this one."""
        return iter(())


def render_all(nodes: list[Node], context: Context, out: list[str]) -> None:
    """Render nodes one after the other."""
    for node in nodes:
        node.render(context, out)


def walk(nodes: list[Node]) -> Iterator[Node]:
    """All nodes, at any depth, in order."""
    for node in nodes:
        yield node
        for body in node.bodies():
            yield from walk(body)


@dataclass
class Text(Node):
    """Plain text."""

    text: str

    def render(self, context: Context, out: list[str]) -> None:
        out.append(self.text)


@dataclass
class Print(Node):
    """``{{ expression }}``."""

    expression: Expression
    line: int

    def render(self, context: Context, out: list[str]) -> None:
        value = self.expression.value(context)
        out.append(escape(value) if context.environment.autoescape else to_text(value))


@dataclass
class If(Node):
    """``{% if %}``: (condition, body) pairs and what is left."""

    branches: list[tuple[Expression, list[Node]]]
    otherwise: list[Node] = field(default_factory=list)

    def bodies(self) -> Iterator[list[Node]]:
        for _, body in self.branches:
            yield body
        yield self.otherwise

    def render(self, context: Context, out: list[str]) -> None:
        for condition, body in self.branches:
            if condition.value(context):
                render_all(body, context, out)
                return
        render_all(self.otherwise, context, out)


@dataclass
class For(Node):
    """``{% for %}``."""

    targets: list[str]
    items: Expression
    body: list[Node]
    otherwise: list[Node]
    line: int

    def bodies(self) -> Iterator[list[Node]]:
        yield self.body
        yield self.otherwise

    def render(self, context: Context, out: list[str]) -> None:
        source = self.items.value(context)
        try:
            items = [] if source is None else list(source)
        except TypeError as error:
            raise TemplateError(str(error), context.name, self.line) from error
        if not items:
            render_all(self.otherwise, context, out)
            return
        parent = context.get("loop")
        for index, item in enumerate(items):
            loop = {
                "index": index + 1,
                "index0": index,
                "first": index == 0,
                "last": index == len(items) - 1,
                "length": len(items),
                "parent": parent if isinstance(parent, dict) else None,
            }
            with context.scope(loop=loop, **self._unpack(item, context)):
                render_all(self.body, context, out)

    def _unpack(self, item: Any, context: Context) -> dict[str, Any]:
        if len(self.targets) == 1:
            return {self.targets[0]: item}
        try:
            return dict(zip(self.targets, item, strict=True))
        except (TypeError, ValueError) as error:
            message = f"can't unpack into {len(self.targets)} names"
            raise TemplateError(message, context.name, self.line) from error


@dataclass
class Set(Node):
    """``{% set %}``."""

    name: str
    expression: Expression
    line: int

    def render(self, context: Context, out: list[str]) -> None:
        context.set(self.name, self.expression.value(context))


@dataclass
class Include(Node):
    """``{% include %}``."""

    template: Expression
    line: int

    def render(self, context: Context, out: list[str]) -> None:
        name = to_text(self.template.value(context))
        template = context.environment.get(name)
        out.append(template.render(context.flat()))
