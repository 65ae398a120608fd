"""Commands for the registry: list, show, history, repair, prune; and rollback."""

import json
import re
import sys
from typing import Annotated, Any

import typer

from churn_lab.cli_output import JsonOption, WorkspaceOption, show, show_json
from churn_lab.workspace import find_workspace

registry = typer.Typer(help="Which model is in service, and how it got there.", no_args_is_help=True)
LongOption = Annotated[bool, typer.Option("--long", help="Whole file names, times to the second, and machines.")]


def yes_no(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of versions with short headers, and words in place of true and false."""
    headers, words = {"gate_f1": "gate", "passed_gate": "passed"}, {True: "yes", False: "no"}
    rows = [{headers.get(key, key): value for key, value in row.items()} for row in rows]
    return [{**row, "passed": words[row["passed"]], "current": "*" if row["current"] else ""} for row in rows]


def short_version(model_file: str | None) -> str:
    """`v2` for a model's file name; what is none stays as it is."""
    return re.sub(r"churn_model_(v\d+)_\d{8}_\d{6}\.joblib", r"\1", model_file or "")


def short_times(text: str) -> str:
    """Times to the minute."""
    return re.sub(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\dZ", r"\1 \2", text)


@registry.command("list")
def registry_list(
    last: Annotated[int, typer.Option(help="How many of the newest to show; JSON has them all.", min=1)] = 50,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """The versions, oldest first."""
    from churn_lab.model_cards import list_without_card
    from churn_lab.registry import list_versions

    lab = find_workspace(workspace)
    rows = list_versions(lab)
    if as_json:
        return show_json(rows)
    if by_hand := list_without_card(lab, [row["model_file"] for row in rows]):
        print(f"{len(by_hand)} versions without a card, which your own scripts have made: {', '.join(by_hand)}")
    if not rows:
        return print("no versions of churn-lab's yet. Next: churn-lab train")
    if len(rows) > last:
        print(f"{len(rows) - last} older versions: --last {len(rows)}")
        rows = rows[-last:]
    show(yes_no(rows))


@registry.command("show")
def registry_show(
    model: Annotated[
        str | None, typer.Argument(help="A version number or a model's file name.", show_default="the one in service")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is known about one version."""
    from churn_lab.model_cards import find_entry
    from churn_lab.registry import resolve_version
    from churn_lab.registry_history import current_model

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


@registry.command("history")
def registry_history(long: LongOption = False, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Who changed what, when (UTC) and why, oldest first."""
    from churn_lab.registry_history import read_history

    events = read_history(find_workspace(workspace))
    if as_json:
        return show_json(events)
    rows = []
    for event in events:
        row = {"time": event["ts"], **{key: event.get(key) for key in ("action", "from", "to", "why", "user", "host")}}
        row["commit"] = str(event.get("git_commit") or "")[:7]
        if not long:
            row |= {
                "time": short_times(event["ts"]),
                "from": short_version(row["from"]),
                "to": short_version(row["to"]),
            }
            del row["host"]
        rows.append(row)
    show(rows) if rows else print("nothing has happened yet")


@registry.command("repair")
def registry_repair(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Make lists, cards and pointer again from what vouches for them; exit code 1 if something cannot be mended."""
    from churn_lab.registry_repair import repair

    lab = find_workspace(workspace)
    found = repair(lab)
    if as_json:
        show_json(found)
    else:
        nothing = "nothing was mended" if found["problems"] else "nothing to repair"
        print(f"{lab.root}:", *(found["done"] or [nothing]), sep="\n  ")
        for problem in found["problems"]:
            print(f"cannot be mended: {problem}", file=sys.stderr)
    raise typer.Exit(1 if found["problems"] else 0)


@registry.command("prune")
def registry_prune(
    keep: Annotated[int, typer.Option(help="How many of the newest versions keep their files.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove old model files, never those in service or next to be rolled back to."""
    from churn_lab.registry_repair import prune

    lab = find_workspace(workspace)
    removed = prune(lab, keep)
    if as_json:
        return show_json(removed)
    for name in removed or ["nothing to remove"]:
        print(f"{lab.models}: {name}")


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
    long: LongOption = False,
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
        rows = yes_no(rows)
        for row in [] if long else rows:
            del row["model_file"]
            times = row["served"].split("; ")
            earlier = f" ({len(times)} times)" if len(times) > 1 else ""
            why_not = re.sub(r"churn_model_(v\d+)_\d{8}_\d{6}(\.\w+)", r"\1\2", row["why_not"])
            row |= {"served": short_times(times[-1]) + earlier, "why_not": why_not}
        return show(rows) if rows else print("no versions yet. Next: churn-lab train")
    result = restore(lab, resolve_version(lab, to), why, force)
    if as_json:
        return show_json(result)
    for name, reason in result["skipped"].items():
        print(f"skipped {name}: {reason}", file=sys.stderr)
    print(f"{lab.root}: in service: {result['to']} (before: {result['from']})")
