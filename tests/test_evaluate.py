"""Splits that hold, scores beside their baselines, thresholds from validation rows."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from churn_lab.compare_models import compare_f1, compare_with_champion
from churn_lab.contract import Contract, Feature, Notation, read_contract
from churn_lab.csv_files import read_csv, write_csv
from churn_lab.evaluate import (
    choose_threshold,
    evaluate,
    score,
    score_baselines,
    score_thresholds,
    split_prepared,
    split_rows,
)
from churn_lab.generate_data import draw_customers
from churn_lab.prepare_data import read_processed
from churn_lab.registry import list_versions
from churn_lab.serving_model import open_model


def test_the_split_is_stratified_complete_and_independent_of_order():
    customers = draw_customers(3000, 1)
    split = split_rows(customers, "churn")
    assert sorted(pd.concat(split).index) == list(range(3000))
    assert [round(len(part) / 3000, 2) for part in split] == [0.6, 0.2, 0.2]
    assert max(abs(part["churn"].mean() - customers["churn"].mean()) for part in split) < 0.005
    shuffled = split_rows(customers.sample(frac=1, random_state=2), "churn")
    assert set(shuffled.test.index) == set(split.test.index)


def test_rows_that_were_learned_from_stay_out_of_next_months_test_rows():
    customers = draw_customers(3000, 1)
    later = pd.concat([customers, draw_customers(1000, 2)], ignore_index=True)
    learned, tested = split_rows(customers, "churn").train.index, split_rows(later, "churn").test.index
    assert len(set(learned) & set(tested)) < 0.01 * len(learned)


def test_equal_rows_land_on_the_same_side():
    customers = draw_customers(2000, 1)[["plan_type", "region", "churn", "num_complaints"]]
    split = split_rows(customers, "churn")
    sides = [{tuple(row) for row in part.itertuples(index=False)} for part in split]
    assert not (sides[0] & sides[2] or sides[0] & sides[1] or sides[1] & sides[2])


def test_always_churn_is_the_baseline_to_beat():
    truth = draw_customers(2000, 1)["churn"]
    best = score_baselines(truth, truth)[0]
    assert best["baseline"] == "always churn" and best["recall"] == 1.0
    assert best["f1"] == pytest.approx(2 * truth.mean() / (1 + truth.mean()), abs=1e-4)


def test_figures_are_those_of_scikit_learn_and_per_class():
    truth, probability = np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.6, 0.4, 0.7, 0.9])
    figures = score(truth, probability, 0.5)
    assert figures["f1"] == pytest.approx(f1_score(truth, probability >= 0.5), abs=1e-4)
    assert figures["per_class"]["0"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_the_threshold_is_the_top_of_the_smoothed_curve():
    rng = np.random.default_rng(0)
    probability = rng.random(4000)
    truth = (rng.random(4000) < probability**2).astype(int)
    curve = score_thresholds(truth, probability).set_index("threshold")["f1"]
    chosen = choose_threshold(truth, probability)
    assert curve[chosen] > curve.max() - 0.01 and curve[chosen] > curve[0.9] and curve[chosen] > curve[0.05]


def test_the_model_in_service_is_scored_as_it_was_at_training(churn_lab, trained):
    current = next(row for row in list_versions(trained) if row["current"])
    assert evaluate(trained)["metrics"]["f1"] == current["f1"]
    code, out, _ = churn_lab("evaluate", "--workspace", trained.root, "--json")
    assert code == 0 and json.loads(out)["metrics"]["roc_auc"] == current["roc_auc"]
    assert "always churn" in churn_lab("evaluate", "--workspace", trained.root)[1]


def test_without_a_model_the_message_names_the_command(churn_lab, empty_lab):
    code, _, error = churn_lab("evaluate", "--workspace", empty_lab.root)
    assert code == 1 and "Expected a model in service, found none.\nNext: churn-lab train" in error


def test_snapshots_of_one_customer_stay_on_one_side_and_noise_stays_noise(churn_lab, empty_lab, tmp_path):
    rng = np.random.default_rng(4)
    path, customers = tmp_path / "own.csv", 300
    rows = pd.DataFrame({name: np.repeat(rng.normal(size=customers), 8) for name in "abcd"})
    rows = (rows + rng.normal(0, 0.01, rows.shape)).round(4)  # nearly the same each month
    rows["customer"], rows["gone"] = np.repeat(np.arange(customers), 8), np.repeat(rng.integers(0, 2, customers), 8)
    rows.to_csv(path, index=False)
    where = ["--workspace", empty_lab.root]
    prepare = ["prepare", "--raw", path, "--target", "gone", "--id", "customer", *where]
    assert "--max-duplicates 1 takes them" in churn_lab(*prepare)[2]
    _, out, _ = churn_lab(*prepare, "--max-duplicates", "1")
    assert "customer repeats: all rows of one stay on the same side of the split" in out
    _, out, _ = churn_lab("train", "--n-estimators", "30", *where, "--json")
    entry = json.loads(out)
    assert entry["split_by"] == "customer" and 0.35 < entry["metrics"]["roc_auc"] < 0.65
    contract, said = read_contract(empty_lab), rng.random(customers * 8) < 0.5
    test = split_prepared(read_processed(empty_lab), contract).test
    told = compare_with_champion(empty_lab, contract, test, said[: len(test)])
    low, high = told["interval"]
    champion = open_model(empty_lab, told["champion"])
    answers = test["gone"], said[: len(test)], champion.predict_proba(test) >= champion.threshold
    assert (told["difference"], low, high) == compare_f1(*answers, customer=test["customer"].to_numpy())
    assert told["interval"] != list(compare_f1(*answers)[1:])
    split = split_rows(rows, "gone", "customer")
    sides = [set(part["customer"]) for part in split]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert [round(len(part) / len(rows), 1) for part in split] == [0.6, 0.2, 0.2]


def test_a_blank_and_newer_dates_move_no_row_to_another_side():
    rows = draw_customers(400, seed=2).assign(seen=lambda c: np.arange(400) % 90)
    kinds = {"tenure_months": "integer", "num_complaints": "integer", "avg_session_minutes": "number"}

    def contract(newest: str) -> Contract:
        date = Feature(name="seen", kind="integer", notation=Notation(date_format="%Y-%m-%d", newest=newest))
        numbers = [Feature(name=name, kind=kind, nullable=True) for name, kind in kinds.items()]
        texts = [Feature(name=name, kind="category") for name in ("plan_type", "region")]
        return Contract(features=[*numbers, *texts, date], target="churn", positive="1", negative="0")

    before = split_prepared(rows, contract("2026-01-31"))
    later = rows.assign(seen=rows["seen"] + 28, tenure_months=rows["tenure_months"].astype(float))
    after = split_prepared(later, contract("2026-02-28"))
    assert [list(part.index) for part in before] == [list(part.index) for part in after]
    as_model = split_prepared(later, contract("2026-01-31"), contract("2026-02-28"))
    assert list(as_model.test.index) == list(before.test.index)


def test_too_few_rows_to_score_are_told(churn_lab, lab):
    rows = read_csv(lab.raw)
    write_csv(
        rows.groupby("churn")
        .head(42)
        .iloc[:84]
        .pipe(lambda r: r[(r["churn"] == "0") | (r["churn"].eq("1").cumsum() <= 2)]),
        lab.raw,
    )
    assert churn_lab("prepare", "--workspace", lab.root)[0] == 0
    code, out, error = churn_lab("evaluate", "--workspace", lab.root, "--json")
    assert code == 1 and out == "" and "held-out rows of both classes" in error and "Traceback" not in error


def test_a_turned_meaning_of_the_target_does_not_turn_the_figures(churn_lab, trained, lab):
    code, out, _ = churn_lab("evaluate", "--workspace", lab.root, "--json")
    before = json.loads(out)
    prepare = ["prepare", "--target", "churn", "--positive", "0", "--workspace", lab.root]
    assert churn_lab(*prepare)[1].startswith("left means: churn = 0")
    code, out, _ = churn_lab("evaluate", "--workspace", lab.root, "--json")
    after = json.loads(out)
    assert code == 0 and after["metrics"] == before["metrics"] and after["meaning"].startswith("left means: churn = 1")


def test_a_model_of_other_columns_is_not_scored(churn_lab, lab):
    churn_lab("prepare", "--target", "churn", "--drop", "region", "--workspace", lab.root)
    code, _, error = churn_lab("evaluate", "--workspace", lab.root)
    assert code == 1 and "Expected data with the model's columns" in error and "Next: churn-lab train" in error
