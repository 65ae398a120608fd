"""Take the pictures of the dashboard that steps 7 to 9 show. Run it: python benchmarks/dashboard_pictures.py"""

import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dashboard import make_lab, running
from playwright.sync_api import sync_playwright

from churn_lab.rollback import rollback
from churn_lab.traffic import draw_traffic, shift_traffic, simulate_predictions
from churn_lab.train import train

NOTEBOOKS = Path(__file__).resolve().parents[1] / "nbs"


def spread(lab, *minutes: float) -> None:
    """Move what was done to the registry to so many minutes ago, as if the hour had gone by."""
    events = [json.loads(line) for line in lab.history.read_text().splitlines()]
    for event, ago in zip(events, minutes):
        event["ts"] = f"{datetime.now(UTC) - timedelta(minutes=ago):%Y-%m-%dT%H:%M:%SZ}"
    lab.history.write_text("".join(json.dumps(event) + "\n" for event in events))


def take(page, name: str, first: str, last: str) -> None:
    """The stretch of the page from one part to another."""
    page.wait_for_timeout(3500)
    top, bottom = page.locator(first).bounding_box(), page.locator(last).bounding_box()
    height = bottom["y"] + bottom["height"] - top["y"]
    clip = {"x": 0, "y": top["y"], "width": 900, "height": height + 10}
    page.screenshot(path=NOTEBOOKS / name, clip=clip, full_page=True)


with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
    lab = make_lab(Path(folder))
    now = time.time()
    simulate_predictions(lab, draw_traffic(lab, 2900), start=now - 3500, seconds=1.2)
    with (
        running(lab, "serve") as (port, _),
        running(lab, "dashboard", "--service", f"http://127.0.0.1:{port}") as (place, _),
    ):
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 900})
        page.goto(f"http://127.0.0.1:{place}/")
        take(page, "dashboard_now.png", "#now", "#next")
        train(lab, seed=7, gate_f1=0.4, tolerance=1.0)
        spread(lab, 55, 54, 14, 13)
        customers = shift_traffic(lab, draw_traffic(lab, 600, seed=1), ["tenure_months=-25"])
        simulate_predictions(lab, customers, start=time.time() - 600, seconds=1)
        take(page, "dashboard_drift.png", "#now", "#time .charts")
        rollback(lab, why="customers have changed")
        spread(lab, 55, 54, 14, 13, 3)
        simulate_predictions(lab, draw_traffic(lab, 130, seed=2), start=time.time() - 160, seconds=1.2)
        take(page, "dashboard_rollback.png", "#time", "#time .charts")
        browser.close()
