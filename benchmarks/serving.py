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
from figures import record, record_growth, record_table
from http_load import Load, measure, post
from pydantic_core import to_json
from rivals import rival_python, rival_version

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


def compare_servers(ours: list, echo: list, folder: Path, rounds: int, seconds: float) -> None:
    """Throughput, latency, memory and start beside the echo."""
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

    def ratios(value: Callable) -> list[float]:
        return [value(ours) / value(echo) for ours, echo in pairs]

    echo_name = "a FastAPI app that validates the same body and echoes a constant"
    record("`/predict`, requests a second", ratios(lambda p: p[0].rate), "times", echo_name, ">= 0.9", readme=True)
    p99 = ratios(lambda p: p[0].quantile(0.99))
    record("`/predict`, p99 latency", p99, "times", "the same app", "<= 1.5", readme=True)
    record("`/predict`, processor time of an answer", ratios(lambda p: p[1]), "times", "the same app")
    pairs_of_starts = [ours / echo for ours, echo in zip(starts["ours"], starts["echo"])]
    record("start to first answer", pairs_of_starts, "times", "the same app", "<= 2")
    record("memory of one worker", memory, "times", f"the same app: {sizes}", "<= 2.5")
    record("`/predict`, requests a second, as a number", [load.rate for (load, _), _ in pairs], "requests/s")
    record("p99 latency, as a number", [load.quantile(0.99) for (load, _), _ in pairs], "ms")
    record("start to first answer, as a number", starts["ours"], "s")
    record("one answer's processor time, all of it", [spent for (_, spent), _ in pairs], "us")


def compare_with_mlflow(lab: Workspace, ours: list, folder: Path, seconds: float) -> None:
    """Throughput beside `mlflow models serve` with the same forest."""
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
            ratios = [service.load(seconds)[0].rate / rival.load(seconds)[0].rate for _ in range(5)]
    name = f"`mlflow models serve` {rival_version(python, 'mlflow')} with the same forest"
    record("`/predict`, requests a second, beside MLflow", ratios, "times", name, ">= 60", readme=True)


def explain_one_request(service: Service, folder: Path) -> None:
    """What the time of one answer is spent on, measured in this process."""
    body, predictor, log = json.dumps(CUSTOMER).encode(), take_predictor(service), PredictionLog(Workspace(folder))
    service.log = log
    values = predictor.check.validate_json(body)
    answer = make_response(predictor, values, "x" * 32, 0.5) | {"latency_ms": 0.1}
    line = to_json(answer | {"features": values, "ts": 1.5}) + b"\n"
    parts = {
        "all but HTTP": lambda: predict_one(service, body),
        "check the body by the contract": lambda: predictor.check.validator.validate_json(body),
        "predict": lambda: predictor.model.predict_proba_one(values),
        "name the request (uuid4)": service.new_request_id,
        "write as JSON, twice": lambda: (to_json(answer | {"features": values, "ts": 1.5}), to_json(answer)),
        "append to the log": lambda: log.append(line, 1.5),
    }
    rows = []
    for part, call in parts.items():
        best = min(_time(call, 30) for _ in range(300))  # short, to slip between other processes
        rows.append({"part": part, "microseconds": f"{best / 30 * 1e6:.1f}"})
    text = "Best of 300 times 30, in one process; the rest of an answer is HTTP and the operating system."
    record_table("What one answer is spent on", rows, text)
    log.close()


def _time(call: Callable, times: int = 1) -> float:
    started = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - started


def compare_files(lab: Workspace, folder: Path, sizes: list[int], rounds: int) -> None:
    """`churn-lab predict` from CSV to CSV beside scikit-learn on rows that are in memory already."""
    threads, pipeline = os.cpu_count(), load_pipeline(lab)
    pipeline["forest"].n_jobs = threads
    path = folder / "customers.csv"
    command = [CHURN_LAB, "predict", path, "--threads", threads, "--workspace", lab.root]
    costs = {}
    for rows in sizes:
        customers = draw_customers(rows, seed=11).drop(columns="churn")
        customers.to_csv(path, index=False)
        customers = customers.astype({"plan_type": object, "region": object})
        pairs = []
        for _ in range(rounds if rows == sizes[-1] else 1):
            alone = _time(lambda: pipeline.predict_proba(customers))  # noqa: B023
            pairs.append((*_run_on_terminal([str(part) for part in command]), alone))
        costs[rows] = [statistics.median(column) for column in zip(*pairs)]
    seconds, megabytes, alone = zip(*pairs)
    name = "scikit-learn's `predict_proba` alone, rows in memory"
    what, target = f"`churn-lab predict`, {rows:,} rows from CSV to CSV", "<= 1.2" if rows >= 1_000_000 else ""
    ratios = [ours / theirs for ours, theirs in zip(seconds, alone)]
    record(f"{what}, time", ratios, "times", name, target, readme=True)
    record(f"{what}, seconds", seconds, "s")
    record(f"{what}, memory at most", megabytes, "MB")
    lines = {"churn-lab predict": 0, name.replace("`", ""): 2}
    series = {line: {rows: cost[place] for rows, cost in costs.items()} for line, place in lines.items()}
    record_growth("churn-lab predict, time", "rows", "s", series)
    memory = {"churn-lab predict": {rows: cost[1] for rows, cost in costs.items()}}
    record_growth("churn-lab predict, memory", "rows", "MB", memory)


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
            rates = [[server.load(seconds)[0].rate for server in (one, two)] for _ in range(rounds)]
        ratios, rows = [second / first for first, second in rates], 100_000 if options.quick else 1_000_000
        record("`/predict`, 2 workers", ratios, "times", f"1 worker, on {os.cpu_count()} cores with the load generator")
        medians = dict(zip((1, 2), (statistics.median(column) for column in zip(*rates))))
        record_growth("predict, requests a second", "workers", "requests/s", {"churn-lab serve": medians})
        if not options.without_mlflow:
            compare_with_mlflow(lab, ours, folder, seconds)
        explain_one_request(create_app(lab).service, folder / "timing")
        compare_files(lab, folder, [rows // 100, rows // 10, rows], rounds)


if __name__ == "__main__":
    main()
