"""`churn-lab run` of Lab 1 beside `jupyter nbconvert --execute` on the same notebooks, one after the other.

Run it: python benchmarks/headless.py [--quick]. Both start in an empty project and end with a page for each notebook.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import record

from churn_lab.course_notebooks import choose_notebooks, find_notebooks, step_number

BIN = Path(sys.executable).parent


def run_ours(notebooks: list[Path], folder: Path) -> None:
    only = [option for path in notebooks for option in ("--only", step_number(path))]
    command = [BIN / "churn-lab", "run", "--workspace", folder, *only]
    subprocess.run(command, check=True, capture_output=True)


def run_nbconvert(notebooks: list[Path], folder: Path) -> None:
    environment = {**os.environ, "CHURN_LAB_HOME": str(folder)}
    for path in notebooks:
        command = [BIN / "jupyter", "nbconvert", "--execute", "--to", "html", "--output-dir", folder, path]
        subprocess.run(command, check=True, capture_output=True, env=environment)


def seconds(run, notebooks: list[Path]) -> float:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        start = time.perf_counter()
        run(notebooks, Path(folder) / "my-lab")
        return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    notebooks = choose_notebooks(find_notebooks(), only=["3"] if quick else None)
    pairs = [(seconds(run_ours, notebooks), seconds(run_nbconvert, notebooks)) for _ in range(1 if quick else 5)]
    record("`churn-lab run`, Lab 1, time", [ours for ours, _ in pairs], "s")
    record(
        "`churn-lab run`, Lab 1, time, beside nbconvert",
        [ours / theirs for ours, theirs in pairs],
        "times",
        "`jupyter nbconvert --execute` on the same notebooks, one after the other",
        "<= 0.5",
        readme=True,
    )
