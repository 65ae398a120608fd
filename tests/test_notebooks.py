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
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
MODULES = sorted(path for path in (ROOT / "churn_lab").glob("*.py") if path.name not in ("__init__.py", "cli.py"))


def cells(path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def outputs(path) -> str:
    return json.dumps([cell["outputs"] for cell in cells(path) if cell["cell_type"] == "code"])


def validate(notebooks, folder) -> subprocess.CompletedProcess:
    """Strict nbval in a project of its own, by way of the notebooks' own kernel."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *notebooks]
    environment = {**os.environ, "CHURN_LAB_HOME": str(folder / "my-lab")}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def test_export_leaves_no_difference(tmp_path):
    for name in ("nbs", "churn_lab", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        else:
            shutil.copy(source, tmp_path / name)
    for path in MODULES:
        if path.name != "_modidx.py":
            (tmp_path / "churn_lab" / path.name).unlink()
    export = shutil.which("nbdev-export", path=Path(sys.executable).parent)
    subprocess.run([export], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for path in MODULES:
        assert (tmp_path / "churn_lab" / path.name).read_text("utf-8") == path.read_text("utf-8"), path.name


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
    steps = [path for path in NOTEBOOKS if path.stem != "index"]
    for path in steps:
        text = "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")
        assert re.match(r"# Step \d+[a-z]? · ", text) and "\n> " in text and "## What to remember" in text, path.stem
    pictured = ("03", "04", "05a", "05b", "06", "07", "08")
    for path in steps:
        if path.stem.split("_")[0] in pictured:
            assert "image/" in outputs(path), path.stem


def test_no_shell_lines_and_every_link_leads_somewhere():
    for path in NOTEBOOKS:
        for cell in cells(path):
            text = "".join(cell["source"])
            if cell["cell_type"] == "code":
                assert not re.search(r"^[!%]", text, re.M), path.stem
            for link in re.findall(r"\]\(([\w./-]+\.ipynb)\)", text):
                assert (path.parent / link).is_file(), f"{path.stem}: {link}"


def test_imports_never_run_in_a_circle():
    graph = {}
    for path in MODULES:
        nodes = [n for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.ImportFrom)]
        graph[path.stem] = {
            (n.module or "").removeprefix("churn_lab.") for n in nodes if n.level or "churn_lab" in n.module
        }

    def visit(name: str, above: tuple) -> None:
        assert name not in above, f"{' -> '.join(above)} -> {name}"
        for other in graph.get(name, ()):
            visit(other, (*above, name))

    for name in graph:
        visit(name, ())
    assert not graph["workspace"] - {"churn_lab"} and "train" not in graph["registry"]
    assert "cli" not in {other for others in graph.values() for other in others}


def test_outputs_come_out_again_in_order(tmp_path):
    result = validate(NOTEBOOKS, tmp_path)
    assert result.returncode == 0, result.stdout[-4000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_come_out_again_alone(path, tmp_path):
    result = validate([path], tmp_path)
    assert result.returncode == 0, result.stdout[-4000:]
