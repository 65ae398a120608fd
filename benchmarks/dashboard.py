"""What one screen costs: an open page, the service beside it, the first picture of a large project.

Run it: python benchmarks/dashboard.py [--quick]. Ratios and shares come from this one run.
"""

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.client import HTTPConnection
from pathlib import Path
from urllib.request import urlopen

import psutil
from figures import record, record_growth
from http_load import measure, post
from pydantic_core import to_json

from churn_lab.generate_data import draw_customers, generate
from churn_lab.model_cards import read_cards
from churn_lab.prepare_data import prepare
from churn_lab.registry import register
from churn_lab.traffic import draw_traffic, simulate_predictions
from churn_lab.train import train
from churn_lab.workspace import Workspace, create_workspace

CHURN_LAB = Path(sys.executable).with_name("churn-lab")


@contextmanager
def running(lab: Workspace, command: str, *options: str) -> Iterator[tuple[int, psutil.Process]]:
    """A command that answers at a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [CHURN_LAB, command, "--port", str(port), "--workspace", lab.root, *options], stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.1).close()
                break
            except OSError:
                time.sleep(0.01)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(15)


@contextmanager
def open_page(port: int) -> Iterator[None]:
    """What a browser's page does: load it, then read the answer that never ends."""
    stopped = threading.Event()
    urlopen(f"http://127.0.0.1:{port}/").read()
    connection = HTTPConnection("127.0.0.1", port, timeout=5)

    def read() -> None:
        connection.request("GET", "/changes")
        answer = connection.getresponse()
        while not stopped.is_set() and answer.readline():
            pass

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    yield
    stopped.set()
    thread.join(5)
    connection.close()


def make_lab(folder: Path, rows: int = 5000) -> Workspace:
    lab = Workspace(folder / "lab")
    create_workspace(lab.root)
    generate(lab, rows)
    prepare(lab)
    train(lab)
    return lab


def busy_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def measure_open_page(lab: Workspace, seconds: float) -> float:
    """Processor time of the dashboard with one page open and a hundred predictions a second, as a share of a core."""
    simulate_predictions(lab, draw_traffic(lab, 3000), start=time.time() - 30, seconds=0.01)
    customers = draw_traffic(lab, 100)
    with running(lab, "dashboard") as (port, process), open_page(port):
        time.sleep(5)
        before, start = busy_seconds(process), time.perf_counter()
        while time.perf_counter() < start + seconds:
            simulate_predictions(lab, customers, start=time.time() - 1, seconds=0.01)
            time.sleep(1 - (time.perf_counter() - start) % 1)
        return (busy_seconds(process) - before) / (time.perf_counter() - start)


def measure_beside(lab: Workspace, seconds: float, pairs: int) -> list[float]:
    """Answers a second of `/predict` with a page open, over those with none; one first, then the other first."""
    customer = draw_customers(1, seed=1).drop(columns="churn").to_dict("records")[0]
    request = post("/predict", to_json(customer))
    with running(lab, "serve") as (port, _):
        measure(port, request, seconds)
        with running(lab, "dashboard", "--service", f"http://127.0.0.1:{port}") as (page, _):

            def rate(opened: bool) -> float:
                with open_page(page) if opened else nullcontext():
                    time.sleep(0.6)  # the page's start is not what is measured
                    return measure(port, request, seconds).rate

            rates = [{opened: rate(opened) for opened in (place % 2 == 0, place % 2 == 1)} for place in range(pairs)]
    return [pair[True] / pair[False] for pair in rates]


def measure_first_picture(folder: Path, lines: int, versions: int, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds from the command to the first page, and to the page with every line counted; many lines and versions."""
    lab = make_lab(folder)
    card = read_cards(lab)[0]
    onnx, pipeline = (
        (lab.models / card["model_file"]).with_suffix(suffix).read_bytes() for suffix in (".onnx", ".joblib")
    )
    entry = {key: card[key] for key in card if key not in ("reference", "model_file", "version")}
    for _ in range(versions - 1):
        register(lab, pipeline, onnx, entry, card["reference"])
    part = min(lines, 200_000)
    now = time.time()
    for place in range(lines // part):
        start = now - 86400 + place * 86400 * part / lines
        simulate_predictions(lab, draw_traffic(lab, part, place), start, 86400 / lines)
    first, whole = [], []
    for _ in range(pairs):
        start = time.perf_counter()
        with running(lab, "dashboard") as (port, _):
            text = urlopen(f"http://127.0.0.1:{port}/?span=all").read().decode()
            first.append(time.perf_counter() - start)
            assert f"v{versions}" in text and "predictions look like" in text
            while "still being read" in text:
                time.sleep(0.3)
                text = urlopen(f"http://127.0.0.1:{port}/?span=all").read().decode()
            whole.append(time.perf_counter() - start)
    return first, whole


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    folder = Path(tempfile.mkdtemp())
    try:
        lab, seconds = make_lab(folder / "open"), 10 if quick else 20
        shares = [measure_open_page(lab, seconds) for _ in range(1 if quick else 5)]
        record("dashboard, an open page at 100 predictions a second, share of a core", shares, "%", target="<= 0.05")
        ratios = measure_beside(make_lab(folder / "beside"), 1.5, 4 if quick else 40)
        record("`/predict`, requests a second, a dashboard page open", ratios, "times", "no dashboard", ">= 0.97")
        costs = {"first picture": {}, "every line counted": {}}
        targets = {1_000_000: "<= 1.5", 10_000_000: "<= 3"}
        for lines in (10_000, 100_000) if quick else (10_000, 1_000_000, 10_000_000):
            first, whole = measure_first_picture(folder / str(lines), lines, 100, 2 if quick else 5)
            record(
                f"dashboard, {lines:,} lines and 100 versions, first picture", first, "s", target=targets.get(lines, "")
            )
            record(f"dashboard, {lines:,} lines and 100 versions, every line counted", whole, "s")
            costs["first picture"][lines] = statistics.median(first)
            costs["every line counted"][lines] = statistics.median(whole)
        record_growth("dashboard, from the command to the page", "lines", "s", costs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
