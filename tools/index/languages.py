"""What a definition looks like in each language, as tree-sitter queries.

Captures: ``@name`` is the definition's name; the other capture says what it is. ``function``: kept
whole, with everything in it. ``class``: holds definitions of its own. ``section``: like a class, of
prose. ``entry``: of a data file; kept whole, and only where it is long enough to stand alone.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Language:
    """A grammar and the definitions in it.

    Attributes:
        name: of the language.
        module: the wheel's import name.
        function: of ``module``; gives the grammar.
        query: in tree-sitter's query syntax.
    """

    name: str
    module: str
    query: str
    function: str = "language"


_PYTHON = """
(function_definition name: (identifier) @name) @function
(class_definition name: (identifier) @name) @class
"""
_JAVASCRIPT = """
(function_declaration name: (_) @name) @function
(generator_function_declaration name: (_) @name) @function
(method_definition name: (_) @name) @function
(class_declaration name: (_) @name) @class
(lexical_declaration (variable_declarator name: (identifier) @name
  value: [(arrow_function) (function_expression)])) @function
(variable_declaration (variable_declarator name: (identifier) @name
  value: [(arrow_function) (function_expression)])) @function
(expression_statement (assignment_expression
  left: (member_expression property: (property_identifier) @name)
  right: [(arrow_function) (function_expression)])) @function
"""
_TYPESCRIPT = (
    _JAVASCRIPT
    + """
(abstract_class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @function
(type_alias_declaration name: (_) @name) @function
(enum_declaration name: (_) @name) @function
(internal_module name: (_) @name) @class
"""
)
_GO = """
(function_declaration name: (_) @name) @function
(method_declaration name: (_) @name) @function
(type_declaration (type_spec name: (_) @name)) @function
"""
_RUST = """
(function_item name: (_) @name) @function
(macro_definition name: (_) @name) @function
(struct_item name: (_) @name) @function
(enum_item name: (_) @name) @function
(union_item name: (_) @name) @function
(trait_item name: (_) @name) @class
(impl_item type: (_) @name) @class
(mod_item name: (_) @name body: (_)) @class
"""
_JAVA = """
(method_declaration name: (_) @name) @function
(constructor_declaration name: (_) @name) @function
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(record_declaration name: (_) @name) @class
(annotation_type_declaration name: (_) @name) @class
"""
_C = """
(function_definition declarator: (function_declarator declarator: (_) @name)) @function
(function_definition declarator: (pointer_declarator
  declarator: (function_declarator declarator: (_) @name))) @function
(preproc_function_def name: (_) @name) @function
(struct_specifier name: (_) @name body: (_)) @class
(union_specifier name: (_) @name body: (_)) @class
(enum_specifier name: (_) @name body: (_)) @class
(type_definition declarator: (type_identifier) @name) @class
"""
_CPP = (
    _C
    + """
(function_definition declarator: (reference_declarator
  (function_declarator declarator: (_) @name))) @function
(class_specifier name: (_) @name body: (_)) @class
(namespace_definition name: (_) @name) @class
(concept_definition name: (_) @name) @function
"""
)
_RUBY = """
(method name: (_) @name) @function
(singleton_method name: (_) @name) @function
(class name: (_) @name) @class
(module name: (_) @name) @class
"""
_BASH = "(function_definition name: (_) @name) @function"
_MARKDOWN = """
(section (atx_heading (inline) @name)) @section
(section (setext_heading (paragraph) @name)) @section
"""
_TOML = "(table (_) @name) @entry (table_array_element (_) @name) @entry"
_YAML = "(block_mapping_pair key: (_) @name) @entry"
_JSON = "(pair key: (_) @name) @entry"

_LANGUAGES = {
    "py pyi": Language("python", "tree_sitter_python", _PYTHON),
    "js mjs cjs jsx": Language("javascript", "tree_sitter_javascript", _JAVASCRIPT),
    "ts mts cts": Language(
        "typescript", "tree_sitter_typescript", _TYPESCRIPT, "language_typescript"
    ),
    "tsx": Language("tsx", "tree_sitter_typescript", _TYPESCRIPT, "language_tsx"),
    "go": Language("go", "tree_sitter_go", _GO),
    "rs": Language("rust", "tree_sitter_rust", _RUST),
    "java": Language("java", "tree_sitter_java", _JAVA),
    "c": Language("c", "tree_sitter_c", _C),
    "h cpp cc cxx hpp hh hxx": Language("cpp", "tree_sitter_cpp", _CPP),
    "rb rake": Language("ruby", "tree_sitter_ruby", _RUBY),
    "sh bash": Language("bash", "tree_sitter_bash", _BASH),
    "md markdown": Language("markdown", "tree_sitter_markdown", _MARKDOWN),
    "toml": Language("toml", "tree_sitter_toml", _TOML),
    "yaml yml": Language("yaml", "tree_sitter_yaml", _YAML),
    "json": Language("json", "tree_sitter_json", _JSON),
}
_NO_CODE: Final = frozenset({"markdown", "toml", "yaml", "json"})
_WITHOUT_GRAMMAR: Final = (
    "pyx pxd cs php kt kts swift scala lua pl pm r jl ex exs erl hs ml mli dart m mm vue svelte "
    "zig nim clj groovy f90 sql"
)
"""Extensions of code that is cut into windows."""
_BY_EXTENSION: Final = {
    f".{extension}": language
    for extensions, language in _LANGUAGES.items()
    for extension in extensions.split()
}
LANGUAGES: Final = tuple(dict.fromkeys(_LANGUAGES.values()))
"""Every language that is cut at its definitions."""


def language_of(path: str) -> Language | None:
    """The language of a file, by its name; None where there is no grammar for it."""
    return _BY_EXTENSION.get(PurePosixPath(path).suffix.lower())


def is_code(path: str) -> bool:
    """Whether a file is a program's source, not prose or data, by its name."""
    language = language_of(path)
    if language is None:
        return PurePosixPath(path).suffix.lower()[1:] in _WITHOUT_GRAMMAR.split()
    return language.name not in _NO_CODE


@cache
def grammar(language: Language) -> tuple[Any, Any]:
    """The tree-sitter ``Language`` and the compiled query."""
    import tree_sitter

    module = importlib.import_module(language.module)
    loaded = tree_sitter.Language(getattr(module, language.function)())
    return loaded, tree_sitter.Query(loaded, language.query)
