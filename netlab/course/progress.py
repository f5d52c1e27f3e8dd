"""``netlab progress``: show or export what you have done."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from netlab.course.records import to_csv
from netlab.course.store import Store
from netlab.errors import InvalidInputError

app = typer.Typer(help="Show your progress in the course, or export it.")


@app.command()
def progress(
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is kept, as JSON.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a row for each chapter, prediction and exercise.")
    ] = False,
) -> None:
    """Show your progress in the course, or export it. It is kept on this machine only."""
    if as_json and as_csv:
        raise InvalidInputError("Choose one of --json and --csv.")
    store = Store.default()
    record = store.read()
    if as_json:
        print(json.dumps(record, indent=2, ensure_ascii=False))
    elif as_csv:
        print(to_csv(record), end="")
    else:
        from netlab.course.map import show_map  # noqa: PLC0415 - an export needs no chapters

        print(show_map())
        print(f"\nKept in {store.path}")
