"""Commands for Lab 2: start, check, reset, graph."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from churn_lab.cli_output import JsonOption, show, show_json
from churn_lab.files import LabError, write_atomic
from churn_lab.workspace import create_workspace, locate_workspace

git = typer.Typer(help="Lab 2: ten Git steps on your own project.", no_args_is_help=True)
RepoOption = Annotated[
    Path | None,
    typer.Option(
        "--repo",
        "--workspace",
        help="Your project's folder.",
        show_default="CHURN_LAB_HOME, or the project around this folder",
    ),
]
GitStep = typer.Argument(min=1, max=10, help="One of the ten Git steps.")
HOLDS = {True: "yes", False: "NO", None: "?"}


@git.command("start")
def git_start(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to make it.", show_default="the project around this folder")
    ] = None,
) -> None:
    """Make the project ready for Git step 1."""
    lab = locate_workspace(folder)
    added = create_workspace(lab.root)
    print(f"{lab.root}: " + (f"added {', '.join(added)}" if added else "nothing was missing"))
    print("Next: git init -b main, in that folder; then churn-lab git check 1")


@git.command("check")
def git_check(
    step: Annotated[int | None, GitStep] = None,
    repo: RepoOption = None,
    hint: Annotated[int, typer.Option("--hint", count=True, help="Show a hint; say it twice or thrice for more.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Check one Git step, or all ten, on what your repository is; exit code 0 if all asked-for steps hold."""
    from churn_lab.git_workflow import check_repository, choose_hints

    unkept: list[LabError] = []
    results = check_repository(locate_workspace(repo).root, step, note=unkept.append)
    hints = choose_hints(results, hint)
    if as_json:
        steps = [{name: value for name, value in vars(r).items() if name != "hints"} for r in results]
        show_json({"ok": all(result.ok for result in results), "steps": steps, "hints": hints})
    else:
        show([{"step": r.step, "title": r.title, "holds": HOLDS[r.ok], "found": r.found} for r in results])
        for result in [r for r in results if not r.ok][:1]:
            print(f"Step {result.step}: expected {result.expected}, found {result.found}.\nNext: {result.next_step}")
        for number, text in enumerate(hints, 1):
            print(f"Hint {number}: {text}")
    for error in unkept:
        print(f"What was seen is not kept for the next check. {error}", file=sys.stderr)
    raise typer.Exit(0 if all(result.ok for result in results) else 1)


@git.command("reset")
def git_reset(
    step: Annotated[int, GitStep],
    into: Annotated[Path | None, typer.Option(help="Build it in this new folder.", show_default="in place")] = None,
    repo: RepoOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Build the state in which a Git step begins: in a new folder, or in place, where the old state is kept."""
    from churn_lab.git_lab.reset import build_state, reset_in_place

    if into:
        build_state(into, step)
        print(f"{into}: ready for Git step {step}")
        return
    root = locate_workspace(repo).root
    if not yes:
        typer.confirm(f"Put {root} into the state in which step {step} begins? The old state is kept.", abort=True)
    place = reset_in_place(root, step)
    print(f"{root}: ready for Git step {step}; the old state is under {place}/")
    print(f"Back: git for-each-ref {place} lists it; git branch NAME {place}/heads/BRANCH has a branch again;")
    print(f"git restore --source {place}/worktree FILE a file as it was on the disk;")
    print(f".git/churn-lab-{place.rsplit('/', 1)[1]}.json is what the checks had seen")


@git.command("graph")
def git_graph(
    repo: RepoOption = None,
    svg: Annotated[Path | None, typer.Option(help="Write the picture to this file, too.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="This many commits, the newest.")] = 30,
) -> None:
    """Draw the commit graph."""
    from churn_lab.git_lab.graph import draw_graphs, read_graph
    from churn_lab.git_lab.repository import open_repository

    root, _, _ = open_repository(locate_workspace(repo).root)
    picture = draw_graphs(history=read_graph(root, limit))
    print(picture)
    if svg:
        write_atomic(svg, picture.svg + "\n")
        print(f"{svg.absolute()}: the same as a picture", file=sys.stderr)
