"""Features that know the answer are found, refused or questioned; honest ones are left alone."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from churn_lab.find_leaks import measure_features, rank_auc
from churn_lab.model_cards import read_metadata

ROWS = 600


def customers(seed: int = 2) -> tuple[pd.DataFrame, np.random.Generator]:
    rng = np.random.default_rng(seed)
    left = (rng.random(ROWS) < 0.3).astype(int)
    return pd.DataFrame(
        {"age": rng.integers(20, 80, ROWS), "plan": rng.choice(["a", "b", "c"], ROWS), "left": left}
    ), rng


LEAKS = {
    "a score": lambda left, rng: (left * 6 + rng.normal(size=ROWS)).round(2),
    "a reason": lambda left, rng: np.where(
        left == 1, rng.choice(["price", "moved"], ROWS), rng.choice(["-", "none"], ROWS)
    ),
    "a closing day": lambda left, rng: np.where(left == 1, rng.integers(1, 31, ROWS).astype(str), ""),
    "a turned score": lambda left, rng: (rng.normal(size=ROWS) - left * 6).round(2),
    "two ends": lambda left, rng: np.where(left == 1, rng.choice([0, 9], ROWS), rng.integers(1, 9, ROWS)),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_a_feature_that_was_written_after_the_customer_left_is_refused_until_allowed(
    churn_lab, empty_lab, tmp_path, kind
):
    rows, rng = customers()
    path = tmp_path / "own.csv"
    rows.assign(late=LEAKS[kind](rows["left"].to_numpy(), rng)).to_csv(path, index=False)
    where = ["prepare", "--raw", path, "--target", "left", "--max-missing", "0.9", "--workspace", empty_lab.root]
    code, _, error = churn_lab(*where)
    assert code == 1 and "late alone tells the classes apart (ROC AUC" in error
    assert "was it known before the customer left?" in error and not empty_lab.processed.exists()
    assert churn_lab(*where, "--drop", "late")[0] == 0
    code, out, _ = churn_lab(*where, "--allow", "late")
    assert code == 0 and "warning: late alone" in out and "You allowed it." in out
    code, out, _ = churn_lab("train", "--workspace", empty_lab.root, "--n-estimators", "20")
    assert code == 0 and "warning: late alone" in out
    if read_metadata(empty_lab)[0]["metrics"]["roc_auc"] > 0.99:
        assert "ROC AUC believable" in out and "WARNING" in out
        assert "too good to be true" in churn_lab("evaluate", "--workspace", empty_lab.root)[1]


def test_a_strong_feature_is_questioned_and_a_closing_date_among_texts_is_named(churn_lab, empty_lab, tmp_path):
    rows, rng = customers()
    path = tmp_path / "own.csv"
    rows["score"] = (rows["left"] * 2.3 + rng.normal(size=ROWS)).round(3)
    rows["closed"] = [f"closed by agent {i}" if left else "" for i, left in enumerate(rows["left"])]
    rows.to_csv(path, index=False)
    code, out, _ = churn_lab("prepare", "--raw", path, "--target", "left", "--workspace", empty_lab.root)
    assert code == 0 and "warning: score alone tells the classes apart (ROC AUC 0.9" in out
    assert "warning: closed, which is left out, is filled in for one class and not for the other" in out


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_never_taken_for_a_leak(seed):
    rng = np.random.default_rng(seed)
    target = pd.Series((rng.random(300) < 0.03).astype(int))
    noise = pd.DataFrame({f"n{i}": rng.normal(size=300) for i in range(20)})
    names = {f"c{i}": pd.Categorical(rng.integers(0, 100, 300).astype(str)) for i in range(20)}
    assert measure_features(noise.assign(**names), target)[0]["roc_auc"] < 0.9


def test_the_figure_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 20, 500), rng.random(500) < 0.3
    assert rank_auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))
