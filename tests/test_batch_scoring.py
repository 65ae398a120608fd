"""A file of customers: the service's answers, and for each row that has none the line and the reason."""

import csv
import gzip
import json
import os
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_lab.api import create_app
from churn_lab.batch_scoring import judge_cells, score_file
from churn_lab.batch_table import Table, load_table, open_workshop
from churn_lab.contract import make_field_check
from churn_lab.files import LabError, write_json
from churn_lab.generate_data import draw_customers
from churn_lab.model_cards import model_path
from churn_lab.monitor_drift import check_drift
from churn_lab.prepare_data import LAB_CONTRACT, prepare
from churn_lab.registry_history import current_model
from churn_lab.serving_model import load_pipeline, open_model
from churn_lab.train import train

HEADER = "tenure_months,num_complaints,avg_session_minutes,plan_type,region\n"
GOOD = "12,1,30.5,basic,EU\n"


@pytest.fixture
def customers(tmp_path):
    path = tmp_path / "customers.csv"
    draw_customers(3000, seed=3).drop(columns="churn").assign(note="a, b").to_csv(path, index=False)
    return path


@pytest.fixture
def predict(churn_lab, lab, tmp_path):
    """Score a text: exit code, what was said, the result's rows, the rejected ones."""

    def run(content: str | bytes, *options):
        path = tmp_path / "customers.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        code, out, error = churn_lab("predict", path, "--workspace", lab.root, *options)
        files = [tmp_path / f"customers_{kind}.csv" for kind in ("predictions", "rejected")]
        return code, out + error, *(list(csv.DictReader(file.open())) if file.exists() else None for file in files)

    return run


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_every_row_gets_the_models_answer_and_keeps_its_cells(churn_lab, lab, customers):
    code, out, _ = churn_lab("predict", customers, "--workspace", lab.root, "--json")
    told = json.loads(out)
    result, given_rows = read(told["file"]), read(customers)
    assert code == 0 and (told["rows"], told["rejected"], told["unseen"]) == (3000, 0, {})
    pd.testing.assert_frame_equal(result[given_rows.columns], given_rows)
    assert set(result["region"]) == {"NA", "EU", "AF", "AS"}
    rows = pd.read_csv(customers, keep_default_na=False)
    expected = load_pipeline(lab).predict_proba(rows)[:, 1]
    assert abs(result["probability"].astype(float) - expected).max() < 1e-5
    assert told["predicted_positive"] == (result["prediction"] == "1").sum() > 0
    assert told["model_file"] == current_model(lab)
    assert sorted(path.name for path in customers.parent.iterdir() if path.is_file()) == [
        "customers.csv",
        "customers_predictions.csv",
    ]


def test_a_file_and_the_service_answer_alike_also_for_messy_cells(lab, tmp_path):
    rows = draw_customers(200, seed=4).drop(columns="churn").astype(str)
    rows.loc[::3, "plan_type"] = "  " + rows.loc[::3, "plan_type"].str.upper()
    rows.loc[::4, "tenure_months"] = " " + rows.loc[::4, "tenure_months"] + ".0 "
    rows.loc[::5, "region"] = "Mars"
    rows.to_csv(tmp_path / "messy.csv", index=False)
    result = read(score_file(lab, tmp_path / "messy.csv").path)
    body = {"rows": rows.to_dict("records")}
    answers = TestClient(create_app(lab)).post("/predict/batch", json=body).json()["predictions"]
    assert [a["probability"] for a in answers] == pytest.approx(result["probability"].astype(float).tolist(), abs=1e-6)
    assert [", ".join(a.get("unseen", [])) for a in answers] == result["unseen"].tolist()


