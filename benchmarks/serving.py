"""The prediction service beside a bare FastAPI echo and beside `mlflow models serve`; files beside scikit-learn.

Run it: python benchmarks/serving.py [--quick] [--without-mlflow]. All ratios come from this one run.
"""

import argparse
import contextlib
import http.client
import json
import os
import pty
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import psutil
from http_load import Load, measure, post
from pydantic_core import to_json
from rivals import rival_python

from churn_lab.api import create_app
from churn_lab.fast_routes import Service, predict_one, take_predictor
from churn_lab.generate_data import draw_customers, generate
from churn_lab.model_cards import model_path
from churn_lab.prediction_log import PredictionLog
from churn_lab.predictor import make_response
from churn_lab.prepare_data import prepare
from churn_lab.registry_history import current_model
from churn_lab.serving_model import load_pipeline
from churn_lab.train import train
from churn_lab.workspace import Workspace, create_workspace

CUSTOMER = {
    "tenure_months": 12,
    "num_complaints": 3,
    "avg_session_minutes": 24.5,
    "plan_type": "basic",
    "region": "NA",
}
CHURN_LAB = Path(sys.executable).with_name("churn-lab")

ECHO = """
from typing import Annotated
from fastapi import FastAPI
from pydantic import BaseModel, Field

class Customer(BaseModel, extra="forbid"):
    request_id: Annotated[str | None, Field(max_length=128)] = None
    tenure_months: Annotated[int, Field(ge=0, le=600)]
    num_complaints: Annotated[int, Field(ge=0, le=1000)]
    avg_session_minutes: Annotated[float, Field(ge=0, le=1440)]
    plan_type: Annotated[str, Field(max_length=1000)]
    region: Annotated[str, Field(max_length=1000)]

app = FastAPI()

@app.post("/predict")
async def predict(customer: Customer):
    return {"request_id": "x", "model_version": "m", "prediction": 1, "probability": 0.5, "latency_ms": 0.1}
"""

