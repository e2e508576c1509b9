"""What can go wrong."""


class LedgerError(Exception):
    """Base of all errors raised on purpose."""


class JournalError(LedgerError):
    """A journal that can't be read.

    Args:
        message: what is wrong.
        line: where, counted from 1; None if it isn't about a line.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        self.message, self.line = message, line
        super().__init__(message if line is None else f"line {line}: {message}")


class BookError(LedgerError):
    """A book that can't be read."""
