"""Customers on demand: through the service, or into the log, shifted or not."""

import json
import threading

import pytest
import uvicorn
from conftest import wait_until

from churn_lab.api import create_app
from churn_lab.registry_history import current_model

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


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        ("shoe_size=3", "a column of the model"),
        ("tenure_months", "a column of the model"),
        ("tenure_months=x", "a number to add"),
    ],
)
def test_a_shift_that_is_none_is_named_and_nothing_is_sent(churn_lab, lab, shift, message):
    code, _, error = churn_lab("simulate", "--shift", shift, "--url", NOBODY, "--workspace", lab.root)
    assert code == 1 and message in error and "\nNext: --shift " in error and lines(lab) == []


def test_without_a_model_in_service_the_way_out_is_named(churn_lab, empty_lab, lab):
    code, _, error = churn_lab("simulate", "--url", NOBODY, "--workspace", empty_lab.root)
    assert code == 1 and "churn-lab train" in error and current_model(lab)
