"""A Git that obeys nobody else: environment, errors, timeouts, output."""

import json
import os

import pytest

from churn_lab.files import LabError
from churn_lab.git_lab.git import Git, git_environment, run_git
from churn_lab.git_lab.reset import WALK, build_state, do_actions
from churn_lab.workspace import create_workspace


def test_the_environment_has_nothing_inherited_from_git(monkeypatch):
    monkeypatch.setenv("GIT_AUTHOR_NAME", "somebody")
    monkeypatch.setenv("Git_Dir", "elsewhere")
    found = git_environment()
    assert "GIT_AUTHOR_NAME" not in found and "Git_Dir" not in found
    assert found["LC_ALL"] == "C" and found["GIT_CONFIG_GLOBAL"] == os.devnull


def test_a_failing_command_says_what_git_said(tmp_path):
    with pytest.raises(LabError, match="not a git repository"):
        Git(tmp_path)("status")


def test_a_command_that_hangs_is_stopped(tmp_path):
    git = Git(tmp_path)
    git("init")
    with pytest.raises(LabError, match="still running after 0.2 s"):
        run_git(tmp_path, "-c", "alias.wait=!sleep 20", "wait", timeout=0.2)


def test_no_git_at_all_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="no git on this machine"):
        run_git(tmp_path, "status")


def test_progress_and_places_are_kept_out_of_the_output(tmp_path):
    git = Git(tmp_path / "my-lab")
    git.folder.mkdir()
    assert git("init") == "Initialized empty Git repository in my-lab/.git/\n"
    git = build_state(tmp_path / "other", 10)
    do_actions(git, WALK[10][:-3])
    assert git("rebase main") == "Successfully rebased and updated refs/heads/feature/drift-last-n.\n"


# --- which repository ---


def git_check(folder, monkeypatch, churn_lab):
    """The steps that hold, asked from a folder and with nothing named."""
    monkeypatch.chdir(folder)
    code, out, err = churn_lab("git", "check", "--json")
    return [step["step"] for step in json.loads(out)["steps"] if step["ok"]] if out else err


def test_a_clone_and_a_linked_worktree_are_what_is_checked_when_one_stands_in_them(tmp_path, monkeypatch, churn_lab):
    git = build_state(tmp_path / "course" / "my-lab", 5)
    (tmp_path / "course" / "nbs").mkdir()
    (tmp_path / "course" / "nbs" / "01_project_structure.ipynb").touch()
    git(f"clone -q --branch main {git.folder.as_uri()} ../handed-in")
    git("worktree add -q ../side -b side main")
    git("update-ref -d refs/heads/feature/api-request-id")
    git("-C ../handed-in remote remove origin")
    assert git_check(git.folder.parent, monkeypatch, churn_lab) == [1, 2, 3]
    handed_in, side = git.folder.parent / "handed-in", git.folder.parent / "side"
    follow = Git(handed_in, seconds=1_767_900_000)
    do_actions(follow, WALK[4])
    assert git_check(handed_in, monkeypatch, churn_lab) == [1, 2, 3, 4]
    assert git_check(handed_in / "src", monkeypatch, churn_lab) == [1, 2, 3, 4]
    assert git_check(side, monkeypatch, churn_lab) == [1, 2, 3]
    monkeypatch.setenv("CHURN_LAB_HOME", str(handed_in))
    assert git_check(side, monkeypatch, churn_lab) == [1, 2, 3, 4]


@pytest.mark.parametrize("command", [["start"], ["check"], ["graph"], ["reset", "4", "--yes"]])
def test_outside_of_any_project_or_course_nothing_is_written_and_it_is_said(tmp_path, monkeypatch, churn_lab, command):
    monkeypatch.chdir(tmp_path)
    code, out, err = churn_lab("git", *command)
    assert code == 1 and not out and "none, and no course there either" in err and "Next: " in err
    assert list(tmp_path.iterdir()) == []


def test_a_graph_is_not_that_of_the_repository_around(tmp_path, churn_lab):
    run_git(tmp_path, "init", "-q")
    create_workspace(tmp_path / "my-lab")
    code, out, err = churn_lab("git", "graph", "--repo", tmp_path / "my-lab")
    assert code == 1 and not out and "git init" in err


def test_start_names_the_folder_that_it_writes_to(tmp_path, churn_lab):
    code, out, _ = churn_lab("git", "start", tmp_path / "new")
    assert code == 0 and str(tmp_path / "new") in out and (tmp_path / "new" / "src" / "train.py").is_file()
    assert "nothing was missing" in churn_lab("git", "start", tmp_path / "new")[1]


def test_a_reset_and_a_graph_are_of_the_project_one_stands_in(tmp_path, monkeypatch, churn_lab):
    git = build_state(tmp_path / "lab", 3)
    monkeypatch.chdir(git.folder / "src")
    assert "Start the project" in churn_lab("git", "graph")[1]
    code, out, _ = churn_lab("git", "reset", "5", "--yes")
    assert code == 0 and str(git.folder) in out and "every request an id" in git("log --all --oneline")
