"""``macro``, ``call``, ``import`` and ``from``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quill.context import Context
from quill.errors import TemplateError
from quill.expressions import Call, Expression, Reader
from quill.markup import Markup, to_text
from quill.nodes import Node, render_all
from quill.parser import Parser, tag

# The keyword by which {% call %} hands its body over; no template can write it.
CALLER = " caller"


@dataclass
class Parameter:
    """One parameter of a macro."""

    name: str
    default: Expression | None


@dataclass
class Macro(Node):
    """``{% macro %}``: defines a name when it is rendered."""

    name: str
    parameters: list[Parameter]
    body: list[Node]
    line: int

    def bodies(self) -> Iterator[list[Node]]:
        yield self.body

    def render(self, context: Context, out: list[str]) -> None:
        context.set(self.name, BoundMacro(self, context))


class BoundMacro:
    """A macro that can be called; it sees the top level of the template that defines it."""

    def __init__(self, macro: Macro, context: Context) -> None:
        self._macro = macro
        self._environment = context.environment
        self._template = context.name
        self._names = context.top()

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        caller = kwargs.pop(CALLER, None)
        context = Context(self._environment, self._template, self._names)
        with context.scope():
            self._bind(context, args, kwargs)
            if caller is not None:
                context.set("caller", caller)
            out: list[str] = []
            render_all(self._macro.body, context, out)
        text = "".join(out)
        return Markup(text) if self._environment.autoescape else text

    def _bind(self, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        parameters = self._macro.parameters
        names = [parameter.name for parameter in parameters]
        if len(args) > len(parameters):
            raise self._fail(f"takes at most {len(parameters)} arguments")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names:
                raise self._fail(f"has no parameter {name!r}")
            if name in given:
                raise self._fail(f"got {name!r} twice")
            given[name] = value
        for parameter in parameters:
            if parameter.name in given:
                context.set(parameter.name, given[parameter.name])
            elif parameter.default is not None:
                context.set(parameter.name, parameter.default.value(context))
            else:
                raise self._fail(f"needs {parameter.name!r}")

    def _fail(self, problem: str) -> TemplateError:
        return TemplateError(
            f"macro {self._macro.name!r} {problem}", self._template, self._macro.line
        )


class Module(dict[str, Any]):
    """The names of an imported template."""

    def __init__(self, name: str | None, names: Mapping[str, Any]) -> None:
        super().__init__({key: names[key] for key in names if not key.startswith(("_", " "))})
        self.name = name


@dataclass
class CallBlock(Node):
    """``{% call %}``."""

    call: Call
    body: list[Node]
    line: int

    def bodies(self) -> Iterator[list[Node]]:
        yield self.body

    def render(self, context: Context, out: list[str]) -> None:
        def caller() -> str:
            inner: list[str] = []
            with context.scope():
                render_all(self.body, context, inner)
            text = "".join(inner)
            return Markup(text) if context.environment.autoescape else text

        macro = self.call.target.value(context)
        if not isinstance(macro, BoundMacro):
            raise TemplateError(
                f"{self.call.target.describe()} isn't a macro", context.name, self.line
            )
        args = [arg.value(context) for arg in self.call.args]
        kwargs = {name: arg.value(context) for name, arg in self.call.kwargs.items()}
        out.append(macro(*args, **kwargs, **{CALLER: caller}))


@dataclass
class Import(Node):
    """``{% import %}``."""

    template: Expression
    alias: str
    line: int

    def render(self, context: Context, out: list[str]) -> None:
        name = to_text(self.template.value(context))
        context.set(self.alias, context.environment.get(name).module())


@dataclass
class From(Node):
    """``{% from %}``: (name, alias) pairs."""

    template: Expression
    names: list[tuple[str, str]]
    line: int

    def render(self, context: Context, out: list[str]) -> None:
        module_name = to_text(self.template.value(context))
        module = context.environment.get(module_name).module()
        for name, alias in self.names:
            if name not in module:
                message = f"{module_name!r} has no {name!r}"
                raise TemplateError(message, context.name, self.line)
            context.set(alias, module[name])


@tag("macro")
def _macro(parser: Parser, reader: Reader, line: int) -> Node:
    name = reader.identifier()
    reader.expect("(")
    parameters: list[Parameter] = []
    while not reader.take(")"):
        if parameters:
            reader.expect(",")
        parameter = Parameter(reader.identifier(), None)
        if reader.take("="):
            parameter.default = reader.expression()
        elif parameters and parameters[-1].default is not None:
            raise reader.fail(f"{parameter.name!r} needs a default too")
        if any(parameter.name == other.name for other in parameters):
            raise reader.fail(f"parameter {parameter.name!r} comes twice")
        parameters.append(parameter)
    reader.end()
    body, _, reader = parser.body(("endmacro",), "macro", line)
    reader.end()
    return Macro(name, parameters, body, line)


@tag("call")
def _call(parser: Parser, reader: Reader, line: int) -> Node:
    call = parser.only(reader)
    if not isinstance(call, Call):
        raise reader.fail("call needs a call of a macro")
    body, _, reader = parser.body(("endcall",), "call", line)
    reader.end()
    return CallBlock(call, body, line)


@tag("import")
def _import(parser: Parser, reader: Reader, line: int) -> Node:
    template = reader.expression()
    reader.expect("as")
    alias = reader.identifier()
    reader.end()
    return Import(template, alias, line)


@tag("from")
def _from(parser: Parser, reader: Reader, line: int) -> Node:
    template = reader.expression()
    reader.expect("import")
    names: list[tuple[str, str]] = []
    while not names or reader.take(","):
        name = reader.identifier()
        names.append((name, reader.identifier() if reader.take("as") else name))
    reader.end()
    return From(template, names, line)
