"""Headless runs: parameters checked first, a report at the end, runs that do not disturb each other."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from conftest import snapshot

from churn_lab.course import catch_up, check_parameters, choose_notebooks, find_notebooks, run
from churn_lab.csv_files import read_csv
from churn_lab.files import LabError
from churn_lab.model_cards import read_metadata
from churn_lab.notebook_runner import run_notebook
from churn_lab.registry_history import current_model
from churn_lab.workspace import Workspace


def test_the_whole_lab_runs_into_a_report_that_needs_no_network(tmp_path):
    lab, seen = Workspace(tmp_path / "lab"), []
    result = run(
        lab.root, {"rows": 1500, "gate_f1": 0.5}, on_cell=lambda path, cell, cells: seen.append((path.stem, cell))
    )
    assert result["ok"], result["failure"]
    figures = result["figures"]
    assert figures["rows"] == 1500 and figures["current_model"] == current_model(lab)
    assert figures["f1"] == read_metadata(lab)[0]["metrics"]["f1"] > 0.5
    assert "drift" in figures and "_v1_" in figures["rollback"].split(" to ")[1]
    assert {stem for stem, _ in seen} == {step["notebook"] for step in result["steps"]}
    assert not result["earlier"] and result["refused"] == "" and [s["state"] for s in result["steps"]] == ["done"] * 10
    report = Path(result["report"])
    assert report.parent.parent == lab.runs and report.name == "report.html"
    links = re.findall(r'href="([^"]+)"', report.read_text(encoding="utf-8"))
    text = report.read_text(encoding="utf-8")
    assert "all steps done" in text and "Generate data" in text and text.count("data:image/png") == 4
    assert len(links) == len(result["steps"]) and all((report.parent / link).is_file() for link in links)
    for page in report.parent.glob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="([^"]+)"', page.read_text(encoding="utf-8"))
        assert all(address.startswith("data:") for address in loaded), loaded  # complete in itself


def test_a_failing_cell_is_named_and_later_steps_are_not_run(churn_lab, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("age,left\n31,yes\n47,no\n")
    arguments = ["--raw", path, "--target", "gone", "--only", "04", "--only", "05a", "--workspace", tmp_path / "lab"]
    code, out, error = churn_lab("run", *arguments, "--json")
    result = json.loads(out)
    assert code == 1 and [step["state"] for step in result["steps"]] == ["failed", "not run"]
    assert (
        error.startswith("Prepare the data (04_prepare_data.ipynb, cell ")
        and "Expected a column 'gone', found age, left." in error
    )
    report = Path(result["report"]).read_text(encoding="utf-8")
    assert "stopped" in report and "Prepare the data failed" in report and "Expected a column &#39;gone&#39;" in report


def test_a_kernel_that_dies_is_told_with_the_cell_that_it_died_in(empty_lab, tmp_path):
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    cells = [nbformat.v4.new_code_cell(source) for source in ("rows = 5", "import os; os._exit(1)", "rows")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "01.ipynb")
    announced = []
    failure = run_notebook(
        empty_lab, tmp_path / "01.ipynb", tmp_path / "out.ipynb", {}, lambda *told: announced.append(told[1])
    )
    assert "died" in failure["error"] and "at cell 2 of 3" in failure["error"] and announced == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "gate_fi=0.6"], "a parameter of these notebooks, found gate_fi"),
        (["-p", "rows=many"], "rows to be of type int"),
        (["-p", "rows=1.5"], "rows to be of type int"),
        (["-p", "rows"], "a parameter as name=value"),
        (["--only", "99"], "the number of a notebook, found 99"),
        (["--from", "x"], "the number of a notebook, found x"),
        (["--only", "6", "-p", "raw="], "a parameter of these notebooks, found raw"),
        (["--raw", "nowhere.csv", "--target", "x"], "nowhere.csv, found none"),
    ],
)
def test_what_no_notebook_has_is_refused_before_anything_runs(churn_lab, tmp_path, options, message):
    code, _, error = churn_lab("run", *options, "--workspace", tmp_path / "lab")
    assert code == 1 and message in error and "\nNext: " in error and not (tmp_path / "lab").exists()


def test_lab_1_runs_unless_something_later_is_asked_for():
    def numbers(**wanted):
        return [path.stem.split("_")[0] for path in choose_notebooks(find_notebooks(), **wanted)]

    assert numbers()[0] == "01" and numbers()[-1] == "09" and numbers(start="08")[0] == "08"
    assert numbers(start="10")[0] == "10" and numbers(only=["04", "10"]) == ["04", "10"]
    assert numbers(only=["5"]) == ["05a", "05b"] and numbers(only=["5B", "3"]) == ["03", "05b"]
    assert numbers(start="5")[0] == "05a" and numbers(start="5b")[0] == "05b"


def test_a_refusal_is_a_result_and_the_steps_that_need_a_model_are_left_out(churn_lab, tmp_path):
    arguments = ["-p", "rows=400", "-p", "gate_f1=0.97", "--from", "3", "--workspace", tmp_path / "lab"]
    code, out, error = churn_lab("run", *arguments, "--json")
    result = json.loads(out)
    states = {step["number"]: step["state"] for step in result["steps"]}
    assert code == 5 and result["failure"] is None and states["05b"] == "done", error
    assert {number for number, state in states.items() if state == "not run"} == {"06", "07", "08", "09"}
    assert "Version 1 was refused by the gate: F1 at least gate_f1" in error and "KeyError" not in error
    report = Path(result["report"]).read_text(encoding="utf-8")
    assert "refused by the gate" in report and "the gate let none through" in report and "all steps done" not in report
    code, _, error = churn_lab("run", "--only", "6", "--workspace", tmp_path / "lab")
    assert code == 0 or "a model in service" in error


def test_figures_of_earlier_runs_are_called_so(churn_lab, lab):
    code, out, _ = churn_lab("run", "-p", "rows=500", "--only", "3", "--workspace", lab.root, "--json")
    result = json.loads(out)
    assert code == 0 and result["figures"] == {"rows": 500}
    assert result["earlier"]["f1"] == read_metadata(lab)[-1]["metrics"]["f1"] and "rows" not in result["earlier"]
    report = Path(result["report"]).read_text(encoding="utf-8")
    assert report.index("What this run made") < report.index("not touched by this run") < report.index("<dt>f1</dt>")


def test_parameters_take_the_type_of_their_defaults():
    notebooks = find_notebooks()
    given = check_parameters(notebooks, {"rows": "70", "gate_f1": "1", "raw": "12"})
    values = {name: value for values in given.values() for name, value in values.items()}
    assert values["rows"] == 70 and isinstance(values["gate_f1"], float) and values["raw"] == "12"


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path):
    def one(seed: int, folder: str) -> dict:
        return run(tmp_path / folder, {"rows": 200 + seed, "seed": seed}, only=["03", "04"])

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(one, [1, 2, 3], ["a", "b", "b"]))
    assert all(result["ok"] for result in results)
    assert [result["figures"]["rows"] for result in results] == [201, 202, 203]
    assert len({result["report"] for result in results}) == 3
    assert len(read_csv(tmp_path / "a" / "data" / "raw.csv")) == 201


def test_catching_up_never_touches_what_is_there(lab):
    lab.processed.unlink()
    before = snapshot(lab.root)
    catch_up("09", str(lab.root))
    after = snapshot(lab.root)
    assert set(after) - set(before) == {"data/processed.csv"}
    assert all(after[name] == content for name, content in before.items() if name != "data/contract.json")


def test_without_the_course_the_message_says_where_it_is(tmp_path):
    with pytest.raises(LabError, match="the course's notebooks in nbs/"):
        find_notebooks(tmp_path)


def test_a_run_after_which_there_is_too_little_to_judge_drift_has_its_report(churn_lab, lab):
    churn_lab("simulate", "--rows", "3", "--url", "http://127.0.0.1:9", "--workspace", lab.root)
    code, out, error = churn_lab("run", "--only", "1", "--workspace", lab.root, "--json")
    assert code == 0, error
    assert json.loads(out)["earlier"]["drift"] == "not enough data"


def test_a_damaged_project_file_does_not_cost_the_report(churn_lab, lab):
    lab.current_model.write_text("junk\n")
    code, out, error = churn_lab("run", "--only", "6", "--workspace", lab.root, "--json")
    result = json.loads(out)
    assert code == 1 and result["failure"] and "registry repair" in error
    report = Path(result["report"]).read_text(encoding="utf-8")
    assert "What failed first" in report and "The figures cannot be read" in report


def test_a_run_says_that_it_has_replaced_a_file_of_ones_own_and_where_it_is(churn_lab, lab):
    own = lab.raw.read_text().replace("basic", "gratis")
    lab.raw.write_text(own)
    code, out, error = churn_lab("run", "--only", "3", "-p", "rows=200", "--workspace", lab.root)
    (kept,) = lab.backups.glob("raw*")
    assert code == 0 and kept.read_text() == own and str(kept) in error
