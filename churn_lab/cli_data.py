"""Commands for the data and the model: generate, prepare, train, evaluate."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_lab.cli_output import JsonOption, WorkspaceOption, show, show_json, working
from churn_lab.workspace import find_workspace

if TYPE_CHECKING:
    from churn_lab.contract import Feature, Observed
    from churn_lab.prepare_data import Prepared


def generate(
    rows: Annotated[int, typer.Option(help="How many customers.")] = 5000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same customers.")] = 42,
    workspace: WorkspaceOption = None,
) -> None:
    """Draw synthetic customers into data/raw.csv; a file of your own that lies there is kept in backups/."""
    from churn_lab.generate_data import generate as draw

    lab = find_workspace(workspace)
    with working("drawing customers"):
        customers = draw(lab, rows, seed, on_keep=lambda copy: print(f"your own raw.csv is kept as {copy}"))
    print(f"{lab.raw}: {len(customers)} customers, {customers['churn'].mean():.1%} left")


ColumnsOption = list[str] | None


def prepare(
    raw: Annotated[Path | None, typer.Option(help="Your own CSV.", show_default="data/raw.csv")] = None,
    target: Annotated[str | None, typer.Option(help="Its column that says who left.")] = None,
    positive: Annotated[str | None, typer.Option(help="The value there that means 'left'.")] = None,
    identifier: Annotated[str | None, typer.Option("--id", help="Its column that names the customer.")] = None,
    keep: Annotated[ColumnsOption, typer.Option(help="Learn from this column, whatever the rules say.")] = None,
    drop: Annotated[ColumnsOption, typer.Option(help="Never learn from this column.")] = None,
    allow: Annotated[ColumnsOption, typer.Option(help="This column may tell the classes apart on its own.")] = None,
    minimum: Annotated[ColumnsOption, typer.Option("--min", help="COLUMN=0: a hard lower bound.")] = None,
    maximum: Annotated[ColumnsOption, typer.Option("--max", help="COLUMN=120: a hard upper bound.")] = None,
    max_missing: Annotated[
        float | None, typer.Option(help="Largest share of missing values in a column.", show_default="0.05")
    ] = None,
    max_duplicates: Annotated[
        float | None, typer.Option(help="Largest share of repeated identifiers.", show_default="0")
    ] = None,
    min_distinct: Annotated[
        int | None, typer.Option(help="Least number of distinct values in a column.", show_default="2")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check and clean the data; refuse it if it is not fit to learn from. Options about columns may be repeated."""
    from churn_lab.infer_contract import Choices, parse_bounds
    from churn_lab.judge_file import Limits
    from churn_lab.prepare_data import prepare as check_and_clean

    given = {"max_missing": max_missing, "max_duplicates": max_duplicates, "min_distinct": min_distinct}
    given = {name: value for name, value in given.items() if value is not None}
    columns = {"keep": tuple(keep or ()), "drop": tuple(drop or ()), "allow": tuple(allow or ())}
    bounds = parse_bounds(
        [*(_as_bound(text, ">=") for text in minimum or ()), *(_as_bound(text, "<=") for text in maximum or ())]
    )
    chosen = any([*columns.values(), *bounds.values()])
    lab = find_workspace(workspace)
    with working("checking the data"):
        prepared = check_and_clean(
            lab,
            raw,
            target,
            positive,
            identifier,
            Limits(**given) if given else None,
            Choices(**columns, **bounds) if chosen else None,
        )
    if as_json:
        show_json(_describe_prepared(prepared))
    else:
        _print_prepared(prepared)
        print(f"{lab.processed}: {prepared.kept} rows kept, {prepared.rejected} rejected")


def _as_bound(text: str, mark: str) -> str:
    column, _, value = text.rpartition("=")
    return f"{column} {mark} {value}"


def _describe_prepared(prepared: "Prepared") -> dict[str, Any]:
    contract = prepared.contract
    return {
        "meaning": contract.meaning,
        "rows": prepared.kept,
        "rejected": prepared.rejected,
        "notes": prepared.notes,
        "failures": prepared.failures,
        "missing": prepared.missing,
        "left_out": contract.left_out,
        "assumed": contract.observed.assumed,
        "warnings": contract.observed.warnings,
        "split_by": contract.identifier if contract.grouped else None,
        "contract": contract.model_dump(mode="json"),
    }


def _describe_feature(feature: "Feature", observed: "Observed") -> dict[str, str]:
    if feature.kind == "category":
        seen = ", ".join(name[:30] for name in feature.categories[:6]) + ", …" * (len(feature.categories) > 6)
    else:
        seen = "{:g} to {:g}".format(*observed.ranges[feature.name]) if feature.name in observed.ranges else ""
    return {
        "column": feature.name,
        "kind": feature.kind,
        "may be missing": "yes" if feature.nullable else "no",
        "bounds": ", ".join(feature.bounds),
        "observed": seen,
        "read as": feature.notation.describe() if feature.notation else "",
    }


