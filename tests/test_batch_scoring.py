"""A file of customers: the service's answers, all or none, whatever the file looks like."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_lab.api import create_app
from churn_lab.batch_scoring import check_column, score_csv
from churn_lab.contract import make_field_check
from churn_lab.files import LabError
from churn_lab.generate_data import draw_customers
from churn_lab.prepare_data import LAB_CONTRACT
from churn_lab.registry_history import current_model
from churn_lab.serving_model import load_pipeline


@pytest.fixture
def customers(tmp_path):
    path = tmp_path / "customers.csv"
    draw_customers(3000, seed=3).drop(columns="churn").assign(note="a, b").to_csv(path, index=False)
    return path


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_every_row_gets_the_models_answer_and_keeps_its_cells(churn_lab, lab, customers):
    code, out, _ = churn_lab("predict", customers, "--workspace", lab.root, "--json")
    result, given_rows = read(json.loads(out)["file"]), read(customers)
    assert code == 0 and json.loads(out)["rows"] == 3000
    pd.testing.assert_frame_equal(result[given_rows.columns], given_rows)
    assert set(result["region"]) == {"NA", "EU", "AF", "AS"}
    rows = pd.read_csv(customers, keep_default_na=False)
    expected = load_pipeline(lab).predict_proba(rows)[:, 1]
    assert abs(result["probability"].astype(float) - expected).max() < 1e-5
    assert json.loads(out)["called"] == (result["prediction"] == "1").sum() > 0
    assert json.loads(out)["model_file"] == current_model(lab)


def test_a_file_and_the_service_answer_alike_also_for_messy_cells(lab, tmp_path):
    rows = read_messy(draw_customers(200, seed=4).drop(columns="churn").astype(str))
    rows.to_csv(tmp_path / "messy.csv", index=False)
    result = read(score_csv(lab, tmp_path / "messy.csv", block=2000).path)
    body = {"rows": rows.to_dict("records")}
    answers = TestClient(create_app(lab)).post("/predict/batch", json=body).json()["predictions"]
    assert [a["probability"] for a in answers] == pytest.approx(result["probability"].astype(float).tolist(), abs=1e-6)


def read_messy(rows: pd.DataFrame) -> pd.DataFrame:
    rows.loc[::3, "plan_type"] = "  " + rows.loc[::3, "plan_type"].str.upper()
    rows.loc[::4, "tenure_months"] = " " + rows.loc[::4, "tenure_months"] + ".0 "
    rows.loc[::5, "region"] = "Mars"
    return rows


@settings(deadline=None)
@given(texts=st.lists(st.one_of(st.floats().map(str), st.integers().map(str), st.text(max_size=5)), min_size=1))
def test_a_column_is_judged_as_its_cells_would_be(texts):
    import polars as pl

    for feature in LAB_CONTRACT.features[1:4]:
        check = make_field_check(feature)
        values, broken = check_column(pl.Series(texts, dtype=pl.String), feature, check)
        for text, value in zip(texts, values.to_list()):
            try:
                assert check.validate_python(text) == value and text not in broken
            except ValueError:
                assert text in broken and value is None


def test_bad_rows_are_named_and_nothing_is_left(churn_lab, lab, customers):
    rows = read(customers)
    rows.loc[[6, 2500], "tenure_months"], rows.loc[2500, "region"] = "-1", ""
    rows.to_csv(customers, index=False)
    before = sorted(customers.parent.iterdir())
    code, _, error = churn_lab("predict", customers, "--workspace", lab.root)
    assert code == 1 and "2 rows against it: row 7, tenure_months: Input should be greater than or equal to 0" in error
    assert "row 2501, region: Input should not be missing" in error
    assert sorted(customers.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "found no such file"),
        (b"", "customers.csv"),
        (b"a,b\n1,2\n", "found no tenure_months"),
        (b"tenure_months,num_complaints,avg_session_minutes,plan_type,region\n", "found none"),
        (
            b"tenure_months,num_complaints,avg_session_minutes,plan_type,region\n1,2,3,basic\n",
            "region: Input should not",
        ),
        (b"tenure_months,num_complaints,avg_session_minutes,plan_type,region\n1,2,3,basic,EU,6,7\n", "CSV"),
        (b"tenure_months,num_complaints,avg_session_minutes,plan_type,region\n1,2,3,basic,\xe4\n", "UTF-8"),
        (b"tenure_months,num_complaints,avg_session_minutes,plan_type,region,prediction\n1,2,3,a,b,1\n", "rename them"),
    ],
)
def test_a_file_that_is_no_table_of_customers_is_refused(lab, customers, content, words):
    customers.unlink() if content is None else customers.write_bytes(content)
    with pytest.raises(LabError, match=words):
        score_csv(lab, customers)
    assert list(customers.parent.glob("*predictions*")) == list(customers.parent.glob(".*tmp")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_file(lab, tmp_path):
    program = (
        "import sys; from churn_lab.batch_scoring import score_csv; from churn_lab.workspace import Workspace\n"
        "score_csv(Workspace(sys.argv[1]), sys.argv[2], block=400_000)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    rows, peaks = draw_customers(50_000).drop(columns="churn").to_csv(index=False).partition("\n"), []
    for times in (1, 8):
        path = tmp_path / f"{times}.csv"
        path.write_text(rows[0] + "\n" + rows[2] * times)
        done = subprocess.run(
            [sys.executable, "-c", program, lab.root, path], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 60_000, "kilobytes"
