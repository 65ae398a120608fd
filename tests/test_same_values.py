"""The same values through preparation, the service, its batches and `churn-lab predict`: one meaning, one judgement."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SOAK
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn_lab.api import create_app
from churn_lab.batch_scoring import BadRows, score_file
from churn_lab.contract import read_contract
from churn_lab.csv_files import open_csv, write_csv
from churn_lab.infer_contract import Choices
from churn_lab.judge_file import Limits
from churn_lab.prepare_data import prepare
from churn_lab.prepare_rows import judge_rows, load_rows
from churn_lab.registry import promote
from churn_lab.train import ForestParams, train
from churn_lab.workspace import Workspace, create_workspace

# What a CSV cannot hold (half a character, NUL) is left out; the service refuses it in its own tests.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NUMBERS = st.one_of(st.integers(), st.integers(-3, 12), st.floats(), st.decimals(places=2, allow_nan=False))
ODD = st.sampled_from(
    [
        "",
        " ",
        "NA",
        "nan",
        "NULL",
        "-",
        "?",
        "1",
        "1.0",
        " 1 ",
        "1e0",
        "+1",
        "01",
        "0x1",
        "1_000",
        "٣",
        "1,5",
        "1.234,5",
    ]
    + [
        "12,50 €",
        "9" * 20,
        "9" * 400,
        "1e39",
        "inf",
        "-Infinity",
        "-0",
        "true",
        "False",
        "Orléans",
        "ORLE\u0301ANS",
        " nice",
    ]
    + ["x" * 1000, "x" * 1001, "31/05/2024", "31/06/2024", "2024-05-31", '"', "a,b", "a;b", "a\nb", "ﬀ", "ß", "İ"]
)
CELLS = st.one_of(NUMBERS.map(str), ODD, TEXT, st.sampled_from(["Nice", "Lyon"]).map(str.swapcase))
JSON_VALUES = st.one_of(CELLS, st.integers(-3, 12), st.floats(-5, 5), st.integers(), st.none())


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Workspace:
    """A project whose contract has every kind of column, some of which may be missing."""
    lab, rows = Workspace(tmp_path_factory.mktemp("values") / "lab"), 400
    create_workspace(lab.root)
    rng = np.random.default_rng(5)
    days = pd.Timestamp("2024-05-31") - pd.to_timedelta(rng.integers(0, 400, rows), unit="D")
    data = pd.DataFrame(
        {
            "visits": rng.poisson(3, rows).astype(str),
            "amount": np.where(rng.random(rows) < 0.1, "", rng.normal(50, 20, rows).round(2).astype(str)),
            "price": [f"{x:,.2f} €".translate(str.maketrans(",.", ".,")) for x in rng.gamma(2, 800, rows)],
            "since": np.where(rng.random(rows) < 0.1, "", days.strftime("%d/%m/%Y")),
            "flag": np.where(rng.random(rows) < 0.5, "0.0", "1.0"),
            "city": np.where(rng.random(rows) < 0.1, "", rng.choice(["Orléans", "Nice", "Lyon"], rows)),
            "left": rng.choice(["no", "yes"], rows),
        }
    )
    write_csv(data, lab.raw)
    prepare(lab, target="left", limits=Limits(max_missing=0.3), choices=Choices(maximum={"visits": 50}))
    promote(lab, train(lab, gate_f1=0.0, forest=ForestParams(n_estimators=5))["model_file"], force=True)
    return lab


def prepared(lab: Workspace, path: Path) -> dict[int, dict]:
    """The rows that preparation keeps, by their number; the contract is the model's."""
    contract, kept = read_contract(lab), path.with_name("kept.csv")
    file = open_csv(path)
    assert sum(1 for _ in file.rows())
    judge_rows(file, contract.model_copy(update={"grouped": True, "identifier": "row"}), contract.features, kept)
    rows = load_rows(kept, contract.model_copy(update={"grouped": True, "identifier": "row"}))
    plain = rows.astype(object).where(rows.notna() & (rows != ""), None)
    return {int(row.pop("row")): row for row in plain.drop(columns="left").to_dict("records")}


