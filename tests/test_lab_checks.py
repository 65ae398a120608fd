"""Lab 1 is asked what it can do: points for what works, a reason for what does not, and the project stays as it was."""

import json

import pytest
from conftest import snapshot

from churn_lab.lab_checks import check_lab
from churn_lab.rollback import rollback

BY_HAND = """
import json
from pathlib import Path
from typing import Literal

import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from churn_lab.registry_history import current_model
from churn_lab.serving_model import load_pipeline
from churn_lab.workspace import Workspace

LAB = Workspace(Path(__file__).resolve().parents[1])
app = FastAPI()


class Customer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tenure_months: int
    num_complaints: int
    avg_session_minutes: float
    plan_type: str
    region: str
    request_id: str | None = None


@app.post("/predict")
def predict(customer: Customer):
    row = customer.model_dump()
    request_id = row.pop("request_id")
    probability = float(load_pipeline(LAB).predict_proba(pd.DataFrame([row]))[0, 1])
    with (LAB.logs / "mine.txt").open("a") as log:
        print(json.dumps({"request_id": request_id, "features": row}), file=log)
    return {"probability": probability}


@app.get("/model-info")
def info():
    return {"serving": current_model(LAB)}
"""


def held(findings) -> dict[str, bool]:
    return {finding.aspect: finding.ok for finding in findings}


def test_a_finished_lab_has_all_points_and_is_left_as_it_was(churn_lab, lab):
    rollback(lab)
    before = snapshot(lab.root)
    code, out, _ = churn_lab("check", "--json", "--workspace", lab.root)
    result = json.loads(out)
    wrong = [finding for finding in result["findings"] if not finding["ok"]]
    assert not [f for f in wrong if f["step"] != "2"], wrong  # step 2 is about the machine
    assert result["of"] == len(result["findings"]) == result["points"] + len(wrong) and code == (1 if wrong else 0)
    assert {finding["step"] for finding in result["findings"]} == set("123456789")
    after = snapshot(lab.root)
    assert after.pop("runs/progress.jsonl").count(b"\n") == 9  # a note a step, for `churn-lab progress`
    assert after == before


def test_one_step_is_asked_for_by_its_number_and_the_points_are_told(churn_lab, lab):
    code, out, error = churn_lab("check", "04", "--workspace", lab.root)
    assert code == 0 and "NA is still North America" in out and "3 of 3" in out and error == ""
    lab.processed.write_text(lab.processed.read_text().replace(",NA,", ",EU,"))
    code, out, _ = churn_lab("check", "4", "--workspace", lab.root)
    assert code == 1 and "1 of 3" in out and "found 0% in data/processed.csv" in out
    assert "Next: read with keep_default_na=False" in out
    assert churn_lab("check", "12", "--workspace", lab.root)[0] == 2


def test_a_service_built_by_hand_gets_the_points_of_what_it_answers(lab):
    (lab.src / "api.py").write_text(BY_HAND)
    assert all(held(check_lab(lab, ("7",))).values())
    nameless = BY_HAND.replace("    request_id: str | None = None\n", "").replace('row.pop("request_id")', "None")
    (lab.src / "api.py").write_text(nameless)
    assert all(held(check_lab(lab, ("7",))).values())
    (lab.src / "api.py").write_text(BY_HAND.replace('"features": row', '"features": None'))
    assert not held(check_lab(lab, ("7",)))["every prediction is logged"]
    careless = BY_HAND.replace('extra="forbid"', 'extra="allow"').replace("LAB.logs", "LAB.root")
    (lab.src / "api.py").write_text(careless.replace(": probability}", ": 1 - probability}"))
    assert held(check_lab(lab, ("7",))) == {
        "an answer as the model gives it": False,
        "a bad request gets a 4xx": False,
        "says which model it is": True,
        "every prediction is logged": False,
    }


def test_a_service_that_does_not_start_says_its_last_words(churn_lab, lab):
    (lab.src / "api.py").write_text("import no_such_library\n")
    code, out, _ = churn_lab("check", "7", "--workspace", lab.root)
    assert code == 1 and "0 of 4" in out and "No module named 'no_such_library'" in out and "Next: mend it" in out


def test_what_nobody_expected_costs_its_own_point_and_no_other(churn_lab, lab):
    entries = json.loads(lab.metadata.read_text())
    entries[-1]["metrics"] = {name: str(value) for name, value in entries[-1]["metrics"].items()}
    for path in lab.models.glob("*.json"):
        path.unlink()
    lab.metadata.write_text(json.dumps(entries))
    (lab.logs / "old").mkdir()
    (lab.root / ".gitignore").write_text("/data/*\n!/data/.gitkeep\n# models\nmodels/**\n")
    code, out, error = churn_lab("check", "--workspace", lab.root, "--json")
    findings = {(row["step"], row["aspect"]): row for row in json.loads(out)["findings"]}
    assert code == 1 and "Traceback" not in error and len({step for step, _ in findings}) > 6
    ignored = next(row for row in findings.values() if ".gitignore" in row["expected"])
    assert ignored["found"] == "no logs"


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("print('all well')", "exit code 0: all well"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_an_alarm_that_always_or_never_rings_has_no_point(lab, script, found):
    (lab.src / "monitor_drift.py").write_text(script + "\n")
    [finding] = check_lab(lab, ("8",))
    assert not finding.ok and found in finding.found and "src/monitor_drift.py" in finding.expected


def test_scripts_that_follow_the_environment_do_not_reach_the_original(lab, monkeypatch):
    monkeypatch.setenv("CHURN_LAB_HOME", str(lab.root))
    (lab.src / "rollback.py").write_text("from churn_lab.cli import main\nmain(['rollback'])\n")
    before = snapshot(lab.root)
    assert held(check_lab(lab, ("9",)))["the way back works, and the service follows"]
    assert snapshot(lab.root) == before


def test_a_service_with_an_old_model_in_memory_does_not_follow(lab):
    (lab.src / "api.py").write_text(BY_HAND + "\n\nSTARTED = current_model(LAB)\n")
    text = (lab.src / "api.py").read_text().replace('{"serving": current_model(LAB)}', '{"serving": STARTED}')
    (lab.src / "api.py").write_text(text)
    finding = check_lab(lab, ("9",))[-1]
    assert not finding.ok and finding.expected == "the running service to follow the rollback"
