"""``extends``, ``block``, ``super()`` and ``self``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quill.context import Context
from quill.errors import TemplateError, TemplateSyntaxError
from quill.expressions import Expression, Reader
from quill.macros import From, Import, Macro
from quill.markup import Markup, to_text
from quill.nodes import Node, Set, Text, render_all, walk
from quill.parser import Parser, tag

if TYPE_CHECKING:
    from quill.environment import Template

# A name that no template can write holds the blocks of the whole chain.
CHAIN = " chain"
Definition = tuple["Block", "str | None"]  # a block and the template it stands in


@dataclass
class Extends(Node):
    """``{% extends %}``."""

    parent: Expression
    line: int

    def render(self, context: Context, out: list[str]) -> None:
        """Nothing; the template knows what to do."""


@dataclass
class Block(Node):
    """``{% block %}``."""

    name: str
    body: list[Node]
    line: int

    def bodies(self) -> Iterator[list[Node]]:
        yield self.body

    def render(self, context: Context, out: list[str]) -> None:
        chain: Chain = context.get(CHAIN)
        chain.render(self.name, 0, context, out)


class Chain:
    """All definitions of each block, most derived first."""

    def __init__(self) -> None:
        self._definitions: dict[str, list[Definition]] = {}

    def add(self, template: Template) -> None:
        """Add the blocks of the next template up."""
        for name, block in template.inheritance.blocks.items():
            self._definitions.setdefault(name, []).append((block, template.name))

    def render(self, name: str, level: int, context: Context, out: list[str]) -> None:
        """Render a block, ``level`` definitions up from the most derived one."""
        block, template = self._definitions[name][level]

        def parent() -> Markup:
            if level + 1 >= len(self._definitions[name]):
                message = f"block {name!r} has nothing to call super() on"
                raise TemplateError(message, template, block.line)
            return self._captured(name, level + 1, context)

        with context.named(template), context.scope(super=parent):
            render_all(block.body, context, out)

    def _captured(self, name: str, level: int, context: Context) -> Markup:
        out: list[str] = []
        self.render(name, level, context, out)
        return Markup("".join(out))

    def view(self, context: Context) -> dict[str, Callable[[], Markup]]:
        """What ``self`` is."""

        def caller(name: str) -> Callable[[], Markup]:
            return lambda: self._captured(name, 0, context)

        return {name: caller(name) for name in self._definitions}


@dataclass
class Inheritance:
    """What a template has to do with others.

    Attributes:
        extends: its parent, if it has one.
        blocks: its own blocks by name.
    """

    extends: Extends | None
    blocks: dict[str, Block]

    @classmethod
    def of(cls, nodes: list[Node], name: str | None) -> Inheritance:
        """Find the blocks and the parent in a parsed template."""
        blocks: dict[str, Block] = {}
        extends: Extends | None = None
        tags = [node for node in nodes if not isinstance(node, Text)]
        for node in walk(nodes):
            if isinstance(node, Extends):
                if extends is not None or not tags or tags[0] is not node:
                    raise TemplateSyntaxError("extends must be the first tag", name, node.line)
                extends = node
            elif isinstance(node, Block):
                if node.name in blocks:
                    message = f"there are two blocks {node.name!r}"
                    raise TemplateSyntaxError(message, name, node.line)
                blocks[node.name] = node
        return cls(extends, blocks)

    def prepare(self, template: Template, context: Context) -> Template:
        """Walk up to the root, carrying out what children do outside blocks; returns the root."""
        chain = Chain()
        seen: set[str | None] = set()
        names: dict[str, Any] = {CHAIN: chain, "self": chain.view(context)}
        for name, value in names.items():
            context.set(name, value)
        while True:
            chain.add(template)
            seen.add(template.name)
            extends = template.inheritance.extends
            context.name = template.name
            if extends is None:
                context.set("self", chain.view(context))
                return template
            parent_name = None
            for node in template.nodes:
                if node is extends:
                    parent_name = to_text(extends.parent.value(context))
                elif isinstance(node, (Set, Import, From, Macro)):
                    node.render(context, [])
            parent = template.environment.get(parent_name or "")
            if parent.name in seen:
                message = f"{parent.name!r} extends itself"
                raise TemplateError(message, template.name, extends.line)
            template = parent


@tag("extends")
def _extends(parser: Parser, reader: Reader, line: int) -> Node:
    return Extends(parser.only(reader), line)


@tag("block")
def _block(parser: Parser, reader: Reader, line: int) -> Node:
    name = reader.identifier()
    reader.end()
    body, _, reader = parser.body(("endblock",), "block", line)
    if reader.peek() and reader.identifier() != name:
        raise reader.fail(f"this doesn't close block {name!r}")
    reader.end()
    return Block(name, body, line)
