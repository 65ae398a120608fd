"""One screen: a real browser, a real service, traffic that shifts, a rollback, a service that is killed."""

import asyncio
import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import snapshot, wait_until
from starlette.testclient import TestClient
from test_page import Visit

from churn_lab.dashboard import PARTS, Dashboard, create_dashboard, read_view, stream_parts
from churn_lab.dashboard_data import Watched, describe_project, estimate_f1_interval, look_again
from churn_lab.files import LabError
from churn_lab.log_slices import LogSlices, cut_slices, describe_counts, read_new, read_past
from churn_lab.model_cards import read_card
from churn_lab.monitor_drift import check_drift
from churn_lab.page import find_dashboard
from churn_lab.registry_history import current_model
from churn_lab.rollback import rollback
from churn_lab.traffic import draw_traffic, shift_traffic, simulate_predictions
from churn_lab.workspace import Workspace, create_workspace

NOBODY = "http://127.0.0.1:9"
PROGRAM = shutil.which("churn-lab", path=os.path.dirname(sys.executable))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        return True
    except OSError:
        return False


@contextmanager
def running(command, lab, **more):
    """A command of its own process on a port of its own; yields the address and the process."""
    port = free_port()
    options = [part for name, value in more.items() for part in (f"--{name}", value)]
    process = subprocess.Popen(
        [PROGRAM, command, "--port", str(port), "--workspace", lab.root, *options], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: answers(port), 30)
        yield f"http://127.0.0.1:{port}/", process
    finally:
        process.terminate()
        process.wait(15)


def send(lab, rows: int, shifts=(), seed: int = 0) -> None:
    customers = shift_traffic(lab, draw_traffic(lab, rows, seed), list(shifts))
    simulate_predictions(lab, customers, start=time.time() - 0.1, seconds=0.0001)


def test_a_class_watches_customers_change_a_rollback_and_the_end_of_the_service(browser, lab):
    send(lab, 300)
    with running("serve", lab) as (service, serving), running("dashboard", lab, service=service) as (address, _):
        visit = Visit(browser, address)
        page, loads = visit.page, []
        page.on("load", lambda event: loads.append(event))
        page.wait_for_selector("#now :text('The service answers')")
        page.wait_for_selector("#now :text('No drift')")
        page.evaluate("window.scrollTo(0, 600)")
        page.focus("#span-hour")
        send(lab, 250, ["tenure_months=-25"], seed=1)
        page.wait_for_selector("#now :text('Customers have changed')")
        page.wait_for_selector("#features article >> nth=0 >> text=tenure_months")
        rollback(lab, why="they were called who stay")
        page.wait_for_selector("#time .mark.rollback", state="attached")
        page.wait_for_selector("#now :text('they were called who stay')")
        assert page.evaluate("document.activeElement.id") == "span-hour" and page.evaluate("window.scrollY") > 300
        serving.send_signal(signal.SIGKILL)
        page.wait_for_selector("#now :text('Nobody answers')")
        page.wait_for_selector("#next :text('churn-lab serve')")
        assert loads == []
        visit.close()


