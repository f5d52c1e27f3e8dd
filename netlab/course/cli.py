"""``netlab course``: list the chapters, open one, forget what was done in one."""

from __future__ import annotations

import json
import time
import webbrowser
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from netlab.course.catalogue import KEY, Chapter, chapter, chapters
from netlab.course.map import CourseMap, standings
from netlab.course.records import forget
from netlab.course.store import Store
from netlab.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

app = typer.Typer(no_args_is_help=True, help="List the chapters of the course, open one, or start one over.")


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """List the chapters, and how far you are in each."""
    found = standings(Store.default().read(), chapters())
    if not as_json:
        print(CourseMap(tuple(found)))
        return
    fields = ("predictions", "exercises", "faults", "hints", "minutes", "state")
    document = [
        {"number": one.chapter.number, "title": one.chapter.title, "file": one.chapter.path.name}
        | {name: getattr(one, name) for name in fields}
        for one in found
    ]
    print(json.dumps(document, indent=2, ensure_ascii=False))


@app.command("open")
def open_(
    number: Annotated[str, typer.Argument(metavar="CHAPTER", help="Its number, such as 02.")],
    only_print: Annotated[bool, typer.Option("--print", help="Print the link, and open no browser.")] = False,
) -> None:
    """Open a chapter in the JupyterLab that is running, and print its link."""
    link = _link(chapter(number))
    print(link)
    if not only_print:
        webbrowser.open(link)


def _link(found: Chapter) -> str:
    """Return the link of a chapter in a running server of this user; raises NotFoundError."""
    from jupyter_server.serverapp import list_running_servers  # noqa: PLC0415 - slow to import

    for server in list_running_servers():
        root = Path(server["root_dir"]).resolve()
        if found.path.resolve().is_relative_to(root):
            place = found.path.resolve().relative_to(root).as_posix()
            token = f"?token={server['token']}" if server.get("token") else ""
            return f"{server['url']}lab/tree/{place}{token}"
    raise NotFoundError(f"No JupyterLab of yours shows {found.path}. Start one with ./containers/up, then try again.")


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the site goes; it is made if it is not there.")],
    numbers: Annotated[
        list[str] | None, typer.Argument(metavar="[CHAPTER...]", help="Only these chapters, such as 02 03.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that holds other files too.")] = False,
) -> None:
    """Run the chapters and write a static site: with outputs and pictures, to be read without netlab.

    It needs no network, and no server: open index.html. A site that was written there before is replaced.
    """
    from netlab.course.publish import publish as write  # noqa: PLC0415 - slow to import

    chosen = sorted({chapter(number) for number in numbers}, key=lambda one: one.number) if numbers else chapters()
    with show_steps([one.title for one in chosen]) as step:
        first = write(chosen, folder, force=force, progress=lambda _, place: step(place))
    print(f"{len(chosen)} {'chapter is' if len(chosen) == 1 else 'chapters are'} published: open {first}")


@app.command()
def reset(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="A chapter such as 02, a key such as 02-detour, or all.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget your progress in a chapter, in one exercise or prediction, or all of it."""
    wanted = what.zfill(2) if what.isdigit() else what
    if wanted != "all" and not wanted.isdigit() and not KEY.fullmatch(wanted):
        raise InvalidInputError(
            f'Say what to forget: a chapter such as "02", a key such as "02-detour", or all; not {what!r}.'
        )
    if not yes:
        typer.confirm(f"Forget your progress in {'the whole course' if wanted == 'all' else wanted}?", abort=True)
    gone = forget(lambda key: wanted in {"all", key} or (wanted.isdigit() and key[:2] == wanted))
    print(f"{gone} {'entry was' if gone == 1 else 'entries were'} forgotten.")


@contextmanager
def show_steps(names: list[str]) -> Iterator[Callable[[int], None]]:
    """Yield what is called before each step, by its place: a bar in a terminal, and a line for each step elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    begin = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(names))

        def step(place: int) -> None:
            bar.update(task, completed=place, description=names[place])
            if not console.is_terminal:
                seconds = time.monotonic() - begin
                console.print(f"{place + 1}/{len(names)}  {names[place]}  ({seconds:.0f} s)", highlight=False)

        yield step
