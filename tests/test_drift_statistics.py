"""The statistic: what it finds, and how often it is wrong."""

import numpy as np
import pandas as pd
import pytest
from drift_samples import SHIFTED, draw_pair, share_of

from churn_lab.contract import Contract, Feature
from churn_lab.drift_findings import judge_window
from churn_lab.drift_statistics import (
    compare_categories,
    compare_counts,
    compare_missing,
    compare_numbers,
    tolerated_false_alarms,
)
from churn_lab.files import LabError, write_json
from churn_lab.reference import describe_numbers, make_reference


@pytest.mark.parametrize("size, windows", [(50, 120), (200, 120), (1000, 40)])
def test_false_alarms_stay_within_the_budget(size, windows):
    # the benchmark draws 2,000 windows; here the seed is fixed, and a check without Holm's correction has four times as many
    assert share_of("drift", size, windows) <= 0.09


def move_share(rows, rng):
    chosen = (rows["plan_type"] == "basic") & (rng.random(len(rows)) < 0.15 / 0.6)
    return rows.assign(plan_type=rows["plan_type"].mask(chosen, "premium"))


def replace_some(column, value):
    return lambda rows, rng: rows.assign(
        **{column: rows[column].astype(object).mask(rng.random(len(rows)) < 0.05, value)}
    )


def widen(rows, rng):
    return rows.assign(avg_session_minutes=lambda c: (c["avg_session_minutes"] - 30) * 1.3 + 30)


@pytest.mark.parametrize(
    "size, change",
    [
        (200, lambda rows, rng: rows.assign(**SHIFTED)),
        (200, move_share),
        (200, replace_some("region", "MARS")),
        (200, replace_some("tenure_months", None)),
        (1000, widen),
    ],
    ids=["mean", "share", "new category", "missing", "spread"],
)
def test_detection(size, change):
    assert share_of("drift", size, 40, change) >= 0.9


def test_large_windows_do_not_alarm_on_what_does_not_matter():
    def nudge(rows, rng):
        return rows.assign(avg_session_minutes=lambda c: c["avg_session_minutes"] + 1.0)

    result = judge_window(*draw_pair(np.random.default_rng(1), 100_000, nudge))
    session = next(row for row in result.features if row["feature"] == "avg_session_minutes")
    assert (result.verdict, session["status"]) == ("stable", "negligible")
    assert abs(session["z"]) > result.bar


def test_a_slightly_wider_spread_is_certain_and_not_drift():
    def wider(rows, rng):
        values = rows["avg_session_minutes"]
        return rows.assign(avg_session_minutes=(values.mean() + 1.12 * (values - values.mean())).round(1))

    result = judge_window(*draw_pair(np.random.default_rng(8), 20_000, wider))
    row = next(row for row in result.features if row["feature"] == "avg_session_minutes")
    assert (result.verdict, row["status"], row["test"]) == ("stable", "negligible", "distribution")


def test_psi_without_drift_is_about_nothing():
    rng = np.random.default_rng(9)
    cells = np.full(10, 300)
    found = [compare_counts(cells, rng.multinomial(50, cells / 3000), ordered=True).psi for _ in range(300)]
    assert np.mean(found) < 0.06  # the sum itself would be about 0.18, above the usual alarm of 0.1


def test_a_new_category_is_no_surprise_where_training_saw_many_only_once():
    rare = {f"city {number}": 1 for number in range(60)}
    reference = {"kind": "category", "count": 3060, "missing": 0, "counts": {"Paris": 3000, **rare}}
    window = {"kind": "category", "count": 200, "missing": 0, "counts": {"Paris": 196, "Oslo": 2, "Bern": 2}}
    p = {answer.test: answer.p for answer in compare_categories("city", reference, window)}
    assert p["new categories"] > 0.05
    reference["counts"] = {"Paris": 3060}
    p = {answer.test: answer.p for answer in compare_categories("city", reference, window)}
    assert p["new categories"] < 0.001


def test_a_value_that_is_nearly_always_missing_is_compared_by_where_it_is_present():
    assert compare_missing(2970, 150, (3000, 200)) < 1e-20
    assert compare_missing(2970, 198, (3000, 200)) > 0.5


def test_threshold_moves_the_verdict():
    rng = np.random.default_rng(2)

    def nudge(rows, rng):
        return rows.assign(avg_session_minutes=lambda c: c["avg_session_minutes"] + 4)

    reference, window = draw_pair(rng, 200, nudge)
    verdicts = [judge_window(reference, window, z).verdict for z in (1.5, 2.5, 8.0)]
    assert verdicts == ["drift", "drift", "stable"]
    assert tolerated_false_alarms(2.5) < 0.05 < tolerated_false_alarms(2.0)
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(LabError, match="threshold"):
            tolerated_false_alarms(wrong)


def test_a_wrong_reading_does_not_blind_the_check():
    rng = np.random.default_rng(2)
    values = rng.uniform(0, 1, 3000)
    values[:4] = 250_000
    reference = {"kind": "number", **describe_numbers(values)}
    window = {"kind": "number", **describe_numbers(rng.uniform(0.5, 1.5, 500))}
    edges = np.array(reference["edges"])
    window["counts"] = np.bincount(np.searchsorted(edges, rng.uniform(0.5, 1.5, 500)), minlength=len(edges) + 1)
    answers = {answer.test: answer for answer in compare_numbers("a", reference, window)}
    assert len(edges) == 9 and answers["distribution"].p < 1e-9 and answers["distribution"].material


def test_reference_is_small(tmp_path):
    rng = np.random.default_rng(1)
    names = [f"feature_{number}" for number in range(50)]
    contract = Contract(
        target="t", positive="1", negative="0", features=[Feature(name=n, kind="number") for n in names]
    )
    rows = pd.DataFrame({name: rng.normal(1e3, 10 ** rng.integers(0, 4), 5000) for name in names[:25]})
    rows = rows.assign(**{name: rng.gamma(2, 3000, 5000).round(2) for name in names[25:]})
    write_json(tmp_path / "train_stats.json", {"model": make_reference(rows, contract, rng.random(1000), 0.5)})
    assert (tmp_path / "train_stats.json").stat().st_size < 20_000


@pytest.mark.parametrize(
    "atoms", [(0.1234567, 0.5), (0.1234321, 0.5), (20.04, 60.02, 99.99), (1204, 3102, 5000), (0, 1e-200), (-3, 1e9)]
)
def test_values_that_repeat_keep_bins_of_their_own(atoms):
    counts = describe_numbers(np.repeat(np.array(atoms, float), 100))["counts"]
    assert counts[: len(atoms)] == [100] * len(atoms) and sum(counts) == 100 * len(atoms)
