"""Advice is followed word by word: what a check says next must name what is there, and lose nothing."""

import re
import shlex
import shutil

import pytest
from git_ways import COMMIT, TRIAL, WALK, WRONG_WAYS, follow

from churn_lab.git_lab.git import Git
from churn_lab.git_lab.reset import build_state
from churn_lab.git_workflow import check_repository

EDIT = "# an hour of work that is not committed\n"
NAMED = [way for way in WRONG_WAYS if way.step > 2]


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """The project as steps 3 to 10 find it."""
    folder = tmp_path_factory.mktemp("states")
    for step in range(3, 11):
        build_state(folder / str(step) / "my-lab", step)
    return folder


@pytest.fixture
def at(states, tmp_path):
    """A function: a copy of the project as a step finds it, to be changed."""

    def copy(step):
        shutil.copytree(states / str(step) / "my-lab", tmp_path / "my-lab")
        return Git(tmp_path / "my-lab", seconds=1_767_800_000)

    return copy


def commands(advice):
    """What one would type from a piece of advice: the Git commands, and the line for the trial file."""
    for part in advice.split(" # ")[0].split("; "):
        if part.startswith(("git ", "write a line")):
            yield part


def paste(git, advice):
    """Run what a piece of advice says; what Git answers."""
    answers = []
    for command in commands(advice):
        if command.startswith("write a line"):
            (git.folder / TRIAL).parent.mkdir(exist_ok=True)
            (git.folder / TRIAL).write_text(f"line {git.seconds}\n")
        else:
            answers.append(git(command.removeprefix("git "), ok=False))
    return "".join(answers)


def commits(git, *starts):
    """What makes a commit the same one, rebased or not: who wrote what when."""
    listed = git(f"log --format=%at%x09%s {' '.join(starts)}", ok=False)
    return {line for line in listed.splitlines() if "Try a reset" not in line}


@pytest.mark.parametrize("way", NAMED, ids=lambda way: f"{way.step}: {way.words}")
def test_following_the_advice_loses_no_commit_and_no_edit(at, way):
    git = at(way.step)
    follow(git, list(way.actions))
    busy = any((git.folder / ".git" / name).exists() for name in ("MERGE_HEAD", "rebase-merge"))
    if not busy:
        (git.folder / "later.txt").write_text("x")
        git("add later.txt")
        git("commit -m 'Go on meanwhile' later.txt")
        git("branch -m main stamm")
        edited = git.folder / "src" / "evaluate.py"
        edited.write_text(edited.read_text() + EDIT)
    before = commits(git, "--branches", "HEAD")
    result = check_repository(git.folder, way.step)[0]
    assert not result.ok
    if not busy:
        assert not re.search(r"\bmain\b", result.next_step + " ".join(result.hints)), result.next_step
    assert shlex.split(result.next_step, comments=True)  # a shell would take the line
    answer = paste(git, result.next_step)
    assert not re.search(r"invalid reference|not something we can merge|unknown revision|not a valid|usage:", answer)
    said = {line for line in before if line.endswith("\tUp") and "the merge goes" in result.next_step}
    assert before - said <= commits(git, "--branches", "HEAD"), result.next_step
    if not busy:
        kept = edited.read_text() + git("stash show -p", ok=False) + git("log -p --branches -- src/evaluate.py")
        assert EDIT.strip() in kept, result.next_step


@pytest.mark.parametrize(("words", "step"), [("not merged", 5), ("no merge", 6), ("not reverted", 9), ("copied", 10)])
def test_following_the_advice_keeps_what_was_committed_on_no_branch(at, words, step):
    git = at(step)
    follow(git, list(next(way for way in WRONG_WAYS if (way.words, way.step) == (words, step)).actions))
    follow(git, ["checkout -q --detach", ("later.txt", "x"), "add later.txt", "commit -m 'On no branch'"])
    mine = git("rev-parse HEAD").strip()
    paste(git, check_repository(git.folder, step)[0].next_step)
    assert git(f"branch --contains {mine}", ok=False).strip()


