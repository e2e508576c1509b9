"""What can go wrong."""


class QueryError(Exception):
    """A query that can't be run."""


class QuerySyntaxError(QueryError):
    """A query that can't be read.

    Args:
        message: what is wrong.
        position: where, counted in characters from 0.
    """

    def __init__(self, message: str, position: int) -> None:
        self.position = position
        super().__init__(f"{message} at {position}")
