"""A Git that obeys nobody else: environment, errors, timeouts, output."""

import os

import pytest

from churn_lab.files import LabError
from churn_lab.git_lab.git import Git, git_environment, run_git
from churn_lab.git_lab.reset import WALK, build_state, do_actions


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
