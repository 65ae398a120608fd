"""The command `churn-lab`: wiring only. Each command calls one function of the package and prints what it returns."""

import atexit
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from churn_lab.workspace import LabError, create_workspace, find_workspace, is_workspace, locate_workspace, write_atomic

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
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # whoever reads a file or a pipe wants whole names
    console.print(table)


def show_json(content: Any) -> None:
    """Print `content` for a program to read."""
    print(json.dumps(content, indent=2, ensure_ascii=False, default=str))


@contextmanager
def working(text: str) -> Iterator[None]:
    """Say what takes its time, on a terminal only."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


@app.command()
def init(
    folder: Annotated[Path | None, typer.Argument(help="Where to make it.", show_default="my-lab")] = None,
) -> None:
    """Make the project of the lab, or add what is missing from it."""
    lab = locate_workspace(folder)
    if lab.root == Path.cwd() and not (folder or is_workspace(lab.root) or os.environ.get("CHURN_LAB_HOME")):
        lab = locate_workspace("my-lab")  # no course around: do not fill whatever folder this is
    added = create_workspace(lab.root)
    print(f"{lab.root}: " + (f"added {', '.join(added)}" if added else "nothing was missing"))


@app.command()
def doctor(
    workspace: WorkspaceOption = None,
    port: Annotated[int, typer.Option(help="The port that the API will use.", min=1, max=65535)] = 8000,
    as_json: JsonOption = False,
) -> None:
    """Check that this machine can run the lab; exit code 1 if something has to be mended."""
    from churn_lab.environment import doctor as examine

    rows = examine(locate_workspace(workspace), port)
    if as_json:
        show_json(rows)
    else:
        show([{**row, "ok": "yes" if row["ok"] else "NO"} for row in rows])
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)


@app.command()
def generate(
    rows: Annotated[int, typer.Option(help="How many customers.")] = 5000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same customers.")] = 42,
    workspace: WorkspaceOption = None,
) -> None:
    """Draw synthetic customers into data/raw.csv."""
    from churn_lab.generate_data import generate as draw

    lab = find_workspace(workspace)
    with working("drawing customers"):
        customers = draw(lab, rows, seed)
    print(f"{lab.raw}: {len(customers)} customers, {customers['churn'].mean():.1%} left")


@app.command()
def prepare(
    raw: Annotated[Path | None, typer.Option(help="Your own CSV.", show_default="data/raw.csv")] = None,
    target: Annotated[str | None, typer.Option(help="Its column that says who left.")] = None,
    positive: Annotated[str | None, typer.Option(help="The value there that means 'left'.")] = None,
    identifier: Annotated[str | None, typer.Option("--id", help="Its column that names the customer.")] = None,
    max_missing: Annotated[float, typer.Option(help="Largest share of missing values in a column.")] = 0.05,
    max_duplicates: Annotated[float, typer.Option(help="Largest share of repeated identifiers.")] = 0.0,
    min_distinct: Annotated[int, typer.Option(help="Least number of distinct values in a column.")] = 2,
    max_target_match: Annotated[
        float, typer.Option(help="Largest share of rows where a feature is the target.")
    ] = 0.999,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check and clean the data; refuse it if it is not fit to learn from."""
    from churn_lab.prepare_data import Limits, summarise_failures
    from churn_lab.prepare_data import prepare as check_and_clean

    lab = find_workspace(workspace)
    with working("checking the data"):
        limits = Limits(max_missing, max_duplicates, min_distinct, max_target_match)
        prepared = check_and_clean(lab, raw, target, positive, identifier, limits)
    broken = summarise_failures(prepared.failures)
    columns = [
        {
            "column": feature.name,
            "kind": feature.kind,
            "may be missing": "yes" if feature.nullable else "no",
            "bounds": ", ".join(
                f"{word} {bound:g}"
                for word, bound in (("at least", feature.minimum), ("at most", feature.maximum))
                if bound is not None
            ),
            "observed": ", ".join(feature.categories[:6]) or f"{feature.lowest:g} to {feature.highest:g}",
        }
        for feature in prepared.contract.features
    ]
    if as_json:
        contract = prepared.contract.model_dump(mode="json")
        return show_json(
            {"rows": len(prepared.rows), "rejected": prepared.rejected, "failures": broken, "contract": contract}
        )
    show(columns, f"Contract of a row (target: {prepared.contract.target})")
    for name, reason in prepared.contract.left_out.items():
        print(f"left out: {name}: {reason}")
    if broken:
        show(broken, "Rows that break it")
    print(f"{lab.processed}: {len(prepared.rows)} rows kept, {prepared.rejected} rejected")


