"""``repodrome search``: find code in a repository by what it does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from repodrome.harness.cli import screen
from repodrome.harness.cli.run import JsonOption


def search(
    repo: Annotated[Path, typer.Argument(metavar="REPO", help="Directory to search.")],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What the code does, or a name.")],
    path: Annotated[
        str, typer.Option(help="File or directory in REPO to stay in, relative to it.")
    ] = ".",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most results.")] = 10,
    files: Annotated[
        bool,
        typer.Option(
            "--files", help="Print the files that a change is likeliest to touch, a line each."
        ),
    ] = False,
    embedder: Annotated[
        str,
        typer.Option(
            help="static, none, minilm, openai, sentence-transformers, or an installed one."
        ),
    ] = "static",
    rerank: Annotated[
        str,
        typer.Option(help="An embedder that reads the 30 best results again, such as minilm."),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Print the functions, classes and sections of REPO that fit QUERY best.

    This is what the agents' tool semantic_search finds. The index is kept in the cache; the very
    first search on a machine takes some ten seconds more, to learn what words mean in code.
    """
    from repodrome.errors import UsageError
    from repodrome.harness.cli.loop import run as run_loop
    from repodrome.harness.directory_search import search_directory

    if not any(char.isalnum() for char in query):
        raise UsageError("the query holds no word; say what the code does")
    hits = run_loop(
        lambda: search_directory(
            repo,
            query,
            below=path,
            limit=limit,
            embedder=embedder,
            rerank=rerank,
            files=files,
            progress=screen.progress,
        )
    )
    if as_json:
        screen.print_json({"query": query, "results": [asdict(hit) for hit in hits]})
        return
    console = screen.out()
    for hit in hits:
        line = screen.plain(f"{hit.path}:{hit.start}-{hit.end}", "cyan")
        line.append_text(screen.plain(f"  {hit.score:.2f}  ", "dim"))
        line.append_text(screen.plain(hit.signature))
        console.print(line)
    if not hits:
        screen.progress("nothing found; try other words")
