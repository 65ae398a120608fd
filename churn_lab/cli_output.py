"""How commands print: tables for people, JSON for programs, bars on a terminal; and the options that most of them have."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

WorkspaceOption = Annotated[
    Path | None, typer.Option("--workspace", help="Your project's folder.", show_default="my-lab, or CHURN_LAB_HOME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def show(rows: list[dict[str, Any]], title: str = "") -> None:
    """Print a table with the rows' keys as its header."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for key in rows[0] if rows else ():
        table.add_column(key.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console = Console(markup=False, highlight=False)
    if not sys.stdout.isatty():
        console.width = 200  # whoever reads a file or a pipe wants whole names
    console.print(table)


def show_json(content: Any) -> None:
    """Print `content` for a program to read."""
    print(json.dumps(content, indent=2, default=str))


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """Say what takes its time, on a terminal only; call what it yields to say something else."""
    from rich.console import Console

    if not sys.stderr.isatty():  # rich takes a notebook's pipe for a terminal
        yield lambda text: None
        return
    with Console(stderr=True).status(text) as status:
        yield status.update


@contextmanager
def progress_bar(name: str, total: float | None = None, share: bool = False) -> Iterator[Callable[..., None]]:
    """A bar on standard error that counts things, or shows a share; it yields rich's `Progress.update` of this bar."""
    from rich import progress
    from rich.console import Console

    counted, timed = (progress.MofNCompleteColumn(), progress.TimeElapsedColumn())
    if share:
        counted, timed = (progress.TaskProgressColumn(), progress.TimeRemainingColumn())
    columns = (progress.TextColumn("{task.description:<24}"), progress.BarColumn(), counted, timed)
    console = Console(stderr=True)
    with progress.Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        yield partial(bar.update, bar.add_task(name, total=total))
