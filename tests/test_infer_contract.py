"""A contract from a file: what is a quantity, what is a name, what is assumed, and which value means "left"."""

import json
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from churn_lab.contract import Contract, Feature, Notation, read_contract
from churn_lab.csv_files import open_csv, write_csv
from churn_lab.files import LabError
from churn_lab.infer_contract import Choices, infer_contract, infer_target, parse_bounds
from churn_lab.notation import choose_notation, fitting_notations
from churn_lab.prepare_data import prepare
from churn_lab.prepare_rows import judge_rows

ROWS = 400
RNG = np.random.default_rng(3)
GONE = ["yes" if x < 0.3 else "no" for x in RNG.random(ROWS)]


def infer(choices: Choices | None = None, **columns) -> dict[str, Feature | str]:
    """What becomes of columns: a feature, or the reason why it is none."""
    rows = pd.DataFrame({"plain": [str(i % 7) for i in range(ROWS)], **columns, "gone": GONE}).astype(str)
    contract = infer_contract(rows, "gone", choices=choices or Choices())
    return contract.left_out | {feature.name: feature for feature in contract.features}


NAMES = {
    "in order": [str(i + 7) for i in range(ROWS)],
    "shuffled": [str(i) for i in RNG.permutation(ROWS) + 10_000],
    "nearly unique": [str(5_000_000 + 13 * max(i, 3)) for i in range(ROWS)],
    "telephone": [str(491_700_000_000 + 7919 * i) for i in range(ROWS)],
    "epoch": [str(1_600_000_000 + i % 97 * 86_400) for i in range(ROWS)],
    "epoch in ms": [str(1_600_000_000_000 + i % 97 * 86_400_000) for i in range(ROWS)],
}


@pytest.mark.parametrize("column", NAMES)
def test_whole_numbers_that_name_their_row_are_left_out_and_can_be_kept(column):
    found = infer(number=NAMES[column])["number"]
    assert isinstance(found, str) and "--keep number" in found
    assert infer(Choices(keep=("number",)), number=NAMES[column])["number"].kind == "integer"


@pytest.mark.parametrize(
    "codes",
    [
        [f"{i % 30:05}" for i in range(ROWS)],
        ["98033-6314" if i % 40 == 0 else str(98_000 + i % 30) for i in range(ROWS)],
        [str(123_456_789_012_345_678 + i % 30) for i in range(ROWS)],
    ],
)
def test_codes_are_categories_if_few_and_never_numbers(codes):
    feature = infer(code=codes)["code"]
    assert feature.kind == "category" and len(feature.categories) <= 31
    many = [f"{code}{i:03}" if "-" not in code else code for i, code in enumerate(codes)]
    assert "--keep code" in infer(code=many)["code"]


def test_a_zip_code_is_a_code_and_rejects_no_row(empty_lab):
    rows = pd.DataFrame(
        {"zip_code": [str(90_000 + i * 17) for i in range(ROWS)], "age": [str(20 + i % 50) for i in range(ROWS)]}
    )
    write_csv(rows.assign(gone=GONE), empty_lab.raw)
    prepared = prepare(empty_lab, target="gone")
    assert prepared.rejected == 0 and "codes" in prepared.contract.left_out["zip_code"]


def test_an_index_column_without_a_name_is_left_out(churn_lab, empty_lab):
    pd.DataFrame({"age": range(20, 20 + ROWS), "gone": GONE}).assign(age=lambda d: d["age"] % 60).to_csv(empty_lab.raw)
    code, out, _ = churn_lab("prepare", "--target", "gone", "--workspace", empty_lab.root)
    assert code == 0 and "left out: Unnamed: 0: a whole number of its own" in out


