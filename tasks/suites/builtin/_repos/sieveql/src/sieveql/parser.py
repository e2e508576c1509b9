"""Tokens to a query, by recursive descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sieveql import ast
from sieveql.aggregates import AGGREGATES
from sieveql.errors import QuerySyntaxError
from sieveql.functions import FUNCTIONS
from sieveql.lexer import Token, tokenize

R = TypeVar("R")
_COMPARISONS = {"=", "!=", "<>", "<", "<=", ">", ">="}


def parse(text: str) -> ast.Query:
    """Read a query.

    Raises:
        QuerySyntaxError: it isn't one.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._at = 0

    # -- tokens ----------------------------------------------------------------------------------

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _advance(self) -> Token:
        token = self._token
        self._at += 1
        return token

    def _fail(self, wanted: str) -> QuerySyntaxError:
        shown = repr(self._token.value) if self._token.kind != "end" else "the end"
        return QuerySyntaxError(f"expected {wanted}, not {shown}", self._token.start)

    def _take(self, *words: str) -> bool:
        """Take these keywords or operators, all or none."""
        ahead = self._tokens[self._at : self._at + len(words)]
        if all(t.kind in ("keyword", "op") and t.value == w for t, w in zip(ahead, words, strict=False)):
            if len(ahead) == len(words):
                self._at += len(words)
                return True
        return False

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._fail(word.upper())

    def _name(self, wanted: str = "a name") -> str:
        if self._token.kind != "name":
            raise self._fail(wanted)
        return self._advance().value

    def _list(self, read: Callable[[], R]) -> tuple[R, ...]:
        items = [read()]
        while self._take(","):
            items.append(read())
        return tuple(items)

    def _integer(self) -> int:
        if self._token.kind != "number" or "." in self._token.value:
            raise self._fail("a whole number")
        return int(self._advance().value)

    # -- clauses ---------------------------------------------------------------------------------

    def query(self) -> ast.Query:
        self._expect("select")
        parts: dict[str, Any] = {"distinct": self._take("distinct")}
        parts["items"] = None if self._take("*") else self._list(self._select_item)
        self._expect("from")
        parts["table"] = self._table()
        joins = []
        while (left := self._take("left", "join")) or self._take("join"):
            ref = self._table()
            self._expect("on")
            joins.append(ast.Join(ref, self._expr(), left))
        parts["joins"] = tuple(joins)
        if self._take("where"):
            parts["where"] = self._expr()
        if self._take("group", "by"):
            parts["group_by"] = self._list(self._expr)
        if self._take("having"):
            parts["having"] = self._expr()
        if self._take("order", "by"):
            parts["order_by"] = self._list(self._order_item)
        if self._take("limit"):
            parts["limit"] = self._integer()
            if self._take("offset"):
                parts["offset"] = self._integer()
        if self._token.kind != "end":
            raise self._fail("the end")
        return ast.Query(**parts)

    def _select_item(self) -> ast.SelectItem:
        begin = self._token.start
        expr = self._expr()
        text = self._text[begin : self._tokens[self._at - 1].end]
        if self._take("as"):
            return ast.SelectItem(expr, self._name(), True)
        if self._token.kind == "name":
            return ast.SelectItem(expr, self._name(), True)
        return ast.SelectItem(expr, expr.name if isinstance(expr, ast.Column) else text)

    def _table(self) -> ast.TableRef:
        table = self._name("a table")
        if self._take("as") or self._token.kind == "name":
            return ast.TableRef(table, self._name())
        return ast.TableRef(table, table)

    def _order_item(self) -> ast.OrderItem:
        expr = self._expr()
        descending = self._take("desc")
        if not descending:
            self._take("asc")
        nulls_first = False
        if self._take("nulls"):
            nulls_first = self._take("first")
            if not nulls_first:
                self._expect("last")
        return ast.OrderItem(expr, descending, nulls_first)

    # -- expressions -----------------------------------------------------------------------------

    def _expr(self) -> ast.Expr:
        left = self._and()
        while self._take("or"):
            left = ast.Binary("or", left, self._and())
        return left

    def _and(self) -> ast.Expr:
        left = self._not()
        while self._take("and"):
            left = ast.Binary("and", left, self._not())
        return left

    def _not(self) -> ast.Expr:
        if self._take("not"):
            return ast.Unary("not", self._not())
        return self._comparison()

    def _comparison(self) -> ast.Expr:
        left = self._sum()
        if self._token.kind == "op" and self._token.value in _COMPARISONS:
            op = self._advance().value
            return ast.Binary("!=" if op == "<>" else op, left, self._sum())
        if self._take("is"):
            negated = self._take("not")
            self._expect("null")
            return self._negate(ast.IsNull(left), negated)
        negated = self._take("not")
        if self._take("like"):
            return self._negate(ast.Binary("like", left, self._sum()), negated)
        if self._take("between"):
            low = self._sum()
            self._expect("and")
            return self._negate(ast.Between(left, low, self._sum()), negated)
        if self._take("in"):
            self._expect("(")
            items: tuple[ast.Expr, ...] = ()
            if not self._take(")"):
                items = self._list(self._expr)
                self._expect(")")
            return self._negate(ast.InList(left, items), negated)
        if negated:
            raise self._fail("LIKE, BETWEEN or IN")
        return left

    @staticmethod
    def _negate(expr: ast.Expr, negated: bool) -> ast.Expr:
        return ast.Unary("not", expr) if negated else expr

    def _binary(self, operators: tuple[str, ...], read: Callable[[], ast.Expr]) -> ast.Expr:
        left = read()
        while self._token.kind == "op" and self._token.value in operators:
            op = self._advance().value
            left = ast.Binary(op, left, read())
        return left

    def _sum(self) -> ast.Expr:
        return self._binary(("+", "-", "||"), self._product)

    def _product(self) -> ast.Expr:
        return self._binary(("*", "/", "%"), self._unary)

    def _unary(self) -> ast.Expr:
        if self._take("-"):
            return ast.Unary("-", self._unary())
        return self._primary()

    def _primary(self) -> ast.Expr:
        token = self._token
        if token.kind == "number":
            self._advance()
            return ast.Literal(float(token.value) if "." in token.value else int(token.value))
        if token.kind == "string":
            return ast.Literal(self._advance().value)
        for word, value in (("null", None), ("true", True), ("false", False)):
            if self._take(word):
                return ast.Literal(value)
        if self._take("case"):
            return self._case()
        if self._take("("):
            inner = self._expr()
            self._expect(")")
            return inner
        if token.kind == "name":
            return self._column_or_call()
        raise self._fail("an expression")

    def _case(self) -> ast.Expr:
        branches = []
        while self._take("when"):
            condition = self._expr()
            self._expect("then")
            branches.append((condition, self._expr()))
        if not branches:
            raise self._fail("WHEN")
        otherwise = self._expr() if self._take("else") else ast.Literal(None)
        self._expect("end")
        return ast.Case(tuple(branches), otherwise)

    def _column_or_call(self) -> ast.Expr:
        start = self._token.start
        name = self._name()
        if self._take("."):
            return ast.Column(self._name("a column"), name)
        if not self._take("("):
            return ast.Column(name)
        name = name.lower()
        if name in AGGREGATES:
            return self._aggregate(name, start)
        if name not in FUNCTIONS:
            raise QuerySyntaxError(f"unknown function {name!r}", start)
        args = () if self._take(")") else self._arguments()
        self._arity(name, len(args), FUNCTIONS[name].arity, start)
        return ast.Call(name, args)

    def _aggregate(self, name: str, start: int) -> ast.Expr:
        if name == "count" and self._take("*"):
            self._expect(")")
            return ast.Aggregate("count", ())
        distinct = self._take("distinct")
        args = self._arguments()
        wanted = AGGREGATES[name].arity
        self._arity(name, len(args), (wanted, wanted), start)
        return ast.Aggregate(name, args, distinct)

    def _arguments(self) -> tuple[ast.Expr, ...]:
        args = self._list(self._expr)
        self._expect(")")
        return args

    @staticmethod
    def _arity(name: str, given: int, allowed: tuple[int, int | None], start: int) -> None:
        low, high = allowed
        if given < low or (high is not None and given > high):
            raise QuerySyntaxError(f"wrong number of arguments for {name!r}", start)
