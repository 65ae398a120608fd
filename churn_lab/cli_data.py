"""Commands for the data and the model: generate, prepare, train, evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from churn_lab.cli_output import JsonOption, WorkspaceOption, show, show_json, working
from churn_lab.workspace import find_workspace


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
    from churn_lab.check_rows import summarise_failures
    from churn_lab.prepare_data import Limits
    from churn_lab.prepare_data import prepare as check_and_clean

    lab = find_workspace(workspace)
    with working("checking the data"):
        limits = Limits(max_missing, max_duplicates, min_distinct, max_target_match)
        prepared = check_and_clean(lab, raw, target, positive, identifier, limits)
    broken = summarise_failures(prepared.failures)
    seen = prepared.contract.observed.ranges
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
            "observed": ", ".join(feature.categories[:6]) or "{:g} to {:g}".format(*seen[feature.name]),
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
