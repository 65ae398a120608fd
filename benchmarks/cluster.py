"""What a cluster of two workers of one thread gains on this machine, and what it costs, against the kit without one.

    python benchmarks/cluster.py            # 10,000,000 rows, 10 logs of 1,000,000 lines, 100 submissions, five pairs
    python benchmarks/cluster.py --quick    # a twentieth of it, one pair

All commands are whole processes. The scheduler and the workers are processes of their own, started once, as on a cluster.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from figures import record, record_growth, record_table

from churn_lab.classroom.student_edition import build_edition
from churn_lab.generate_data import draw_customers, generate
from churn_lab.prepare_data import prepare
from churn_lab.traffic import draw_traffic, simulate_predictions
from churn_lab.train import train
from churn_lab.workspace import Workspace, create_workspace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import classroom_ways as ways  # noqa: E402

MAIN = [sys.executable, "-c", "from churn_lab.cli import main; main()"]
ONE_THREAD = (
    "import churn_lab.log_window as w; opened = w.open_log\n"
    "def open_log(*given):\n"
    "    db = opened(*given); db.execute('SET threads = 1'); return db\n"
    "w.open_log = open_log\n"
    "from churn_lab.cli import main; main()"
)
PAGE = "02_environment"  # that the students of this class hand in


def run(*arguments: object, program: list[str] = MAIN, folder: Path | None = None) -> float:
    """Seconds of a whole command; 3 and 4 are verdicts of the drift check."""
    started = time.perf_counter()
    done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, cwd=folder)
    if done.returncode not in (0, 3, 4):
        sys.exit(f"{arguments}: {done.stderr}")
    return time.perf_counter() - started


class Workers:
    """A scheduler and two workers of one thread."""

    def __init__(self, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        dask = [sys.executable, "-m", "dask"]
        port = self.address.rsplit(":")[-1]
        self.processes = [self._start(*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")]
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder))
        self.workers = [self._start(*dask, "worker", self.address, *options) for _ in range(2)]
        self.processes += self.workers
        from distributed import Client

        with Client(self.address, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            rounds = []
            for _ in range(3):
                started = time.perf_counter()
                client.gather(client.map(abs, range(1000), pure=False))
                rounds.append((time.perf_counter() - started) / 1000)
        self.seconds_a_task = min(rounds)

    def _start(self, *command: str) -> subprocess.Popen:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @contextlib.contextmanager
    def watch(self) -> Iterator[list[float]]:
        """The most memory that a worker has, in MB."""
        peak, done = [0.0], threading.Event()

        def look() -> None:
            while not done.wait(0.1):
                sizes = [psutil.Process(worker.pid).memory_info().rss / 1e6 for worker in self.workers]
                peak[0] = max(peak[0], *sizes)

        thread = threading.Thread(target=look)
        thread.start()
        yield peak
        done.set()
        thread.join()

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def compare(pairs: int, ours: Callable[[], float], reference: Callable[[], float]) -> list[float]:
    """How many times as fast, pair by pair; who goes first alternates."""
    found = []
    for pair in range(pairs):
        first, second = (ours, reference) if pair % 2 else (reference, ours)
        one, two = first(), second()
        found.append(one / two if first is reference else two / one)
    return found


def measure_predict(lab: Workspace, folder: Path, there: Workers, rows: int, pairs: int, part_mb: int) -> None:
    header, _, block = draw_customers(100_000, seed=1).drop(columns="churn").to_csv(index=False).partition("\n")
    big, small = folder / "big.csv", folder / "small.csv"
    for path, count in ((big, rows), (small, rows // 4)):
        with path.open("w") as file:
            file.write(header + "\n")
            file.writelines(block for _ in range(count // 100_000))
    common, out = ("predict", big, "--workspace", lab.root), folder / "out"
    peaks, seconds = {}, []

    def on_cluster(path: Path = big) -> float:
        shutil.rmtree(out, ignore_errors=True)
        with there.watch() as peak:
            took = run(
                "predict", path, "--workspace", lab.root, "--cluster", there.address, "--part-mb", part_mb, "--out", out
            )
        peaks[path] = max(peaks.get(path, 0), peak[0])
        return took

    def one_thread() -> float:
        seconds.append(run(*common, "--threads", 1))
        return seconds[-1]

    on_cluster(small)
    gained = compare(pairs, on_cluster, one_thread)
    cost = compare(pairs, on_cluster, lambda: run(*common))
    name = f"predict, {rows:,} rows, two workers"
    record(name, gained, reference="one process with one thread", target=">= 1.6", readme=True)
    record(
        f"{name}, against all cores", cost, reference="the kit's own way with all cores", target=">= 0.85", readme=True
    )
    record(
        f"{name}, memory",
        peaks[big] / peaks[small],
        reference="a quarter of the rows, parts of the same size",
        target="<= 1.2",
    )
    local = {
        count: run(
            *("predict", small, "--workspace", lab.root, "--part-mb", part_mb, "--cluster", f"local:{count}"),
            *("--out", folder / f"out-{count}"),
        )
        for count in (1, 2, 4)
    }
    title = f"predict, {rows // 4:,} rows, time"
    record_growth(title, "workers", "s", {"--cluster local:N, started and ended": local})
    read, written = big.stat().st_size / rows, sum(file.stat().st_size for file in out.rglob("*.csv")) / rows
    record_table(
        "What a part costs and moves",
        [
            {"what": "a prediction from a file, one thread", "cost": f"{min(seconds) / rows * 1e6:.2f} microseconds"},
            {"what": "read for a prediction", "cost": f"{read:.0f} bytes"},
            {"what": "written for a prediction", "cost": f"{written:.0f} bytes"},
            {"what": "a task that does nothing, two workers", "cost": f"{there.seconds_a_task * 1e3:.2f} milliseconds"},
        ],
    )


def measure_drift(lab: Workspace, there: Workers, files: int, lines: int, pairs: int) -> None:
    first = simulate_predictions(lab, draw_traffic(lab, 20_000, seed=2), start=1_790_000_000)
    block = first.read_bytes()
    with first.open("ab") as file:
        file.writelines(block for _ in range(lines // 20_000 - 1))
    for place in range(1, files):
        os.link(first, lab.logs / f"day-{place:02}.jsonl")
    common = ("drift", "--all", "--workspace", lab.root)
    program = [sys.executable, "-c", ONE_THREAD]
    name = f"drift, {files} files of {lines:,} lines, two workers"
    gained = compare(pairs, lambda: run(*common, "--cluster", there.address), lambda: run(*common, program=program))
    record(name, gained, reference="one process with one thread", target=">= 1.6", readme=True)
    costs: dict[str, dict[int, float]] = {"two workers": {}, "one process with one thread": {}}
    for count in (files, 2 * files, 4 * files):
        for place in range(len([*lab.logs.glob("*.jsonl")]), count):
            os.link(first, lab.logs / f"day-{place:02}.jsonl")
        costs["two workers"][count * lines] = run(*common, "--cluster", there.address)
        costs["one process with one thread"][count * lines] = run(*common, program=program)
    record_growth("drift check, time, one file under many names", "lines", "s", costs)


def measure_short(lab: Workspace, folder: Path, there: Workers, pairs: int) -> None:
    """A job of about one second on one machine."""
    path, out = folder / "short.csv", folder / "short"
    draw_customers(100_000, seed=3).drop(columns="churn").to_csv(path, index=False)
    command = ("predict", path, "--workspace", lab.root, "--part-mb", 1, "--out", out)

    def seconds(*options: object) -> float:
        shutil.rmtree(out, ignore_errors=True)
        return run(*command, *options)

    for address, words in ((there.address, "a cluster that runs"), ("local:2", "--cluster local:2, started and ended")):
        extra = [seconds("--cluster", address) - seconds() for _ in range(pairs)]
        record(f"a short job: what is added by {words}", extra, "s", "the same command without --cluster")


def measure_class(folder: Path, there: Workers, students: int, pairs: int) -> None:
    course, edition, handed_in = folder / "course" / "nbs", folder / "edition", folder / "class"
    course.mkdir(parents=True)
    shutil.copy(ROOT / "nbs" / f"{PAGE}.ipynb", course)
    build_edition(edition, ROOT)
    right = ways.solutions()
    for place in range(students):
        answers = right if place % 3 else {number: ways.wrong(number) for number in right}
        ways.hand_in(handed_in / f"student-{place:03}", edition, answers, [PAGE])

    def seconds(*options: object) -> float:
        out = folder / "grades"
        shutil.rmtree(out, ignore_errors=True)
        return run("classroom", "grade", handed_in, "--out", out, *options, folder=course.parent)

    ratio = compare(pairs, lambda: seconds("--cluster", there.address), lambda: seconds("--jobs", 2))
    record(f"grading {students} submissions, two workers", ratio, reference="--jobs 2", target=">= 0.85", readme=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller, one pair")
    parser.add_argument("--pairs", type=int, help="how often each comparison is made; default: 5, or 1 if quick")
    given = parser.parse_args()
    pairs = given.pairs or (1 if given.quick else 5)
    with tempfile.TemporaryDirectory() as name:
        folder, lab = Path(name), Workspace(Path(name) / "lab")
        create_workspace(lab.root)
        generate(lab)
        prepare(lab)
        train(lab)
        there = Workers(folder)
        try:
            measure_predict(lab, folder, there, 800_000 if given.quick else 10_000_000, pairs, 1 if given.quick else 8)
            measure_drift(lab, there, *((4, 100_000) if given.quick else (10, 1_000_000)), pairs)
            measure_short(lab, folder, there, pairs)
            measure_class(folder, there, 6 if given.quick else 100, pairs)
        finally:
            there.close()


if __name__ == "__main__":
    main()
