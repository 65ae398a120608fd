"""A grid of runs: every combination in a project of its own, a row each, and what is finished is not made twice."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat.v4 as v4
import psutil
import pytest
from conftest import SOAK, wait_until

from churn_lab.course_notebooks import split_values
from churn_lab.files import LabError
from churn_lab.grid_run import _make_row, _mark_best, _settle, plot_grid, run_batch, write_grid

TRAIN = """
1 / trees
from churn_lab.course import catch_up
from churn_lab.train import ForestParams, train
train(catch_up("05"), gate_f1, forest=ForestParams(n_estimators=trees))
"""
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}


@pytest.fixture
def write_page(tmp_path):
    """A course of one page, found by the commands too."""

    def write(settings: str, source: str, name: str = "03_page") -> Path:
        (tmp_path / "nbs").mkdir(exist_ok=True)
        parameters = v4.new_code_cell(settings, metadata={"tags": ["parameters"]})
        cells = [v4.new_markdown_cell("# Step · A page"), parameters, v4.new_code_cell(source)]
        page = v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
        (tmp_path / "nbs" / f"{name}.ipynb").write_text(json.dumps(page), encoding="utf-8")
        return tmp_path / "nbs"

    return write


def test_a_grid_has_a_row_for_what_is_done_refused_and_failed(churn_lab, tmp_path, write_page):
    write_page("gate_f1 = 0.5\ntrees = 5", TRAIN, "05b_train")
    command = ["run", "-p", "gate_f1=0.5,0.97", "-p", "trees=0,5", "--best", "recall", "--workspace", tmp_path / "lab"]
    code, out, error = churn_lab(*command, "--json")
    result = json.loads(out)
    states = {tuple(row["parameters"].values()): row["state"] for row in result["rows"]}
    assert states == {(0.5, 0): "failed", (0.5, 5): "done", (0.97, 0): "failed", (0.97, 5): "refused"}
    assert code == 1 and "gate_f1=0.5, trees=0: " in error and "ZeroDivisionError" in error
    assert [row["parameters"] for row in result["rows"] if row["best"]] == [{"gate_f1": 0.5, "trees": 5}]
    report = Path(result["report"])
    page = report.read_text(encoding="utf-8")
    assert "2 failed" in page and "ZeroDivisionError" in page and "refused by the gate: F1" in page
    assert page.count("data:image/png") == 1 and not re.search(r'(?:src|href)="(?:http|/)', page)
    links = [row["report"] for row in result["rows"]]
    assert len({link.split("/")[0] for link in links}) == 4 and all((report.parent / link).is_file() for link in links)
    versions = report.parent.glob("*/models/*.onnx")
    assert {path.name.split("_")[2] for path in versions} == {"v1"}  # no challenger: each project was empty
    later = json.loads(churn_lab(*command, "--json")[1])
    assert [row["kept"] for row in later["rows"]] == [row["state"] != "failed" for row in result["rows"]]
    assert [row["figures"] for row in later["rows"]] == [row["figures"] for row in result["rows"]]


def test_what_is_finished_is_kept_as_long_as_it_would_come_out_again(tmp_path, write_page):
    nbs = write_page("seed = 1", "seed")
    wanted = {"workspace": tmp_path / "own", "parameters": {"seed": 3}, "notebooks": nbs}
    (first,), (again,) = (run_batch([wanted], jobs=1) for _ in range(2))
    assert first["ok"] and not first["kept"] and again["kept"] and again["report"] == first["report"]
    (other,) = run_batch([{**wanted, "parameters": {"seed": 4}}], jobs=1)
    assert not other["kept"] and Path(other["report"]).is_relative_to(tmp_path / "own_2")
    Path(first["report"]).unlink()  # as if killed before it was written
    (anew,) = run_batch([wanted], jobs=1)
    assert not anew["kept"] and Path(anew["report"]).is_relative_to(tmp_path / "own_3")
    later = Path(other["report"]).stat().st_mtime + 5
    os.utime(nbs / "03_page.ipynb", (later, later))
    (changed,) = run_batch([{**wanted, "parameters": {"seed": 4}}], jobs=1)
    assert not changed["kept"] and Path(changed["report"]).is_relative_to(tmp_path / "own_4")
    told = Path(changed["report"]).with_name("run.json")
    told.write_text(re.sub(r'("package": ")\w', r"\1x", told.read_text()))  # as if by another version of the package
    (later,) = run_batch([{**wanted, "parameters": {"seed": 4}}], jobs=1)
    assert not later["kept"] and Path(later["report"]).is_relative_to(tmp_path / "own_5")


WHO = [["--jobs", "2"], ["--jobs", "1"], ["--cluster", "local:2"]]


@pytest.mark.parametrize("who", WHO if SOAK else WHO[:1])
def test_ctrl_c_ends_a_grid_at_once_and_the_same_command_goes_on(churn_lab, tmp_path, write_page, who):
    if "--cluster" in who:
        pytest.importorskip("distributed")
    begun = f"import time\nfrom pathlib import Path\nPath({str(tmp_path)!r}, f'begun{{seed}}').touch()\n"
    write_page("seed = 1", begun + "time.sleep(300 * (seed > 2))")
    program = [sys.executable, "-c", "from churn_lab.cli import main; main()"]
    command = ["run", "-p", "seed=1..4", *who, "--workspace", str(tmp_path / "lab")]
    process = subprocess.Popen([*program, *command], stderr=subprocess.PIPE, text=True, start_new_session=True)
    grid, count = tmp_path / "lab" / "runs" / "grid", 3 if "1" in who else 4
    try:
        wait_until(lambda: len([*tmp_path.glob("begun*")]) == count, 120)
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        error = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130 and "2 of 4 runs are finished" in error and "Traceback" not in error
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert not [*grid.glob("report*")]
    code, out, error = churn_lab("run", "-p", "seed=1..2", "--workspace", tmp_path / "lab", "--json")
    assert code == 0, out + error
    assert [row["kept"] for row in json.loads(out)["rows"]] == [True, True]


def test_on_a_cluster_a_run_whose_worker_dies_begins_again_in_an_empty_project(churn_lab, tmp_path, write_page):
    pytest.importorskip("distributed")
    once = f"""
