"""The notebooks are the source: exported, executed in order, and their committed outputs still come out."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SOAK

FRONT_ROOMS = sorted((ROOT / "nbs").glob("*.ipynb"))
MACHINE_ROOMS = sorted(path for path in (ROOT / "nbs" / "inside").rglob("*.ipynb") if "checkpoint" not in path.stem)
NOTEBOOKS = [*FRONT_ROOMS, *MACHINE_ROOMS]
MODULES = sorted(
    path.relative_to(ROOT / "churn_lab")
    for path in (ROOT / "churn_lab").rglob("*.py")
    if path.name != "__init__.py" and not re.fullmatch(r"cli(_\w+)?\.py", path.name)
)


def cells(path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def outputs(path) -> str:
    return json.dumps([cell["outputs"] for cell in cells(path) if cell["cell_type"] == "code"])


def validate(notebooks, folder) -> subprocess.CompletedProcess:
    """Strict nbval in a project of its own, by way of the notebooks' own kernel."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *notebooks]
    environment = {**os.environ, "CHURN_LAB_HOME": str(folder / "my-lab")}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=2400 if SOAK else 900
    )


def test_export_leaves_no_difference(tmp_path):
    for name in ("nbs", "churn_lab", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        else:
            shutil.copy(source, tmp_path / name)
    for path in MODULES:
        if path.name != "_modidx.py":
            (tmp_path / "churn_lab" / path).unlink()
    export = shutil.which("nbdev-export", path=Path(sys.executable).parent)
    subprocess.run([export], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for path in MODULES:
        exported = (tmp_path / "churn_lab" / path).read_text("utf-8")
        assert exported == (ROOT / "churn_lab" / path).read_text("utf-8"), path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_as_executed_from_top_to_bottom(path):
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not code or any(cell["outputs"] for cell in code)
    assert not [o for cell in code for o in cell["outputs"] if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert not re.search(r"/(tmp|home|root|Users)/|[A-Z]:\\\\\\\\|\d{8}_\d{6}|\d{4}-\d\d-\d\dT", outputs(path)), (
        "changes with each run"
    )
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert metadata["kernelspec"]["name"] == "python3" and metadata["kernelspec"]["language"] == "python"


def test_every_step_is_a_page_with_a_promise_a_picture_and_something_to_remember():
    steps = [path for path in FRONT_ROOMS if path.stem != "index"]
    for path in steps:
        text = "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")
        assert re.match(r"# Step \d+[a-z]? · ", text) and "\n> " in text and "## What to remember" in text, path.stem
    pictured = ("03", "04", "05a", "05b", "06", "07", "08")
    for path in steps:
        if path.stem.split("_")[0] in pictured:
            assert "image/" in outputs(path), path.stem


def test_every_machine_room_answers_a_question_and_names_what_to_remember():
    for path in MACHINE_ROOMS:
        text = "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")
        assert re.match(r"# (?!Step)", text) and "\n> " in text and "## What to remember" in text, path.stem


def test_no_shell_lines_and_every_link_leads_somewhere():
    for path in NOTEBOOKS:
        for cell in cells(path):
            text = "".join(cell["source"])
            if cell["cell_type"] == "code":
                assert not re.search(r"^[!%]", text, re.M), path.stem
            for link in re.findall(r"\]\(([\w./-]+\.ipynb)\)", text):
                assert (path.parent / link).is_file(), f"{path.stem}: {link}"


def read_imports(path) -> set[str]:
    """The modules of the package that a module imports at its top, by their paths: `files`, `git_lab/git`."""
    package, found = (ROOT / "churn_lab" / path).parent.relative_to(ROOT / "churn_lab"), set()
    for node in ast.parse((ROOT / "churn_lab" / path).read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("churn_lab")):
            above = [*package.parts][: len(package.parts) - max(node.level - 1, 0)] if node.level else []
            inside = (node.module or "").removeprefix("churn_lab").strip(".").split(".") if node.module else []
            found.add("/".join([*above, *filter(None, inside)]))
    return found


def test_the_map_leads_to_every_room():
    text = "".join("".join(cell["source"]) for cell in cells(ROOT / "nbs" / "index.ipynb"))
    for path in NOTEBOOKS:
        if path.stem != "index":
            assert f"]({path.relative_to(ROOT / 'nbs').as_posix()})" in text, path.stem


def test_imports_point_down_and_never_run_in_a_circle():
    graph = {path.with_suffix("").as_posix(): read_imports(path) for path in MODULES}

    def visit(name: str, above: tuple) -> None:
        assert name not in above, f"{' -> '.join(above)} -> {name}"
        for other in graph.get(name, ()):
            visit(other, (*above, name))

    for name in graph:
        visit(name, ())
    assert not graph["files"] and "train" not in graph["registry"]
    assert graph["workspace"] <= {"files", "project_scripts", "script_stubs"}
    assert not [other for others in graph.values() for other in others if other.startswith("cli")]


@pytest.mark.skipif(
    not SOAK, reason="each alone is enough here, and test_course runs them in order; `make soak` compares"
)
def test_outputs_come_out_again_in_order(tmp_path):
    result = validate(NOTEBOOKS, tmp_path)
    assert result.returncode == 0, result.stdout[-4000:]


@pytest.mark.parametrize("path", NOTEBOOKS if SOAK else FRONT_ROOMS, ids=lambda path: path.stem)
def test_outputs_come_out_again_alone(path, tmp_path):
    result = validate([path], tmp_path)
    assert result.returncode == 0, result.stdout[-4000:]


@pytest.mark.parametrize("place", range(12))
def test_outputs_of_machine_rooms_come_out_again_in_one_project(place, tmp_path):
    rooms = [room for room in MACHINE_ROOMS if SOAK or room.parent.name != "classroom"]  # those have tests of their own
    rooms = rooms[place::12]  # several at a time: to make a project takes longer than a room does
    result = validate(rooms, tmp_path)
    assert result.returncode == 0, f"{[room.stem for room in rooms]}\n{result.stdout[-4000:]}"
