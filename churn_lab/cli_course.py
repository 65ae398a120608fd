"""Commands for the course as a whole: init, doctor, check, progress, reset, run."""

import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from churn_lab.cli_cluster import ClusterOption, share_on
from churn_lab.cli_output import JsonOption, WorkspaceOption, progress_bar, show, show_json, working
from churn_lab.files import LabError
from churn_lab.workspace import Workspace, create_workspace, find_workspace, locate_workspace


def init(
    folder: Annotated[Path | None, typer.Argument(help="Where to make it.", show_default="my-lab")] = None,
    build: Annotated[bool, typer.Option("--build", help="Stubs in src/, to write the scripts yourself.")] = False,
) -> None:
    """Make the project of the lab, or add what is missing from it."""
    try:
        lab = locate_workspace(folder)
    except LabError:  # neither in a project nor in the course: make one here
        lab = Workspace("my-lab")
    added = create_workspace(lab.root, build)
    if build and not any(name.startswith("src/") for name in added):
        raise LabError(
            "a new folder for the stubs", f"{lab.root}, which has its scripts", "churn-lab init --build my-own"
        )
    print(f"{lab.root}: " + (f"added {', '.join(added)}" if added else "nothing was missing"))


def doctor(
    workspace: WorkspaceOption = None,
    port: Annotated[int, typer.Option(help="The port that the API will use.", min=1, max=65535)] = 8000,
    as_json: JsonOption = False,
) -> None:
    """Check this machine and your project; exit code 1 if something has to be mended."""
    from churn_lab.environment import doctor as examine
    from churn_lab.registry_repair import check_service

    try:
        lab = locate_workspace(workspace)
    except LabError:  # before the first project
        lab = Workspace("my-lab")
    rows = [*examine(lab, port), *check_service(lab)]
    if as_json:
        show_json(rows)
    else:
        show([{**row, "ok": "yes" if row["ok"] else "NO"} for row in rows])
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)


