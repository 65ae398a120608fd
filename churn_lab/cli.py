"""The command `churn-lab`: wiring only. Each command calls one function of the package and prints what it returns."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from churn_lab.workspace import LabError, create_workspace, find_workspace, locate_workspace

app = typer.Typer(
    help="The life of a churn model, from data to rollback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
git_app = typer.Typer(help="Lab 2: ten Git steps on your own project.", no_args_is_help=True)
app.add_typer(git_app, name="git")

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
    Console().print(table)


def show_json(content: Any) -> None:
    """Print `content` for a program to read."""
    print(json.dumps(content, indent=2, ensure_ascii=False, default=str))


@app.command()
def init(folder: Annotated[Path | None, typer.Argument(help="Where to make it.", show_default="my-lab")] = None) -> None:
    """Make the project of the lab, or add what is missing from it."""
    lab = locate_workspace(folder)
    added = create_workspace(lab.root)
    print(f"{lab.root}: " + (f"added {', '.join(added)}" if added else "nothing was missing"))


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what a person can mend ends with a message and exit code 1."""
    try:
        app(args=arguments)
    except LabError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
