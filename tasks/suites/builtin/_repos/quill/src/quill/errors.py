"""What can go wrong."""


class TemplateError(Exception):
    """Base of all errors; ``name`` and ``line`` say where, as far as that is known."""

    def __init__(self, message: str, name: str | None = None, line: int | None = None) -> None:
        self.message, self.name, self.line = message, name, line
        super().__init__(message)

    def __str__(self) -> str:
        if self.line is None:
            return self.message
        return f"{self.name or '<template>'}:{self.line}: {self.message}"


class TemplateSyntaxError(TemplateError):
    """A template that can't be read."""


class TemplateNotFound(TemplateError):
    """A template that isn't there."""


class UndefinedError(TemplateError):
    """A name, item or attribute that isn't there."""