def _print_prepared(prepared: "Prepared") -> None:
    contract, observed = prepared.contract, prepared.contract.observed
    print(contract.meaning)
    for note in prepared.notes:
        print(note)
    columns = [_describe_feature(feature, observed) for feature in contract.features]
    if not any(column["read as"] for column in columns):
        columns = [{name: text for name, text in column.items() if name != "read as"} for column in columns]
    show(columns, f"Contract of a row (target: {contract.target})")
    for name, reason in contract.left_out.items():
        print(f"left out: {name}: {reason}")
    free = {}
    for bound in observed.assumed:
        if bound["rows"]:
            print(f"assumed: {bound['column']} is {bound['rule']}; it turns {bound['rows']} rows away (--min, --max)")
        else:
            free.setdefault(bound["rule"], []).append(bound["column"])
    for rule, columns in free.items():
        print(f"assumed: {rule} for {', '.join(columns)}; no row is turned away (--min, --max)")
    if contract.grouped:
        print(f"{contract.identifier} repeats: all rows of one stay on the same side of the split")
    for warning in observed.warnings:
        print(f"warning: {warning}")
    if prepared.failures:
        show(prepared.failures, "Rows that break it")


def train(
    gate_f1: Annotated[float, typer.Option(help="Least F1 on held-out rows.", min=0, max=1)] = 0.55,
    seed: Annotated[int, typer.Option(help="Of the forest.", min=0)] = 42,
    tolerance: Annotated[float, typer.Option(help="How much F1 may be lost against the champion.", min=0)] = 0.02,
    n_estimators: Annotated[int, typer.Option(help="Trees.", min=1)] = 100,
    max_depth: Annotated[int | None, typer.Option(help="Deepest a tree may grow.", min=1)] = None,
    min_samples_leaf: Annotated[int, typer.Option(help="Least rows in a leaf.", min=1)] = 10,
    max_features: Annotated[str, typer.Option(help="Features tried at a split: sqrt, log2, or a share.")] = "sqrt",
    class_weight: Annotated[str | None, typer.Option(help="balanced, balanced_subsample, or none.")] = None,
    sample: Annotated[int | None, typer.Option(help="Learn from so many rows only.", min=100)] = None,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model, register it, and promote it if it passes the gate (exit code 5 if it does not)."""
    from churn_lab.train import ForestParams
    from churn_lab.train import train as train_model

    try:
        tried: str | float = float(max_features)
    except ValueError:
        tried = max_features
    weight = None if class_weight == "none" else class_weight
    forest = ForestParams(n_estimators, max_depth, min_samples_leaf, tried, weight)
    with working("training"):
        lab = find_workspace(workspace)
        entry = train_model(
            lab, gate_f1, seed, tolerance, forest, why, sample, on_wait=lambda text: print(text, file=sys.stderr)
        )
    if as_json:
        show_json(entry)
    else:
        show([_describe_check(**check) for check in entry["gate"]], "The gate")
        if entry["split_by"]:
            print(f"held-out rows: all rows of one {entry['split_by']} are on the same side")
        for warning in entry["warnings"]:
            print(f"warning: {warning}")
        comparison = entry["comparison"]
        if "difference" in comparison:
            low, high = comparison["interval"]
            print(
                f"F1 against {comparison['champion']}: {comparison['difference']:+.4f} (95 %: {low:+.4f} to {high:+.4f})"
            )
        else:
            print(f"not compared with a champion: {comparison['why']}")
        state = "in service" if entry["passed_gate"] else "refused: the model in service has not changed"
        figures = f"F1 {entry['metrics']['f1']}, ROC AUC {entry['metrics']['roc_auc']}"
        print(f"{lab.models / entry['model_file']}: {figures}, {state}")
    raise typer.Exit(0 if entry["passed_gate"] else 5)


def _describe_check(check: str, value: float, limit: float, passed: bool, warning: str = "") -> dict[str, Any]:
    answer = "WARNING" if warning else "yes" if passed else "NO"
    return {"check": check, "value": value, "limit": limit, "passed": answer}


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
    print(result["meaning"])
    show([{"model": result["model_file"], **metrics}, *lazy], f"On {result['rows']} held-out rows")
    if result["split_by"]:
        print(f"all rows of one {result['split_by']} are on the same side of the split")
    for warning in result["warnings"]:
        print(f"warning: {warning}")
    show([{"class": side, **figures} for side, figures in result["metrics"]["per_class"].items()], "By class")
