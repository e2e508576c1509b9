"""What can go wrong."""


class SteadfastError(Exception):
    """Base of all errors raised on purpose."""


class CircuitOpen(SteadfastError):
    """A breaker refused the call.

    Args:
        remaining: seconds until a trial call is let through.
    """

    def __init__(self, remaining: float) -> None:
        self.remaining = remaining
        super().__init__(f"circuit open for another {remaining:.3g} s")