def answered(client: TestClient, lab: Workspace, rows: list[dict]) -> dict[int, tuple[dict, float]]:
    """The rows that `/predict` answers: what it understood, and the probability."""
    found = {}
    for number, row in enumerate(rows):
        for log in lab.logs.glob("*.jsonl"):
            log.unlink()
        answer = client.post("/predict", json=row)
        assert answer.status_code in (200, 422), answer.text
        if answer.status_code == 200:
            (line,) = [line for log in lab.logs.glob("*.jsonl") for line in log.read_text("utf-8").splitlines()]
            found[number] = json.loads(line)["features"], answer.json()["probability"]
    return found


def scored(lab: Workspace, path: Path) -> dict[int, float]:
    """The rows that `churn-lab predict` scores."""
    try:
        table = pd.read_csv(score_file(lab, path).path, dtype=str, keep_default_na=False)
    except BadRows:
        return {}
    return dict(zip(table["row"].astype(int), table["probability"].astype(float)))


def in_batch(client: TestClient, rows: list[dict]) -> set[int]:
    """The rows that `/predict/batch` would take; it says of each row what is wrong in it."""
    answer = client.post("/predict/batch", json={"rows": rows})
    wrong = {problem["loc"][2] for problem in answer.json()["detail"]} if answer.status_code == 422 else set()
    return set(range(len(rows))) - wrong


@settings(max_examples=200 if SOAK else 20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_value_means_the_same_wherever_it_comes_from(lab, tmp_path, data):
    contract = read_contract(lab)
    base = {"visits": "3", "amount": "50", "price": "80 €", "since": "01/05/2024", "flag": "1", "city": "Nice"}
    names = data.draw(st.lists(st.sampled_from(contract.names), min_size=1, max_size=8))
    cells = [base | {name: data.draw(CELLS)} for name in names]
    path = tmp_path / "values.csv"
    rows = pd.DataFrame([{**row, "row": number, "left": "no"} for number, row in enumerate(cells)])
    rows.to_csv(path, index=False, quoting=csv.QUOTE_ALL)
    client = TestClient(create_app(lab.root), base_url="http://127.0.0.1")
    kept, answers, probabilities = prepared(lab, path), answered(client, lab, cells), scored(lab, path)
    assert set(kept) == set(answers) == set(probabilities) == in_batch(client, cells), cells
    for number, (understood, probability) in answers.items():
        assert understood == kept[number], cells[number]
        assert probabilities[number] == pytest.approx(probability, abs=1e-6)


def as_cell(value, german: bool) -> str:
    """A JSON value as that column's CSV would write it: 1.234 is a number, "1.234" between euros is a thousand."""
    if value is None:
        return ""
    return str(value).replace(".", ",") if german and isinstance(value, float) else str(value)


@settings(max_examples=200 if SOAK else 20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(JSON_VALUES, min_size=1, max_size=8),
    name=st.sampled_from(["visits", "amount", "price", "flag", "city"]),
)
def test_a_value_in_json_means_what_it_means_as_a_cell(lab, values, name):
    """Numbers and null need no quotes in JSON. What only JSON has, `NaN` and lists and `true`, is the one difference."""
    base = {"visits": 3, "amount": 50, "price": 80, "since": "01/05/2024", "flag": 1, "city": "Nice"}
    rows = [base | {name: value} for value in values]
    texts = [base | {name: as_cell(value, name == "price")} for value in values]
    client = TestClient(create_app(lab.root), base_url="http://127.0.0.1")
    found, expected = answered(client, lab, rows), answered(client, lab, texts)
    assert found == expected, values


def test_a_category_that_nobody_declared_is_turned_away_in_training_and_answered_as_unseen(
    churn_lab, trained, tmp_path
):
    """The one intended difference between what training takes and what an answer takes."""
    customers = pd.DataFrame(
        {"tenure_months": [3, 4] * 10, "num_complaints": 1, "avg_session_minutes": 30.5, "plan_type": "basic"}
    )
    customers = customers.assign(region=["Mars", "EU"] * 10, churn=[0, 1, 1, 0] * 5)
    write_csv(customers, tmp_path / "own.csv")
    lab = Workspace(tmp_path / "lab")
    create_workspace(lab.root)
    code, out, _ = churn_lab("prepare", "--raw", tmp_path / "own.csv", "--workspace", lab.root, "--min-distinct", "1")
    assert "10 rows kept, 10 rejected" in out
    served = shutil.copytree(trained.root, tmp_path / "served")
    client = TestClient(create_app(served), base_url="http://127.0.0.1")
    answer = client.post("/predict", json=customers.drop(columns="churn").iloc[0].to_dict())
    assert answer.json()["unseen"] == ["region"]
