"""Customers on demand: through the service, or into the log, shifted or not."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import uvicorn
from conftest import wait_until

from churn_lab.api import create_app
from churn_lab.registry_history import current_model
from churn_lab.rollback import rollback
from churn_lab.workspace import Workspace

NOBODY = "http://127.0.0.1:9"


def lines(lab) -> list[dict]:
    return [json.loads(line) for path in sorted(lab.logs.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_traffic_a_shift_and_the_alarm_in_a_shell_without_a_service(churn_lab, lab):
    where = ["--workspace", lab.root]
    code, out, _ = churn_lab("simulate", "--url", NOBODY, *where)
    assert code == 0 and str(lab.logs) in out and "nobody listens" in out and len(lines(lab)) == 300
    assert churn_lab("drift", *where)[0] == 0
    assert churn_lab("simulate", "--shift", "tenure_months=-25", "--seed", "1", "--url", NOBODY, *where)[0] == 0
    code, out, _ = churn_lab("drift", *where)
    assert code == 3 and "tenure_months" in out
    assert all(line["features"]["tenure_months"] >= 0 for line in lines(lab))


def test_a_running_service_answers_the_customers_and_logs_them(churn_lab, lab):
    server = uvicorn.Server(uvicorn.Config(create_app(lab), port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        arguments = ["simulate", "--rows", "700", "--shift", "plan_type= PREMIUM", "--url", url, "--json"]
        code, out, _ = churn_lab(*arguments, "--workspace", lab.root)
    finally:
        server.should_exit = True
        thread.join(10)
    sent = json.loads(out)
    assert code == 0 and sent["by"] == "service" and sent["rows"] == 700 == len(lines(lab))
    assert {line["features"]["plan_type"] for line in lines(lab)} == {"premium"}
    assert sent["called"] == sum(line["prediction"] for line in lines(lab))


def test_customers_who_went_to_another_projects_service_are_not_told_as_ones_own(churn_lab, lab, tmp_path):
    other = Workspace(tmp_path / "other")
    shutil.copytree(lab.root, other.root)
    rollback(other)
    server = uvicorn.Server(uvicorn.Config(create_app(other), port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        code, _, error = churn_lab("simulate", "--rows", "5", "--url", url, "--workspace", lab.root)
    finally:
        server.should_exit = True
        thread.join(10)
    assert code == 0 and current_model(other) in error and "another project" in error and lines(lab) == []


class Stranger(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_):
        pass


def test_an_address_that_is_none_and_a_program_that_is_another_are_named_without_a_traceback(churn_lab, lab):
    server = HTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        for url in ("foo", "http://127.0.0.1:9x", f"http://127.0.0.1:{server.server_port}"):
            code, _, error = churn_lab("simulate", "--url", url, "--workspace", lab.root)
            assert code == 1 and f"service at {url}" in error and "Next: start it" in error
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
    assert lines(lab) == []


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        ("shoe_size=3", "a column of the model"),
        ("tenure_months", "a column of the model"),
        ("tenure_months=x", "a number to add"),
        ("tenure_months=nan", "a number to add"),
        ("plan_type=", "a value of plan_type"),
    ],
)
def test_a_shift_that_is_none_is_named_and_nothing_is_sent(churn_lab, lab, shift, message):
    code, _, error = churn_lab("simulate", "--shift", shift, "--url", NOBODY, "--workspace", lab.root)
    assert code == 1 and message in error and "\nNext: --shift " in error and lines(lab) == []


def test_without_a_model_in_service_the_way_out_is_named(churn_lab, empty_lab, lab):
    code, _, error = churn_lab("simulate", "--url", NOBODY, "--workspace", empty_lab.root)
    assert code == 1 and "churn-lab train" in error and current_model(lab)