@app.command()
def train(
    gate_f1: Annotated[float, typer.Option(help="Least F1 on held-out rows.", min=0, max=1)] = 0.55,
    seed: Annotated[int, typer.Option(help="Of the forest.", min=0)] = 42,
    tolerance: Annotated[float, typer.Option(help="How much F1 may be lost against the champion.", min=0)] = 0.02,
    n_estimators: Annotated[int, typer.Option(help="Trees.", min=1)] = 100,
    max_depth: Annotated[int | None, typer.Option(help="Deepest a tree may grow.", min=1)] = None,
    min_samples_leaf: Annotated[int, typer.Option(help="Least rows in a leaf.", min=1)] = 10,
    max_features: Annotated[str, typer.Option(help="Features tried at a split: sqrt, log2, or a share.")] = "sqrt",
    class_weight: Annotated[str | None, typer.Option(help="balanced, balanced_subsample, or none.")] = None,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model, register it, and promote it if it passes the gate (exit code 5 if it does not)."""
    from churn_lab.train import Forest
    from churn_lab.train import train as train_model

    try:
        tried: str | float = float(max_features)
    except ValueError:
        tried = max_features
    weight = None if class_weight == "none" else class_weight
    forest = Forest(n_estimators, max_depth, min_samples_leaf, tried, weight)
    with working("training"):
        entry = train_model(find_workspace(workspace), gate_f1, seed, tolerance, forest, why)
    if as_json:
        show_json(entry)
    else:
        show([{**check, "passed": "yes" if check["passed"] else "NO"} for check in entry["gate"]], "The gate")
        comparison = entry["comparison"]
        if "difference" in comparison:
            low, high = comparison["interval"]
            print(
                f"F1 against {comparison['champion']}: {comparison['difference']:+.4f} (95 %: {low:+.4f} to {high:+.4f})"
            )
        else:
            print(f"not compared with a champion: {comparison['why']}")
        state = "in service" if entry["passed_gate"] else "refused: the model in service has not changed"
        print(f"{entry['model_file']}: F1 {entry['metrics']['f1']}, ROC AUC {entry['metrics']['roc_auc']}, {state}")
    raise typer.Exit(0 if entry["passed_gate"] else 5)


@app.command()
def evaluate(
    model: Annotated[
        str | None, typer.Option(help="A version number or a model's file name.", show_default="the one in service")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a model on the held-out rows, beside answers that look at no feature."""
    from churn_lab.evaluate import evaluate as score_model
    from churn_lab.registry import resolve_version

    with working("scoring"):
        lab = find_workspace(workspace)
        result = score_model(lab, resolve_version(lab, model))
    if as_json:
        return show_json(result)
    metrics = {name: value for name, value in result["metrics"].items() if name != "per_class"}
    lazy = [{"model": row.pop("baseline"), **row} for row in result["baselines"]]
    show([{"model": result["model_file"], **metrics}, *lazy], f"On {result['rows']} held-out rows")
    show([{"class": side, **figures} for side, figures in result["metrics"]["per_class"].items()], "By class")


registry_app = typer.Typer(help="Which model is in service, and how it got there.", no_args_is_help=True)
app.add_typer(registry_app, name="registry")


@registry_app.command("list")
def registry_list(
    last: Annotated[int, typer.Option(help="How many of the newest to show; JSON has them all.", min=1)] = 50,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """The versions, oldest first."""
    from churn_lab.registry import list_versions

    rows = list_versions(find_workspace(workspace))
    if as_json:
        return show_json(rows)
    if not rows:
        return print("no versions yet. Next: churn-lab train")
    if len(rows) > last:
        print(f"{len(rows) - last} older versions: --last {len(rows)}")
        rows = rows[-last:]
    marks = {True: "yes", False: "no"}
    show([{**row, "passed_gate": marks[row["passed_gate"]], "current": "*" if row["current"] else ""} for row in rows])


@registry_app.command("show")
def registry_show(
    model: Annotated[
        str | None, typer.Argument(help="A version number or a model's file name.", show_default="the one in service")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is known about one version."""
    from churn_lab.registry import current_model, find_entry, resolve_version

    lab = find_workspace(workspace)
    entry = find_entry(lab, resolve_version(lab, model) or current_model(lab))
    if as_json:
        return show_json(entry)
    entry["contract"] = ", ".join(feature["name"] for feature in entry["contract"]["features"])
    show(
        [
            {"key": key, "value": json.dumps(value) if isinstance(value, dict | list) else value}
            for key, value in entry.items()
        ]
    )


@registry_app.command("history")
def registry_history(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Who changed what, when and why, oldest first."""
    from churn_lab.registry import read_history

    events = read_history(find_workspace(workspace))
    if as_json:
        return show_json(events)
    keys = ("ts", "action", "from", "to", "why", "user", "host")
    rows = [
        {**{key: event.get(key) for key in keys}, "commit": str(event.get("git_commit") or "")[:7]} for event in events
    ]
    show(rows) if rows else print("nothing has happened yet")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer.")] = 1,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Answer other machines without CHURN_LAB_API_KEY.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Serve the model in service over HTTP, with a page to try it."""
    from churn_lab.api import serve as run_server

    run_server(find_workspace(workspace), host, port, workers, no_auth)


@app.command()
def predict(
    csv: Annotated[Path, typer.Argument(help="A CSV with the model's columns.", metavar="CSV")],
    out: Annotated[Path | None, typer.Option(help="Where the result goes.", show_default="CSV_predictions.csv")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to use.", show_default="one a core")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score each row of a CSV: its columns, and probability and prediction."""
    from churn_lab.batch_scoring import score_csv

    lab = find_workspace(workspace)
    with byte_bar(csv.name) as report:
        scored = score_csv(lab, csv, out, threads, report=report)
    if as_json:
        return show_json({"file": scored.path, **{k: getattr(scored, k) for k in ("rows", "called", "model_file")}})
    print(f"{scored.path}: {scored.rows} rows, {scored.called} will probably leave, by {scored.model_file}")


@contextmanager
def byte_bar(name: str) -> Iterator[Callable[[int, float], None]]:
    """A bar on standard error with the rows and the share of a file that are done; nothing when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=1.0)
        yield lambda rows, share: progress.update(task, completed=share, description=f"{name}: {rows:,} rows")


@registry_app.command("repair")
def registry_repair(
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make lost or damaged registry files again from models/, after showing what would be done."""
    from churn_lab.registry_repair import plan_repair, repair

    lab = find_workspace(workspace)
    plan = plan_repair(lab)
    if as_json:
        show_json({"steps": plan.steps, "problems": plan.problems})
    else:
        print(*(plan.steps or ["nothing to repair"]), sep="\n")
        for problem in plan.problems:
            print(f"cannot be mended: {problem}", file=sys.stderr)
    if plan.steps:
        if not yes and not (sys.stdin.isatty() and typer.confirm("Do this?")):
            raise LabError(
                "your word for these repairs", "none, and nothing was changed", "churn-lab registry repair --yes"
            )
        repair(lab)


@registry_app.command("prune")
def registry_prune(
    keep: Annotated[int, typer.Option(help="How many of the newest versions keep their files.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove old model files, never those in service or next to be rolled back to."""
    from churn_lab.registry_repair import prune

    removed = prune(find_workspace(workspace), keep)
    show_json(removed) if as_json else print(*(removed or ["nothing to remove"]), sep="\n")


@app.command()
def rollback(
    to: Annotated[
        str | None,
        typer.Option(help="A version number or a model's file name.", show_default="the one that served before"),
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Show where you can go back to, and change nothing.")
    ] = False,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Also restore a model that the gate refused.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an earlier model back into service."""
    from churn_lab.registry import resolve_version
    from churn_lab.rollback import list_targets
    from churn_lab.rollback import rollback as restore

    lab = find_workspace(workspace)
    if list_only:
        rows = list_targets(lab)
        if as_json:
            return show_json(rows)
        marks = {True: "yes", False: "no"}
        rows = [
            {**row, "passed_gate": marks[row["passed_gate"]], "current": "*" if row["current"] else ""} for row in rows
        ]
        return show(rows) if rows else print("no versions yet. Next: churn-lab train")
    result = restore(lab, resolve_version(lab, to), why, force)
    if as_json:
        return show_json(result)
    for name, reason in result["skipped"].items():
        print(f"skipped {name}: {reason}", file=sys.stderr)
    print(f"in service: {result['to']} (before: {result['from']})")


@app.command()
def run(
    parameter: Annotated[list[str] | None, typer.Option("-p", help="name=value, for any notebook that has it.")] = None,
    raw: Annotated[Path | None, typer.Option(help="Your own CSV in place of generated data.")] = None,
    target: Annotated[str | None, typer.Option(help="Its column that says who left.")] = None,
    positive: Annotated[str | None, typer.Option(help="The value there that means 'left'.")] = None,
    identifier: Annotated[str | None, typer.Option("--id", help="Its column that names the customer.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="The number of a notebook, as 03; may be repeated.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="The number of the notebook to begin at.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the lab's notebooks without a screen and write a report."""
    from churn_lab.course import run as run_course

    parameters = {
        name: str(value) for name, value in (("target", target), ("positive", positive), ("id", identifier)) if value
    }
    if raw:
        parameters["raw"] = str(raw)
    for text in parameter or []:
        name, sign, value = text.partition("=")
        if not sign:
            raise LabError("a parameter as name=value", text, f"-p {name}=VALUE")
        parameters[name] = value
    with progress_bar() as on_cell:
        result = run_course(workspace, parameters, only, start, on_cell=on_cell, on_wait=say_that_we_wait)
    if as_json:
        show_json(result)
    else:
        show([{"notebook": s["title"], "state": s["state"], "seconds": s["seconds"]} for s in result["steps"]])
        if result["figures"]:
            show([{"figure": name.replace("_", " "), "value": value} for name, value in result["figures"].items()])
    if failure := result["failure"]:
        cell = f", cell {failure['cell']}" if failure["cell"] else ""
        print(f"{failure['notebook']}{cell}: {failure['error']}", file=sys.stderr)
    if not as_json:
        print(f"report: {result['report']}")
    raise typer.Exit(0 if result["ok"] else 1)


def say_that_we_wait() -> None:
    """Another run is busy in the same project."""
    print("another run is working in this project: waiting for it", file=sys.stderr)


@contextmanager
def progress_bar() -> Iterator[Callable[[Path, int, int], None]]:
    """A bar on standard error with the notebook and cell that are running; nothing when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[Path, Any] = {}

        def on_cell(notebook: Path, cell: int, cells: int) -> None:
            if notebook not in tasks:
                for task in tasks.values():
                    progress.update(task, completed=progress.tasks[task].total)
                tasks[notebook] = progress.add_task(notebook.stem, total=cells)
            progress.update(tasks[notebook], completed=cell)

        yield on_cell


# --- git: Lab 2 ---

RepoOption = Annotated[
    Path | None,
    typer.Option("--repo", "--workspace", help="Your project's folder.", show_default="my-lab, or CHURN_LAB_HOME"),
]
GitStep = typer.Argument(min=1, max=10, help="One of the ten Git steps.")


@git_app.command("start")
def git_start(
    folder: Annotated[Path | None, typer.Argument(help="Where to make it.", show_default="my-lab")] = None,
) -> None:
    """Make the project ready for Git step 1."""
    from churn_lab.git_walk import start_lab

    lab = locate_workspace(folder)
    added = start_lab(lab.root)
    print(f"{lab.root}: " + (f"added {', '.join(added)}" if added else "nothing was missing"))
    print("Next: git init, in that folder; then churn-lab git check 1")


@git_app.command("check")
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


@git_app.command("reset")
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


@git_app.command("graph")
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


@app.command()
def drift(
    z_threshold: Annotated[float, typer.Option(help="How far a mean may stray, in standard errors.")] = 2.5,
    last_n: Annotated[int, typer.Option(help="How many of the latest predictions to look at.")] = 200,
    since: Annotated[
        str | None, typer.Option(help="All from then on: 90m, 24h, 7d, or 2026-01-31T12:00 (UTC).")
    ] = None,
    all_lines: Annotated[bool, typer.Option("--all", help="All predictions in the logs.")] = False,
    any_model: Annotated[bool, typer.Option("--any-model", help="Also predictions of models not in service.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page about it.")] = None,
    webhook: Annotated[str | None, typer.Option(help="Post the result as JSON to this address.")] = None,
    every: Annotated[
        str | None, typer.Option(help="Repeat until stopped: 60s. Speaks when the verdict changes.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare recent predictions with the training data (exit code 3: drift, 4: not enough data)."""
    from churn_lab.drift_report import DriftWatch, parse_every, post_result, watch_drift, write_report
    from churn_lab.log_window import parse_duration, parse_since
    from churn_lab.monitor_drift import EXIT_CODES, check_drift, list_findings

    def publish(result: Any) -> None:
        try:
            if html:
                write_report(result, html)
        except LabError as error:  # the verdict matters more
            print(error, file=sys.stderr)
        if webhook and (failure := post_result(result, webhook)):
            print(f"the webhook was not reached: {failure}", file=sys.stderr)

    if since and all_lines:
        raise typer.BadParameter("choose one of --since and --all")
    start = None if since is None else parse_since(since)
    lab = find_workspace(workspace)
    if every:
        code, span = 0, parse_duration(since or "")
        watch = DriftWatch(lab, z_threshold, last_n, None if span else start, span, all_lines, any_model)
        try:
            for result, line in watch_drift(watch, parse_every(every)):
                code = EXIT_CODES[result.verdict] if result else 1  # first: who reads the line may stop us at once
                print(json.dumps(result.to_dict(), ensure_ascii=False) if as_json and result else line, flush=True)
                if result:
                    publish(result)
        except KeyboardInterrupt:
            raise typer.Exit(code) from None
    gc.disable()  # one check leaves little garbage, and each look for it goes through every object
    result = check_drift(lab, z_threshold, last_n, start, all_lines, any_model)
    if as_json:
        show_json(result.to_dict())
    else:
        show(list_findings(result), f"{result.model_file}: {result.rows} predictions")
        print(result.summary())
    publish(result)
    raise typer.Exit(EXIT_CODES[result.verdict])


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
