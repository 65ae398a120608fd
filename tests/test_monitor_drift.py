"""The drift check of a project: its verdict, its command, and what it makes of a log that people have had their hands on."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
from drift_samples import SHIFTED

from churn_lab.cli import main
from churn_lab.drift_findings import list_findings
from churn_lab.files import LabError, write_json
from churn_lab.generate_data import draw_customers, generate
from churn_lab.monitor_drift import check_drift, read_predictions
from churn_lab.prediction_log import find_logs, parse_since
from churn_lab.prepare_data import prepare
from churn_lab.registry import promote
from churn_lab.registry_history import current_model
from churn_lab.traffic import simulate_predictions
from churn_lab.train import ForestParams, train
from churn_lab.workspace import Workspace, create_workspace


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project with two versions, the second in service."""
    lab = Workspace(tmp_path_factory.mktemp("drift") / "lab")
    create_workspace(lab.root)
    generate(lab)
    prepare(lab)
    train(lab)
    train(lab, seed=1, forest=ForestParams(n_estimators=20))
    return lab


@pytest.fixture
def lab(trained):
    for path in find_logs(trained):
        path.unlink()
    return trained


def run(lab, *options):
    command = [
        sys.executable,
        "-c",
        "from churn_lab.cli import main; main()",
        "drift",
        "--workspace",
        str(lab.root),
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_latest_predictions_are_a_table(lab):
    customers = draw_customers(300, seed=3)
    simulate_predictions(lab, customers)
    table = read_predictions(lab, 5)
    assert table["tenure_months"].tolist() == customers["tenure_months"].tolist()[-5:]
    assert list(table)[:3] == ["model_version", "probability", "ts"] and set(table["model_version"]) == {
        current_model(lab)
    }


def test_the_last_the_recent_or_all(lab):
    simulate_predictions(lab, draw_customers(2000, seed=4))
    simulate_predictions(lab, draw_customers(150, seed=5).assign(**SHIFTED), start=1767225600.0 + 86400)
    result = check_drift(lab, last_n=200)
    assert result.rows == 200 and result.log["first"] == "2026-01-01T00:32:30Z"
    assert check_drift(lab, since=parse_since("2026-01-02")).rows == 150
    assert check_drift(lab, all_lines=True).rows == 2150
    tomorrow = check_drift(lab, since=parse_since("2026-01-03"))
    assert (tomorrow.verdict, tomorrow.rows, tomorrow.log["files"]) == ("not enough data", 0, [])


def test_only_the_model_in_service_and_its_reference(lab):
    newer = current_model(lab)
    simulate_predictions(lab, draw_customers(100, seed=6))
    older = find_logs(lab)[0].read_text().replace(newer, "churn_model_v1_20250101_000000.joblib")
    (lab.logs / "predictions.log").write_text(older.replace("0.0}", "0}"))
    assert check_drift(lab, all_lines=True).log["other_models"] == 100
    both = check_drift(lab, all_lines=True, any_model=True)
    assert both.rows == 200 and both.prediction is None  # what two models say is not one model's drift
    first = json.loads(lab.metadata.read_text())[0]["model_file"]
    promote(lab, first, "rollback")
    try:
        result = check_drift(lab)
        assert result.verdict == "not enough data" and "other models" in result.reason
        assert result.model_file == first
    finally:
        promote(lab, newer, "rollback")


def test_a_contract_that_changed_after_training_does_not_turn_the_answer_round(lab, churn_lab):
    simulate_predictions(lab, draw_customers(200, seed=7))
    before = check_drift(lab)
    kept = {path: path.read_bytes() for path in (lab.processed, lab.contract)}
    try:
        assert churn_lab("prepare", "--workspace", lab.root, "--target", "churn", "--positive", "0")[0] == 0
        assert check_drift(lab).to_dict() == before.to_dict()
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def test_categories_that_training_never_saw_are_counted(lab, churn_lab):
    customers = draw_customers(200, seed=7)
    customers.loc[::20, "region"] = "MARS"
    simulate_predictions(lab, customers)
    code, out, _ = churn_lab("drift", "--workspace", lab.root)
    assert code == 3 and "Categories that training never saw: region in 10 of 200 predictions." in out
    assert json.loads(churn_lab("drift", "--workspace", lab.root, "--json")[1])["unseen"] == {"region": 10}


def test_the_check_says_which_logs_it_read(lab, churn_lab):
    path = simulate_predictions(lab, draw_customers(200, seed=7))
    path.rename(path.with_suffix(".jsonl.1"))
    simulate_predictions(lab, draw_customers(100, seed=8))
    code, out, _ = churn_lab("drift", "--workspace", lab.root, "--all")
    assert (code, "Read: predictions-2026-01-01.jsonl.1, predictions-2026-01-01.jsonl." in out) == (0, True)
    assert check_drift(lab, all_lines=True).rows == 300


def test_one_prediction_is_not_called_stable(lab, churn_lab):
    simulate_predictions(lab, draw_customers(1, seed=7))
    code, out, _ = churn_lab("drift", "--workspace", lab.root)
    assert code == 4 and "not enough data: 1 predictions" in out and out.count("not judged") == 5
    assert "stable" not in out and "as in training" not in out and "1.000" not in out


def test_exit_codes_and_messages(lab):
    none = run(lab)
    assert (none.returncode, none.stdout) == (1, "") and "Expected predictions in logs/" in none.stderr
    simulate_predictions(lab, draw_customers(20, seed=7))
    assert run(lab).returncode == 4
    simulate_predictions(lab, draw_customers(200, seed=7))
    assert run(lab).returncode == 0
    page = lab.root / "drift.html"
    simulate_predictions(lab, draw_customers(200, seed=7).assign(**SHIFTED))
    found = run(lab, "--json", "--html", str(page), "--webhook", "http://127.0.0.1:9/")
    result = json.loads(found.stdout)
    assert found.returncode == 3 and result["verdict"] == "drift" and "webhook was not reached" in found.stderr
    assert result["features"][0]["feature"] == "avg_session_minutes" and "higher on average" in page.read_text()
    assert "<script" not in page.read_text() and "http" not in page.read_text()


def test_logs_of_garbage(lab):
    path = lab.logs / "predictions-2026-01-01.jsonl"
    path.write_bytes(b"garbage\n" * 100)
    with pytest.raises(LabError, match="100 lines, none of them readable"):
        check_drift(lab)


def test_a_program_that_calls_a_check_keeps_its_garbage_collection(lab):
    with pytest.raises(SystemExit) as end:
        main(["drift", "--workspace", str(lab.root)])
    assert (end.value.code, gc.isenabled()) == (1, True)  # no predictions
    simulate_predictions(lab, draw_customers(200, seed=13))
    with pytest.raises(SystemExit) as end:
        main(["drift", "--workspace", str(lab.root)])
    assert (end.value.code, gc.isenabled()) == (0, True)


@pytest.mark.parametrize("damage", [{}, {"rows": 0}, {"rows": 5, "features": {}, "prediction": {}}, "region"])
def test_a_damaged_reference_is_told_and_judges_nobody(lab, churn_lab, damage):
    simulate_predictions(lab, draw_customers(200, seed=12))
    path = lab.models / current_model(lab).replace(".joblib", ".json")
    kept = path.read_text()
    card = json.loads(kept)
    if damage == "region":
        card["reference"]["features"]["region"] = {}
    else:
        card["reference"] = damage or {"x": 1}
    try:
        write_json(path, card)
        code, out, error = churn_lab("drift", "--workspace", lab.root)
    finally:
        path.write_text(kept)
    assert (code, out) == (1, "") and f"models/{path.name}, found a damaged one" in error


def test_help_and_the_service_start_without_the_engine():
    for program in ("import churn_lab.cli", "import churn_lab.api"):
        heavy = f"import sys; {program}; print([m for m in ('duckdb', 'scipy', 'pandas') if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", program


def test_findings_are_rounded_for_people(lab):
    simulate_predictions(lab, draw_customers(200, seed=14).assign(**SHIFTED))
    worst = list_findings(check_drift(lab))[0]
    assert worst["feature"] == "avg_session_minutes" and worst["status"] == "drift" and worst["p"] == "< 0.001"
    assert Path(lab.root).exists()