import os, signal
from pathlib import Path
if seed == 2 and not Path({str(tmp_path / "killed")!r}).exists():
    Path({str(tmp_path / "killed")!r}).touch()
    os.kill(os.getppid(), signal.SIGKILL)  # the worker
"""
    write_page("seed = 1", once)
    arguments = ["run", "-p", "seed=1..2", "--workspace", tmp_path / "lab", "--json"]
    code, out, error = churn_lab(*arguments, "--cluster", "local:2")
    result = json.loads(out)
    assert code == 0 and "2 workers; dashboard: http" in error and (tmp_path / "killed").exists()
    assert [row["state"] for row in result["rows"]] == ["done", "done"]
    assert [row["report"].split("/")[0] for row in result["rows"]] == ["seed=1", "seed=2_2"]
    assert [row["kept"] for row in json.loads(churn_lab(*arguments, "--jobs", "1")[1])["rows"]] == [True, True]


def test_a_killed_process_and_a_place_that_cannot_be_made_are_told(tmp_path, write_page):
    nbs = write_page("seed = 1", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    runs = [{"workspace": tmp_path / name, "notebooks": nbs} for name in "ab"]
    with pytest.raises(LabError, match="killed one, perhaps for its memory.\nNext: fewer --jobs"):
        run_batch(runs, jobs=2)
    (tmp_path / "file").touch()
    (result,) = run_batch([{"workspace": tmp_path / "file" / "lab", "notebooks": nbs}], jobs=1)
    assert not result["ok"] and "file" in result["failure"]["error"] and result["report"] is None


def test_a_worker_in_another_folder_is_told_whole_paths(tmp_path, write_page):
    write_page('raw = ""', "raw")
    Path("own.csv").touch()
    told = _settle({"workspace": "lab", "parameters": {"raw": "own.csv"}})
    wanted = {"workspace": tmp_path / "lab", "notebooks": tmp_path / "nbs"}
    assert told == {**wanted, "parameters": {"raw": str(tmp_path / "own.csv")}}
    with pytest.raises(LabError, match="gone.csv, found none"):
        run_batch([{"workspace": "lab", "parameters": {"raw": "gone.csv"}}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "seed=1...5"], "a range of at most 1,000 whole numbers for seed, the smaller first, found '1...5'"),
        (["-p", "seed=5..1"], "found '5..1'"),
        (["-p", "seed=1..99999"], "found '1..99999'"),
        (["-p", "gate_f1=0.5..0.7"], "found '0.5..0.7'"),
        (["-p", "seed=1,,2"], "a value on either side of each comma in seed, found '1,,2'"),
        (["-p", "seed=1,two"], "seed to be of type int, as 1, found 'two'"),
        (["-p", "sed=1,2"], "a parameter of these notebooks, found sed"),
        (["-p", "seed=1,2", "--best", "fi"], "a figure to choose the best by, found fi"),
        (
            ["-p", "seed=1..100", "-p", "gate_f1=" + ",".join(map(str, range(11)))],
            "1,000 combinations of values, found 1100",
        ),
        (["-p", "raw=a.csv", "-p", "raw=b.csv"], "a.csv, found none"),
        (["-p", "seed=1", "--jobs", "2"], "several values for a parameter, with --best or --jobs"),
    ],
)
def test_a_grid_that_was_not_meant_is_refused_before_anything_runs(churn_lab, tmp_path, write_page, options, message):
    write_page('seed = 1\ngate_f1 = 0.5\nraw = ""', "seed")
    code, _, error = churn_lab("run", *options, "--workspace", tmp_path / "lab")
    assert code == 1 and message in error and "\nNext: " in error and not (tmp_path / "lab").exists()


def test_one_value_named_twice_is_one_run_and_no_grid(churn_lab, tmp_path, write_page):
    write_page('seed = 1\nraw = ""', "seed")
    (tmp_path / "own.csv").touch()
    options = ["-p", "seed=2,2", "-p", "seed=2", "--raw", "own.csv", "-p", "raw=own.csv"]
    code, out, error = churn_lab("run", *options, "--workspace", tmp_path / "lab", "--json")
    assert code == 0, error
    assert json.loads(out)["parameters"] == {"raw": str(tmp_path / "own.csv"), "seed": 2}


def test_a_text_keeps_its_commas_and_a_number_named_twice_is_one(write_page):
    nbs = write_page('seed = 1\ngate_f1 = 0.5\ntarget = ""', "seed")
    texts = {"seed": ["1..3, 7", "2"], "gate_f1": ["0.5,0.50,1"], "target": ["left, or..not", "gone"]}
    values = split_values(texts, [nbs / "03_page.ipynb"])
    assert values == {"seed": [1, 2, 3, 7], "gate_f1": [0.5, 1.0], "target": ["left, or..not", "gone"]}


def make_rows(*rows) -> list[dict]:
    """Rows of a grid from values of one or more parameters, a state and figures."""
    made = []
    for values, state, figures in rows:
        failure = {"title": "A step", "error": "why"} if state == "failed" else None
        result = {"failure": failure, "refused": "why" if state == "refused" else "", "figures": figures}
        made.append(_make_row(values, {**result, "seconds": 1.0, "kept": False, "report": None}, Path(".")))
    return made


def test_the_best_passed_the_gate_and_less_drift_is_better():
    rows = make_rows(
        ({"seed": 1}, "done", {"f1": 0.6, "drift_score": 0.2}),
        ({"seed": 2}, "refused", {"f1": 0.9, "drift_score": 0.0}),
        ({"seed": 3}, "done", {"f1": 0.6, "drift_score": 0.1}),
        ({"seed": 4}, "failed", {}),
    )
    for figure, best in (("f1", [True, False, True, False]), ("drift_score", [False, False, True, False])):
        _mark_best(rows, figure)
        assert [row["best"] for row in rows] == best
    _mark_best(rows, "rejected")
    assert not any(row["best"] for row in rows)


def test_the_picture_shows_each_combination_and_three_parameters_are_a_table(tmp_path):
    line = make_rows(*(({"city": city}, "done", {"f1": f1}) for city, f1 in (("Lyon", 0.5), ("Nice", 0.7))))
    (axes,) = plot_grid(line, "f1").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Lyon", "Nice"] and plot_grid(
        line, "recall"
    ) is None
    plane = make_rows(
        ({"a": 1, "b": 1}, "done", {"f1": 0.5}),
        ({"a": 1, "b": 2}, "refused", {"f1": 0.25}),
        ({"a": 2, "b": 1}, "failed", {}),
    )
    _mark_best(plane, "f1")
    words = [text.get_text() for text in plot_grid(plane, "f1").axes[0].texts]
    assert words == ["0.5\nbest", "0.25\nrefused", "failed"]
    cube = [({"a": a, "b": b, "c": c}, "done", {"f1": a + b / 8}) for a in (1, 2) for b in (1, 2) for c in (1, 2)]
    grid = {"ok": True, "started": "now", "figure": "f1", "fixed": {}, "rows": make_rows(*cube), "seconds": 1}
    assert plot_grid(grid["rows"], "f1") is None
    page = write_grid(tmp_path / "report.html", grid).read_text(encoding="utf-8")
    cells = "".join(f"<td>{cell}</td>" for cell in ("a", 2, 4, "2.188", "2.125", "2.25"))
    assert cells in page and "data:image" not in page