MLFLOW_SAVE = """
import sys, joblib, mlflow.sklearn
mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], serialization_format="cloudpickle")
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def is_answered(port: int, path: str, body: dict) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    return False


class Server:
    """A server under measurement."""

    def __init__(
        self, name: str, command: list, folder: Path, path: str = "/predict", body: dict = CUSTOMER, patience=20
    ):
        self.name, self.port, self.path, self.body = name, free_port(), path, body
        command = [str(part).replace("PORT", str(self.port)) for part in command]
        started = time.perf_counter()
        with (folder / f"{self.port}.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, start_new_session=True, env=os.environ
            )
        while not is_answered(self.port, path, body):
            if self.process.poll() is not None or time.perf_counter() > started + patience:
                self.stop()
                raise RuntimeError(f"{name} does not start:\n{(folder / f'{self.port}.log').read_text()[-1500:]}")
            time.sleep(0.005)
        self.start_seconds = time.perf_counter() - started

    def family(self) -> list[psutil.Process]:
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def load(self, seconds: float) -> tuple[Load, float]:
        """What came back, and microseconds of processor time for each answer."""
        before = {process: sum(process.cpu_times()[:2]) for process in self.family()}
        load = measure(self.port, post(self.path, self.body), seconds)
        used = sum(sum(process.cpu_times()[:2]) - spent for process, spent in before.items())
        assert set(load.statuses) == {200} and not load.failures, (self.name, load.statuses, load.failures[:3])
        return load, used / len(load.latencies) * 1e6

    def megabytes(self) -> float:
        return max(process.memory_info().rss for process in self.family()) / 2**20

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextlib.contextmanager
def running(*arguments, **options) -> Iterator[Server]:
    server = Server(*arguments, **options)
    try:
        yield server
    finally:
        server.stop()


def show(what: str, value: str, target: str = "") -> None:
    print(f"{what:<66} {value:>12}   {target}", flush=True)


def compare_servers(ours: list, echo: list, folder: Path, rounds: int, seconds: float) -> float:
    """Print throughput, latency, memory and start beside the echo; return our median rate."""
    starts = {"echo": [], "ours": []}
    for _ in range(rounds):
        for name, command in (("echo", echo), ("ours", ours)):
            with running(name, command, folder) as server:
                starts[name].append(server.start_seconds)
    with running("echo", echo, folder) as reference, running("ours", ours, folder) as service:
        for server in (reference, service):
            server.load(1)
        pairs = []
        for index in range(rounds):  # who goes first changes
            order = (reference, service) if index % 2 else (service, reference)
            found = {server.name: server.load(seconds) for server in order}
            pairs.append((found["ours"], found["echo"]))
        memory = service.megabytes() / reference.megabytes()
        sizes = f"{service.megabytes():.0f} MB / {reference.megabytes():.0f} MB"

    def ratio(value: Callable) -> float:
        return statistics.median(value(a) / value(b) for a, b in pairs)

    rate = statistics.median(load.rate for (load, _), _ in pairs)
    echo_rate = statistics.median(load.rate for _, (load, _) in pairs)
    show("requests a second, ours / echo", f"{rate:.0f} / {echo_rate:.0f}")
    show("throughput, ours / echo", f"{ratio(lambda p: p[0].rate):.2f}", "target >= 0.90")
    p99 = [statistics.median(pair[side][0].quantile(0.99) for pair in pairs) for side in (0, 1)]
    show("p99 latency, ours / echo", f"{ratio(lambda p: p[0].quantile(0.99)):.2f}", "target <= 1.5")
    show("p99 latency in ms, ours / echo", f"{p99[0]:.1f} / {p99[1]:.1f}")
    show("processor time of an answer, ours / echo", f"{ratio(lambda p: p[1]):.2f}")
    medians = {name: statistics.median(values) for name, values in starts.items()}
    show("start to first answer, ours / echo", f"{medians['ours'] / medians['echo']:.2f}", "target <= 2.0")
    show("start to first answer in s, ours / echo", f"{medians['ours']:.2f} / {medians['echo']:.2f}")
    show("memory of one worker, ours / echo", f"{memory:.2f}", "target <= 2.5")
    show("memory, ours / echo", sizes)
    show("one answer's processor time, all of it", f"{statistics.median(cpu for (_, cpu), _ in pairs):.0f} us")
    return rate


def compare_with_mlflow(lab: Workspace, ours: list, folder: Path, seconds: float) -> None:
    """Print throughput beside `mlflow models serve` with the same forest."""
    python = rival_python("mlflow", "mlflow", f"scikit-learn=={version('scikit-learn')}")
    saved = folder / "mlflow_model"
    pipeline = model_path(lab, current_model(lab))
    subprocess.run([python, "-W", "ignore", "-c", MLFLOW_SAVE, pipeline, saved], check=True, capture_output=True)
    os.environ["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    serve = [python, "-m", "mlflow", "models", "serve", "-m", saved, "-p", "PORT", "--env-manager", "local"]
    body = {"dataframe_records": [CUSTOMER]}
    with running("mlflow", serve, folder, path="/invocations", body=body, patience=120) as rival:
        with running("ours", ours, folder) as service:
            rates = [[server.load(seconds)[0].rate for server in (service, rival)] for _ in range(3)]
    show("requests a second, mlflow models serve", f"{statistics.median(r for _, r in rates):.0f}")
    show("throughput, ours / mlflow", f"{statistics.median(a / b for a, b in rates):.0f}", "target >= 60")


def explain_one_request(service: Service, folder: Path) -> None:
    """Print what the time of one answer is spent on, measured in this process."""
    body, predictor, log = json.dumps(CUSTOMER).encode(), take_predictor(service), PredictionLog(Workspace(folder))
    service.log = log
    values = predictor.check.validate_json(body)
    answer = make_response(predictor, values, "x" * 32, 0.5) | {"latency_ms": 0.1}
    line = to_json(answer | {"features": values, "ts": 1.5}) + b"\n"
    parts = {
        "all but HTTP": lambda: predict_one(service, body),
        "  check the body by the contract": lambda: predictor.check.validator.validate_json(body),
        "  predict": lambda: predictor.model.predict_proba_one(values),
        "  name the request (uuid4)": service.new_request_id,
        "  write as JSON, twice": lambda: (to_json(answer | {"features": values, "ts": 1.5}), to_json(answer)),
        "  append to the log": lambda: log.append(line, 1.5),
    }
    print("\nwhat one answer is spent on (best of 300 x 30, microseconds); the rest is HTTP and the operating system")
    for part, call in parts.items():
        best = min(_time(call, 30) for _ in range(300))  # short, to slip between other processes
        show(part, f"{best / 30 * 1e6:.1f}")
    log.close()


def _time(call: Callable, times: int = 1) -> float:
    started = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - started


def compare_files(lab: Workspace, folder: Path, rows: int, rounds: int) -> None:
    """Print `churn-lab predict` from CSV to CSV beside scikit-learn on rows that are in memory already."""
    customers = draw_customers(rows, seed=11).drop(columns="churn")
    customers.to_csv(folder / "customers.csv", index=False)
    customers = customers.astype({"plan_type": object, "region": object})
    threads, pipeline = os.cpu_count(), load_pipeline(lab)
    pipeline["forest"].n_jobs = threads
    command = [CHURN_LAB, "predict", folder / "customers.csv", "--threads", threads, "--workspace", lab.root]
    pairs = []
    for _ in range(rounds):
        alone = _time(lambda: pipeline.predict_proba(customers))
        pairs.append((*_run_on_terminal([str(part) for part in command]), alone))
    seconds, megabytes, alone = (statistics.median(column) for column in zip(*pairs))
    show(
        f"predict CSV, {rows:,} rows, / predict_proba alone",
        f"{statistics.median(a / c for a, _, c in pairs):.2f}",
        "target <= 1.2",
    )
    show("predict CSV / predict_proba alone, seconds", f"{seconds:.1f} / {alone:.1f}")
    show("predict CSV, memory at most", f"{megabytes:.0f} MB")


def _run_on_terminal(command: list[str]) -> tuple[float, float]:
    """Seconds and megabytes of a command that believes to have a terminal, so that it draws its bar."""
    master, slave = pty.openpty()
    reader = threading.Thread(target=_drain, args=(master,), daemon=True)
    reader.start()
    started = time.perf_counter()
    process, peak = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=slave), 0
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss)
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    os.close(slave)
    assert process.returncode == 0, f"{command} failed"
    return seconds, peak / 2**20


def _drain(master: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(master, 65536):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--without-mlflow", action="store_true", help="do not make an environment for mlflow")
    options = parser.parse_args()
    rounds, seconds = (3, 2) if options.quick else (5, 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lab = Workspace(folder / "lab")
        create_workspace(lab.root)
        generate(lab)
        prepare(lab)
        train(lab)
        (folder / "echo.py").write_text(ECHO)
        echo = [sys.executable, "-m", "uvicorn", "echo:app", "--port", "PORT", "--no-access-log"]
        ours = [CHURN_LAB, "serve", "--workspace", lab.root, "--port", "PORT"]
        print("one worker, 16 connections, load generator on the same machine")
        compare_servers(ours, echo, folder, rounds, seconds)
        with running("1", ours, folder) as one, running("2", [*ours, "--workers", "2"], folder) as two:
            ratios = [two.load(seconds)[0].rate / one.load(seconds)[0].rate for _ in range(rounds)]
        show(
            "throughput, 2 workers / 1 worker", f"{statistics.median(ratios):.2f}", f"reported, {os.cpu_count()} cores"
        )
        if not options.without_mlflow:
            compare_with_mlflow(lab, ours, folder, seconds)
        explain_one_request(create_app(lab).service, folder / "timing")
        print()
        compare_files(lab, folder, 1_000_000, rounds)


if __name__ == "__main__":
    main()
