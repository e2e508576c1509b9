"""What can go wrong."""


class SlotwiseError(Exception):
    """Base of all errors raised on purpose."""


class EmptyInterval(SlotwiseError, ValueError):
    """An interval whose end isn't after its start."""


class HoursError(SlotwiseError, ValueError):
    """Working hours that can't be read."""


class RuleError(SlotwiseError, ValueError):
    """A recurrence that makes no sense."""