def check(
    step: Annotated[int | None, typer.Argument(min=1, max=9, help="One step of Lab 1.", show_default="all")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask what your project can do, step by step; exit code 0 if all that was asked for holds."""
    from churn_lab.lab_checks import STEPS, check_lab
    from churn_lab.progress import note_progress

    lab = find_workspace(workspace)
    with working("checking") as say:
        findings = check_lab(
            lab, STEPS if step is None else (str(step),), lambda number: say(f"checking step {number}")
        )
    points = sum(finding.ok for finding in findings)
    for number in dict.fromkeys(finding.step for finding in findings):
        held = [finding.ok for finding in findings if finding.step == number]
        note_progress(lab, step=number, points=sum(held), of=len(held))
    if as_json:
        found = [vars(finding) for finding in findings]
        show_json({"ok": points == len(findings), "points": points, "of": len(findings), "findings": found})
    else:
        show([{"step": f.step, "aspect": f.aspect, "holds": "yes" if f.ok else "NO"} for f in findings])
        for finding in [f for f in findings if not f.ok][:1]:
            print(
                f"Step {finding.step}: expected {finding.expected}, found {finding.found}.\nNext: {finding.next_step}"
            )
        print(f"{lab.root}: {points} of {len(findings)}")
    raise typer.Exit(0 if points == len(findings) else 1)


def progress(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """How far you are: steps that were checked, Git steps as they are now, exercises that are right."""
    from churn_lab.progress import read_progress

    rows = read_progress(find_workspace(workspace))
    if as_json:
        return show_json(rows)
    show(
        [
            {
                "lab": row["lab"],
                "step": row["step"],
                "title": row["title"],
                "holds": "" if row["points"] is None else f"{row['points']} of {row['of']}",
                "exercises": f"{row['right']} of {row['exercises']}" if row["exercises"] else "",
            }
            for row in rows
        ]
    )
    print("Next: churn-lab check, for the steps of Lab 1 as they are now; churn-lab git check, for Lab 2")


def reset(
    step: Annotated[int, typer.Argument(min=1, max=9, help="One step of Lab 1.")],
    workspace: WorkspaceOption = None,
) -> None:
    """Take one step of Lab 1 back; its files are kept under backups/."""
    from churn_lab.reset_step import reset_step

    kept, moved = reset_step(find_workspace(workspace), str(step))
    print(f"{', '.join(moved)}: kept in {kept}" if moved else "nothing to take back")


def run(
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", help="name=value, for any notebook that has it. Several, as seed=1,2 or 1..5: a grid."),
    ] = None,
    raw: Annotated[Path | None, typer.Option(help="Your own CSV in place of generated data.")] = None,
    target: Annotated[str | None, typer.Option(help="Its column that says who left.")] = None,
    positive: Annotated[str | None, typer.Option(help="The value there that means 'left'.")] = None,
    identifier: Annotated[str | None, typer.Option("--id", help="Its column that names the customer.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="The number of a step, as 3 or 05b; may be repeated.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="The number of the step to begin at.")] = None,
    best: Annotated[
        str | None, typer.Option(help="Of a grid: the figure to choose the best by.", show_default="f1")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Of a grid: how many runs at once; not with --cluster, where each worker has one.",
            show_default="2",
        ),
    ] = None,
    cluster: ClusterOption = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the lab's notebooks without a screen and write a report (exit code 5 if the gate refused the model).

    With several values for a parameter: once for each combination, each in a project of its own, with one report
    (exit code 1 if one of them failed). The same command again keeps what is finished.
    """
    from churn_lab.course_notebooks import choose_notebooks, find_notebooks, split_values

    # jsonschema spends two seconds on a grammar of web addresses if it finds this package; notebooks hold none to check
    sys.modules.setdefault("rfc3987_syntax", None)
    own = (("raw", raw), ("target", target), ("positive", positive), ("id", identifier))
    texts = {name: [str(value)] for name, value in own if value}
    for name, value in map(read_parameter, parameter or []):
        texts[name] = [*texts.get(name, []), value]
    values = split_values(texts, choose_notebooks(find_notebooks(), only, start))
    if any(len(several) > 1 for several in values.values()):
        asked = {"only": only, "start": start, "best": best or "f1", "jobs": jobs or 2}
        run_many(locate_workspace(workspace), values, asked, cluster, as_json)
    elif best or jobs:
        raise LabError("several values for a parameter, with --best or --jobs", "no grid", "-p seed=1..5")
    else:
        if cluster:
            print("run here: a cluster is for several runs, as with -p seed=1..5", file=sys.stderr)
        run_one(workspace, {name: value for name, (value,) in values.items()}, only, start, as_json)


def read_parameter(text: str) -> tuple[str, str]:
    """Name and value of `-p name=value`."""
    name, sign, value = text.partition("=")
    if not sign:
        raise LabError("a parameter as name=value", text, f"-p {name}=VALUE")
    return name, value


def run_one(
    workspace: Path | None, parameters: dict[str, Any], only: list[str] | None, start: str | None, as_json: bool
) -> None:
    """One run, told step by step."""
    from churn_lab.course import run as run_course

    with progress_bar("") as update:

        def on_cell(notebook: Path, cell: int, cells: int) -> None:
            update(completed=min(cell, cells) - 1, total=cells, description=notebook.stem)  # called before a cell

        result = run_course(workspace, parameters, only, start, on_cell=on_cell, on_wait=say_that_we_wait)
    if as_json:
        show_json(result)
    else:
        show(
            [
                {"step": s["number"], "title": s["title"], "state": s["state"], "seconds": s["seconds"]}
                for s in result["steps"]
            ]
        )
        for title, figures in (("This run", result["figures"]), ("Earlier in this project", result["earlier"])):
            if figures:
                show([{"figure": name.replace("_", " "), "value": value} for name, value in figures.items()], title)
    for warning in result["warnings"]:
        print(warning, file=sys.stderr)
    if failure := result["failure"]:
        cell = f", cell {failure['cell']}" if failure["cell"] else ""
        print(f"{failure['title']} ({failure['notebook']}{cell}): {failure['error']}", file=sys.stderr)
    elif result["refused"]:
        print(result["refused"], file=sys.stderr)
    if not as_json:
        print(f"report: {result['report']}")
    raise typer.Exit(1 if failure else 5 if result["refused"] else 0)


def run_many(
    lab: Workspace, values: dict[str, list[Any]], asked: dict[str, Any], cluster: str | None, as_json: bool
) -> None:
    """A grid of runs, told as a table."""
    from churn_lab.course_notebooks import find_notebooks
    from churn_lab.grid_run import run_grid

    count = math.prod(len(several) for several in values.values())
    told = " · ".join(f"{name}={','.join(map(str, several))}" for name, several in values.items() if len(several) > 1)
    print(f"{count} runs: {told}", file=sys.stderr)
    ended, best = 0, asked["best"]
    try:
        read = [*find_notebooks(), *map(Path, filter(None, values.get("raw", [])))]
        with share_on(cluster, read, lab.runs / "grid") as share, progress_bar("runs", count) as update:

            def on_done(result: dict[str, Any]) -> None:
                nonlocal ended
                ended += 1
                update(advance=1)

            result = run_grid(lab.root, values, **asked, share=share, on_done=on_done)
    except KeyboardInterrupt:
        print(
            f"stopped; {ended} of {count} runs are finished. Next: the same command, which keeps them", file=sys.stderr
        )
        raise typer.Exit(130) from None
    if as_json:
        show_json(result)
    else:
        show(
            [
                {
                    **row["parameters"],
                    "state": row["state"],
                    best: row["figures"].get(best),
                    "best": "best" if row["best"] else "",
                    "seconds": f"{row['seconds'] or 0:.0f}{' earlier' if row['kept'] else ''}",
                }
                for row in result["rows"]
            ]
        )
    for row in result["rows"]:
        if row["state"] == "failed":
            print(f"{', '.join(f'{n}={v}' for n, v in row['parameters'].items())}: {row['reason']}", file=sys.stderr)
    if not as_json:
        print(f"report: {result['report']}")
    raise typer.Exit(0 if result["ok"] else 1)


def say_that_we_wait() -> None:
    """Another run is busy in the same project."""
    print("another run is working in this project: waiting for it", file=sys.stderr)