def test_dropped_and_constant_columns_are_named_with_what_brings_them_in():
    found = infer(Choices(drop=("extra",)), extra=["1", "2"] * (ROWS // 2), currency=["EUR"] * ROWS)
    assert found["extra"] == "--drop" and found["currency"] == "'EUR' in every row: nothing to learn (--keep currency)"
    with pytest.raises(LabError, match="a column 'missing' for --drop, found plain, gone"):
        infer(Choices(drop=("missing",)))


SEMICOLON_NUMBERS = {
    "decimal commas": (["12,5", "7,25", "1000"], Notation(decimal=","), 12.5),
    "German thousands": (["1.234,50", "7,25", "12.000,00"], Notation(decimal=",", grouping="."), 1234.5),
    "euros": (["1.234,50 €", "7,25 €", "80 €"], Notation(decimal=",", grouping=".", sign="€"), 1234.5),
    "dollars": (["$1,234.50", "$7", "$80"], Notation(grouping=",", sign="$"), 1234.5),
    "English thousands": (["1,234,567", "500", "12,000"], Notation(grouping=","), 1234567),
    "percent": (["12.5 %", "7%", "80 %"], Notation(sign="%"), 12.5),
    "Swiss": (["1'234.50", "7.25", "80"], Notation(grouping="'"), 1234.5),
    "French": (["1 234,50", "7,25", "80"], Notation(decimal=",", grouping=" "), 1234.5),
}


@pytest.mark.parametrize("style", SEMICOLON_NUMBERS)
def test_numbers_are_recognised_as_spreadsheets_write_them_and_mean_the_same_at_the_service(style):
    texts, notation, number = SEMICOLON_NUMBERS[style]
    feature = infer(amount=[texts[i % 3] for i in range(ROWS)])["amount"]
    assert feature.notation == notation and feature.notation.read(texts[0]) == number


def test_a_number_that_can_be_read_in_two_ways_is_asked_about(churn_lab, empty_lab, tmp_path):
    path = tmp_path / "own.csv"
    rows = pd.DataFrame({"amount": [f"{1 + i % 9},{100 + i % 800}" for i in range(ROWS)], "gone": GONE})
    rows.to_csv(path, index=False)
    code, _, error = churn_lab("prepare", "--raw", path, "--target", "gone", "--workspace", empty_lab.root)
    assert code == 1 and "which may be thousands or decimals" in error and "Next: python -c" in error
    assert not empty_lab.processed.exists()


@pytest.mark.parametrize(
    ("texts", "days"),
    [
        (["2024-05-31", "2024-05-01", "2023-05-31"], [0, 30, 366]),
        (["31/05/2024", "01/05/2024", "31/05/2023"], [0, 30, 366]),
        (["5/31/2024", "5/1/2024", "5/31/2023"], [0, 30, 366]),
        (["31.05.2024", "01.05.2024", "31.05.2023"], [0, 30, 366]),
        (["2024-05-31 12:30:00", "2024-05-01 00:00:00", "2023-05-31 23:59:59"], [0, 30, 366]),
    ],
)
def test_dates_become_days_before_the_newest(texts, days):
    feature = infer(since=[texts[i % 3] for i in range(ROWS)])["since"]
    assert feature.kind == "integer" and [feature.notation.read(text) for text in texts] == days
    assert feature.notation.describe().startswith("days before 2024-05-31")


@pytest.mark.parametrize("texts", [["03/04/2024", "05/06/2024"], ["01-01-07", "2/14/2005"]])
def test_dates_that_can_be_read_in_two_ways_are_left_out_with_the_reason(texts):
    found = infer(since=[texts[i % 2] for i in range(ROWS)])["since"]
    assert found.startswith("dates ") and "write them as 2024-05-31" in found


@pytest.mark.parametrize(
    ("values", "bound"),
    [
        (lambda i: i % 9, 0.0),  # a count
        (lambda i: -1 if i == 5 else i % 9, 0.0),  # 1 of 400 rows: a mistake
        (lambda i: -1 if i % 100 == 5 else i % 9, None),  # 1 %: not a count
        (lambda i: i % 9 + 0.5, None),  # nobody was below zero so far: no rule
        (lambda i: -0.5 if i == 5 else i % 9 + 0.5, None),
    ],
)
def test_a_bound_needs_a_rule_that_can_be_said(values, bound):
    assert infer(amount=[str(values(i)) for i in range(ROWS)])["amount"].minimum == bound


def test_what_was_assumed_is_printed_with_its_cost_and_can_be_overruled(churn_lab, empty_lab, tmp_path):
    path = tmp_path / "own.csv"
    rows = pd.DataFrame({"visits": [-1 if i == 5 else i % 9 for i in range(ROWS)], "gone": GONE})
    rows.to_csv(path, index=False)
    where = ["prepare", "--raw", path, "--target", "gone", "--workspace", empty_lab.root]
    _, out, _ = churn_lab(*where)
    assert "assumed: visits is at least 0; it turns 1 rows away (--min, --max)" in out
    _, out, _ = churn_lab(*where, "--json")
    assert json.loads(out)["assumed"] == [{"column": "visits", "rule": "at least 0", "rows": 1}]
    _, out, _ = churn_lab(*where, "--min", "visits=-1", "--json")
    assert json.loads(out)["assumed"] == [] and json.loads(out)["rejected"] == 0
    assert read_contract(empty_lab).features[0].minimum == -1
    _, out, _ = churn_lab("prepare", "--workspace", empty_lab.root, "--json")
    assert json.loads(out)["rejected"] == 0, "what was decided once holds for the next time"


def test_an_assumed_bound_that_turns_out_costly_is_taken_back(tmp_path):
    path = tmp_path / "own.csv"
    write_csv(pd.DataFrame({"visits": [-1 if i % 100 == 5 else i % 9 for i in range(ROWS)], "gone": GONE}), path)
    features = [Feature(name="visits", kind="integer", minimum=0)]
    contract = Contract(target="gone", positive="yes", negative="no", features=features)
    given = judge_rows(open_csv(path), contract, features, tmp_path / "kept.csv")
    assumed = judge_rows(open_csv(path), contract, features, tmp_path / "kept.csv", assumed=["visits"])
    assert (given.kept, assumed.kept) == (ROWS - 4, ROWS) and assumed.contract.features[0].minimum is None


@pytest.mark.parametrize(
    ("name", "values", "positive"),
    [
        ("churn", ["0", "1"], "1"),
        ("churn", ["0.0", "1.0"], "1"),
        ("Churn", ["No", "Yes"], "Yes"),
        ("retained", ["No", "Yes"], "No"),
        ("is_active", ["0", "1"], "0"),
        ("isActive", ["0", "1"], "0"),
        ("inactive", ["0", "1"], "1"),
        ("not_renewed", ["no", "yes"], "yes"),
        ("status", ["acquired", "closed"], "closed"),
        ("state", ["stayed", "other"], "other"),
        ("Attrition_Flag", ["Existing Customer", "Attrited Customer"], "Attrited Customer"),
        ("parti", ["non", "Oui"], "Oui"),
    ],
)
def test_which_value_means_left_follows_from_the_words(name, values, positive):
    assert infer_target(pd.Series([70, 30], values), name)[0] == positive


def test_a_thousand_without_a_mark_does_not_settle_what_the_rest_of_the_file_contradicts():
    counts = Counter({"1,234": 3, "9,876": 2, "980": 4, "12500": 1})
    assert choose_notation(fitting_notations(counts), counts, ".")[1]
    assert choose_notation(fitting_notations(counts), counts, ",") == (Notation(decimal=","), False)


@pytest.mark.parametrize("blank", ["#N/A", "<NA>", "NaT", "\\N"])
def test_what_spreadsheets_and_databases_write_for_nothing_is_missing(blank):
    found = infer(minutes=[blank if i % 12 == 0 else f"{i}.5" for i in range(ROWS)])["minutes"]
    assert found.kind == "number" and found.nullable


def test_a_column_that_was_dropped_and_is_gone_stays_dropped(churn_lab, empty_lab, tmp_path):
    path = tmp_path / "own.csv"
    rows = pd.DataFrame(
        {"age": [i % 50 for i in range(ROWS)], "closed_at": "x", "gone": [i % 8 == 0 for i in range(ROWS)]}
    )
    rows.to_csv(path, index=False)
    where = ["prepare", "--raw", path, "--workspace", empty_lab.root]
    assert churn_lab(*where, "--target", "gone", "--drop", "closed_at")[0] == 0
    rows.drop(columns="closed_at").to_csv(path, index=False)
    assert churn_lab(*where)[0] == 0


def test_without_such_words_it_is_asked_with_both_choices_and_their_shares(churn_lab, empty_lab, tmp_path):
    path = tmp_path / "own.csv"
    rows = pd.DataFrame(
        {"age": [i % 50 for i in range(ROWS)], "outcome": ["bad" if i % 8 == 0 else "good" for i in range(ROWS)]}
    )
    rows.to_csv(path, index=False)
    where = ["prepare", "--raw", path, "--target", "outcome", "--workspace", empty_lab.root]
    code, _, error = churn_lab(*where)
    assert code == 1 and "bad (12.5% of the rows) and good (87.5% of the rows)" in error and '--positive "bad"' in error
    code, out, _ = churn_lab(*where, "--positive", "bad")
    assert code == 0 and out.splitlines()[0] == "left means: outcome = bad, 12.5 % of the rows"


def test_the_first_line_says_what_left_means(churn_lab, empty_lab, tmp_path):
    path = tmp_path / "own.csv"
    pd.DataFrame({"age": [i % 50 for i in range(ROWS)], "retained": ["Yes", "Yes", "Yes", "No"] * (ROWS // 4)}).to_csv(
        path, index=False
    )
    _, out, _ = churn_lab("prepare", "--raw", path, "--target", "retained", "--workspace", empty_lab.root)
    assert re.match(r"left means: retained = No, 25\.0 % of the rows\n", out)


@pytest.mark.parametrize("text", ["age", "age > 3", "age >= old", ">="])
def test_a_bound_that_is_none_says_how_to_write_one(text):
    with pytest.raises(LabError, match="a bound such as 'age >= 18'"):
        parse_bounds([text])
    assert parse_bounds(["a b >= -1.5", " c<=3"]) == {"minimum": {"a b": -1.5}, "maximum": {"c": 3.0}}
