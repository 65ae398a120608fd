"""Whole tables are judged as their cells would be, and every broken cell is named."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_contract import FLAG, GERMAN, SIGNED, TEXT

from churn_lab.check_rows import clean_rows, find_failures, summarise_failures, type_columns
from churn_lab.contract import Feature, clean_value, make_field_check
from churn_lab.generate_data import draw_customers
from churn_lab.prepare_data import LAB_CONTRACT, corrupt


def test_every_failure_is_reported_at_once_with_count_and_examples():
    cleaned = clean_rows(corrupt(draw_customers(1000, 1)), LAB_CONTRACT.features)
    report = {(r["column"], r["rule"]): r for r in summarise_failures(find_failures(cleaned, LAB_CONTRACT.features))}
    assert report["num_complaints", "a whole number"]["examples"] == "2.5"
    assert report["tenure_months", "a number"] == {
        "column": "tenure_months",
        "rule": "a number",
        "rows": 20,
        "examples": "two years",
    }
    assert {("num_complaints", "at least 0"), ("tenure_months", "not missing")} < report.keys()
    assert report["plan_type", "one of basic, premium"]["examples"] == "gold"


@settings(deadline=None)  # a busy machine is no error
@given(st.lists(TEXT, min_size=1))
def test_a_table_is_cleaned_and_judged_as_its_values_would_be(values):
    for feature in [*LAB_CONTRACT.features, GERMAN, SIGNED, FLAG, Feature(name="n", kind="number", nullable=True)]:
        cleaned = clean_rows(pd.DataFrame({feature.name: values}, dtype=object), [feature])
        broken, check = set(find_failures(cleaned, [feature], declared=False)["row"]), make_field_check(feature)
        for place, (value, found) in enumerate(zip(values, cleaned[feature.name])):
            assert (None if pd.isna(found) else found) == clean_value(feature, value)
            try:
                assert check.validate_python(value) == (None if pd.isna(found) else found) and place not in broken
            except ValidationError:
                assert place in broken


def test_only_training_turns_categories_away_that_nobody_declared():
    rows = draw_customers(10, 1).assign(region="Mars")
    cleaned = clean_rows(rows, LAB_CONTRACT.features)
    assert set(find_failures(cleaned, LAB_CONTRACT.features)["rule"]) == {"one of NA, EU, AF, AS"}
    assert find_failures(cleaned, LAB_CONTRACT.features, declared=False).empty


@pytest.mark.parametrize("text", ["x" * 1001, "a\0b"])
def test_a_text_that_no_request_may_hold_is_no_category_in_a_file_either(text):
    feature = Feature(name="note", kind="category")
    failures = find_failures(clean_rows(pd.DataFrame({"note": ["fine", text]}), [feature]), [feature])
    assert failures["row"].tolist() == [1]
    with pytest.raises(ValidationError):
        make_field_check(feature).validate_python(text)


def test_columns_get_the_types_of_the_pipeline():
    features = [Feature(name="a", kind="integer"), Feature(name="b", kind="integer", nullable=True), FLAG]
    rows = pd.DataFrame({"a": ["1", "2.0"], "b": ["", "3"], "flag": ["1.0", ""]})
    typed = type_columns(clean_rows(rows, features), features)
    assert [str(kind) for kind in typed.dtypes] == ["int64", "float64", "object"] and typed["flag"].tolist() == [
        "1",
        "",
    ]
