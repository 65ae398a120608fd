"""Numbers as spreadsheets write them, in every command that reads a file."""

import json

import pandas as pd
import pytest

from churn_lab.generate_data import draw_customers


@pytest.mark.parametrize("separator", [";", "\t"])
def test_customers_from_a_european_spreadsheet_get_the_same_answers(churn_lab, lab, tmp_path, separator):
    customers, files = draw_customers(200, 3).drop(columns="churn"), (tmp_path / "plain.csv", tmp_path / "excel.csv")
    customers.to_csv(files[0], index=False)
    customers.to_csv(files[1], index=False, sep=separator, decimal=",", encoding="utf-8-sig", lineterminator="\r\n")
    results = []
    for path in files:
        code, out, _ = churn_lab("predict", path, "--workspace", lab.root, "--json")
        assert code == 0 and json.loads(out)["rows"] == 200
        results.append(pd.read_csv(json.loads(out)["file"])["probability"].tolist())
    assert results[0] == results[1]


def test_a_model_of_decimal_commas_and_dates_answers_files_and_requests_alike(churn_lab, empty_lab, tmp_path):
    customers = draw_customers(600, 3).assign(since=pd.date_range("2023-01-01", periods=600).strftime("%d.%m.%Y"))
    customers["fee"] = [f"{1000 + i * 3.5:,.2f} €".translate(str.maketrans(",.", ".,")) for i in range(600)]
    customers.to_csv(tmp_path / "own.csv", index=False, sep=";", decimal=",")
    where = ["--workspace", empty_lab.root]
    code, out, _ = churn_lab("prepare", "--raw", tmp_path / "own.csv", "--target", "churn", *where)
    assert code == 0 and "days before 2024-08-22" in out and "written as 1.234,5 €" in out
    assert churn_lab("train", "--gate-f1", "0", "--n-estimators", "20", *where)[0] == 0
    code, out, _ = churn_lab("predict", tmp_path / "own.csv", *where, "--json")
    assert code == 0 and json.loads(out)["rows"] == 600, "the very file that was trained on"
