"""The value of an expression for one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sieveql import ast, values
from sieveql.errors import QueryError
from sieveql.functions import FUNCTIONS
from sieveql.scope import Env, Scope


class Evaluator:
    """Evaluates expressions.

    Args:
        scope: what names mean.
        env: the current row of each table.
        known: expressions whose value is known already, e.g. what a group is grouped by.
    """

    def __init__(
        self, scope: Scope, env: Env, known: Mapping[ast.Expr, Any] | None = None
    ) -> None:
        self._scope = scope
        self._env = env
        self._known = known or {}

    def value(self, expr: ast.Expr) -> Any:
        """The value.

        Raises:
            QueryError: wrong types, unknown names, misplaced aggregates.
        """
        if expr in self._known:
            return self._known[expr]
        match expr:
            case ast.Literal(value):
                return value
            case ast.Column():
                alias, name = self._scope.resolve(expr)
                return self._env[alias].get(name)
            case ast.Unary("not", operand):
                return values.negate(self.condition(operand))
            case ast.Unary("-", operand):
                return values.arithmetic("-", 0, self.value(operand))
            case ast.Binary(("and" | "or") as op, left, right):
                return self._logic(op, left, right)
            case ast.Binary("like", left, right):
                return values.like(self.value(left), self.value(right))
            case ast.Binary(("=" | "!=" | "<" | "<=" | ">" | ">=") as op, left, right):
                return values.compare(op, self.value(left), self.value(right))
            case ast.Binary(op, left, right):
                return values.arithmetic(op, self.value(left), self.value(right))
            case ast.IsNull(operand):
                return self.value(operand) is None
            case ast.InList(operand, items):
                return self._in(operand, items)
            case ast.Between(operand, low, high):
                found = self.value(operand)
                return values.both(
                    values.compare(">=", found, self.value(low)),
                    values.compare("<=", found, self.value(high)),
                )
            case ast.Case(branches, otherwise):
                for condition, result in branches:
                    if self.condition(condition):
                        return self.value(result)
                return self.value(otherwise)
            case ast.Call(name, args):
                return FUNCTIONS[name](*map(self.value, args))
            case ast.Aggregate(name):
                raise QueryError(f"{name} can't stand here")
        raise TypeError(f"not an expression: {expr!r}")

    def condition(self, expr: ast.Expr) -> bool | None:
        """The value of a condition: true, false or null."""
        return values.truth(self.value(expr))

    def _logic(self, op: str, left: ast.Expr, right: ast.Expr) -> bool | None:
        first = self.condition(left)
        # The right side is left alone where it can't matter.
        if first is (op == "or"):
            return first
        second = self.condition(right)
        return values.either(first, second) if op == "or" else values.both(first, second)

    def _in(self, operand: ast.Expr, items: tuple[ast.Expr, ...]) -> bool | None:
        found = self.value(operand)
        answer: bool | None = False
        for item in items:
            answer = values.either(answer, values.equal(found, self.value(item)))
            if answer:
                break
        return answer
