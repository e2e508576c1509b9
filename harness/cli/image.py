"""``repodrome image``: build, list and prune the images of the Docker sandbox."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repodrome.harness.cli import screen
from repodrome.harness.cli.run import JsonOption

if TYPE_CHECKING:
    from repodrome.envs.sandbox.docker.engine import Engine
    from repodrome.envs.sandbox.docker.stock import Kept

app = typer.Typer(help="Build, list and remove Docker images.", no_args_is_help=True)
BASE = "base"
_HEADINGS = ("image", "id", "kind", "task", "size", "age", "")


@app.command()
def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TASK…|base]",
            help="Tasks, task folders or suites; 'base' (the default) is the base image.",
        ),
    ] = None,
) -> None:
    """Have images ready: the base image, or all that tasks need of images and layers.

    What is there already is not built again. A failed build shows the end of its log.
    """
    from repodrome.envs.environment import prepare
    from repodrome.envs.sandbox.docker.backend import DockerBackend
    from repodrome.envs.sandbox.docker.images import ensure_image
    from repodrome.harness.cli.loop import run
    from repodrome.harness.cli.refs import tasks_of

    wanted = names or [BASE]
    tasks = tasks_of([name for name in wanted if name != BASE])

    async def main() -> None:
        if BASE in wanted:
            for engine in _engines():
                image = await ensure_image(engine, None, screen.progress)
                screen.out().print(screen.plain(f"{image.reference}  {_short(image.id)}"))
        if not tasks:
            return
        backend = DockerBackend()  # closed below, so not the one that the process shares
        try:
            for task in tasks:
                tell = functools.partial(_say, task.id)
                prepared = await prepare(task, backend, progress=tell)
                identity = _short(prepared.spec.image or "")
                screen.out().print(screen.plain(f"{task.id}  {identity}"))
        finally:
            await backend.close()

    run(main)


@app.command("list")
def list_images(as_json: JsonOption = False) -> None:
    """List the images that repodrome made, newest first."""
    from rich.table import Table

    from repodrome.envs.sandbox.docker.stock import images
    from repodrome.harness.cli.loop import run

    async def main() -> list[tuple[str, Kept]]:
        return [(engine.name, one) for engine in _engines() for one in await images(engine)]

    kept = run(main)
    if as_json:
        screen.print_json([_as_json(host, one) for host, one in kept])
        return
    several = len(_engines()) > 1
    table = Table()
    for heading in (*(["host"] if several else []), *_HEADINGS):
        right = heading in ("size", "age")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for host, one in kept:
        table.add_row(
            *([screen.plain(host)] if several else []),
            screen.plain("\n".join(one.names) or "–"),
            screen.plain(_short(one.id)),
            screen.plain(one.kind),
            screen.plain(one.task),
            _megabytes(one.size),
            _age(one.age),
            "in use" if one.used else "",
        )
    screen.out().print(table)


@app.command()
def prune(
    everything: Annotated[
        bool,
        typer.Option("--all", help="Every image of ours that no container uses, the base too."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove images of ours that a newer one of the same task has replaced.

    Images that a container is made of, that others are built on, and that repodrome did not make
    (those it pulled for environment.docker_image among them) stay. With --all the layers go too
    that a daemon driven over its API keeps as volumes; they travel there again when needed.
    """
    from repodrome.envs.sandbox.docker import stock
    from repodrome.envs.sandbox.docker.api.layers import prune_layers
    from repodrome.harness.cli.loop import run

    async def main() -> tuple[list[tuple[str, Kept]], list[str]]:
        gone: list[tuple[str, Kept]] = []
        layers: list[str] = []
        for engine in _engines():
            gone += [(engine.name, one) for one in await stock.prune(engine, everything=everything)]
            layers += await prune_layers(engine) if everything else []
        return gone, layers

    gone, layers = run(main)
    if as_json:
        screen.print_json([_as_json(host, one) for host, one in gone])
        return
    for name in layers:
        screen.out().print(screen.plain(f"removed {name}"))
    for _, one in gone:
        name = ", ".join(one.names) or _short(one.id)
        screen.out().print(screen.plain(f"removed {name} ({_megabytes(one.size)})"))
    screen.out().print(screen.plain(f"removed {len(gone)} image{'' if len(gone) == 1 else 's'}"))


def _engines() -> list[Engine]:
    """The daemons that are in use: REPODROME_DOCKER_HOSTS, or the default one."""
    from repodrome.envs.sandbox.docker.engine import Engine, connect
    from repodrome.envs.sandbox.docker.hosts import specs_from_environment

    return [Engine(spec.address, connect) for spec in specs_from_environment()]


def _say(task: str, line: str) -> None:
    screen.progress(f"{task}: {line}")


def _as_json(host: str, one: Kept) -> dict[str, Any]:
    return {
        "host": host,
        "id": one.id,
        "names": list(one.names),
        "kind": one.kind,
        "task": one.task,
        "size": one.size,
        "created": one.created,
        "in_use": one.used,
    }


def _short(identity: str) -> str:
    return identity.removeprefix("sha256:")[:12]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