def test_the_page_survives_the_dashboard_that_is_killed_and_started_again(browser, lab):
    send(lab, 250)
    before = snapshot(lab.root)
    port = str(free_port())
    command = [PROGRAM, "dashboard", "--port", port, "--workspace", lab.root]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(int(port)), 30)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#live:text('Live.')")
        first.kill()
        page.wait_for_selector("#live:text('Not live')")
        first.wait()
        first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        page.wait_for_selector("#live:text('Live.')")
        page.close()
    finally:
        first.terminate()
        first.wait(15)
    assert snapshot(lab.root) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_in_the_way_of_whoever_cannot_see_or_use_a_mouse(browser, lab, scheme):
    send(lab, 250, ["tenure_months=-25"])
    rollback(lab)
    with running("dashboard", lab) as (address, _):
        page = browser.new_page(color_scheme=scheme, viewport={"width": 400, "height": 800})
        page.goto(f"{address}?span=day&first=v1&second=v2")
        page.wait_for_selector("#live:text('Live.')")
        found = Axe().run(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.close()
    assert found.violations_count == 0, found.generate_report()


# --- without a browser ---


def test_what_is_not_there_is_said(empty_lab, lab):
    text = TestClient(create_dashboard(empty_lab, NOBODY)).get("/").text
    for said in (
        "No model is in service",
        "nobody answers",
        "churn-lab generate",
        "No version yet",
        "Nothing was done yet",
    ):
        assert said in text
    text = TestClient(create_dashboard(lab, NOBODY)).get("/").text
    assert "No prediction in this span" in text and "churn-lab simulate" in text
    card = lab.models / current_model(lab).replace(".joblib", ".json")
    card.write_text("{half")
    text = TestClient(create_dashboard(lab, NOBODY)).get("/").text
    assert "damaged file" in text and "churn-lab registry repair" in text


@contextmanager
def another_program(status: int, content: bytes):
    """A server on this machine that knows nothing of us; yields its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "content"),
    [(404, b'{"detail":"Not Found"}'), (200, b'{"ok":true}'), (200, b'"ok"'), (500, b"<html>"), (200, b"[]")],
)
def test_another_program_at_the_services_address_is_named(lab, status, content):
    with another_program(status, content) as url:
        shown = TestClient(create_dashboard(lab, url)).get("/")
    assert shown.status_code == 200 and "another program" in shown.text and f"answers {status}" in shown.text


def test_what_a_student_wrote_by_hand_and_a_damaged_old_log_do_not_stop_the_page(lab):
    send(lab, 250)
    with lab.history.open("a") as history:
        history.write('{"ts": "2026-11-26T10:00:00Z", "action": "rollback", "to": "v1", "from": 3}\n')
    (lab.logs / "old.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 10_000)[:-20])
    (line,) = max(lab.logs.glob("predictions-*.jsonl")).read_bytes().splitlines(keepends=True)[-1:]
    in_milliseconds = re.sub(rb'"ts":([0-9.]+)', lambda found: b'"ts":%d' % (float(found[1]) * 1000), line)
    (lab.logs / "a.jsonl").write_bytes(in_milliseconds + re.sub(rb'"ts":[0-9.]+', b'"ts":-9e15', line))
    app = TestClient(create_dashboard(lab, NOBODY))
    for span in ("hour", "all", "all"):
        shown = app.get(f"/?span={span}")
        assert shown.status_code == 200
    assert "still being read" not in shown.text and "old.jsonl.gz" in shown.text
    for path in lab.logs.glob("predictions-*"):
        path.unlink()
    assert TestClient(create_dashboard(lab, NOBODY)).get("/?span=all").status_code == 200


def test_a_new_threshold_does_not_change_what_was_answered(lab):
    simulate_predictions(lab, draw_traffic(lab, 400), time.time() - 600, 1)
    card = read_card(lab, current_model(lab))
    shares = []
    for threshold in (card["threshold"], 0.99):
        log = LogSlices(lab, card | {"threshold": threshold})
        count_all(log)
        shares.append(describe_counts(log.counts, sum(log.slots.values()))["prediction"]["positive_share"])
        log.close()
    assert shares[0] == shares[1] > 0


def test_only_this_machine_by_its_own_name_may_look_and_with_a_key_whoever_has_it(lab):
    open_page = TestClient(create_dashboard(lab, NOBODY))
    assert open_page.get("/", headers={"host": "attacker.example"}).status_code == 403
    page = TestClient(create_dashboard(lab, NOBODY, api_key="secret"))
    shown = page.get("/")
    assert shown.status_code == 200 and "A key is needed" in shown.text and "churn_model" not in shown.text
    assert (
        "default-src 'none'" in shown.headers["content-security-policy"]
        and "unsafe" not in shown.headers["content-security-policy"]
    )
    assert page.get("/changes").status_code == 401
    assert page.get("/changes", headers={"X-API-Key": "wrong"}).status_code == 401
    assert page.get("/assets/../page.html").status_code == 404 and page.get("/assets/predict.js").status_code == 404


def test_what_somebody_typed_is_text(lab):
    send(lab, 250)
    rollback(lab, why="<script>alert(1)</script>")
    text = TestClient(create_dashboard(lab, NOBODY)).get("/?action=%3Cb%3E&first=%22%3E%3Cb%3E").text
    assert (
        "<script>alert" not in text
        and "&lt;script&gt;" in text
        and "<b>" not in text.replace("<b>nan", "").split("<figure")[0]
    )


def test_two_versions_are_measured_on_the_same_rows_and_an_unknown_one_is_said(lab):
    app = TestClient(create_dashboard(lab, NOBODY))
    text = app.get("/?first=v1&second=v2").text
    assert (
        "v1 and v2" in text
        and "Calibration" in text
        and "leaves, missed" in text
        and "parameter n_estimators" not in text
    )
    assert "Expected a registered version, found v9" in app.get("/?first=v9&second=v2").text
    lab.processed.unlink()
    assert "data/processed.csv" in app.get("/?first=v1&second=v2").text


def test_history_is_filtered_by_action(lab):
    rollback(lab)
    app = TestClient(create_dashboard(lab, NOBODY))
    rows = app.get("/?action=rollback").text.partition('aria-label="History"')[2].partition("</table>")[0]
    assert rows.count("<tr>") == 2 and "rollback" in rows


def test_a_page_and_a_report_lead_to_the_dashboard_of_their_own_project(lab, tmp_path, monkeypatch):
    with running("dashboard", lab) as (address, _):
        url = address.rstrip("/")
        assert find_dashboard(lab, url) == address
        create_workspace(tmp_path / "other")
        assert find_dashboard(Workspace(tmp_path / "other"), url) == ""
    assert find_dashboard(lab, url) == ""


# --- the log in slices ---


def count_all(log: LogSlices) -> int:
    while read_past(log):
        pass
    read_new(log)
    return int(sum(row[0] for row in log.slots.values()))


def test_no_line_is_counted_twice_or_left_out_while_somebody_writes(lab):
    card, start = read_card(lab, current_model(lab)), time.time() - 600
    simulate_predictions(lab, draw_traffic(lab, 400), start, 1)
    path = max(lab.logs.glob("*.jsonl"))
    whole = path.read_bytes()
    line = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole + line[:50])  # half a line: nobody's, so far
    log = LogSlices(lab, card)
    while read_past(log):
        pass
    assert sum(row[0] for row in log.slots.values()) == 400
    path.write_bytes(whole + line + b"torn\n" + line)
    assert read_new(log) == 2 * len(line) + 5
    assert count_all(log) == 402 and log.damaged == 1
    window = describe_counts(log.counts, sum(log.slots.values()))
    judged = check_drift(lab, all_lines=True).window
    for name, found in judged["features"].items():
        assert (
            found["counts"] == {**window["features"][name]["counts"]}
            if "edges" not in found
            else list(found["counts"]) == window["features"][name]["counts"]
        )
        if "mean" in found:
            assert found["mean"] == pytest.approx(window["features"][name]["mean"], rel=1e-9)
            assert found["std"] == pytest.approx(window["features"][name]["std"], rel=1e-6)
    path.write_bytes(whole)
    with pytest.raises(LabError, match="a shorter file"):
        read_new(log)
    log.close()


def test_slices_hold_every_line_once_whatever_their_length(lab):
    now = time.time()
    for start, seconds in ((now - 3000, 10), (now - 3 * 86400, 300), (now - 300 * 86400, 86400)):
        simulate_predictions(lab, draw_traffic(lab, 200), start, seconds)
    log = LogSlices(lab, read_card(lab, current_model(lab)), now)
    assert count_all(log) == 600
    for length in (10800, 86400):
        pieces = cut_slices(log, now - 400 * 86400, now, length)
        assert sum(piece.rows for piece in pieces) == 600
    log.close()


def test_a_switch_of_the_model_counts_anew_against_what_that_one_learned(lab):
    send(lab, 250)
    watched = Watched(lab, NOBODY)
    look_again(watched, patience=5)
    before = watched.log
    assert describe_project(watched)["time"]["rows"] == 250
    rollback(lab)
    look_again(watched, patience=5)
    assert watched.log is not before and watched.log.card["model_file"] == current_model(lab)
    assert (
        describe_project(watched)["time"]["rows"] == 250
        and describe_project(watched)["now"]["switch"]["action"] == "rollback"
    )
    watched.log.close()


def test_what_has_changed_is_sent_once_and_nothing_while_nothing_changes(lab):
    simulate_predictions(lab, draw_traffic(lab, 250), start=time.time() - 86400, seconds=1)

    async def follow() -> list[list[str]]:
        """The parts that each of four looks sent; before the last one somebody rolls back."""
        stream, looks = stream_parts(Dashboard(lab, NOBODY, every=0.05), read_view({"span": "week"}), {}), [[]]
        async for line in stream:
            if line.strip():
                looks[-1].append(json.loads(line)["part"])
            elif len(looks) == 4:
                return looks
            else:
                looks.append([])
                if len(looks) == 4:
                    rollback(lab)
        return looks

    with ThreadPoolExecutor() as elsewhere:  # the browser's driver has a loop in this thread
        first, second, third, after = elsewhere.submit(asyncio.run, follow()).result()
    assert set(first) == set(PARTS) and second == third == []
    assert {"now", "time", "versions", "history"} <= set(after)


def test_the_interval_of_an_f1_holds_it_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    a, b, c, n = 0.15, 0.08, 0.09, 600  # found, called for nothing, missed
    true = 2 * a / (2 * a + b + c)
    for _ in range(300):
        found, false, missed, _ = rng.multinomial(n, [a, b, c, 1 - a - b - c])
        figures = {
            "accuracy": 1 - (false + missed) / n,
            "precision": found / (found + false),
            "recall": found / (found + missed),
        }
        low, high = estimate_f1_interval({"metrics": figures, "rows": {"test": n}})
        hits += low <= true <= high
    assert 0.91 <= hits / 300 <= 0.985
    assert estimate_f1_interval({"metrics": {"f1": 0.5}}) is None
