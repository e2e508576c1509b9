"""Expressions: reading them, and what they are worth."""

from __future__ import annotations

import ast as python_ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quill.context import UNDEFINED, Context
from quill.errors import TemplateError, TemplateSyntaxError, UndefinedError
from quill.markup import concat

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+(?:\.\d+)?)
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      | (?P<name>[A-Za-z_]\w*)
      | (?P<op>==|!=|<=|>=|[-+*/%~<>=|.,:()\[\]])
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"true": True, "false": False, "none": None}
_RESERVED = {"and", "or", "not", "in", *_WORDS}


class Expression:
    """Something that has a value in a context."""

    line = 0

    def value(self, context: Context) -> Any:
        """The value; ``UNDEFINED`` never leaves this method."""
        raw = self.raw(context)
        if raw is not UNDEFINED:
            return raw
        if context.strict:
            raise UndefinedError(f"{self.describe()} is undefined", context.name, self.line)
        return None

    def raw(self, context: Context) -> Any:
        """The value, or ``UNDEFINED``."""
        raise NotImplementedError

    def describe(self) -> str:
        """What messages call it."""
        return "the value"


@dataclass
class Literal(Expression):
    """A constant."""

    constant: Any

    def raw(self, context: Context) -> Any:
        return self.constant


@dataclass
class Name(Expression):
    """A variable."""

    name: str
    line: int = 0

    def raw(self, context: Context) -> Any:
        return context.get(self.name)

    def describe(self) -> str:
        return repr(self.name)


@dataclass
class ListOf(Expression):
    """``[a, b]``."""

    items: list[Expression]

    def raw(self, context: Context) -> Any:
        return [item.value(context) for item in self.items]


@dataclass
class Lookup(Expression):
    """``a.b`` and ``a[b]``."""

    target: Expression
    key: Expression
    dotted: bool
    line: int = 0

    def raw(self, context: Context) -> Any:
        target, key = self.target.value(context), self.key.value(context)
        if isinstance(key, str) and key.startswith("_"):
            return UNDEFINED
        if not self.dotted or isinstance(target, Mapping):
            try:
                return target[key]
            except (LookupError, TypeError):
                pass
        return getattr(target, key, UNDEFINED) if self.dotted else UNDEFINED

    def describe(self) -> str:
        if isinstance(self.key, Literal):
            return f"{self.key.constant!r} of {self.target.describe()}"
        return f"an item of {self.target.describe()}"


@dataclass
class Call(Expression):
    """``f(a, b=c)``."""

    target: Expression
    args: list[Expression]
    kwargs: dict[str, Expression]
    line: int = 0

    def raw(self, context: Context) -> Any:
        func = self.target.value(context)
        if not callable(func):
            raise TemplateError(f"{self.target.describe()} can't be called", context.name, self.line)
        args = [arg.value(context) for arg in self.args]
        return func(*args, **{name: arg.value(context) for name, arg in self.kwargs.items()})


@dataclass
class Filter(Expression):
    """``value|name(args)``."""

    target: Expression
    name: str
    args: list[Expression]
    kwargs: dict[str, Expression]
    line: int = 0

    def raw(self, context: Context) -> Any:
        func = context.filters.get(self.name)
        if func is None:
            raise TemplateError(f"unknown filter {self.name!r}", context.name, self.line)
        if getattr(func, "takes_undefined", False):
            raw = self.target.raw(context)
            value = None if raw is UNDEFINED else raw
        else:
            value = self.target.value(context)
        args = [arg.value(context) for arg in self.args]
        kwargs = {name: arg.value(context) for name, arg in self.kwargs.items()}
        if getattr(func, "takes_context", False):
            return func(context, value, *args, **kwargs)
        return func(value, *args, **kwargs)


@dataclass
class Unary(Expression):
    """``not a`` and ``-a``."""

    op: str
    operand: Expression

    def raw(self, context: Context) -> Any:
        value = self.operand.value(context)
        return not value if self.op == "not" else -value


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
    "~": concat,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}


@dataclass
class Binary(Expression):
    """``a op b``."""

    op: str
    left: Expression
    right: Expression
    line: int = 0

    def raw(self, context: Context) -> Any:
        left = self.left.value(context)
        if self.op == "and":
            return self.right.value(context) if left else left
        if self.op == "or":
            return left if left else self.right.value(context)
        right = self.right.value(context)
        try:
            return _BINARY[self.op](left, right)
        except (TypeError, ZeroDivisionError) as error:
            raise TemplateError(str(error), context.name, self.line) from error


