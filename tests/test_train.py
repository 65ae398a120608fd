"""Training, the gate, champion and challenger, and how the model behaves."""

import json
import re

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from conftest import snapshot

from churn_lab.compare_models import compare_f1
from churn_lab.contract import read_contract
from churn_lab.convert_model import check_conversion, convert_to_onnx
from churn_lab.evaluate import split_rows
from churn_lab.files import LabError
from churn_lab.generate_data import draw_customers, generate
from churn_lab.model_cards import read_metadata
from churn_lab.prepare_data import prepare, read_processed
from churn_lab.registry_history import current_model
from churn_lab.serving_model import load_pipeline, open_model
from churn_lab.train import ForestParams, pass_gate, train

BASELINE = {"baseline": "always churn", "f1": 0.43}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The lab as the course runs it: 5,000 customers, default settings."""
    from churn_lab.workspace import Workspace, create_workspace

    lab = Workspace(tmp_path_factory.mktemp("full"))
    create_workspace(lab.root)
    generate(lab)
    prepare(lab)
    train(lab)
    return lab


def test_the_forest_reaches_the_courses_figures(full):
    metrics = read_metadata(full)[0]["metrics"]
    assert 0.62 <= metrics["f1"] <= 0.72 and 0.82 <= metrics["roc_auc"] <= 0.90


def test_the_real_data_reaches_its_figures(empty_lab, telco):
    prepare(empty_lab, telco, "Churn", identifier="customerID")
    metrics = train(empty_lab)["metrics"]
    assert metrics["roc_auc"] >= 0.83 and metrics["f1"] >= 0.60


def test_behaviour_more_complaints_never_lower_and_region_changes_little(full):
    model, contract = open_model(full, current_model(full)), read_contract(full)
    rows = split_rows(read_processed(full, contract), "churn").test
    plain = model.predict_proba(rows)
    for more in (1, 2, 3):
        raised = model.predict_proba(rows.assign(num_complaints=rows["num_complaints"] + more))
        assert (raised - plain).mean() > 0.05
    moved = [model.predict_proba(rows.assign(region=region)).mean() for region in ("NA", "EU", "AF", "AS")]
    assert max(moved) - min(moved) < 0.05


def test_the_served_model_answers_as_scikit_learn_does(full, empty_lab, telco):
    prepare(empty_lab, telco, "Churn", identifier="customerID")
    train(empty_lab, forest=ForestParams(n_estimators=20))
    for lab in (full, empty_lab):
        contract = read_contract(lab)
        rows = read_processed(lab, contract)
        served = open_model(lab, current_model(lab))
        expected = load_pipeline(lab).predict_proba(rows[contract.names])[:, 1]
        assert np.abs(served.predict_proba(rows) - expected).max() <= 1e-5
        one = rows[contract.names].iloc[7].to_dict()
        assert served.predict_proba_one(one) == pytest.approx(expected[7], abs=1e-5)


def test_columns_may_have_any_name(empty_lab):
    rows = draw_customers(400, 1).rename(
        columns={
            "num_complaints": "Beschwerden (Anzahl)",
            "tenure_months": "label",
            "region": "variable",
            "churn": "Left?",
        }
    )
    rows["Beschwerden__Anzahl_"] = [i * i % 97 for i in range(400)]
    rows[rows.columns[::-1]].to_csv(empty_lab.root / "own.csv", index=False)
    prepare(empty_lab, empty_lab.root / "own.csv", "Left?")
    train(empty_lab, gate_f1=0.0, forest=ForestParams(n_estimators=10))
    contract = read_contract(empty_lab)
    data = read_processed(empty_lab, contract)
    expected = load_pipeline(empty_lab).predict_proba(data[contract.names])[:, 1]
    assert np.abs(open_model(empty_lab, current_model(empty_lab)).predict_proba(data) - expected).max() <= 1e-5


def test_a_served_model_that_answers_otherwise_is_not_registered(full):
    contract = read_contract(full)
    rows, pipeline = read_processed(full, contract), load_pipeline(full)
    other = load_pipeline(full)
    other["forest"].estimators_ = other["forest"].estimators_[:3]
    with pytest.raises(LabError, match="ONNX within 1e-05 of scikit-learn"):
        check_conversion(pipeline, convert_to_onnx(other, contract), contract, rows)


def test_the_same_data_and_seed_give_the_same_figures(lab):
    first, second = (train(lab, forest=ForestParams(n_estimators=30), tolerance=1.0) for _ in range(2))
    assert first["metrics"] == second["metrics"] and first["threshold"] == second["threshold"]
    assert second["version"] == first["version"] + 1


def test_an_entry_says_all_that_is_needed_to_repeat_it(trained):
    entry = read_metadata(trained)[0]
    assert {
        *("model_file", "version", "trained_at_utc", "data_file", "seed", "metrics", "gate_f1", "passed_gate"),
        *("parameters", "threshold", "rows", "data_sha256", "joblib_sha256", "onnx_sha256", "libraries", "contract"),
    } <= entry.keys()
    assert sum(entry["rows"].values()) == 2000 and len(entry["data_sha256"]) == 64
    assert (trained.models / entry["model_file"]).with_suffix(".onnx").is_file()
    reference = json.loads(trained.train_stats.read_text())[entry["model_file"]]
    assert reference["rows"] == entry["rows"]["train"] and reference["features"]["region"]["counts"]["NA"] > 0


@pytest.mark.parametrize(
    ("f1", "comparison", "passed"),
    [
        (0.66, {}, [True, True]),
        (0.54, {}, [False, True]),
        (0.55, {"champion_f1": 0.57}, [True, True, True]),
        (0.60, {"champion_f1": 0.63}, [True, True, False]),
    ],
)
def test_the_gate_asks_for_enough_for_more_than_nothing_and_for_no_step_back(f1, comparison, passed):
    assert [check["passed"] for check in pass_gate(f1, 0.55, BASELINE, comparison)] == passed
    assert [check["passed"] for check in pass_gate(0.40, 0.30, BASELINE, {})] == [True, False]


def test_a_refused_model_is_recorded_and_not_served(churn_lab, lab):
    before = current_model(lab)
    code, out, _ = churn_lab("train", "--workspace", lab.root, "--gate-f1", "0.97", "--n-estimators", "10")
    assert code == 5 and "refused" in out and current_model(lab) == before
    entry = read_metadata(lab)[-1]
    assert entry["passed_gate"] is False and entry["gate"][0]["limit"] == 0.97


def test_champion_and_challenger_are_compared_on_the_same_rows(lab):
    entry = train(lab, forest=ForestParams(n_estimators=30), tolerance=1.0)
    comparison = entry["comparison"]
    assert comparison["champion"] == read_metadata(lab)[1]["model_file"]
    assert comparison["difference"] == pytest.approx(entry["metrics"]["f1"] - comparison["champion_f1"], abs=2e-4)
    assert comparison["interval"][0] <= comparison["difference"] <= comparison["interval"][1]


def test_the_bootstrap_interval_is_that_of_drawing_rows_again():
    rng = np.random.default_rng(3)
    truth = rng.random(500) < 0.3
    good, bad = truth ^ (rng.random(500) < 0.1), truth ^ (rng.random(500) < 0.3)
    difference, low, high = compare_f1(truth, good, bad)

    def f1(rows, said):
        return 2 * (said[rows] & truth[rows]).sum() / (said[rows].sum() + truth[rows].sum())

    drawn = [rng.integers(0, 500, 500) for _ in range(2000)]
    redrawn = np.quantile([f1(rows, good) - f1(rows, bad) for rows in drawn], [0.025, 0.975])
    assert difference == pytest.approx(f1(np.arange(500), good) - f1(np.arange(500), bad), abs=1e-4)
    assert [low, high] == pytest.approx(redrawn, abs=0.02)
    repeated = [np.repeat(said, 8) for said in (truth, good, bad, np.arange(500))]  # eight months of the same customers
    _, low_again, high_again = compare_f1(*repeated[:3], customer=repeated[3])
    assert [low_again, high_again] == pytest.approx(redrawn, abs=0.02)
    _, low_rows, high_rows = compare_f1(*repeated[:3])
    assert high_rows - low_rows < (high_again - low_again) / 2  # as if there were eight times as many


def test_a_damaged_champion_does_not_block_its_successor(lab):
    (lab.models / current_model(lab)).with_suffix(".onnx").write_bytes(b"gone")
    entry = train(lab, forest=ForestParams(n_estimators=30), gate_f1=0.4)
    assert "cannot be loaded" in entry["comparison"]["why"] and current_model(lab) == entry["model_file"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-features", "many"], "settings that RandomForestClassifier accepts"),
        (["--class-weight", "heavy"], "settings that RandomForestClassifier accepts"),
    ],
)
def test_settings_that_the_forest_does_not_know_change_nothing(churn_lab, lab, options, message):
    before = snapshot(lab.root)
    code, _, error = churn_lab("train", "--workspace", lab.root, *options)
    assert code == 1 and message in error and snapshot(lab.root) == before


def test_too_few_rows_and_missing_steps_name_the_command(churn_lab, empty_lab):
    assert "Next: churn-lab prepare" in churn_lab("train", "--workspace", empty_lab.root)[2]
    assert "Next: churn-lab generate" in churn_lab("prepare", "--workspace", empty_lab.root)[2]
    generate(empty_lab, rows=12, seed=3)
    churn_lab("prepare", "--workspace", empty_lab.root, "--min-distinct", "1")
    code, _, error = churn_lab("train", "--workspace", empty_lab.root)
    assert code == 1 and "at least 10 prepared rows of each class" in error and not list(empty_lab.models.iterdir())


def test_the_onnx_file_holds_no_python(trained):
    path = (trained.models / current_model(trained)).with_suffix(".onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == pd.Index(read_contract(trained).names).tolist()


def test_a_long_training_says_how_long_it_takes_and_offers_a_sample(churn_lab, lab, monkeypatch):
    monkeypatch.setattr("churn_lab.fit_forest.PROBED_ROWS", 100)
    monkeypatch.setattr("churn_lab.fit_forest.MANY_ROWS", 1000)
    where = ["train", "--workspace", lab.root, "--n-estimators", "10", "--tolerance", "1"]
    _, _, error = churn_lab(*where)
    assert re.search(r"1,2\d\d rows to learn from: about \d+ s; --sample 250 learns from some of them", error)
    _, out, error = churn_lab(*where, "--sample", "250", "--json")
    assert json.loads(out)["rows"]["train"] == 250 and error == ""


def test_a_champion_with_other_spellings_and_another_first_day_is_asked_in_its_own_words(empty_lab):
    rows = draw_customers(600, 1).assign(since=pd.date_range("2023-01-01", periods=600).strftime("%Y-%m-%d"))
    rows["flag"] = np.where(rows["num_complaints"] > 1, "1.0", "0.0")
    rows.to_csv(empty_lab.raw, index=False)
    prepare(empty_lab, target="churn")
    train(empty_lab, gate_f1=0.0, forest=ForestParams(n_estimators=20))
    before = read_processed(empty_lab).head(300)
    expected = open_model(empty_lab, current_model(empty_lab)).predict_proba(before)
    later = rows.head(300).assign(flag=rows["flag"].str[:1])
    later.to_csv(empty_lab.raw, index=False)
    prepare(empty_lab, target="churn")
    champion = open_model(empty_lab, current_model(empty_lab))
    translated = read_processed(empty_lab, champion.contract)
    assert read_processed(empty_lab)["since"].max() != translated["since"].max() == before["since"].max()
    assert np.allclose(champion.predict_proba(translated), expected)
    entry = train(empty_lab, gate_f1=0.0, forest=ForestParams(n_estimators=20), tolerance=1.0)
    assert "champion_f1" in entry["comparison"]
