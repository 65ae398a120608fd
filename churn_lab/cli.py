"""The command `churn-lab`: wiring only. Each command calls one function of the package and prints what it returns."""

import atexit
import gc
import os
import sys
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from churn_lab.cli_classroom import classroom
from churn_lab.cli_course import check, doctor, init, progress, reset, run
from churn_lab.cli_data import evaluate, generate, prepare, train
from churn_lab.cli_drift import drift
from churn_lab.cli_git import git
from churn_lab.cli_registry import registry, rollback
from churn_lab.cli_service import dashboard, predict, serve, simulate
from churn_lab.files import LabError

app = typer.Typer(
    help="The life of a churn model, from data to rollback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# fmt: off
for command in (
    init, doctor, generate, prepare, train, evaluate, serve, simulate, dashboard, predict, drift, rollback, check, progress, reset, run,
):
    app.command()(command)
# fmt: on
app.add_typer(registry, name="registry")
app.add_typer(git, name="git")
app.add_typer(classroom, name="classroom")


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"churn-lab {installed_version('churn_lab')}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what a person can mend ends with a message and exit code 1."""
    collecting = gc.isenabled()
    if arguments is None:  # a process of our own
        atexit.register(gc.freeze)  # to look for garbage before it ends would take it a tenth of a second
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no command multiplies matrices; threads for it would spin
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console of another code page must not turn a message into a traceback
    try:
        app(args=arguments)
    except LabError as error:
        sys.exit(fail(error))
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        sys.exit(
            fail(LabError("to read and write files", f"{error.strerror or error}{where}".lower(), "churn-lab doctor"))
        )
    finally:
        if arguments is not None and collecting:
            gc.enable()  # a command may have switched it off


def fail(error: LabError) -> int:
    """Say on standard error what a person can mend; the exit code."""
    print(error, file=sys.stderr)
    return 1