_LEVELS = (("or",), ("and",), ("not",), ("==", "!=", "<", "<=", ">", ">=", "in", "not in"), ("~",),
           ("+", "-"), ("*", "/", "%"))  # fmt: skip


class Reader:
    """Reads expressions, and whatever else stands in a tag, token by token."""

    def __init__(self, text: str, name: str | None, line: int) -> None:
        self._name, self._line = name, line
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        text, at = text.rstrip(), 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self.fail(f"can't read {text[at:].strip()!r}")
            kind = match.lastgroup or ""
            self._tokens.append((kind, match.group(kind)))
            at = match.end()

    def fail(self, message: str) -> TemplateSyntaxError:
        """An error at this tag, to be raised."""
        return TemplateSyntaxError(message, self._name, self._line)

    def peek(self, ahead: int = 0) -> str:
        """The text of a coming token; empty at the end."""
        at = self._at + ahead
        return self._tokens[at][1] if at < len(self._tokens) else ""

    def take(self, *words: str) -> bool:
        """Take a run of tokens, all or none."""
        if all(self.peek(ahead) == word for ahead, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def expect(self, word: str) -> None:
        """Take a token or fail."""
        if not self.take(word):
            raise self.fail(f"expected {word!r}, not {self.peek() or 'the end'!r}")

    def identifier(self) -> str:
        """Take a name."""
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        if kind != "name" or text in _RESERVED:
            raise self.fail(f"expected a name, not {text or 'the end'!r}")
        self._at += 1
        return text

    def end(self) -> None:
        """Nothing may follow."""
        if self.peek():
            raise self.fail(f"unexpected {self.peek()!r}")

    def expression(self, level: int = 0) -> Expression:
        """Read an expression."""
        if level == len(_LEVELS):
            return self._unary()
        operators = _LEVELS[level]
        if operators == ("not",):
            if self.take("not"):
                return Unary("not", self.expression(level))
            return self.expression(level + 1)
        left = self.expression(level + 1)
        while (op := self._operator(operators)) is not None:
            left = Binary(op, left, self.expression(level + 1), self._line)
        return left

    def _operator(self, operators: tuple[str, ...]) -> str | None:
        if "not in" in operators and self.take("not", "in"):
            return "not in"
        if self._at < len(self._tokens) and self._tokens[self._at][0] != "string":
            if self.peek() in operators:
                self._at += 1
                return self._tokens[self._at - 1][1]
        return None

    def _unary(self) -> Expression:
        if self.take("-"):
            return Unary("-", self._unary())
        return self._postfix(self._primary())

    def _primary(self) -> Expression:
        if self._at >= len(self._tokens):
            raise self.fail("an expression is missing")
        kind, text = self._tokens[self._at]
        if kind == "name" and (text in _WORDS or text not in _RESERVED):
            self._at += 1
            return Literal(_WORDS[text]) if text in _WORDS else Name(text, self._line)
        if kind == "number":
            self._at += 1
            return Literal(float(text) if "." in text else int(text))
        if kind == "string":
            self._at += 1
            return Literal(python_ast.literal_eval(text.replace("\n", "\\n")))
        if self.take("("):
            inner = self.expression()
            self.expect(")")
            return inner
        if self.take("["):
            items: list[Expression] = []
            while not self.take("]"):
                if items:
                    self.expect(",")
                items.append(self.expression())
            return ListOf(items)
        raise self.fail(f"unexpected {text!r}")

    def _postfix(self, target: Expression) -> Expression:
        while True:
            if self.take("."):
                target = Lookup(target, Literal(self.identifier()), True, self._line)
            elif self.take("["):
                target = Lookup(target, self.expression(), False, self._line)
                self.expect("]")
            elif self.take("("):
                target = Call(target, *self.arguments(), self._line)
            elif self.take("|"):
                name = self.identifier()
                args = self.arguments() if self.take("(") else ([], {})
                target = Filter(target, name, *args, self._line)
            else:
                return target

    def arguments(self) -> tuple[list[Expression], dict[str, Expression]]:
        """The arguments of a call, behind its opening parenthesis."""
        args: list[Expression] = []
        kwargs: dict[str, Expression] = {}
        while not self.take(")"):
            if args or kwargs:
                self.expect(",")
            if self.peek(1) == "=":
                name = self.identifier()
                self.expect("=")
                if name in kwargs:
                    raise self.fail(f"argument {name!r} comes twice")
                kwargs[name] = self.expression()
            elif kwargs:
                raise self.fail("positional arguments come first")
            else:
                args.append(self.expression())
        return args, kwargs
