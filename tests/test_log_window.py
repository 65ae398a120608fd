"""The log as a table: what a line is worth, what a window adds up to, and how much of the log is read for it."""

import gzip
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from drift_samples import describe_window

from churn_lab.contract import Contract, Feature
from churn_lab.files import LabError
from churn_lab.generate_data import draw_customers
from churn_lab.log_window import open_log, read_last, read_window, sum_up
from churn_lab.model_cards import read_card
from churn_lab.prediction_log import find_logs
from churn_lab.registry_history import current_model
from churn_lab.serving_model import open_model
from churn_lab.traffic import simulate_predictions

GOOD = b'{"model_version":"m","prediction":1,"probability":0.5,"ts":1,"features":{"a":1,"c":"x"}}'
FEATURES = [Feature(name="a", kind="number"), Feature(name="c", kind="category", categories=["x"])]
NUMBER = {"kind": "number", "count": 9, "missing": 0, "mean": 1.0, "std": 1.0, "edges": [0.5, 1.0], "counts": [3, 3, 3]}
REFERENCE = {
    "rows": 9,
    "features": {"a": NUMBER, "c": {"kind": "category", "count": 9, "missing": 0, "counts": {"x": 9}}},
    "prediction": {**NUMBER, "positive_share": 0.5},
}


def make_card(features=FEATURES, reference=REFERENCE) -> dict:
    contract = Contract(target="t", positive="1", negative="0", features=features)
    rules = contract.model_dump(mode="json")
    return {"model_file": "m", "threshold": 0.5, "contract": rules, "reference": reference}


def sum_lines(path, lines, features=FEATURES, reference=REFERENCE, **options):
    path.write_bytes(b"\n".join(lines))
    return sum_up(open_log([path], features), make_card(features, reference), **options)


@pytest.fixture
def question(lab):
    """A project and the card of its model, for `read_window`."""
    return lab, read_card(lab, current_model(lab))


@pytest.mark.parametrize(
    "line, readable",
    [
        (b"half a line {", False),
        (GOOD[:50], False),
        (GOOD + GOOD, False),
        (GOOD + b"," + GOOD, False),
        (GOOD[:15] + GOOD, False),
        (GOOD[:-1], False),
        (GOOD + b"}", False),
        (b"x" + GOOD, False),
        (b"\xff\xfe\xfa", False),
        (b"\0" * 40, False),
        (b'{"level": "INFO"}', False),
        (b"[" * 3000, False),
        (b"[1, 2]", False),
        (b"5", False),
        (GOOD.replace(b'"prediction":1', b'"prediction":half a line {'), False),
        (GOOD.replace(b'{"a":1,"c":"x"}', b"null"), False),
        (GOOD.replace(b'"a":1', b'"a":1x'), False),
        (GOOD.replace(b'"a":1', b'"a":01.5'), False),
        (GOOD.replace(b"0.5", b'"high"'), False),
        (GOOD.replace(b'"a":1', b'"a":NaN'), True),
        (GOOD.replace(b'"a":1', b'"a":1e400'), True),
        (GOOD.replace(b'"a":1', b'"a":' + b"9" * 400), True),
        (GOOD.replace(b'"a":1', b'"a":"two"'), True),
        (GOOD.replace(b'"a":1,', b""), True),
        (GOOD.replace(b'"a":1', b'"a":[1]'), True),
    ],
)
def test_damaged_lines_are_counted_and_a_value_of_the_wrong_type_is_missing(tmp_path, line, readable):
    window = sum_lines(tmp_path / "log", [GOOD] * 300 + [line] + [GOOD] * 300)
    assert (window.sample["rows"], window.damaged) == (600 + readable, not readable)
    assert window.sample["features"]["a"]["missing"] == readable


def test_a_line_cut_anywhere_is_damaged(tmp_path):
    lines = [part for length in range(1, len(GOOD)) for part in (GOOD, GOOD[:length], GOOD[:length] + b"0")]
    window = sum_lines(tmp_path / "log", lines)
    assert (window.sample["rows"], window.damaged) == (len(GOOD) - 1, 2 * (len(GOOD) - 1))


@pytest.mark.parametrize("line", [GOOD + b"\r", GOOD.replace(b'"x"', b'"' + b"y" * 20_000_000 + b'"'), GOOD + b"\n\n"])
def test_line_ends_of_windows_long_lines_and_empty_ones_are_no_damage(tmp_path, line):
    window = sum_lines(tmp_path / "log", [GOOD, line, GOOD])
    assert (window.sample["rows"], window.damaged) == (3, 0)


@pytest.mark.parametrize("value, name", [(b'" X "', "x"), (b"5.0", "5"), (b"true", "true"), (b'["x"]', '["x"]')])
def test_a_category_is_named_as_the_contract_means_it(tmp_path, value, name):
    window = sum_lines(tmp_path / "log", [GOOD, GOOD.replace(b'"x"', value)])
    assert window.sample["features"]["c"]["counts"] == ({"x": 2} if name == "x" else {"x": 1, name: 1})


def test_names_that_sql_would_stumble_over(tmp_path):
    names = ['say "no"', "it's", "a.b", "A", "a/b~c", "$x", "select"]
    features = [Feature(name=name, kind="number") for name in names]
    reference = {**REFERENCE, "features": dict.fromkeys([*names, "a"], NUMBER)}
    record = {"model_version": "m", "probability": 0.5, "ts": 1, "features": dict.fromkeys(names, 0.75) | {"a": 2}}
    for more in ([], [Feature(name="a", kind="number")]):  # `a` and `A` are one name in SQL
        window = sum_lines(tmp_path / "log", [json.dumps(record).encode()], features + more, reference)
        assert window.damaged == 0
        assert {found["mean"] for name, found in window.sample["features"].items() if name != "a"} == {0.75}
    assert window.sample["features"]["a"]["mean"] == 2