def judge_texts(feature, texts):
    db = duckdb.connect()
    db.execute("CREATE TABLE cells AS SELECT unnest(?::VARCHAR[]) AS c0", [texts])
    judge_cells(Table(db, None, [feature.name]), [feature])
    return db.execute("SELECT v0, reason FROM judged").fetchall()


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.one_of(
            st.floats().map(str), st.integers().map(str), st.text(max_size=5), st.sampled_from(["1_0", "0x1", "1e400"])
        ),
        min_size=1,
    )
)
def test_a_cell_is_judged_as_the_contract_judges_a_value(texts):
    for feature in LAB_CONTRACT.features[1:4]:
        check = make_field_check(feature)
        for text, (value, reason) in zip(texts, judge_texts(feature, texts), strict=True):
            try:
                assert check.validate_python(text) == value and reason is None, (feature.name, text)
            except ValueError:
                assert reason is not None and value is None, (feature.name, text)


def test_bad_rows_do_not_stop_a_file_and_are_told_by_line(predict):
    rows = [GOOD] * 10
    rows[2], rows[5], rows[6], rows[8] = "-1,1,3,basic,EU\n", "1,2\n", "1,2,3,basic,EU,6,7\n", '"1,2,3,basic,EU\n'
    code, said, result, rejected = predict(HEADER + "\n" + "".join(rows))
    assert code == 0 and len(result) == 6 and "4 rows that cannot be scored" in said
    assert [(row["line"], row["reason"].split(" (")[0]) for row in rejected] == [
        ("5", "tenure_months: Input should be greater than or equal to 0"),
        ("8", "2 cells in place of 5"),
        ("9", "7 cells in place of 5"),
        ("11", "a quote that is not closed, or not where a cell begins or ends"),
    ]
    assert rejected[0]["tenure_months"] == "-1" and rejected[2]["region"] == "EU,6,7"


def test_strict_refuses_bad_rows_and_leaves_nothing(predict, tmp_path):
    code, said, result, rejected = predict(HEADER + GOOD + "-1,1,3,basic,\n", "--strict")
    assert code == 1 and result is rejected is None and not list(tmp_path.glob(".*"))
    assert "line 3: tenure_months: Input should be greater" in said and "region: Input should not be missing" in said


def test_unseen_categories_are_counted_named_and_refused_if_wanted(predict):
    content = HEADER + GOOD + GOOD.replace("EU", "MARS") + GOOD.replace("EU", "MARS").replace("basic", "gold")
    code, said, result, _ = predict(content)
    assert code == 0 and "plan_type in 1 rows, region in 2 rows" in said
    assert [row["unseen"] for row in result] == ["", "region", "plan_type, region"]
    assert json.loads(predict(content, "--json")[1])["unseen"] == {"plan_type": 1, "region": 2}
    code, said, *_ = predict(content, "--strict")
    assert code == 1 and "others: plan_type in 1 rows, region in 2 rows" in said
    assert "unseen" not in predict(HEADER + GOOD)[2][0]


def test_what_an_earlier_run_rejected_does_not_stay(predict):
    assert len(predict(HEADER + GOOD + "1,2\n")[3]) == 1
    assert predict(HEADER + GOOD)[3] is None


def test_columns_named_like_the_results_are_kept(predict):
    content = HEADER.replace("\n", ",probability,prediction\n") + GOOD.replace("\n", ",0.5,yes\n")
    code, said, result, _ = predict(content)
    assert code == 0 and "churn_probability, churn_prediction" in said
    assert result[0]["probability"] == "0.5" and 0 < float(result[0]["churn_probability"]) < 1


def test_a_header_that_names_a_column_twice_is_refused(predict):
    code, said, *_ = predict(HEADER.replace("\n", ",note,note\n") + GOOD.replace("\n", ",a,b\n"))
    assert code == 1 and "note repeated" in said


