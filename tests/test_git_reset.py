"""Any state of the Git lab, built by a script: the same each time, and nothing lost on the way."""

import shutil
import subprocess

import pytest
from git_ways import WALK, follow

from churn_lab.files import LabError
from churn_lab.git_lab.git import Git, run_git
from churn_lab.git_lab.repository import GIVEN, Lab, read_memory
from churn_lab.git_lab.reset import ADD_TODO, build_state, reset_in_place, save_state
from churn_lab.git_workflow import check_repository


@pytest.fixture(scope="module")
def at_six(tmp_path_factory):
    return build_state(tmp_path_factory.mktemp("states") / "my-lab", 6)


@pytest.fixture
def git(at_six, tmp_path):
    """A project at the beginning of step 6, to be changed."""
    shutil.copytree(at_six.folder, tmp_path / "my-lab")
    return Git(tmp_path / "my-lab", seconds=at_six.seconds)


def refs_of(folder):
    return run_git(folder, "for-each-ref", "--format=%(refname) %(objectname)").stdout.decode()


def test_two_runs_give_the_same_commit_ids(tmp_path):
    first, second = (build_state(tmp_path / name, 11) for name in ("one", "two"))
    assert first("rev-parse HEAD") == second("rev-parse HEAD")
    assert refs_of(tmp_path / "one") == refs_of(tmp_path / "two")