def test_a_folder_that_looks_like_a_pattern(tmp_path):
    (tmp_path / "lab[1]*").mkdir()
    assert sum_lines(tmp_path / "lab[1]*" / "log?.jsonl", [GOOD]).sample["rows"] == 1


def test_a_million_different_categories_do_not_fill_the_memory(tmp_path):
    lines = [GOOD.replace(b'"x"', f'"new {number}"'.encode()) for number in range(3000)] + [GOOD] * 5
    found = sum_lines(tmp_path / "log", lines).sample["features"]["c"]
    assert found["count"] == 3005 and found["counts"]["x"] == 5 and len(found["counts"]) <= 1005


def test_a_frequent_new_category_is_not_lost_among_rare_ones(tmp_path):
    names = ["GOLD" if place % 5 == 0 else f"{place:032x}" for place in range(8000)]
    counts = sum_lines(tmp_path / "log", [GOOD.replace(b'"x"', json.dumps(name).encode()) for name in names])
    counts = counts.sample["features"]["c"]["counts"]
    assert counts["GOLD"] == 1600 and len(counts) <= 1005 and sum(counts.values()) == 8000


def test_the_window_of_a_log_is_that_of_its_rows(question):
    lab, card = question
    reference = card["reference"]
    customers = draw_customers(3000, seed=3).astype(object)
    customers.loc[::7, "tenure_months"] = None
    customers.loc[::9, "plan_type"] = None
    customers.loc[::11, "region"] = "MARS"
    simulate_predictions(lab, customers)
    found = read_window(*question)
    known = customers.where(customers.notna(), None)
    probability = open_model(lab, card["model_file"]).predict_proba(known[list(reference["features"])]).astype(float)
    contract = Contract.model_validate(card["contract"])
    expected = describe_window(customers, contract, reference, probability)
    assert (found.sample["rows"], found.damaged, found.other_models) == (3000, 0, 0)
    sides = [(found.sample["features"][name], side) for name, side in expected["features"].items()]
    for side, other in [*sides, (found.sample["prediction"], expected["prediction"])]:
        assert [side[key] for key in ("count", "missing", "counts")] == [
            other[key] for key in ("count", "missing", "counts")
        ]
        for key in ("mean", "std"):
            assert key not in other or math.isclose(side[key], other[key], rel_tol=1e-6), key  # a reference is rounded
    assert found.sample["prediction"]["positive_share"] == np.mean(probability >= card["threshold"])


def test_the_end_of_a_long_log_is_read_from_its_end(question, monkeypatch):
    lab, card = question
    simulate_predictions(lab, draw_customers(20_000, seed=4))
    simulate_predictions(lab, draw_customers(150, seed=5), start=1767225600.0 + 86400)
    opened = []
    monkeypatch.setattr(
        "churn_lab.log_window.open_log",
        lambda paths, features: opened.append(sum(path.stat().st_size for path in paths)) or open_log(paths, features),
    )
    window = read_window(*question, last_n=200)
    assert window.sample["rows"] == 200 and window.first == 1767225600.0 + 20_000 - 50
    assert sum(opened) < 200_000
    assert read_window(*question, since=1767225600.0 + 86400).sample["rows"] == 150
    assert opened[-1] == find_logs(lab)[1].stat().st_size  # the other day was not opened
    assert read_window(*question).sample["rows"] == 20_150
    tenures = [json.loads(line)["features"]["tenure_months"] for line in find_logs(lab)[1].read_bytes().splitlines()]
    assert read_last(lab, card, 5)["tenure_months"].tolist() == tenures[-5:]


def test_the_last_lines_of_a_model_are_found_behind_those_of_another(question):
    lab, card = question
    first = simulate_predictions(lab, draw_customers(250, seed=4))
    others = first.read_bytes().replace(card["model_file"].encode(), b"another.joblib") * 20
    with first.open("ab") as log:
        log.write(b"garbage\n" + others + b"torn " + card["model_file"].encode() + b"\n" * 2)
    window = read_window(*question, last_n=200)
    assert (window.sample["rows"], window.other_models, window.damaged) == (200, 5000, 2)
    assert (window.first, window.last) == (1767225600.0 + 50, 1767225600.0 + 249)
    assert read_window(*question, last_n=200, any_model=True).last == 1767225600.0 + 249


def test_rotated_and_compressed_logs_are_read(question):
    lab, _ = question
    path = simulate_predictions(lab, draw_customers(300, seed=4))
    lines = path.read_bytes().splitlines(keepends=True)
    path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(b"".join(lines[:100])))
    path.with_suffix(".jsonl.1").write_bytes(b"".join(lines[100:200]))
    path.write_bytes(b"".join(lines[200:]))
    for window in (read_window(*question), read_window(*question, last_n=250)):
        assert window.files == tuple(f"predictions-2026-01-01.jsonl{end}" for end in (".1", ".gz", ""))
    assert window.sample["rows"] == 250 and read_window(*question).sample["rows"] == 300
    packed = path.with_suffix(".jsonl.gz")
    packed.write_bytes(packed.read_bytes()[:-200])
    for last_n in (None, 250):
        with pytest.raises(LabError, match="to read .*log"):
            read_window(*question, last_n=last_n)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_log(tmp_path):
    program = (
        "import sys; from test_log_window import *\n"
        "from pathlib import Path\n"
        "sum_up(open_log([Path(sys.argv[1])], FEATURES), make_card())\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    peaks = []
    for lines in (300_000, 1_500_000):
        (tmp_path / "log").write_bytes((GOOD + b"\n") * lines)
        command = [sys.executable, "-c", program, tmp_path / "log"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=__file__.rpartition("/")[0])
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.3 * peaks[0]
