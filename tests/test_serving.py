"""The service as processes: under load, while models flip, at midnight, when killed and when stopped."""

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, SOAK, wait_until

from churn_lab.log_window import read_window
from churn_lab.model_cards import read_card, read_metadata
from churn_lab.registry import promote
from churn_lab.serving_model import open_model

sys.path.insert(0, str(ROOT / "benchmarks"))
from http_load import post, run_load  # noqa: E402

SECONDS = 30 if SOAK else 6
CUSTOMER = {
    "tenure_months": 3,
    "num_complaints": 4,
    "avg_session_minutes": 9.5,
    "plan_type": "basic",
    "region": "NA",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def ask(port: int, method: str, path: str, body=None, timeout: float = 5, **headers) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def is_up(port: int) -> bool:
    try:
        return ask(port, "GET", "/health")[0] == 200
    except OSError:
        return False


@contextlib.contextmanager
def serving(command: list, folder: Path, **variables: str):
    """A server in a session of its own, for as long as the block runs; whatever is left of it is killed."""
    with (folder / "server.log").open("wb") as output:
        environment = {**os.environ, **variables}
        server = subprocess.Popen(command, cwd=folder, env=environment, stderr=output, start_new_session=True)
    family = [psutil.Process(server.pid)]
    try:
        yield server
        family += children(server)
    finally:
        for process in [*children(server), *family]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        server.wait(10)


def children(server: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(server.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers_of(server: subprocess.Popen) -> list[psutil.Process]:
    return [child for child in children(server) if "spawn_main" in " ".join(child.cmdline())]


@contextlib.contextmanager
def churn_lab_serve(lab, port: int, workers: int = 1):
    command = [Path(sys.executable).with_name("churn-lab"), "serve", "--workspace", lab.root, "--port", port]
    with serving([*map(str, command), "--workers", str(workers)], lab.root) as server:
        wait_until(lambda: is_up(port), seconds=30)
        yield server


def log_lines(lab) -> list[bytes]:
    return [line for path in sorted(lab.logs.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


def numbered_requests():
    """Requests with ids of their own, and what was answered to each."""
    numbers, answers = itertools.count(), []

    def make_request() -> bytes:
        number = next(numbers)
        return post("/predict", CUSTOMER | {"request_id": str(number), "tenure_months": number % 60})

    def on_answer(status: int, body: bytes) -> None:
        if status == 200:
            answers.append(body)

    return make_request, on_answer, answers


def test_models_that_flip_under_load_fail_no_request_and_mix_no_answer(lab):
    port, (make_request, on_answer, answers) = free_port(), numbered_requests()
    names = [entry["model_file"] for entry in read_metadata(lab)]
    models = {name: open_model(lab, name) for name in names}
    stop, flips = threading.Event(), itertools.cycle(names)

    def flip() -> None:
        while not stop.wait(0.1):
            promote(lab, next(flips))

    with churn_lab_serve(lab, port, workers=2):
        flipping = threading.Thread(target=flip)
        flipping.start()
        try:
            load = asyncio.run(run_load(port, make_request, SECONDS, on_answer=on_answer))
        finally:
            stop.set()
            flipping.join()
    assert load.failures == [] and set(load.statuses) == {200} and len(answers) > 100 * SECONDS
    lines = [json.loads(line) for line in log_lines(lab)]
    assert sorted(line["request_id"] for line in lines) == sorted(json.loads(a)["request_id"] for a in answers)
    assert {line["model_version"] for line in lines} == set(names)
    rows = [line["features"] for line in lines]
    expected = {name: models[name].predict_proba_rows(rows) for name in names}
    for index, line in enumerate(lines):
        assert abs(line["probability"] - expected[line["model_version"]][index]) < 1e-6
    shown = {(line["request_id"], line["model_version"], line["probability"]) for line in lines}
    assert {(a["request_id"], a["model_version"], a["probability"]) for a in map(json.loads, answers)} == shown


def test_what_was_answered_is_in_the_log_whoever_is_killed(lab):
    port, (make_request, on_answer, answers) = free_port(), numbered_requests()

    def kill_one_after_the_other() -> None:
        time.sleep(1.5)
        workers_of(server)[0].kill()
        time.sleep(2.5)
        server.kill()

    with churn_lab_serve(lab, port, workers=2) as server:
        known = workers_of(server)
        killing = threading.Thread(target=kill_one_after_the_other)
        killing.start()
        asyncio.run(run_load(port, make_request, 5, on_answer=on_answer, reconnect=True))
        killing.join()
        wait_until(lambda: not [w for w in known if w.is_running() and w.status() != psutil.STATUS_ZOMBIE], seconds=5)
        wait_until(lambda: not is_up(port), seconds=5)
    answered = {json.loads(answer)["request_id"] for answer in answers}
    lines = log_lines(lab)
    window = read_window(lab, read_card(lab, read_metadata(lab)[0]["model_file"]), any_model=True)
    assert (
        len(answers) > 500 and window.ours + window.other_models + window.damaged == len(lines) and window.damaged <= 2
    )
    readable = set()
    for line in lines:
        with contextlib.suppress(ValueError):
            readable.add(json.loads(line)["request_id"])
    assert answered <= readable


MIDNIGHT_APP = """
import itertools, time
from churn_lab.api import create_app
started = time.time()
app = create_app({root!r}, clock=lambda: 86400 * 20000 - 1 + time.time() - started)
"""


def test_midnight_passes_under_load(lab):
    port, (make_request, on_answer, answers) = free_port(), numbered_requests()
    (lab.root / "midnight.py").write_text(MIDNIGHT_APP.format(root=str(lab.root)))
    command = [sys.executable, "-m", "uvicorn", "midnight:app", "--port", str(port), "--no-access-log"]
    with serving(command, lab.root):
        wait_until(lambda: is_up(port), seconds=30)
        load = asyncio.run(run_load(port, make_request, 2, on_answer=on_answer))
    assert set(load.statuses) == {200} and not load.failures
    days = {path.name: [json.loads(line) for line in path.open()] for path in lab.logs.glob("*.jsonl")}
    assert sum(map(len, days.values())) == len(answers) and "predictions-2024-10-04.jsonl" in days
    for name, lines in days.items():
        assert {time.strftime("predictions-%Y-%m-%d.jsonl", time.gmtime(line["ts"])) for line in lines} == {name}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_answers_what_is_under_way_and_leaves_no_process(lab, workers):
    port, body = free_port(), json.dumps({"rows": [CUSTOMER] * 10_000})
    with churn_lab_serve(lab, port, workers) as server:
        family, found = [psutil.Process(server.pid), *children(server)], []
        batch = {"Content-Type": "application/json"}
        asking = threading.Thread(target=lambda: found.append(ask(port, "POST", "/predict/batch", body, 30, **batch)))
        asking.start()
        time.sleep(0.1)
        os.killpg(server.pid, signal.SIGINT)  # what Ctrl-C does
        asking.join()
        assert server.wait(15) in (0, -signal.SIGINT, 130)
        wait_until(lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])
    status, content = found[0]
    assert status == 200 and len(json.loads(content)["predictions"]) == 10_000 == len(log_lines(lab))
    assert b"Traceback" not in (lab.root / "server.log").read_bytes()


def test_bodies_that_come_in_pieces_and_callers_that_hang_up(lab):
    port = free_port()
    with churn_lab_serve(lab, port):
        pieces = [json.dumps(CUSTOMER)[:30].encode(), json.dumps(CUSTOMER)[30:].encode()]
        headers = {"Content-Type": "application/json"}
        assert ask(port, "POST", "/predict", iter(pieces), **headers)[0] == 200
        with contextlib.suppress(OSError):  # it may close before all of it was sent
            assert ask(port, "POST", "/predict", iter([b" " * 100_000] * 20), **headers)[0] == 413
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                caller.sendall(post("/predict", CUSTOMER)[:-10])
        assert ask(port, "POST", "/predict", json.dumps(CUSTOMER), **headers)[0] == 200
    assert len(log_lines(lab)) == 2
    assert b"Traceback" not in (lab.root / "server.log").read_bytes()


def test_the_students_own_file_serves_as_it_stands(lab):
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "src.api:app", "--port", str(port)]
    with serving(command, lab.root):
        wait_until(lambda: is_up(port), seconds=30)
        status, content = ask(port, "POST", "/predict", json.dumps(CUSTOMER), **{"Content-Type": "application/json"})
    assert status == 200 and json.loads(content)["request_id"] is None


def test_schemathesis_finds_no_broken_promise(lab):
    port = free_port()
    with churn_lab_serve(lab, port):
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json"),
            *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
              "response_schema_conformance,positive_data_acceptance,unsupported_method"),
            *("--max-examples", "400" if SOAK else "40", "--seed", "1", "--no-color"),
        ]  # fmt: skip
        done = subprocess.run(command, cwd=lab.root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