@pytest.mark.parametrize(
    "content",
    [
        "\n\n" + HEADER + "\n" + GOOD + "\n\n" + GOOD,
        "\ufeff" + HEADER + GOOD * 2,
        (HEADER + GOOD * 2).replace("\n", "\r\n"),
        (HEADER + GOOD * 2).replace("\n", "\r"),
        (HEADER + GOOD * 2).replace(",", ";"),
        (HEADER + GOOD * 2).rstrip("\n"),
        HEADER.replace("\n", ',"say ""hi"", all"\n') + GOOD.replace("\n", ',"two\nlines"\n') * 2,
    ],
    ids=["blank lines", "BOM", "CRLF", "CR", "semicolons", "no end", "quotes in names, lines in cells"],
)
def test_whatever_a_spreadsheet_writes(predict, content):
    code, said, result, rejected = predict(content)
    assert (code, len(result), rejected) == (0, 2, None) and result[0]["probability"] == result[1]["probability"]
    assert ("semicolons between the cells" in said) == (";" in content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"a,b\n1,2\n", "found no tenure_months"),
        (HEADER.encode(), "found none"),
        (HEADER.encode() + b"1,2,3,basic\n", "4 cells in place of 5"),
        (HEADER.encode() + b"1,2,3,basic,\xe4\n", "UTF-8"),
    ],
)
def test_a_file_without_a_row_to_score_is_refused(predict, tmp_path, content, words):
    code, said, result, rejected = predict(content)
    assert code == 1 and words in said and result is rejected is None
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_is_not_there(churn_lab, lab, tmp_path):
    for name in ("none.csv", "none.parquet"):
        code, _, error = churn_lab("predict", tmp_path / name, "--workspace", lab.root)
        assert code == 1 and name in error and not list(tmp_path.glob(".*"))
        assert "a file " in error and "check the name" in error
    customers = tmp_path / "customers.csv"
    customers.write_text(HEADER + GOOD)
    (tmp_path / "data").mkdir()
    for out in (customers, tmp_path / "data" / ".." / "customers.csv", tmp_path / "customers_rejected.csv"):
        code, _, error = churn_lab("predict", customers, "--workspace", lab.root, "--out", out)
        assert code == 1 and "a name of its own" in error and customers.read_text() == HEADER + GOOD


def test_with_semicolons_too_a_stray_quote_costs_its_own_row(predict):
    lines = (HEADER + GOOD * 3).replace(",", ";").splitlines()
    lines[2] = lines[2].replace("basic", '"basic')
    code, _, result, rejected = predict("\n".join(lines) + "\n")
    assert code == 0 and len(result) == 2 and [row["line"] for row in rejected] == ["3"]


def test_more_rejected_rows_than_are_fetched_at_once_keep_their_lines(predict):
    bad = GOOD.replace("12,", "-1,", 1)
    code, _, result, rejected = predict(HEADER + (GOOD + bad + "1,2\n\n") * 1500)
    assert code == 0 and len(result) == 1500 and len(rejected) == 3000
    lines = [int(row["line"]) for row in rejected]
    assert lines == [line for start in range(2, 6002, 4) for line in (start + 1, start + 2)]


def test_a_probability_that_is_just_the_threshold_reaches_it(lab, tmp_path):
    model = open_model(lab, current_model(lab))
    row = model.card["probe"]["features"]
    threshold = float(
        np.nextafter(model.predict_proba_one(row), 1)
    )  # the same number to a model that knows seven digits
    write_json(model_path(lab, model.name, ".json"), model.card | {"threshold": threshold})
    assert TestClient(create_app(lab)).post("/predict", json=row).json()["prediction"] == 1
    pd.DataFrame([row]).to_csv(tmp_path / "one.csv", index=False)
    assert score_file(lab, tmp_path / "one.csv").predicted_positive == 1
    assert check_drift(lab, all_lines=True).window["prediction"]["positive_share"] == 1.0


def test_parquet_and_gzip_in_and_out(lab, customers, tmp_path):
    expected = read(score_file(lab, customers).path)["probability"].astype(float).tolist()
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(customers.read_bytes()))
    scored = score_file(lab, packed)
    assert scored.path.name == "packed_predictions.csv"
    assert read(scored.path)["probability"].astype(float).tolist() == expected
    table = tmp_path / "table.parquet"
    duckdb.sql(f"COPY (SELECT * FROM read_csv('{customers}', nullstr = '-')) TO '{table}'")
    scored = score_file(lab, table)
    rows = duckdb.sql(f"SELECT * FROM '{scored.path}'").fetchnumpy()
    assert scored.path.name == "table_predictions.parquet" and rows["tenure_months"].dtype.kind == "i"
    assert rows["probability"].tolist() == pytest.approx(expected)
    scored = score_file(lab, table, tmp_path / "again.csv.gz")
    assert gzip.open(scored.path, "rt").readline().endswith(",probability,prediction\n")


