"""Which embedders there are, by name."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from operator import attrgetter
from typing import Final

from repodrome.plugins import instance_of, load_installed
from repodrome.tools.index.embedder import Embedder

GROUP: Final = "repodrome.embedder"
"""Entry-point group of third-party embedders: each names a callable that makes one."""
DEFAULT: Final = "static"
NONE: Final = "none"


_OWN: Final = {
    "minilm": "repodrome.tools.index.minilm:MiniLM.installed",
    "openai": "repodrome.tools.index.endpoint:EndpointEmbedder.from_environment",
    "sentence-transformers": (
        "repodrome.tools.index.transformers:SentenceTransformersEmbedder.from_environment"
    ),
}


@cache
def get_embedder(name: str) -> Embedder:
    """The embedder of that name, made once; ``static``, which has to be fitted, is not among them.

    Raises:
        UnknownNameError: there is none of that name.
        UsageError: it lacks a package or a setting; names the fix.
    """
    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        make = attrgetter(attribute)(import_module(module))
    else:
        make = load_installed("embedder", name, GROUP, [DEFAULT, NONE, *_OWN])
    embedder: Embedder = instance_of(Embedder, make, name, GROUP)
    return embedder
