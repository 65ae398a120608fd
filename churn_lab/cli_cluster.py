"""What commands do with a cluster: the option, the connection, and `predict` in parts."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_lab.cli_output import progress_bar, show_json
from churn_lab.files import LabError

if TYPE_CHECKING:
    from churn_lab.workspace import Workspace

ClusterOption = Annotated[
    str | None,
    typer.Option(
        envvar="CHURN_LAB_CLUSTER",
        help="A Dask scheduler's address, or local, or local:4 for workers on this machine. Workers run whatever the "
        "scheduler sends: on a network that you trust only.",
    ),
]


@contextmanager
def share_on(cluster: str | None, paths: Iterable[Path], folder: Path | None = None) -> Iterator[Callable | None]:
    """Who does the parts of some work on these files: the workers of a cluster; None, without one."""
    if not cluster:
        yield None
        return
    try:
        from churn_lab.cluster import open_cluster, share_work
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("dask", "distributed"):
            raise
        next_step = 'pip install -c constraints.txt -e ".[scale]" in the course\'s folder'
        raise LabError("Dask, for --cluster", "no such package here", next_step) from None
    with open_cluster(cluster, tell=lambda text: print(text, file=sys.stderr)) as client:
        yield share_work(client, paths, folder)


@contextmanager
def run_on(cluster: str | None, paths: Iterable[Path], folder: Path | None = None) -> Iterator[Callable | None]:
    """`share_on`, where Ctrl-C is told with what is finished: exit code 130."""
    with share_on(cluster, paths, folder) as run:
        try:
            yield run
        except KeyboardInterrupt as stop:
            if not cluster:
                raise
            print(f"stopped {stop}".rstrip(), file=sys.stderr)
            raise typer.Exit(130) from None


def predict_parts(
    lab: "Workspace",
    source: str,
    out: Path | None,
    part_mb: int | None,
    threads: int,
    strict: bool,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Score files in parts, here or on a cluster, and say what was done."""
    from churn_lab.file_parts import choose_folder, find_files
    from churn_lab.score_parts import PART_MB, score_parts

    files = find_files(source)
    out = out or choose_folder(source, files)
    given: dict[str, Any] = {"part_bytes": (part_mb or PART_MB) << 20, "strict": strict}
    with (
        run_on(cluster, [*files.values(), lab.models], out) as run,
        progress_bar(out.name, total=1, share=True) as update,
    ):

        def on_part(rows: int, share: float) -> None:
            update(completed=share, description=f"{out.name}: {rows:,} rows")

        given |= {"run": run} if run else {"threads": threads}
        done = score_parts(lab, files, out, **given, on_part=on_part)
    if as_json:
        return show_json({"folder": out, **done})
    parts = f"{len(done['parts'])} parts, {len(done['parts']) - done['fresh']} of them from an earlier run"
    called = f"{done['predicted_positive']} will probably leave, by {done['model']['model_file']}"
    print(f"{out / 'parts'}: {done['rows']} rows in {parts}; {called}")
    if done["rejected"]:
        print(f"{out / 'rejected'}: {done['rejected']} rows that cannot be scored, with line and reason")
    if done["unseen"]:
        found = ", ".join(f"{name} in {count} rows" for name, count in done["unseen"].items())
        print(f"Categories that training never saw: {found}; the column unseen tells which rows.")


@contextmanager
def read_on(cluster: str | None, lab: "Workspace") -> Iterator[dict[str, Any]]:
    """The argument `read` of `check_drift` for a cluster; nothing, without one."""
    from churn_lab.prediction_log import find_logs

    with run_on(cluster, find_logs(lab)) as run:
        if run:
            from churn_lab.log_sums import read_window_by
        yield {"read": partial(read_window_by, run)} if run else {}
