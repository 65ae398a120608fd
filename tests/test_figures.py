"""The page of figures says what was missed and what was not measured, and the README quotes it and nothing else."""

import json
import sys

import pytest
from conftest import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def run_all(monkeypatch):
    """`benchmarks/run_all.py`, whose scripts find `benchmarks/figures.py`."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))
    import run_all

    return run_all


def find_row(page: str, figure: str) -> str:
    """The row of a table that is about a figure."""
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {figure} |")]
    return row


def test_what_was_missed_and_what_was_not_measured_stands_there_as_that(run_all, tmp_path, monkeypatch):
    scripts, folder, readme = tmp_path / "scripts", tmp_path / "page", tmp_path / "README.md"
    scripts.mkdir(), folder.mkdir()
    readme.write_text("Before\n" + "".join(run_all.MARKS) + "After\n")
    (scripts / "startup.py").write_text(
        "from figures import record, record_growth\n"
        "record('start', [3, 1, 2], reference='bare', target='<= 1.5', readme=True)\n"
        "record('rate', [0.95, 0.99], target='>= 0.9')\n"
        "record_growth('start', 'rows', 's', {'ours': {10: 1, 100: 2}})\n"
    )
    (scripts / "git_check.py").write_text(
        "from figures import record\nrecord('check', 4.0, 's')\nrecord('graph', 1.0, readme=True)\n"
    )

    def bench(*options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["run_all.py", *options])
        run_all.main(scripts, folder, readme)
        return (folder / "RESULTS.md").read_text(encoding="utf-8")

    bench("--only", "git_check")
    (scripts / "git_check.py").write_text(
        "from figures import record\nrecord('check', 5.0, 's')\nraise SystemExit('no disk')\n"
    )
    page = bench()  # a script that fails does not end it
    assert find_row(page, "start") == "| start | bare | 2.00 times | 1.00 to 3.00, 3 | at most 1.50: **missed** |"
    assert find_row(page, "rate").endswith("| at least 0.90: met |") and "Missed, of 2 with a target: start." in page
    assert "5 s" in find_row(page, "check") and "not measured: ended with 1: no disk" in find_row(page, "graph")
    assert (
        "Not measured: graph; all of 'The prediction service'" in page and (folder / "startup_start.svg").stat().st_size
    )
    quoted = readme.read_text(encoding="utf-8")
    assert "| start | bare | 2.00 times | at most 1.50: **missed** |" in quoted and quoted.endswith("After\n")
    assert "not measured: ended with 1" in find_row(quoted, "graph")
    before = page
    bench("--quick")
    assert (folder / "quick" / "RESULTS.md").read_text(encoding="utf-8").startswith("# QUICK")
    assert (folder / "RESULTS.md").read_text(encoding="utf-8") == before
    assert readme.read_text(encoding="utf-8") == quoted


def test_the_readme_quotes_the_page_and_the_page_is_what_was_kept(run_all, tmp_path):
    results = json.loads((BENCHMARKS / "results.json").read_text(encoding="utf-8"))
    page = (BENCHMARKS / "RESULTS.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert run_all.render_page(results, tmp_path) == page, "python benchmarks/run_all.py --render"
    assert {path.name for path in tmp_path.glob("*.svg")} == {path.name for path in BENCHMARKS.glob("*.svg")}
    assert run_all.quote_figures(results, readme) == readme
    quoted = readme.split(run_all.MARKS[0])[1].split(run_all.MARKS[1])[0].splitlines()[2:]
    assert len(quoted) > 5
    for line in quoted:
        figure, reference, value, target = (cell.strip() for cell in line.strip()[1:-1].split("|"))
        row = find_row(page, figure)
        assert f"| {reference} | {value} |" in row and target in row


def test_every_script_that_records_is_part_of_the_bench(run_all):
    recording = {path.stem for path in BENCHMARKS.glob("*.py") if "from figures import record" in path.read_text()}
    assert recording <= set(run_all.SCRIPTS) and recording >= {"serving", "drift", "registry", "classroom", "dashboard"}
    bench = [line for line in (ROOT / "Makefile").read_text().splitlines() if "benchmarks/" in line]
    assert bench and all("benchmarks/run_all.py" in line for line in bench)
