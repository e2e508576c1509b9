"""A small template engine."""

from quill.environment import Environment, Template
from quill.errors import TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from quill.loaders import DictLoader, FileLoader
from quill.markup import Markup, escape

__all__ = [
    "DictLoader",
    "Environment",
    "FileLoader",
    "Markup",
    "Template",
    "TemplateError",
    "TemplateNotFound",
    "TemplateSyntaxError",
    "UndefinedError",
    "escape",
]
