"""``semantic_search``: find code by what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from repodrome.errors import ToolError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import relative
from repodrome.tools.text import clip_line, count, safe_text, show_path
from repodrome.tools.words import named

if TYPE_CHECKING:
    from repodrome.tools.index.query import Hit

_MAX_QUERY = 4000


class SemanticSearchArguments(Arguments):
    """Arguments of ``semantic_search``."""

    query: str = Field(
        min_length=1,
        description="What the code does, in words, e.g. 'where expired sessions are removed', or "
        "the name of a function or class.",
    )
    path: str = Field(default=".", description="File or directory to search.")
    limit: int = Field(default=10, ge=1, description="Most results to show.")
    files: bool = Field(
        default=False,
        description="Rank whole files instead, as likely as the change that the query describes "
        "is to touch them, each with its best place.",
    )


@dataclass(frozen=True, slots=True)
class SemanticSearch:
    """Ranks functions, classes and sections by meaning: names and words, and learnt vectors.

    The tree that the episode began with is indexed once, at the first query, and shared; what the
    agent has changed since is looked at before every query.

    Attributes:
        max_results: most results of one answer.
        embedder: whose vectors are compared: ``"static"`` (learnt from the code on this machine),
            ``"none"`` (names and words only), or another of
            :mod:`repodrome.tools.index.embedders`.
        rerank: the embedder that reads the best results again and puts them in order; ``""``: none.
        rerank_top: how many results it reads.
    """

    name: str = "semantic_search"
    description: str = (
        "Find code and documentation by meaning, best match first, as path:first-last line with "
        "the line that opens it. Your own changes are found too; binary, generated and ignored "
        f"files are not. For an exact string or a regular expression use {named('grep')}."
    )
    max_results: int = 50
    embedder: str = "static"
    rerank: str = ""
    rerank_top: int = 30
    arguments: ClassVar[type[Arguments]] = SemanticSearchArguments
    read_only: ClassVar[bool] = True

    async def run(self, arguments: SemanticSearchArguments, context: ToolContext) -> ToolOutput:
        """Search.

        Raises:
            ToolError: the query or the path is wrong.
        """
        # Imported here: numpy, tree-sitter and the stemmer are for those who search.
        from repodrome.tools.index.index import Index
        from repodrome.tools.index.overlay import Overlay

        query = _checked(arguments.query)
        workspace = context.workspace
        below = relative(workspace, arguments.path)
        await _check_path(context, below)
        limit = min(arguments.limit, self.max_results)
        source = context.index
        changed = None
        if source is None:
            overlay = Overlay(Index.empty(), None)
        else:
            overlay = await source.overlay(self.embedder)
            changed = await source.changed()
        # Of files the stronger embedder would read one place only.
        rerank = self.rerank if not arguments.files else ""
        wanted = max(limit, self.rerank_top) if rerank else limit
        hits = await overlay.search(
            workspace, query, wanted, below=below, changed=changed, files=arguments.files
        )
        if rerank:
            from repodrome.tools.index.rerank import reranked

            hits = await reranked(workspace, query, hits, rerank)
        return _answer(hits[:limit], overlay.left_out)


def _checked(query: str) -> str:
    if not any(char.isalnum() for char in query):
        raise ToolError("the query holds no word; say what the code does", code="invalid_arguments")
    if len(query) > _MAX_QUERY:
        raise ToolError(
            f"the query has {len(query):,} characters; the most is {_MAX_QUERY:,}",
            code="invalid_arguments",
        )
    return query


async def _check_path(context: ToolContext, path: str) -> None:
    info = await context.workspace.stat(path)
    if info.kind == "link":
        raise ToolError(
            f"{show_path(path)} is a link; give the file or directory that it leads to",
            code="not_regular",
        )
    if info.kind == "other":
        raise ToolError(f"{show_path(path)} is not a regular file", code="not_regular")


def _answer(hits: list[Hit], left_out: int) -> ToolOutput:
    rows = []
    for hit in hits:
        signature = safe_text(clip_line(hit.signature, 120))
        around = safe_text(hit.name.rpartition(".")[0])
        rows.append(
            f"{show_path(hit.path)}:{hit.start}-{hit.end}  {hit.score:.2f}  {signature}"
            + (f"  (in {around})" if around else "")
        )
    notes = []
    if not hits:
        notes.append("nothing found; try other words")
    if left_out:
        notes.append(f"{count(left_out, 'changed file')} not searched: too many changes at once")
    facts = {
        "results": [
            {"path": hit.path, "start": hit.start, "end": hit.end, "name": hit.name,
             "score": round(hit.score, 4)}
            for hit in hits
        ],
        "left_out": left_out,
    }  # fmt: skip
    text = "\n".join([*rows, *(f"[{note}]" for note in notes)])
    return ToolOutput(text, data=facts, truncated=left_out > 0)
