"""Synthetic customers: repeatable, with a known truth."""

import pytest
from sklearn.metrics import f1_score, roc_auc_score

from churn_lab.csv_files import read_csv
from churn_lab.customer_pictures import plot_customers
from churn_lab.files import LabError
from churn_lab.generate_data import churn_probability, draw_customers, generate


def test_the_same_rows_and_seed_give_the_same_bytes(empty_lab):
    generate(empty_lab, rows=300, seed=5)
    first = empty_lab.raw.read_bytes()
    generate(empty_lab, rows=300, seed=5)
    assert empty_lab.raw.read_bytes() == first
    generate(empty_lab, rows=300, seed=6)
    assert empty_lab.raw.read_bytes() != first
    assert set(read_csv(empty_lab.raw)["region"]) == {"NA", "EU", "AF", "AS"}


@pytest.mark.parametrize("seed", range(5))
def test_a_quarter_leaves_and_the_truth_can_be_found(seed):
    customers = draw_customers(5000, seed)
    probability = churn_probability(customers)
    assert 0.25 <= customers["churn"].mean() <= 0.30
    assert 0.82 <= roc_auc_score(customers["churn"], probability) <= 0.92
    assert f1_score(customers["churn"], probability >= 0) <= 0.46


def test_each_trait_moves_churn_as_documented():
    customers = draw_customers(1000, 1)
    plain = churn_probability(customers)
    assert (churn_probability(customers.assign(num_complaints=customers["num_complaints"] + 1)) > plain).all()
    assert (churn_probability(customers.assign(tenure_months=customers["tenure_months"] + 12)) < plain).all()
    assert (churn_probability(customers.assign(avg_session_minutes=customers["avg_session_minutes"] + 9)) < plain).all()
    basic, premium = (churn_probability(customers.assign(plan_type=plan)) for plan in ("basic", "premium"))
    assert (basic > premium).all()
    moved = churn_probability(customers.assign(region="AF")) - churn_probability(customers.assign(region="EU"))
    assert 0 < moved.mean() < 0.06


def test_no_rows_is_an_error_and_keeps_the_old_file(empty_lab):
    generate(empty_lab, rows=10)
    before = empty_lab.raw.read_bytes()
    with pytest.raises(LabError, match="at least 1 row.*found rows=0"):
        generate(empty_lab, rows=0)
    assert empty_lab.raw.read_bytes() == before


def test_the_picture_shows_the_classes_and_every_feature():
    figure = plot_customers(draw_customers(500, 1))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].startswith("churn: ") and set(titles[1:]) == set(draw_customers(1, 1).columns) - {"churn"}


OWN = "age,gone\n30,yes\n40,no\n"


def test_a_file_of_ones_own_is_kept_before_customers_are_drawn_over_it(churn_lab, empty_lab):
    empty_lab.raw.write_text(OWN)
    code, out, _ = churn_lab("generate", "--rows", "50", "--workspace", empty_lab.root)
    (kept,) = empty_lab.backups.iterdir()
    assert code == 0 and f"your own raw.csv is kept as {kept}" in out and kept.read_text() == OWN
    for rows in ("60", "60", "70"):
        _, out, _ = churn_lab("generate", "--rows", rows, "--workspace", empty_lab.root)
        assert "kept" not in out and list(empty_lab.backups.iterdir()) == [kept], "what was drawn needs no copy"


def test_another_file_of_ones_own_does_not_push_the_first_one_out(churn_lab, empty_lab, tmp_path):
    empty_lab.raw.write_text(OWN)
    draw_customers(200, 1).to_csv(tmp_path / "other.csv", index=False)
    for _ in range(2):
        code, out, _ = churn_lab("prepare", "--raw", tmp_path / "other.csv", "--workspace", empty_lab.root)
        assert code == 0 and [path.read_text() for path in empty_lab.backups.iterdir()] == [OWN]


def test_names_with_signs_of_formulas_are_drawn_as_they_are():
    rows = draw_customers(100, 1).rename(columns={"num_complaints": "cost $a_b^2$"}).assign(churn=["a$", "b$"] * 50)
    figure = plot_customers(rows, "churn")
    figure.canvas.draw()
    assert r"cost \$a_b^2\$" in [axes.get_title() for axes in figure.axes]
