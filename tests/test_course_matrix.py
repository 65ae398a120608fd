"""The lab under other parameters and on other data: every notebook runs, and what it says is true of what happened."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SOAK

from churn_lab.course import catch_up, run
from churn_lab.generate_data import generate
from churn_lab.prepare_data import prepare
from churn_lab.registry import list_versions
from churn_lab.registry_history import current_model
from churn_lab.train import ForestParams, train
from churn_lab.workspace import Workspace, create_workspace

AFTER = ["06", "07", "08", "09"]  # what needs a model in service


def write_own(path: Path) -> None:
    """Customers of another trade: German dates, a blank for nothing, `NA` as a plan, a name with quotes."""
    rng = np.random.default_rng(11)
    age, calls, price = rng.integers(18, 90, 700), rng.poisson(1.2, 700), rng.gamma(4, 12, 700).round(2)
    plan = rng.choice(["Größe S", "Größe M", "NA"], 700, p=[0.5, 0.3, 0.2])
    since = pd.Timestamp("2024-06-30") - pd.to_timedelta(rng.integers(1, 2000, 700), unit="D")
    score = 1.6 * (-2.2 + 0.9 * calls + 0.02 * price - (plan == "NA") - 0.01 * age)
    left = np.where(rng.random(700) < 1 / (1 + np.exp(-score)), "Yes", "no")
    table = pd.DataFrame({"Kunde": [f"K-{n:04}" for n in range(700)], "Alter": age, 'Preis in "$"': price})
    table["calls per month"], table["Tarif"], table["seit"] = calls, plan, since.strftime("%d.%m.%Y")
    table["aktiv"], table["Left?"] = rng.integers(0, 2, 700), left
    table = table.astype(object)
    table.loc[::60, 'Preis in "$"'], table.loc[::90, "Tarif"], table.loc[5, "Tarif"] = " ", "", "Größe XL"
    table.to_csv(path, sep=";", index=False)


def read_pages(result: dict) -> dict[str, str]:
    """What the cells of each step printed."""
    folder, said = Path(result["report"]).parent, {}
    for step in result["steps"]:
        path = folder / f"{step['notebook']}.ipynb"
        if path.exists():
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            outputs = [output for cell in cells for output in cell.get("outputs", [])]
            told = [o for o in outputs if o.get("name") == "stderr" or o["output_type"] == "error"]
            assert not told, (step["title"], told)
            texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
            said[step["number"]] = "\n".join("".join(text) for text in texts)
    return said


def check_run(lab: Workspace, result: dict, before: str | None) -> dict[str, str]:
    """A run without a failure, whose steps, pages and registry agree."""
    assert result["failure"] is None, result["failure"]
    states = {step["number"]: step["state"] for step in result["steps"]}
    said = read_pages(result)
    trained = next(row for row in list_versions(lab) if result["steps"] and row["model_file"] == _trained(result))
    assert bool(result["refused"]) != trained["passed_gate"]
    if result["refused"]:
        assert "refused" in said["05b"] and "KeyError" not in said["05b"]
        assert "now it is the champion" not in said["05b"]
    if result["refused"] and before is None:
        assert not lab.current_model.exists() and "No model is in service" in result["refused"]
        assert {states.get(number, "not run") for number in AFTER} == {"not run"}
        return said
    if "09" in states:
        assert current_model(lab) == (trained["model_file"] if trained["passed_gate"] else before)
    return said


def _trained(result: dict) -> str:
    return next(step["model_file"] for step in result["steps"] if "model_file" in step)


def check_pages(lab: Workspace, said: dict[str, str], last_n: int) -> None:
    """What steps 6 to 9 say, against what is in the project."""
    serves = current_model(lab).split("_")[2]
    assert re.search(rf"^\d+ +{serves[1:]} .* True +True *$", said["06"], re.M)
    verdict, needed = said["08"].split(":")[0], re.search(r"not enough data: 3 predictions, at least (\d+)", said["08"])
    assert (verdict == "not enough data") == (needed is None or last_n < int(needed[1]))
    check_loop(said["08"])
    assert "turned away: none" in said["07"] and "all in the log: True" in said["07"]
    assert "statuses: {200}" in said["09"] and f"then {serves}" in said["09"]


def check_loop(said: str) -> None:
    """Customers who have changed are found, and a model that passed the gate knows them."""
    found, passed, after = re.search(r"(.+) -> trained, gate passed: (.+) -> (.+)", said).groups()
    assert found == "drift" and after == ("stable" if passed == "True" else "drift")


LAB = [
    {"rows": 100, "seed": 7},
    {"rows": 100, "seed": 3, "last_n": 20},
    {"rows": 500, "seed": 7, "last_n": 20},
    {"rows": 500, "gate_f1": 0.9},
    {"seed": 1},
]
OWN = {"target": "Left?", "id": "Kunde"}


@pytest.mark.skipif(not SOAK, reason="make soak")
@pytest.mark.parametrize("parameters", LAB, ids=str)
def test_the_lab_under_other_parameters(tmp_path, parameters):
    lab = Workspace(tmp_path / "lab")
    said = check_run(lab, run(lab.root, parameters), None)
    if "09" in said:
        check_pages(lab, said, parameters.get("last_n", 200))


@pytest.mark.skipif(not SOAK, reason="make soak")
def test_the_lab_on_a_file_of_ones_own(tmp_path):
    lab = Workspace(tmp_path / "lab")
    write_own(tmp_path / "own.csv")
    said = check_run(lab, run(lab.root, {"raw": str(tmp_path / "own.csv"), **OWN}), None)
    check_pages(lab, said, 200)


@pytest.mark.skipif(not SOAK, reason="make soak")
def test_the_lab_on_real_customers(tmp_path, telco):
    lab = Workspace(tmp_path / "lab")
    said = check_run(lab, run(lab.root, {"raw": str(telco), "target": "Churn", "id": "customerID"}), None)
    check_pages(lab, said, 200)


@pytest.mark.skipif(not SOAK, reason="make soak")
def test_the_lab_beside_a_champion_that_no_challenger_replaces(tmp_path):
    lab = catch_up("05b", tmp_path / "lab")
    champion = train(lab)["model_file"]
    said = check_run(lab, run(lab.root, {"gate_f1": 0.9, "seed": 1}, start="5b"), champion)
    check_pages(lab, said, 200)


# --- three corners of the matrix, in every test run; what is not looked at is done without a notebook ---


def train_quickly(lab: Workspace, **options) -> str:
    return train(lab, 0.0, forest=ForestParams(n_estimators=20), **options)["model_file"]


def test_a_corner_a_hundred_customers_and_twenty_predictions(tmp_path):
    lab = Workspace(tmp_path / "lab")
    create_workspace(lab.root)
    generate(lab, rows=100, seed=7)
    prepare(lab)
    train_quickly(lab)
    result = run(lab.root, {"last_n": 20}, ["8"])
    said = read_pages(result)["08"]
    assert result["ok"] and said.startswith("not enough data: 20 predictions")
    check_loop(said)


def test_a_corner_a_gate_that_is_too_high_for_the_challenger(tmp_path):
    lab = catch_up("05b", tmp_path / "lab")
    champion = train_quickly(lab)
    result = run(lab.root, {"gate_f1": 0.9, "seed": 1, "n_estimators": 5}, ["5b", "9"])
    said = check_run(lab, result, champion)
    assert "['v3', 'v1']" in said["09"] and "The model in service has not changed" in result["refused"]


def test_a_corner_a_file_of_ones_own(tmp_path):
    lab = Workspace(tmp_path / "lab")
    create_workspace(lab.root)
    write_own(tmp_path / "own.csv")
    prepare(lab, tmp_path / "own.csv", "Left?", identifier="Kunde")
    train_quickly(lab)
    result = run(lab.root, {}, ["8"])
    said = read_pages(result)["08"]
    assert result["ok"] and said.startswith("stable") and "calls per month" in said and "100.0% new: MARS" in said
    check_loop(said)


def test_a_corner_customers_without_a_number(tmp_path):
    lab = Workspace(tmp_path / "lab")
    create_workspace(lab.root)
    rng = np.random.default_rng(3)
    answers = pd.DataFrame({f"answer {n}": rng.choice(["never", "seldom", "often", "always"], 600) for n in range(8)})
    left = rng.random(600) < 0.05 + 0.6 * (answers["answer 0"] == "always")
    answers.assign(left=left.map({True: "yes", False: "no"})).to_csv(lab.raw, index=False)
    prepare(lab, target="left")
    train_quickly(lab)
    result = run(lab.root, {"n_requests": 20}, ["7"])
    said = read_pages(result)["07"]
    assert result["ok"] and "a field too many  422" in said and "text for a number" not in said
    assert "'unseen': ['answer 0']" in said and "beyond" not in said and "20 answers" in said
