"""Answers become rows, sentences and a verdict: the worst first, and nothing said of what nobody judged."""

import json

import numpy as np
import pandas as pd
import pytest
from drift_samples import describe_window, draw_pair

from churn_lab.contract import Contract, Feature
from churn_lab.drift_findings import judge_window, measure_effects, summarise_feature
from churn_lab.drift_report import render_report
from churn_lab.drift_statistics import compare_feature, holm_adjust
from churn_lab.reference import make_reference

SEEN = {"kind": "category", "count": 3000, "missing": 0, "counts": {"basic": 1800, "premium": 1200}}


def tell(seen, now):
    return summarise_feature("a", seen, now, holm_adjust(compare_feature("a", seen, now), 2.5))


def describe(values, edges):
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).tolist()
    shape = {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)), "edges": edges, "counts": counts}
    return {"kind": "integer", "count": len(values), "missing": 0, **shape}


def test_a_fall_of_the_mean_is_told_as_a_fall_and_not_as_a_spread():
    rng = np.random.default_rng(1)
    tenure = rng.integers(0, 73, 3000)
    edges = np.quantile(tenure, np.arange(1, 10) / 10).tolist()
    row = tell(describe(tenure, edges), describe(rng.integers(1, 6, 200), edges))
    assert row["status"] == "drift" and row["test"] == "mean" and "lower on average" in row["finding"]


def test_large_numbers_are_told_as_people_write_them():
    charges = np.random.default_rng(1).gamma(2.0, 1140.0, 3000)
    edges = np.quantile(charges, np.arange(1, 10) / 10).tolist()
    row = tell(describe(charges, edges), describe(charges[:200] / 5, edges))
    assert "lower on average" in row["finding"] and "e+" not in row["finding"]
    row = tell(describe(charges, edges), describe(charges.mean() + 3 * (charges[:200] - charges[:200].mean()), edges))
    assert "values spread by" in row["finding"] and "e+" not in row["finding"]


def test_a_window_of_new_categories_only_does_not_have_a_psi_of_nothing():
    now = {"kind": "category", "count": 200, "missing": 0, "counts": {"basic": 0, "premium": 0, "gold": 200}}
    row = tell(SEEN, now)
    assert row["status"] == "drift" and row["psi"] > 1 and row["effect"] == 1 and row["finding"] == "100.0% new: gold"


def test_a_category_of_a_hundred_thousand_characters_is_cut_where_it_is_told():
    now = {"kind": "category", "count": 200, "missing": 0, "counts": {"basic": 100, "premium": 0, "x" * 100_000: 100}}
    assert len(tell(SEEN, now)["finding"]) < 60


def test_the_worst_stands_first_by_its_effect():
    def change(rows, rng):
        moved = rows["avg_session_minutes"] - 0.18 * rows["avg_session_minutes"].std()
        return rows.assign(avg_session_minutes=moved, tenure_months=rows["tenure_months"] + 30)

    for seed in range(5):
        result = judge_window(*draw_pair(np.random.default_rng(seed), 200, change))
        statuses = [row["status"] == "drift" for row in result.features]
        assert statuses == sorted(statuses, reverse=True) and result.features[0]["feature"] == "tenure_months"
        for judged in (True, False):
            effects = [row["effect"] for row in result.features if (row["status"] == "drift") == judged]
            assert effects == sorted(effects, reverse=True)


def test_a_mean_that_moved_more_stands_before_one_that_moved_less():
    numbers = np.arange(1, 11) * 1.0
    seen = describe(np.repeat(numbers, 300), numbers[:-1].tolist())
    shifted = [seen | {"count": 200, "mean": seen["mean"] + z * seen["std"] / 14} for z in (0.4, -2.5)]
    effects = [measure_effects(seen, now, compare_feature("a", seen, now))["effect"] for now in shifted]
    assert effects[0] < effects[1]


def test_what_is_too_small_to_judge_is_not_called_stable():
    reference, window = draw_pair(np.random.default_rng(3), 5)
    result = judge_window(reference, window)
    assert result.verdict == "not enough data"
    assert {(row["status"], row["p"]) for row in result.features} == {("not judged", None)}
    assert all("as in training" not in row["finding"] for row in result.features)
    assert "score" not in result.summary() and ">as in training<" not in render_report(result)


def test_a_number_that_is_hardly_ever_there_is_not_judged():
    edges = list(range(9))
    seen = describe(np.repeat(np.arange(10), 15), edges) | {"missing": 2850}
    now = describe(np.arange(10), edges) | {"missing": 190}
    assert tell(seen, now)["status"] == "not judged"


def test_clones_constants_and_missing_columns_never_give_nan():
    names = ("same", "gone", "back")
    features = [Feature(name=name, kind="number") for name in names] + [Feature(name="c", kind="category")]
    contract = Contract(target="churn", positive="1", negative="0", features=features)
    nan = float("nan")
    seen = pd.DataFrame({"same": 5.1, "gone": [1.0, 2.0] * 100, "back": nan, "c": ["x"] * 199 + [""]})
    reference = make_reference(seen, contract, np.full(50, 0.3), 0.5)
    json.dumps(reference, allow_nan=False)
    for same, verdict in ((5.1, "stable"), (7.0, "drift"), (1e6 / 7, "drift")):
        rows = pd.DataFrame({"same": same, "gone": [1.0, 2.0] * 50, "back": nan, "c": "x"})
        window = describe_window(rows, contract, reference, np.full(100, 0.3))
        window["features"]["same"]["std"] = 0.0  # as the log's query has it
        result = judge_window(reference, window)
        json.dumps(result.to_dict(), allow_nan=False)
        assert "nan" not in render_report(result)
        assert result.verdict == verdict
        assert 0 <= result.score <= 1


def test_half_a_category_that_is_new_moves_half_of_the_customers():
    now = {"kind": "category", "count": 200, "missing": 0, "counts": {"basic": 60, "premium": 40, "gold": 100}}
    effects = measure_effects(SEEN, now, compare_feature("a", SEEN, now))
    assert effects["effect"] == pytest.approx(0.5) and effects["smd"] is None
