"""A small SQL-like language over lists of dicts."""

from sieveql.engine import Database
from sieveql.errors import QueryError, QuerySyntaxError

__all__ = ["Database", "QueryError", "QuerySyntaxError"]