def test_a_run_that_was_killed_leaves_nothing_behind_the_next_one(lab, customers):
    program = (
        "import os, signal, sys, churn_lab.batch_scoring as batch\n"
        "from churn_lab.workspace import Workspace\n"
        "batch.score_cells = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "batch.score_file(Workspace(sys.argv[1]), sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", program, lab.root, customers])
    (customers.parent / ".customers_predictions.csv.12.tmp").write_text("of an older version")
    assert len(list(customers.parent.glob(".*"))) == 2
    with open_workshop(customers.parent / "customers_predictions.csv") as other:  # removes both, and is at work
        score_file(lab, customers)
        assert list(customers.parent.glob(".*")) == [other]
    assert not list(customers.parent.glob(".*"))


def test_numbers_written_with_commas_mean_what_they_meant_in_training(empty_lab, tmp_path, churn_lab):
    rows = draw_customers(1500, seed=6)
    rows["charge"] = [
        f"{1000 + value:,.2f}".translate(str.maketrans(",.", ".,")) for value in rows.pop("avg_session_minutes")
    ]
    rows.to_csv(tmp_path / "raw.csv", index=False, sep=";")
    prepare(empty_lab, raw=tmp_path / "raw.csv", target="churn", positive="1")
    train(empty_lab, gate_f1=0.0)
    result = read(score_file(empty_lab, tmp_path / "raw.csv").path)
    body = {"rows": rows.drop(columns="churn").head(300).to_dict("records")}
    answers = TestClient(create_app(empty_lab)).post("/predict/batch", json=body).json()["predictions"]
    found = result["probability"].head(300).astype(float).tolist()
    assert [a["probability"] for a in answers] == pytest.approx(found, abs=1e-6) and len(set(found)) > 50


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_file(lab, tmp_path):
    program = (
        "import sys; from churn_lab.batch_scoring import score_file; from churn_lab.workspace import Workspace\n"
        "score_file(Workspace(sys.argv[1]), sys.argv[2], threads=1)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    script = tmp_path / "score.py"  # with `python -c` DuckDB takes itself for interactive, and shows its progress
    script.write_text(program)
    rows, peaks = draw_customers(50_000).drop(columns="churn").to_csv(index=False).partition("\n"), []
    for times in (2, 16):
        path = tmp_path / f"{times}.csv"
        path.write_text(rows[0] + "\n" + rows[2] * times)
        command = [sys.executable, script, lab.root, path]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < peaks[0] + 120_000, "kilobytes"


def test_two_lines_of_one_cell_do_not_move_the_lines_behind_them(predict):
    noted = GOOD.replace("\n", ',"two\nlines"\n')
    rows = HEADER.replace("\n", ",note\n") + noted * 2 + "-1,1,3,basic,EU,x\n"
    _, _, result, rejected = predict(rows)
    assert [row["line"] for row in rejected] == ["6"] and result[0]["note"] == "two\nlines"


def test_each_stray_quote_costs_its_own_line_only(tmp_path):
    path = tmp_path / "customers.csv"
    path.write_text(HEADER + ('"1,2,3,basic,EU\n' + GOOD * 3) * 2000)
    table = load_table(path, tmp_path, threads=1)
    assert (table.count(), len(table.bad)) == (6000, 2000)
    table.db.close()


def test_a_folder_that_cannot_be_written_to(lab, customers):
    with pytest.raises(LabError, match="to write"):
        score_file(lab, customers, customers.parent / "missing" / "out.csv")
    if os.name == "posix":
        with pytest.raises(LabError, match="to write"):
            score_file(lab, customers, customers.parent)
