"""Settings, and the templates made with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quill import macros  # registers its tags
from quill.context import Context
from quill.errors import TemplateNotFound
from quill.filters import FILTERS
from quill.inheritance import Inheritance
from quill.loaders import Loader
from quill.nodes import render_all
from quill.parser import Parser


class Environment:
    """See the README.

    Args:
        loader: where templates come from.
        autoescape: escape what is printed.
        strict: unknown names are errors.
        filters: further filters, or others instead of the standard ones.
    """

    def __init__(
        self,
        loader: Loader | None = None,
        *,
        autoescape: bool = True,
        strict: bool = True,
        filters: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.autoescape = autoescape
        self.strict = strict
        self.filters = {**FILTERS, **(filters or {})}
        self._loader = loader
        self._templates: dict[str, Template] = {}

    def get(self, name: str) -> Template:
        """A template by name.

        Raises:
            TemplateNotFound: there is none.
            TemplateSyntaxError: it can't be read.
        """
        if name not in self._templates:
            if self._loader is None:
                raise TemplateNotFound(f"no template {name!r}: the environment has no loader")
            self._templates[name] = Template(self, self._loader.load(name), name)
        return self._templates[name]

    def from_string(self, source: str) -> Template:
        """A template without a name."""
        return Template(self, source)

    def render(self, template_name: str, /, **names: Any) -> str:
        """Render a template by name."""
        return self.get(template_name).render(names)


class Template:
    """A parsed template."""

    def __init__(self, environment: Environment, source: str, name: str | None = None) -> None:
        self.environment = environment
        self.name = name
        self.nodes = Parser(source, name).parse()
        self.inheritance = Inheritance.of(self.nodes, name)

    def render(self, names: Mapping[str, Any] | None = None, /, **more: Any) -> str:
        """The output for these names."""
        context = Context(self.environment, self.name, {**(names or {}), **more})
        out: list[str] = []
        root = self.inheritance.prepare(self, context)
        render_all(root.nodes, context, out)
        return "".join(out)

    def module(self) -> macros.Module:
        """The macros and top-level names, for importing."""
        context = Context(self.environment, self.name, {})
        render_all(self.inheritance.prepare(self, context).nodes, context, [])
        return macros.Module(self.name, context.top())
