"""The data contract: what is cleaned, what is turned away, what is refused, and what is said about it."""

import gzip
import json
import pickle

import pandas as pd
import pytest
from conftest import snapshot

from churn_lab.contract import read_contract
from churn_lab.csv_files import read_csv, write_csv
from churn_lab.customer_pictures import plot_quality
from churn_lab.generate_data import draw_customers
from churn_lab.infer_contract import Choices
from churn_lab.judge_file import Limits, QualityError
from churn_lab.prepare_data import corrupt, prepare, read_processed


def shop(rows: int = 200) -> pd.DataFrame:
    """A file of another company: text as it comes from a CSV."""
    return pd.DataFrame(
        {
            "customer": [f"C{i:04}" for i in range(rows)],
            "senior": ["0", "1", "0", "0"] * (rows // 4),
            "spent": ["12.5", " 80", "7.25", "9"] * (rows // 4),
            "channel": ["Web", "web ", "Shop", "Phone"] * (rows // 4),
            "gone": ["no", "No", "yes", "no", "yes"] * (rows // 5),
        }
    )


def test_a_dirty_file_is_cleaned_and_the_raw_file_is_not_touched(empty_lab):
    write_csv(corrupt(draw_customers(1000, 1)), empty_lab.raw)
    before = empty_lab.raw.read_bytes()
    prepared = prepare(empty_lab)
    assert empty_lab.raw.read_bytes() == before
    assert prepared.kept + prepared.rejected == 1000 and prepared.rejected > 50
    kept = read_processed(empty_lab, read_contract(empty_lab))
    assert kept["num_complaints"].min() >= 0 and set(kept["plan_type"]) == {"basic", "premium"}
    assert set(kept["region"]) == {"NA", "EU", "AF", "AS"}


@pytest.mark.parametrize("name", ["customers.csv.gz", "CUSTOMERS.CSV.GZ"])
def test_a_compressed_file_is_unpacked_into_the_project(empty_lab, tmp_path, name):
    packed = tmp_path / name
    packed.write_bytes(gzip.compress(draw_customers(400, 1).to_csv(index=False).encode()))
    prepare(empty_lab, packed)
    assert len(read_csv(empty_lab.raw)) == 400 and prepare(empty_lab).kept == 400


@pytest.mark.parametrize(
    ("damage", "limit", "message"),
    [
        (lambda d: d.assign(region=d["region"].where(d.index % 10 > 0, "")), {"max_missing": 0.2}, "missing in 10.0%"),
        (lambda d: d.assign(region="EU"), {"min_distinct": 1}, "region has 1 distinct value"),
    ],
)
def test_an_unfit_file_is_refused_and_each_limit_is_an_option(empty_lab, damage, limit, message):
    write_csv(damage(draw_customers(400, 1).astype(str)), empty_lab.raw)
    with pytest.raises(QualityError, match=message) as told:
        prepare(empty_lab)
    again = pickle.loads(pickle.dumps(told.value))  # as it comes from another process
    assert (str(again), again.problems) == (str(told.value), told.value.problems)
    assert prepare(empty_lab, limits=Limits(**limit)).kept >= 360
    assert prepare(empty_lab).contract.settings["limits"] == {**Limits().__dict__, **limit}, "as the last time"


def test_repeated_customers_are_refused(empty_lab):
    write_csv(pd.concat([shop(), shop().head(4)], ignore_index=True), empty_lab.raw)
    with pytest.raises(QualityError, match=r"customer repeats in 2.0% .*--max-duplicates"):
        prepare(empty_lab, target="gone", identifier="customer")
    prepared = prepare(empty_lab, target="gone", identifier="customer", limits=Limits(max_duplicates=0.05))
    assert prepared.kept == 204 and prepared.contract.grouped


def test_the_traps_of_the_real_data_are_handled_by_rule(empty_lab, telco):
    prepared = prepare(empty_lab, telco, "Churn", identifier="customerID")
    features = {feature.name: feature for feature in prepared.contract.features}
    rows = read_processed(empty_lab)
    assert len(rows) == prepared.kept == 7043 and prepared.rejected == 0
    assert rows["Churn"].mean() == pytest.approx(0.265, abs=0.001)
    assert prepared.contract.meaning == "left means: Churn = Yes, 26.5 % of the rows"
    assert (features["TotalCharges"].kind, features["TotalCharges"].nullable) == ("number", True)
    assert rows["TotalCharges"].isna().sum() == 11
    assert features["SeniorCitizen"].categories == ["0", "1"]
    assert "No phone service" in features["MultipleLines"].categories and "customerID" not in features


def with_target(values: list[str]) -> pd.DataFrame:
    return shop().assign(gone=[values[i % len(values)] for i in range(200)])


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (shop(), ["--target", "left"], "a column 'left', found customer"),
        (with_target(["no"]), ["--target", "gone"], "two different values of 'gone', found 1: no"),
        (with_target(["no", "yes", "maybe"]), ["--target", "gone"], "found 3: maybe, no, yes"),
        (with_target(["no", "yes", " "]), ["--target", "gone"], "found 66 blank"),
        (with_target(["a", "b"]), ["--target", "gone"], "--positive"),
        (with_target(["a", "b"]), ["--target", "gone", "--positive", "c"], "which value of 'gone' means 'left'"),
        (shop(), ["--target", "gone", "--id", "number"], "a column 'number'"),
        (shop().assign(spent=""), ["--target", "gone"], "spent is missing in 100.0%"),
        (shop().assign(spent=""), [], "no tenure_months"),
        (shop(), ["--target", "gone", "--max-missing", "5"], "a share between 0 and 1 for --max-missing"),
        (draw_customers(50, 1), ["--id", "region"], "--target beside --id"),
        (draw_customers(50, 1).assign(num_complaints=range(-60, -10)), [], "0 rows left: num_complaints: at least 0"),
        (draw_customers(1, 1), [], "many rows in file.csv, found one"),
    ],
)
def test_bad_input_ends_with_a_message_and_changes_nothing(churn_lab, lab, tmp_path, rows, options, message):
    path, before = tmp_path / "file.csv", snapshot(lab.root)
    rows.to_csv(path, index=False)
    code, _, error = churn_lab("prepare", "--workspace", lab.root, "--raw", path, *options)
    assert code == 1 and message in error and "\nNext: " in error
    assert snapshot(lab.root) == before


def test_columns_that_the_labs_contract_does_not_name_are_left_out(empty_lab):
    write_csv(draw_customers(100, 1).astype(str).assign(note="x"), empty_lab.raw)
    assert prepare(empty_lab).contract.left_out == {"note": "not in the lab's contract"}


@pytest.mark.parametrize("huge", ["1e39", "1e300", "inf", "9" * 400])
def test_numbers_beyond_what_a_model_can_hold_are_turned_away(empty_lab, huge):
    rows = shop()
    rows.loc[3, "spent"] = huge
    rows["visits"] = [str(i % 9) for i in range(200)]
    rows.loc[5, "visits"] = huge
    write_csv(rows, empty_lab.raw)
    prepared = prepare(empty_lab, target="gone")
    rules = {rule["rule"] for rule in prepared.failures}
    assert prepared.rejected == 2 and all(rule.startswith("a number of at most") for rule in rules)


def test_own_data_becomes_the_projects_data(churn_lab, empty_lab, tmp_path):
    shop().to_csv(tmp_path / "shop.csv", index=False)
    code, out, _ = churn_lab(
        "prepare", "--raw", tmp_path / "shop.csv", "--target", "gone", "--workspace", empty_lab.root, "--json"
    )
    assert code == 0 and json.loads(out)["contract"]["target"] == "gone"
    assert empty_lab.raw.read_bytes() == (tmp_path / "shop.csv").read_bytes()
    again = churn_lab("prepare", "--workspace", empty_lab.root)
    assert again[0] == 0 and "200 rows kept" in again[1]


def test_processed_rows_that_somebody_changed_are_not_learned_from(churn_lab, lab):
    rows = read_csv(lab.processed)
    rows.loc[3, "num_complaints"] = "4000"
    write_csv(rows, lab.processed)
    code, _, error = churn_lab("train", "--workspace", lab.root)
    assert code == 1 and "changed since" in error and "Next: churn-lab prepare" in error


def test_a_file_as_excel_saves_it_in_half_of_europe_becomes_the_same_customers(churn_lab, empty_lab, tmp_path):
    path, customers = tmp_path / "kunden.csv", draw_customers(300, 1)
    customers.to_csv(path, index=False, sep=";", decimal=",", encoding="utf-8-sig", lineterminator="\r\n")
    code, out, _ = churn_lab("prepare", "--raw", path, "--workspace", empty_lab.root)
    assert code == 0 and "kunden.csv was read with semicolons between the cells" in out
    pd.testing.assert_frame_equal(read_processed(empty_lab), customers, check_dtype=False)
    assert churn_lab("prepare", "--workspace", empty_lab.root)[0] == 0, "and again from data/raw.csv"


def test_ones_and_zeros_that_pandas_wrote_as_decimals_are_the_categories_that_they_were(empty_lab):
    rows = pd.DataFrame(
        {"flag": [0.0, 1.0, None, 1.0] * 50, "size": [1, 2, 3, 4] * 50, "gone": ["no", "no", "yes", "no", "yes"] * 40}
    )
    rows.sample(frac=1, random_state=1).to_csv(empty_lab.raw, index=False)
    contract = prepare(empty_lab, target="gone", limits=Limits(max_missing=0.3)).contract
    assert contract.features[0].categories == ["0", "1"] and contract.features[0].nullable


def test_what_was_decided_about_a_file_holds_for_the_next_time_and_not_for_another_target(empty_lab):
    write_csv(shop().assign(extra=["1", "2", "3", "4"] * 50), empty_lab.raw)
    prepare(empty_lab, target="gone", choices=Choices(drop=("extra",)), limits=Limits(max_missing=0.4))
    assert "extra" in prepare(empty_lab).contract.left_out
    assert "extra" not in prepare(empty_lab, target="gone").contract.left_out


def test_a_header_or_a_row_that_is_wrong_is_named_with_its_line(churn_lab, empty_lab, tmp_path):
    path = tmp_path / "own.csv"
    for content, words in (
        ("age,age,gone\n1,2,yes\n", "age repeated"),
        ("age,gone\n1,yes\n2\n", "1 cells in place of 2 in line 3"),
    ):
        path.write_text(content)
        code, _, error = churn_lab("prepare", "--raw", path, "--target", "gone", "--workspace", empty_lab.root)
        assert code == 1 and words in error and not empty_lab.processed.exists()


def test_training_without_features_says_so_and_changes_nothing(churn_lab, lab):
    contract = json.loads(lab.contract.read_text())
    lab.contract.write_text(json.dumps(contract | {"features": []}))
    before = snapshot(lab.root)
    code, _, error = churn_lab("train", "--workspace", lab.root)
    assert code == 1 and "at least one feature" in error and "Next: churn-lab prepare" in error
    assert snapshot(lab.root) == before


def test_a_hundred_columns_and_names_with_signs_of_formulas_are_prepared_and_drawn(empty_lab):
    rows = pd.DataFrame({f"x_{i}^2 $a$": [str(i * j % 11) for j in range(200)] for i in range(1, 101)})
    write_csv(rows.assign(gone=["no", "yes"] * 100), empty_lab.raw)
    prepared = prepare(empty_lab, target="gone", choices=Choices(drop=("x_11^2 $a$",)), limits=Limits(min_distinct=1))
    plot_quality(prepared).canvas.draw()


def test_a_picture_of_clean_customers_says_that_there_is_nothing_to_show(empty_lab):
    write_csv(draw_customers(200, 1), empty_lab.raw)
    missing, turned_away = plot_quality(prepare(empty_lab)).axes
    assert [axes.get_title() for axes in (missing, turned_away)] == ["no value is missing", "0 of 200 rows turned away"]
    assert not missing.axison and not turned_away.axison
    write_csv(corrupt(draw_customers(1000, 1)), empty_lab.raw)
    _, turned_away = plot_quality(prepare(empty_lab)).axes
    assert turned_away.axison and "plan_type: one of basic, premium" in [
        label.get_text() for label in turned_away.get_yticklabels()
    ]


def test_a_file_with_an_identifier_is_prepared_again_by_what_was_said_the_last_time(churn_lab, empty_lab, tmp_path):
    lines = [f"C{i:04},{i * 7 % 50},{'yes' if i * 7 % 50 < 15 else 'no'}" for i in range(300)]
    (tmp_path / "own.csv").write_text("\n".join(["customer,age,gone", *lines]) + "\n")
    options = ["--target", "gone", "--id", "customer", "--max-duplicates", "0.1", "--allow", "age"]
    assert churn_lab("prepare", "--raw", tmp_path / "own.csv", *options, "--workspace", empty_lab.root)[0] == 0
    before = read_contract(empty_lab)
    code, out, error = churn_lab("prepare", "--workspace", empty_lab.root)
    assert code == 0, error
    assert read_contract(empty_lab).model_dump(exclude={"observed"}) == before.model_dump(exclude={"observed"})
