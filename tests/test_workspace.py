"""One project, found from wherever one stands, and never somebody else's."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, snapshot

from churn_lab.course import practice_copy
from churn_lab.files import LabError
from churn_lab.workspace import Workspace, create_workspace, find_workspace, locate_workspace


def test_init_adds_what_is_missing_and_touches_nothing_else(tmp_path):
    create_workspace(tmp_path / "lab")
    script = tmp_path / "lab" / "src" / "train.py"
    script.write_text("gate_f1 = 0.7  # mine\n")
    (tmp_path / "lab" / "src" / "rollback.py").unlink()
    assert create_workspace(tmp_path / "lab") == ["src/rollback.py"]
    assert script.read_text() == "gate_f1 = 0.7  # mine\n"


@pytest.fixture
def course(tmp_path):
    """A checkout of the course with a project beside its notebooks."""
    (tmp_path / "course" / "nbs").mkdir(parents=True)
    (tmp_path / "course" / "nbs" / "01_project_structure.ipynb").touch()
    create_workspace(tmp_path / "course" / "my-lab")
    return tmp_path / "course"


def test_the_project_is_the_named_one_then_the_variables_then_the_nearest_then_the_courses(
    course, tmp_path, monkeypatch
):
    named, home = tmp_path / "named", tmp_path / "home"
    create_workspace(course / "second-lab")
    monkeypatch.chdir(course / "nbs")
    assert locate_workspace().root == course / "my-lab"
    monkeypatch.chdir(course / "second-lab" / "data")
    assert locate_workspace().root == course / "second-lab"
    monkeypatch.setenv("CHURN_LAB_HOME", str(home))
    assert locate_workspace().root == home
    assert locate_workspace(named).root == named


def test_a_second_project_in_the_course_is_worked_in_and_the_first_is_left_alone(churn_lab, course, monkeypatch):
    monkeypatch.chdir(course)
    assert churn_lab("init", "second-lab")[0] == 0
    before = snapshot(course / "my-lab")
    monkeypatch.chdir(course / "second-lab")
    code, out, _ = churn_lab("generate", "--rows", "77")
    assert code == 0 and str(course / "second-lab" / "data" / "raw.csv") in out
    assert snapshot(course / "my-lab") == before
    assert len((course / "second-lab" / "data" / "raw.csv").read_text().splitlines()) == 78


WRITING = (["generate"], ["prepare"], ["train"], ["rollback"], ["drift"], ["registry", "repair"], ["serve"], ["run"])


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_in_an_unrelated_folder_a_command_refuses_and_writes_nothing(command, tmp_path):
    program = "from churn_lab.cli import main; main()"  # a process of its own: the kit's checkout is where its code is
    kit = snapshot(ROOT / "my-lab") if (ROOT / "my-lab").exists() else None
    done = subprocess.run(
        [sys.executable, "-c", program, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and f"Expected a lab project at or above {tmp_path}" in done.stderr
    assert "Next: " in done.stderr and "Traceback" not in done.stderr and not list(tmp_path.iterdir())
    assert kit == (snapshot(ROOT / "my-lab") if (ROOT / "my-lab").exists() else None)


def test_a_clone_of_a_project_is_a_project_although_git_keeps_no_empty_folder(course, tmp_path, monkeypatch):
    clone = course / "clone"
    shutil.copytree(course / "my-lab", clone)
    shutil.rmtree(clone / "registry")
    monkeypatch.chdir(clone / "src")
    assert find_workspace().root == clone


def test_init_in_an_unrelated_folder_makes_my_lab_there(churn_lab, tmp_path):
    code, out, _ = churn_lab("init")
    assert code == 0 and str(tmp_path / "my-lab") in out
    assert [path.name for path in tmp_path.iterdir()] == ["my-lab"]


def test_no_project_in_a_named_folder_is_an_error_that_names_the_command(tmp_path):
    with pytest.raises(LabError, match="churn-lab init"):
        find_workspace(tmp_path / "nowhere")


def test_stubs_are_made_in_a_folder_of_their_own(churn_lab, tmp_path):
    assert churn_lab("init", tmp_path / "lab")[0] == 0
    code, _, error = churn_lab("init", tmp_path / "lab", "--build")
    assert code == 1 and "churn-lab init --build my-own" in error
    assert (
        churn_lab("init", tmp_path / "own", "--build")[0] == 0 and "..." in (tmp_path / "own/src/train.py").read_text()
    )


def test_a_practice_copy_takes_no_environment_and_stumbles_over_no_dead_link(tmp_path):
    lab = Workspace(tmp_path / "lab")
    create_workspace(lab.root)
    (lab.root / "venv").mkdir()
    (lab.root / "venv" / "pyvenv.cfg").write_text("home = /usr\n")
    if os.name == "posix":
        (lab.root / "dead").symlink_to(tmp_path / "nowhere")
    with practice_copy(lab) as practice:
        assert (practice.root / "src" / "train.py").is_file() and not (practice.root / "venv").exists()
