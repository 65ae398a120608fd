"""Commands for Lab 2: start, check, reset, graph."""

from pathlib import Path
from typing import Annotated

import typer

from churn_lab.cli_output import JsonOption, show, show_json
from churn_lab.files import write_atomic
from churn_lab.workspace import locate_workspace

RepoOption = Annotated[
    Path | None,
    typer.Option("--repo", "--workspace", help="Your project's folder.", show_default="my-lab, or CHURN_LAB_HOME"),
]
GitStep = typer.Argument(min=1, max=10, help="One of the ten Git steps.")


def git_start(
    folder: Annotated[Path | None, typer.Argument(help="Where to make it.", show_default="my-lab")] = None,
) -> None:
    """Make the project ready for Git step 1."""
    from churn_lab.git_walk import start_lab

    lab = locate_workspace(folder)
    added = start_lab(lab.root)
    print(f"{lab.root}: " + (f"added {', '.join(added)}" if added else "nothing was missing"))
    print("Next: git init, in that folder; then churn-lab git check 1")


def git_check(
    step: Annotated[int | None, GitStep] = None,
    repo: RepoOption = None,
    hint: Annotated[int, typer.Option("--hint", count=True, help="Show a hint; say it twice or thrice for more.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Check one Git step, or all ten, on what your repository is; exit code 0 if all asked-for steps hold."""
    from churn_lab.git_checks import check_repository, choose_hints

    results = check_repository(locate_workspace(repo).root, step)
    hints = choose_hints(results, hint)
    if as_json:
        show_json({"ok": all(result.ok for result in results), "steps": [vars(r) for r in results], "hints": hints})
    else:
        show([{"step": r.step, "title": r.title, "holds": "yes" if r.ok else "NO", "found": r.found} for r in results])
        for result in [r for r in results if not r.ok][:1]:
            print(f"Step {result.step}: expected {result.expected}, found {result.found}.\nNext: {result.next_step}")
        for number, text in enumerate(hints, 1):
            print(f"Hint {number}: {text}")
    raise typer.Exit(0 if all(result.ok for result in results) else 1)


def git_reset(
    step: Annotated[int, GitStep],
    into: Annotated[Path | None, typer.Option(help="Build it in this new folder.", show_default="in place")] = None,
    repo: RepoOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Build the state in which a Git step begins: in a new folder, or in place, where the old state is kept."""
    from churn_lab.git_walk import reset_in_place, reset_into

    if into:
        reset_into(into, step)
        print(f"{into}: ready for Git step {step}")
        return
    root = locate_workspace(repo).root
    if not yes:
        typer.confirm(f"Put {root} into the state in which step {step} begins? The old state is kept.", abort=True)
    print(f"{root}: ready for Git step {step}; the old state is under {reset_in_place(root, step)}/")


def git_graph(
    repo: RepoOption = None,
    svg: Annotated[Path | None, typer.Option(help="Write the picture to this file, too.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="This many commits, the newest.")] = 30,
) -> None:
    """Draw the commit graph."""
    from churn_lab.git_graph import draw_graphs, read_graph

    picture = draw_graphs(history=read_graph(locate_workspace(repo).root, limit))
    print(picture)
    if svg:
        write_atomic(svg, picture.svg + "\n")