def test_an_inherited_git_dir_is_ignored(tmp_path, monkeypatch):
    outside = build_state(tmp_path / "outside", 3)
    before = refs_of(outside.folder), (outside.folder / ".git" / "index").read_bytes()
    monkeypatch.setenv("GIT_DIR", str(outside.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(outside.folder))
    monkeypatch.setenv("GIT_INDEX_FILE", str(outside.folder / ".git" / "index"))
    build_state(tmp_path / "my-lab", 11)
    assert all(result.ok for result in check_repository(tmp_path / "my-lab"))
    assert (refs_of(outside.folder), (outside.folder / ".git" / "index").read_bytes()) == before


@pytest.mark.parametrize("step", [1, 2, 7, 10])
def test_a_reset_builds_the_state_before_a_step(tmp_path, step):
    build_state(tmp_path / "lab", step)
    held = [result.ok for result in check_repository(tmp_path / "lab")]
    assert held == [number < step for number in range(1, 11)]


def test_a_reset_says_what_was_not_the_students_own(tmp_path):
    build_state(tmp_path / "lab", 9)
    assert check_repository(tmp_path / "lab", 8)[0].found == GIVEN
    assert read_memory(tmp_path / "lab" / ".git")["seen"]["popped"] == GIVEN


def test_a_reset_does_not_touch_a_folder_with_files(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(LabError, match="a new or empty folder"):
        build_state(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("step", [2, 3, 7, 10])
def test_a_reset_in_place_goes_on_from_there_and_loses_nothing(git, step):
    branches = refs_of(git.folder)
    (git.folder / "src" / "train.py").write_text("half done\n")
    (git.folder / "new.txt").write_text("never committed\n")
    place = reset_in_place(git.folder, step)
    assert [result.ok for result in check_repository(git.folder)] == [number < step for number in range(1, 11)]
    assert git(f"show {place}/worktree:src/train.py") == "half done\n"
    assert git(f"show {place}/worktree:new.txt") == "never committed\n"
    assert refs_of(git.folder).count(place) == branches.count("refs/heads/") + 1
    follow(git, [action for number in range(step, 11) for action in WALK[number]])
    assert all(result.ok for result in check_repository(git.folder))


@pytest.mark.parametrize("command", ["merge experiment/strict-gate", "rebase experiment/strict-gate"])
def test_a_reset_in_place_leaves_a_merge_or_a_rebase(git, command):
    follow(git, [*WALK[6][:6], "!" + command])
    reset_in_place(git.folder, 6)
    assert git("status --porcelain=v2 --branch").splitlines()[1:] == ["# branch.head main"]
    follow(git, WALK[6])
    assert check_repository(git.folder, 6)[0].ok


def test_a_second_reset_keeps_the_first_ones_state(git):
    assert [reset_in_place(git.folder, 4) for _ in range(2)] == ["refs/churn-lab/1", "refs/churn-lab/2"]


def test_saving_a_state_changes_nothing_else(git):
    (git.folder / "src" / "train.py").write_text("half done\n")
    before = git("status --porcelain"), git("rev-parse HEAD"), (git.folder / ".git" / "index").read_bytes()
    save_state(Lab(git.folder))
    assert (git("status --porcelain"), git("rev-parse HEAD"), (git.folder / ".git" / "index").read_bytes()) == before


def test_a_reset_in_place_runs_no_program_of_the_repository(git, tmp_path):
    trap = tmp_path / "ran"
    program = f"touch '{trap.as_posix()}'; cat"
    for name in ("clean", "smudge", "process"):
        subprocess.run(["git", "-C", git.folder, "config", f"filter.trap.{name}", program], check=True)
    (git.folder / ".gitattributes").write_text("*.py filter=trap\n")
    hook = git.folder / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{program}\n")
    hook.chmod(0o755)
    (git.folder / "src" / "train.py").write_text("half done\n")
    reset_in_place(git.folder, 8)
    assert not trap.exists()


@pytest.mark.parametrize("step", [0, 1, 11])
def test_a_step_that_cannot_be_reset_in_place(tmp_path, step):
    build_state(tmp_path / "lab", 3)
    with pytest.raises(LabError, match="a step from 2 to 10"):
        reset_in_place(tmp_path / "lab", step)


def test_the_main_branch_after_a_reset_is_main(git):
    git("branch -m production")
    reset_in_place(git.folder, 5)
    assert Lab(git.folder).main_name == "main"


def test_a_stash_from_before_a_reset_does_not_count_after_it(git):
    follow(git, [part for step in (6, 7) for part in WALK[step]])
    assert check_repository(git.folder, 7)[0].ok
    reset_in_place(git.folder, 7)
    follow(git, [ADD_TODO])
    result = check_repository(git.folder, 7)[0]
    assert not result.ok and "never stashed" in result.found
    follow(git, ["stash", "stash pop"])
    assert check_repository(git.folder, 7)[0].ok


def test_a_rebase_from_before_a_reset_does_not_count_after_it(git):
    follow(git, [part for step in range(6, 11) for part in WALK[step]])
    assert check_repository(git.folder, 10)[0].ok
    reset_in_place(git.folder, 10)
    follow(git, [("README.md", "# My lab\n"), "add README.md", "commit -m x", *WALK[10][:3]])  # never rebased
    assert "nothing to rebase" in check_repository(git.folder, 10)[0].found
    follow(git, ["switch main", ("README.md", "# Mine\n"), "commit -a -m y", "switch -", "rebase main"])
    assert check_repository(git.folder, 10)[0].ok


def test_branches_that_are_brought_back_after_a_reset_count_again(git):
    follow(git, [part for step in range(6, 11) for part in WALK[step]])
    place = reset_in_place(git.folder, 6)
    git(f"reset -q --keep {place}/heads/main")
    held = [result.step for result in check_repository(git.folder) if result.ok]
    assert held == [1, 2, 3, 4, 5, 6, 9, 10]
    memory = git.folder / ".git" / "churn-lab-1.json"
    memory.replace(memory.with_name("churn-lab.json"))
    assert all(result.ok for result in check_repository(git.folder))


def test_what_was_seen_before_a_reset_is_kept_beside_the_new_memory(git):
    follow(git, [part for step in (6, 7) for part in WALK[step]])
    number = reset_in_place(git.folder, 7).rsplit("/", 1)[1]
    assert "popped" in (git.folder / ".git" / f"churn-lab-{number}.json").read_text()


def test_a_reset_keeps_what_the_students_own_rules_ignore(git):
    (git.folder / ".gitignore").write_text("src/notes.py\n.gitignore\n")
    place = reset_in_place(git.folder, 2)
    assert git(f"show {place}/worktree:.gitignore") == "src/notes.py\n.gitignore\n"


def test_a_reset_leaves_the_registry_on_the_disk_and_keeps_what_was_tracked_of_it(git):
    (git.folder / "registry").mkdir(exist_ok=True)
    pointer = git.folder / "registry" / "current_model.txt"
    pointer.write_text("v1\n")
    git("add -f registry")
    git("commit -q -m 'Also the registry'")
    with (git.folder / ".gitignore").open("a") as rules:
        rules.write("registry/\n")
    pointer.write_text("v2\n")
    place = reset_in_place(git.folder, 7)
    assert pointer.read_text() == "v2\n" and git(f"show {place}/worktree:registry/current_model.txt") == "v2\n"


def test_a_reset_does_not_take_branches_from_another_working_tree(git):
    git("worktree add -q ../side -b trial")
    before = refs_of(git.folder)
    with pytest.raises(LabError, match="one working tree"):
        reset_in_place(git.folder, 4)
    assert refs_of(git.folder) == before


def test_a_reset_in_a_shell_says_how_to_get_everything_back(git, churn_lab):
    (git.folder / "src" / "train.py").write_text("half done\n")
    code, out, _ = churn_lab("git", "reset", 4, "--yes", "--repo", git.folder)
    assert code == 0
    git("restore --source refs/churn-lab/1/worktree src/train.py")
    git("branch mine refs/churn-lab/1/heads/main")
    assert "refs/churn-lab/1/worktree" in out and "git branch" in out
    assert (git.folder / "src" / "train.py").read_text() == "half done\n"
