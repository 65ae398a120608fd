"""The report: a page, a webhook and a check that repeats itself."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from drift_samples import SHIFTED

from churn_lab.drift_report import draw_number, post_result, render_report, watch_drift
from churn_lab.generate_data import draw_customers
from churn_lab.monitor_drift import check_drift
from churn_lab.registry import promote
from churn_lab.registry_history import current_model
from churn_lab.traffic import simulate_predictions


def next_news(looks, then):
    """What a watch says next, after something has been done meanwhile."""
    timer = threading.Timer(0.05, then)
    timer.start()
    try:
        return next(looks)
    finally:
        timer.join()


def test_watching_follows_the_log_and_the_model(lab, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "churn_lab.drift_report.check_drift",
        lambda lab, **options: asked.append(options) or check_drift(lab, **options),
    )
    simulate_predictions(lab, draw_customers(300, seed=9))
    looks = watch_drift(lab, every=0.01, last_n=200)
    assert next(looks)[0].verdict == "stable"
    shifted = draw_customers(200, seed=10).assign(**SHIFTED)
    assert next_news(looks, lambda: simulate_predictions(lab, shifted))[0].verdict == "drift"
    assert len(asked) <= 3  # only when there was something new
    first = json.loads(lab.metadata.read_text())[0]["model_file"]
    result, _ = next_news(looks, lambda: promote(lab, first, "rollback"))
    assert (result.model_file, result.verdict, current_model(lab)) == (first, "not enough data", first)
    path = next(lab.logs.glob("*.jsonl"))
    assert "found none" in next_news(looks, path.unlink)[1]


def test_a_window_that_moves_forgets_what_is_too_old(lab, monkeypatch):
    now = 1767225600.0 + 86400
    monkeypatch.setattr("churn_lab.drift_report.time.time", lambda: now)
    simulate_predictions(lab, draw_customers(300, seed=16).assign(**SHIFTED), start=now - 3000)
    looks = watch_drift(lab, every=0.01, span=3600)
    result, _ = next(looks)
    assert (result.verdict, result.rows) == ("drift", 300)
    now += 3000
    simulate_predictions(lab, draw_customers(300, seed=17), start=now - 400)
    result, _ = next(looks)
    assert (result.verdict, result.rows, result.log["first"]) == ("stable", 300, "2026-01-02T00:43:20Z")
    now += 7200  # no line was added, and yet none is left
    result, _ = next(looks)
    assert (result.verdict, result.rows) == ("not enough data", 0)


@pytest.mark.skipif(os.name == "nt", reason="sends an interrupt")
def test_every_speaks_when_the_verdict_changes(lab):
    with simulate_predictions(lab, draw_customers(200, seed=11)).open("a") as log:
        log.write("half a line\n")
    code = "from churn_lab.cli import main; main()"
    command = [sys.executable, "-c", code, "drift", "--workspace", str(lab.root), "--every", "0.1s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert "stable" in line and line.endswith("skipped: 1\n")
        time.sleep(0.3)
        simulate_predictions(lab, draw_customers(200, seed=12).assign(**SHIFTED))
        assert "drift" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "" and process.wait(10) == 3


def test_webhook_tries_twice_and_never_raises(lab):
    simulate_predictions(lab, draw_customers(200, seed=13))
    result, received = check_drift(lab), []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if len(received) == 1 else 200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    assert post_result(result, url) is None and [r["verdict"] for r in received] == ["stable", "stable"]
    server.shutdown()
    server.server_close()
    assert "refused" in post_result(result, url) and "http://" in post_result(result, "file:///etc/passwd")


def test_a_page_that_cannot_be_written_does_not_hide_the_verdict(lab, churn_lab, tmp_path):
    simulate_predictions(lab, draw_customers(200, seed=12).assign(**SHIFTED))
    code, out, err = churn_lab("drift", "--workspace", lab.root, "--html", tmp_path / "missing" / "drift.html")
    assert code == 3 and "drift: " in out and "Expected to write" in err
    assert churn_lab("drift", "--workspace", lab.root, "--html", tmp_path)[2].startswith(
        f"Expected to write {tmp_path},"
    )
    assert churn_lab("drift", "--workspace", lab.root, "--all", "--since", "1h")[0] == 2


def test_the_labels_of_an_axis_do_not_shrink_with_the_page(lab):
    simulate_predictions(lab, draw_customers(200, seed=12))
    page = render_report(check_drift(lab))
    drawings = [drawing.split("</svg>")[0] for drawing in page.split("<svg")[1:]]
    scaled = [drawing for drawing in drawings if "viewBox" in drawing.split(">")[0]]  # as large as the page makes them
    assert scaled and not any("<text" in drawing for drawing in scaled)
    assert page.count('class="ticks"') == len(scaled)


def test_ticks_stand_on_the_axis():
    side = {
        "kind": "number",
        "count": 9,
        "mean": 2.0,
        "edges": [1.0, 2.0],
        "counts": [3, 3, 3],
        "lowest": 0.0,
        "highest": 3.0,
    }
    assert all(0 <= tick["percent"] <= 100 for tick in draw_number(side, side)["ticks"])