def test_after_a_merge_that_dropped_a_side_and_another_commit_both_stay_and_the_change_comes_back(at):
    git = at(5)
    follow(git, ["switch main", "merge --no-ff -s ours -m Merge feature/api-request-id"])
    follow(git, [("later.txt", "x"), "add later.txt", "commit -m later"])
    merge, later = git("log -2 --reverse --format=%h --abbrev=7").split()
    result = check_repository(git.folder, 5)[0]
    assert merge in result.found and "reset" not in result.next_step
    shown = paste(git, result.next_step)
    assert "+    return uuid4().hex" in shown
    follow(git, ["checkout feature/api-request-id -- src/api.py", "commit -m 'Bring the ids back'"])
    assert check_repository(git.folder, 5)[0].ok
    assert {merge, later} <= set(git("log --format=%h --abbrev=7 main").split())


@pytest.mark.parametrize("published", [False, True])
def test_a_commit_on_the_wrong_branch_gets_a_branch_with_what_came_after_it_and_the_edits(at, published):
    git = at(4)
    follow(git, [part for part in WALK[4] if not str(part).startswith("switch")])
    follow(git, [("later.txt", "x"), "add later.txt", "commit -m later"])
    if published:
        follow(git, ["init -q --bare ../shared.git", "remote add origin ../shared.git", "push -q origin main"])
    else:
        (git.folder / "src" / "train.py").write_text("gate_f1 = 0.55  # half done\n")
    tip = git("rev-parse main")
    result = check_repository(git.folder, 4)[0]
    paste(git, result.next_step)
    assert check_repository(git.folder, 4)[0].ok
    if published:
        assert git("merge-base main origin/main") == tip  # what others have is still there
    else:
        assert git("rev-parse feature/api-request-id") == tip and "half done" in git("diff")
    follow(git, ["stash -q", "switch -q main", "merge -m Merge feature/api-request-id"])
    assert check_repository(git.folder, 5)[0].ok


@pytest.mark.parametrize(
    ("words", "step", "rounds"),
    [
        ("branch made afterwards", 4, 1),
        ("not merged", 5, 1),
        ("reverted", 5, 1),
        ("dropped", 7, 1),
        ("applied only", 7, 1),
        ("committed only", 8, 3),
        ("three times soft", 8, 2),
        ("not reverted", 9, 1),
        ("not rebased", 10, 1),
        ("merged into the branch", 10, 1),
        ("first commit lost", 10, 2),
        ("second commit lost", 10, 1),
        ("last commit lost", 10, 1),
        ("main went on", 10, 1),
    ],
)
def test_whoever_pastes_the_advice_gets_there(at, words, step, rounds):
    git = at(step)
    follow(git, list(next(way for way in WRONG_WAYS if (way.words, way.step) == (words, step)).actions))
    for _ in range(rounds):
        result = check_repository(git.folder, step)[0]
        assert not result.ok
        paste(git, result.next_step)
    assert check_repository(git.folder, step)[0].ok


def test_a_stash_that_was_dropped_can_be_had_back(at):
    git = at(7)
    follow(git, [*WALK[7][:2], "stash drop"])
    paste(git, check_repository(git.folder, 7)[0].next_step)
    assert "# TODO" in (git.folder / "src" / "rollback.py").read_text()


def test_a_hard_reset_is_not_advised_over_edits_without_a_word(at):
    git = at(8)
    follow(git, WALK[8][:-2])
    assert git("rev-parse --short=7 HEAD~1").strip() in check_repository(git.folder, 8)[0].next_step
    (git.folder / "src" / "api.py").write_text("half done\n")
    said = check_repository(git.folder, 8)[0].next_step
    assert said.startswith("git stash; git reset --hard") and "src/api.py is not committed" in said
    assert "# back: git reset --keep HEAD@{1}" in said


def test_the_hints_name_the_branch_that_is_there(at):
    git = at(5)
    git("branch -m main trunk")
    hints = check_repository(git.folder, 5)[0].hints
    assert "git switch trunk" in hints[2] and not re.search(r"\bmain\b|feature/", " ".join(hints))


def test_advice_names_the_branch_that_holds_the_commit(at):
    git = at(4)
    follow(git, ["switch -c ids", *WALK[4][1:], "branch -m main trunk", "switch trunk"])
    assert check_repository(git.folder, 5)[0].next_step == "git merge ids"


def test_a_name_that_is_taken_is_not_advised_again(at):
    git = at(4)
    follow(git, ["branch feature/api-request-id", *WALK[4][1:3], COMMIT])
    said = check_repository(git.folder, 4)[0].next_step
    assert said.startswith("git switch -c feature/api-request-id-2; ")
