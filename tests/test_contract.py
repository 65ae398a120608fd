"""What a value means: one answer for preparation, requests and files."""

import json
import subprocess
import sys
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_lab.contract import Contract, Feature, Notation, clean_value, make_field_check, read_contract
from churn_lab.files import LabError
from churn_lab.prepare_data import LAB_CONTRACT

TEXT = st.one_of(
    st.text(max_size=12),
    st.decimals(allow_nan=False, places=3).map(str),
    st.sampled_from(
        [" Premium", "na", "3.0", "-1", "1e3", "nan", "inf", "1_000", "٣", "CAFE\u0301", "1.234", "1e-3", "ﬀ"]
    ),
)
GERMAN = Feature(name="price", kind="number", notation=Notation(decimal=",", grouping=".", sign="€"))
SIGNED = Feature(name="signed", kind="integer", notation=Notation(date_format="%d/%m/%Y", newest=date(2024, 5, 31)))
FLAG = Feature(name="flag", kind="category", categories=["0", "1"])


@settings(deadline=None)  # a busy machine is no error
@given(TEXT)
def test_cleaning_twice_changes_nothing(value):
    for feature in [*LAB_CONTRACT.features, GERMAN, SIGNED, FLAG]:
        once = clean_value(feature, value)
        assert clean_value(feature, once) == once


def test_text_is_trimmed_and_folded_and_numbers_in_text_are_read():
    complaints, plan, region = (LAB_CONTRACT.features[i] for i in (1, 3, 4))
    assert [clean_value(plan, text) for text in (" Premium ", "BASIC")] == ["premium", "basic"]
    assert clean_value(region, "na") == "NA"
    assert [clean_value(complaints, text) for text in (" 3 ", "3.0", "", "1_000")] == [3, 3, None, "1_000"]


@pytest.mark.parametrize("one", ["1", "1.0", " 1.00 ", "1e0", "+1", 1, 1.0, "10e-1", "1."])
def test_a_number_is_one_category_however_it_is_written(one):
    assert clean_value(FLAG, one) == "1"
    assert make_field_check(FLAG).validate_python(one) == "1"
    known = Feature(name="flag", kind="category", categories=["0.0", "1.0"])  # as models of before have them
    assert clean_value(known, one) == "1.0"


def test_codes_are_no_numbers_and_long_ones_keep_every_digit():
    code = Feature(name="code", kind="category", categories=["007", "7", "123456789012345678"])
    assert [clean_value(code, text) for text in ("007", "7.0", "123456789012345678", "123456789012345679")] == [
        "007",
        "7",
        "123456789012345678",
        "123456789012345679",
    ]


def test_an_accent_is_one_category_whichever_way_the_system_writes_it():
    city = Feature(name="city", kind="category", categories=["Orléans"])
    assert clean_value(city, "ORLE\u0301ANS") == clean_value(city, "Orl\u00e9ans") == "Orléans"
    assert clean_value(FLAG, "e\u0301") == clean_value(FLAG, "\u00e9")


@pytest.mark.parametrize(
    ("notation", "text", "number"),
    [
        (Notation(decimal=","), "12,5", 12.5),
        (Notation(decimal=","), "-0,5", -0.5),
        (Notation(decimal=",", grouping="."), "1.234.567,8", 1234567.8),
        (Notation(decimal=",", grouping=" "), "1\u202f234,5", 1234.5),
        (Notation(grouping="'"), "1’234.5", 1234.5),
        (Notation(grouping=",", sign="$"), "-$1,234.50", -1234.5),
        (Notation(grouping=",", sign="$"), "$ -3", -3),
        (Notation(decimal=",", sign="€"), "12,50 €", 12.5),
        (Notation(sign="%"), "12.5%", 12.5),
        (Notation(sign="%"), "12.5", 12.5),
        (Notation(grouping=","), "1,5", "1,5"),
        (Notation(decimal=",", grouping="."), "1.2.3", "1.2.3"),
        (Notation(sign="%"), "%", "%"),
        (Notation(date_format="%d/%m/%Y", newest=date(2024, 5, 31)), "01/05/2024", 30),
        (Notation(date_format="%d/%m/%Y", newest=date(2024, 5, 31)), "31/06/2024", "31/06/2024"),
    ],
)
def test_numbers_are_read_as_the_column_writes_them(notation, text, number):
    feature = Feature(name="x", kind="number", notation=notation)
    assert clean_value(feature, text) == number
    if not isinstance(number, str):
        assert make_field_check(feature).validate_python(text) == number


def test_what_a_run_observed_is_kept_apart_and_contracts_of_before_are_read():
    feature = {"name": "a", "kind": "number", "minimum": 0.0, "lowest": 2.0, "highest": 9.0, "categories": []}
    older = {"target": "t", "positive": "1", "negative": "0", "features": [feature], "left_out": {}, "rejected": 7}
    contract = Contract.model_validate_json(json.dumps(older))
    assert contract.observed.ranges == {"a": (2.0, 9.0)} and contract.observed.rejected == 7
    written = json.loads(contract.model_dump_json())
    assert "lowest" not in written["features"][0] and "rejected" not in written
    assert Contract.model_validate(written) == contract


@pytest.mark.parametrize(
    "content", ["", "{", '{"target": 3}', "[]", '{"rejected": 0}', '{"rejected": 0, "features": 3}']
)
def test_a_damaged_contract_names_the_command_that_makes_it(lab, content):
    lab.contract.write_text(content)
    with pytest.raises(LabError, match=r"data/contract.json.*\n?Next: churn-lab prepare"):
        read_contract(lab)


def test_the_contract_needs_no_pandas():
    program = (
        "import sys, churn_lab.contract; print(sorted({'pandas', 'sklearn', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
