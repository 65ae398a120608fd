"""How long `churn-lab git check` takes after 10,000 more commits that each change src/, for four kinds of change."""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from figures import record, record_growth

from churn_lab.git_lab.git import Git, run_git
from churn_lab.git_lab.reset import API, DRIFT, ROLLBACK, TRAIN, build_state
from churn_lab.git_workflow import check_repository

SETTINGS = {  # what every second commit changes back: (file, value, other value)
    "another line in four files": None,
    "last_n to and fro": (DRIFT, "last_n = 500", "last_n = 200"),
    "z_threshold to and fro": (DRIFT, "z_threshold = 2.0", "z_threshold = 2.5"),
    "the request id to and fro": (API, "return uuid4().hex", "return None"),
}


def grow(git: Git, change: tuple[str, str, str] | None, commits: int) -> None:
    """Add so many commits to main, in one stream."""
    paths = [change[0]] if change else [API, DRIFT, ROLLBACK, TRAIN]
    texts = {path: (git.folder / path).read_text() for path in paths}
    stream, start = [], f"from {git('rev-parse main').strip()}\n"
    for n in range(commits):
        stream.append(f"commit refs/heads/main\ncommitter A <a@b> {1_767_900_000 + n} +0000\ndata 1\nm\n{start}")
        for path, text in texts.items():
            body = (text.replace(*change[1:]) if change and n % 2 == 0 else text) + f"\nx = {n}\n"
            stream.append(f"M 100644 inline {path}\ndata {len(body.encode())}\n{body}\n")
        start = ""
    run_git(git.folder, "fast-import", "--quiet", "--force", stdin="".join(stream).encode())
    git("reset -q --hard main")


def measure(change: tuple[str, str, str] | None, commits: int, repeats: int = 5) -> tuple[list[float], int]:
    """Seconds of each check, and how many of the ten steps hold."""
    with tempfile.TemporaryDirectory() as folder:
        git = build_state(Path(folder) / "my-lab", 11)
        grow(git, change, commits)
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            results = check_repository(git.folder)
            times.append(time.perf_counter() - began)
    return times, sum(result.ok is True for result in results)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="one kind of change, 1,000 commits")
quick = parser.parse_args().quick
commits, costs = (1_000 if quick else 10_000), {}
for words, change in [*SETTINGS.items()][: 1 if quick else None]:
    times, held = measure(change, commits)
    record(f"`churn-lab git check`, {commits:,} commits, {words}", times, "s", f"{held} of 10 steps hold", "<= 5")
    costs[words] = {size: statistics.median(measure(change, size)[0]) for size in (10, 100)}
    costs[words][commits] = statistics.median(times)
record_growth("churn-lab git check", "commits", "s", costs)
