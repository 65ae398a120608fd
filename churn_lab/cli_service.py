"""Commands that answer: serve over HTTP, show a page, send customers, predict a file."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from churn_lab.cli_cluster import ClusterOption, predict_parts
from churn_lab.cli_output import JsonOption, WorkspaceOption, progress_bar, show_json
from churn_lab.workspace import find_workspace


def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer.")] = 1,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Answer other machines without CHURN_LAB_API_KEY.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse categories that training never had.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Serve the model in service over HTTP, with a page to try it."""
    from churn_lab.run_service import serve as run_server

    run_server(find_workspace(workspace), host, port, workers, no_auth, strict)


def simulate(
    rows: Annotated[int, typer.Option(help="How many customers.", min=1)] = 300,
    shift: Annotated[
        list[str] | None, typer.Option(help="COLUMN=AMOUNT moves a number, COLUMN=VALUE sets a category.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed sends the same customers.", min=0)] = 0,
    url: Annotated[str, typer.Option(help="Where the service listens.")] = "http://127.0.0.1:8000",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send customers through the running service, or into the log if none runs."""
    from churn_lab.registry_history import current_model
    from churn_lab.traffic import draw_traffic, send_traffic, shift_traffic

    lab = find_workspace(workspace)
    customers = shift_traffic(lab, draw_traffic(lab, rows, seed), shift or [])
    sent = send_traffic(lab, customers, url, os.environ.get("CHURN_LAB_API_KEY", ""))
    if as_json:
        return show_json(sent)
    if sent["by"] == "service":
        print(f"{url}: {sent['rows']} customers answered, {sent['called']} will probably leave")
        if sent["model_file"] != (here := current_model(lab)):
            found = f"that service answers by {sent['model_file']}, this project by {here}"
            print(f"{found}: is it another project's? Its predictions are in its own log.", file=sys.stderr)
    else:
        print(f"{lab.logs}: {sent['rows']} customers written as the service would: nobody listens at {url}")


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the page.")] = 8001,
    service: Annotated[str, typer.Option(help="Where the service listens.")] = "http://127.0.0.1:8000",
    workspace: WorkspaceOption = None,
) -> None:
    """Show the life of the model on one page, as it happens; it changes nothing."""
    from churn_lab.dashboard import run_dashboard
    from churn_lab.fast_routes import check_port_free

    lab = find_workspace(workspace)
    check_port_free("127.0.0.1", port)
    print(f"dashboard of {lab.root}: http://127.0.0.1:{port}/ (Ctrl+C stops it)", file=sys.stderr)
    run_dashboard(lab, port, service)


def predict(
    file: Annotated[
        str, typer.Argument(help="A CSV (also .gz) or Parquet file with the model's columns; a folder, or 'a pattern'.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where the result goes; a folder, in parts.", show_default="NAME_predictions")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads to use; not with --cluster, where each worker has its own.", show_default="one a core"
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse rows that cannot be scored, and categories that training never saw."),
    ] = False,
    part_mb: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Score in parts of so many MB into a folder; a .gz is one part.",
            show_default="8, where there are parts",
        ),
    ] = None,
    cluster: ClusterOption = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score each row of a file: its columns, and probability and prediction. Bad rows go to NAME_rejected.csv.

    A folder, a pattern, --part-mb and --cluster give a folder of parts with manifest.json; run again, it goes on.
    """
    lab = find_workspace(workspace)
    if cluster or part_mb or Path(file).is_dir() or (set(file) & set("*?[") and not Path(file).exists()):
        return predict_parts(lab, file, out, part_mb, threads or os.cpu_count() or 1, strict, cluster, as_json)
    from churn_lab.batch_scoring import score_file

    name = Path(file).name
    with progress_bar(name, total=1, share=True) as update:

        def report(rows: int, share: float) -> None:
            update(completed=share, description=f"{name}: {rows:,} rows")

        scored = score_file(lab, file, out, threads, strict, report)
    if as_json:
        return show_json({"file": scored.path, **{key: value for key, value in vars(scored).items() if key != "path"}})
    print(f"{scored.path}: {scored.rows} rows, {scored.predicted_positive} will probably leave, by {scored.model_file}")
    if scored.described:
        print(scored.described)
    if scored.rejected:
        print(f"{scored.rejected_path}: {scored.rejected} rows that cannot be scored, with line and reason")
    if scored.unseen:
        found = ", ".join(f"{name} in {count} rows" for name, count in scored.unseen.items())
        print(f"Categories that training never saw: {found}; the column {scored.added[0]} tells which rows.")
    if scored.added[-1] != "prediction":
        print(f"The file has columns of these names, so the result's are {', '.join(scored.added)}.")
