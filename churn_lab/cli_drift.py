"""The command drift."""

import gc
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from churn_lab.cli_cluster import ClusterOption, read_on
from churn_lab.cli_output import JsonOption, WorkspaceOption, show, show_json
from churn_lab.files import LabError
from churn_lab.workspace import find_workspace


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
    cluster: ClusterOption = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare recent predictions with the training data (exit code 3: drift, 4: not enough data)."""
    from churn_lab.drift_findings import list_findings
    from churn_lab.monitor_drift import EXIT_CODES, check_drift
    from churn_lab.prediction_log import parse_duration, parse_since

    def publish(result: Any) -> None:
        if not (html or webhook):
            return
        from churn_lab.drift_report import post_result, write_report

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
    if cluster and (every or not (all_lines or since)):
        print("read here: a cluster is for one look at --all or --since", file=sys.stderr)
        cluster = None
    if every:
        from churn_lab.drift_report import parse_every, watch_drift

        code, span = 0, parse_duration(since or "")
        question = {"z_threshold": z_threshold, "last_n": last_n, "all_lines": all_lines, "any_model": any_model}
        try:
            for result, line in watch_drift(lab, parse_every(every), span, since=start, **question):
                code = EXIT_CODES[result.verdict] if result else 1  # first: who reads the line may stop us at once
                shown = result.to_dict() if result else {"verdict": None, "error": line}
                print(json.dumps(shown) if as_json else line, flush=True)
                if result:
                    publish(result)
        except KeyboardInterrupt:
            raise typer.Exit(code) from None
    gc.disable()  # one check leaves little garbage, and each look for it goes through every object
    with read_on(cluster, lab) as read:
        result = check_drift(lab, z_threshold, last_n, start, all_lines, any_model, **read)
    if as_json:
        show_json(result.to_dict())
    else:
        show(list_findings(result), f"{result.model_file}: {result.rows} predictions")
        print(result.summary())
    publish(result)
    raise typer.Exit(EXIT_CODES[result.verdict])
