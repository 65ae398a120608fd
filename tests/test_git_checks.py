"""The ten checks: every valid way passes, every wrong state fails and says why, and no check changes what it looks at."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from git_ways import RIGHT_WAYS, WALK, WRONG_WAYS, follow, try_way

from churn_lab.files import LabError
from churn_lab.git_lab import checks, undo_checks
from churn_lab.git_lab.git import Git, git_environment, run_git
from churn_lab.git_lab.repository import Lab
from churn_lab.git_lab.reset import API, DRIFT, GATE_50, GATE_62, TRAIN, build_state
from churn_lab.git_lab.steps import STEPS, fill_hints
from churn_lab.git_workflow import check_repository, choose_hints


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """The project as each step finds it; 11: all ten are done. Its clock is ahead of the ways', as some students' are."""
    folder = tmp_path_factory.mktemp("states")
    for step in range(1, 12):
        source = folder / str(step - 1) / "my-lab"
        if step == 1:
            build_state(folder / "1" / "my-lab", 1)
            continue
        shutil.copytree(source, folder / str(step) / "my-lab")
        git = Git(folder / str(step) / "my-lab", seconds=1_767_603_600 + 10_000 * step)
        follow(git, WALK[step - 1])
    return folder


@pytest.fixture
def at(states, tmp_path):
    """A function: a copy of the project as a step finds it, to be changed."""

    def copy(step, name="my-lab"):
        shutil.copytree(states / str(step) / "my-lab", tmp_path / "course" / name)
        return Git(tmp_path / "course" / name, seconds=1_767_800_000)

    return copy


def holding(folder):
    return [result.step for result in check_repository(folder) if result.ok]


def one(folder, step):
    return check_repository(folder, step)[0]


# --- ways ---


def name(way):
    return f"{way.step}: {way.words}"


@pytest.mark.parametrize("way", RIGHT_WAYS, ids=name)
def test_a_right_way_passes(at, way):
    result = try_way(at(way.step).folder, way)
    assert result.ok, f"{result.found}. Next: {result.next_step}"


@pytest.mark.parametrize("way", WRONG_WAYS, ids=name)
def test_a_wrong_way_fails_and_says_what_to_do(at, way):
    result = try_way(at(way.step).folder, way)
    assert not result.ok, result.found
    assert result.expected and result.found and result.next_step


def test_there_are_enough_ways():
    for step in STEPS:
        assert sum(way.step == step for way in RIGHT_WAYS) >= 3
        assert sum(way.step == step for way in WRONG_WAYS) >= 5


@pytest.mark.parametrize(
    ("words", "step", "found"),
    [
        ("empty commit", 2, "no .gitignore"),
        ("data committed", 2, "data/raw.csv"),
        ("added only", 3, "in the index, not committed"),
        ("a constant", 4, "does not return a new uuid's hex"),
        ("on the main branch", 4, "made on main itself"),
        ("squashed", 5, "a copy or a squash"),
        ("our side dropped", 5, "dropped z_threshold"),
        ("their side dropped", 5, "dropped the request id"),
        ("still open", 6, "still open"),
        ("markers committed", 6, "conflict markers"),
        ("something else dropped", 6, "dropped the request id"),
        ("dropped", 7, "a stash that is gone"),
        ("soft only", 8, "so far soft"),
        ("edited out", 9, "an edit"),
        ("reverted with more", 9, "more or less"),
        ("copied", 10, "older commit"),
        ("nothing to rebase", 10, "nothing to rebase"),
        ("merged into the branch", 10, "a merge on the branch"),
        ("not rebased", 10, "older commit"),
        ("joined by a merge commit", 10, "joined by a merge commit"),
        ("last commit lost", 10, "dropped a commit"),
    ],
)
def test_the_message_names_the_mistake(at, words, step, found):
    way = next(way for way in WRONG_WAYS if (way.words, way.step) == (words, step))
    assert found in try_way(at(step).folder, way).found


def test_the_whole_lab_step_by_step(at):
    git = at(1)
    for step, actions in WALK.items():
        follow(git, actions)
        assert holding(git.folder) == list(range(1, step + 1))


# --- other repositories ---


def test_nothing_depends_on_the_main_branchs_name(at):
    git = at(1)
    follow(git, ["init -b stamm"])
    for step in range(2, 11):
        renamed = [a.replace("main", "stamm") if isinstance(a, str) else a for a in WALK[step]]
        follow(
            git, [tuple(p.replace(">>> main", ">>> stamm") for p in a) if isinstance(a, tuple) else a for a in renamed]
        )
        assert one(git.folder, step).ok
    assert holding(git.folder) == list(range(1, 11))


def test_a_main_branch_that_is_renamed_half_way(at):
    git = at(6)
    git("branch -m production")
    (git.folder / ".git" / "churn-lab.json").unlink(missing_ok=True)
    assert holding(git.folder) == [1, 2, 3, 4, 5]


def test_another_locale_identity_and_configuration(at, monkeypatch, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text(
        "[user]\nname = Jörg 李\nemail = j@example.com\n[log]\ndecorate = full\nshowSignature = true\n"
        "[core]\nquotePath = true\nabbrev = 40\n[status]\nshort = true\n[format]\npretty = fuller\n[color]\nui = always\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    git = at(10)
    git.author = "Jörg 李"
    follow(git, WALK[10])
    assert holding(git.folder) == list(range(1, 11))


def test_line_ends_of_windows(at):
    git = at(1)
    follow(git, WALK[1] + ["config core.autocrlf true"])
    for path in (git.folder / "src").glob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    crlf = [
        tuple(text.replace("\n", "\r\n") for text in a) if isinstance(a, tuple) else a
        for n in range(2, 11)
        for a in WALK[n]
    ]
    crlf = [(".gitignore", "data/\nmodels/\nlogs/\n") if a[0] == ".gitignore" else a for a in crlf]
    follow(git, crlf)
    assert holding(git.folder) == list(range(1, 11))


def test_a_worktree(at, tmp_path):
    git = at(4)
    git("worktree add ../side -b feature/api-request-id")
    side = Git(git.folder.parent / "side", seconds=1_767_900_000)
    follow(side, WALK[4][1:])
    assert one(side.folder, 4).ok and one(git.folder, 4).ok
    assert holding(side.folder) == holding(git.folder) == [1, 2, 3, 4]


def test_a_moment_seen_in_a_worktree_counts_in_the_other(at):
    git = at(7)
    git("worktree add ../side -b trial")
    side = Git(git.folder.parent / "side", seconds=1_767_900_000)
    follow(side, WALK[8])
    assert one(git.folder, 8).ok


def test_work_goes_on_in_a_clone(at):
    git = at(6)
    git("clone -q . ../clone")
    clone = Git(git.folder.parent / "clone", seconds=1_767_900_000)
    follow(clone, [action for step in range(6, 11) for action in WALK[step]])
    assert holding(clone.folder) == list(range(1, 11))


def test_a_clone_of_a_finished_lab_has_all_but_the_moments(at):
    git = at(11)
    git(f"clone -q {git.folder.as_uri()} ../clone")
    assert holding(git.folder.parent / "clone") == [1, 2, 3, 4, 5, 6, 9, 10]


def test_more_commits_files_branches_and_tags(at):
    git = at(1)
    for step in range(1, 11):
        follow(git, WALK[step])
        follow(
            git,
            [(f"notes/{step}.md", "x"), "add notes", f"commit -m 'Note {step}'", f"tag v{step}", f"branch idea-{step}"],
        )
    assert holding(git.folder) == list(range(1, 11))


def test_packed_and_without_reflogs(at):
    git = at(11)
    check_repository(git.folder)
    git("reflog expire --expire=now --all")
    git("gc -q --prune=now")
    assert holding(git.folder) == list(range(1, 11))


def test_a_replaced_object_does_not_fool_a_check(at):
    git = at(11)
    good = git("rev-parse main").strip()
    git(f"update-ref refs/heads/main {git('rev-list --max-parents=0 main').strip()}")
    git("reset --hard -q")
    subprocess.run(["git", "-C", git.folder, "replace", git("rev-parse main").strip(), good], check=True)
    assert not one(git.folder, 5).ok


# --- memory ---


def test_what_was_seen_is_remembered(at):
    git = at(8)
    follow(git, [*WALK[8], "commit --allow-empty -m later"])
    shutil.rmtree(git.folder / "experiments", ignore_errors=True)
    assert one(git.folder, 8).ok
    (git.folder / ".git" / "churn-lab.json").unlink()
    assert not one(git.folder, 8).ok


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seen": 3}', "\0\0", '{"seen": {"popped": 1}}'])
def test_a_damaged_memory_is_begun_anew(at, content):
    git = at(7)
    (git.folder / ".git" / "churn-lab.json").write_text(content)
    assert 6 in holding(git.folder)
    assert json.loads((git.folder / ".git" / "churn-lab.json").read_text())["seen"]


def test_a_revert_that_was_seen_in_the_reflog_is_remembered_when_the_reflog_is_gone(at):
    git = at(9)
    follow(git, [*WALK[9], "commit --amend -m 'Take it back'"])
    assert one(git.folder, 9).ok
    git("reflog expire --expire=now --all")
    assert one(git.folder, 9).ok


def test_a_fast_forward_that_only_step_5_has_seen_is_remembered_when_the_reflog_is_gone(at):
    git = at(5)
    follow(git, ["switch main", "merge feature/api-request-id", "branch -d feature/api-request-id"])
    assert one(git.folder, 5).ok
    git("reflog expire --expire=now --all")
    assert one(git.folder, 5).ok and one(git.folder, 4).ok


def test_a_memory_that_cannot_be_written_costs_no_result(at, churn_lab):
    git = at(4)
    (git.folder / ".git" / "churn-lab.json").unlink(missing_ok=True)
    (git.folder / ".git" / "churn-lab.json").mkdir()
    code, out, err = churn_lab("git", "check", 3, "--repo", git.folder)
    assert code == 0 and "takes z_threshold to 2.0" in out
    assert "not kept for the next check" in err and "Next: " in err


# --- what a clone cannot tell ---


@pytest.fixture
def clone(at):
    """A clone of a finished lab without the merge commit of step 5, the branch deleted: what an instructor gets."""
    git = at(4)
    follow(git, [*WALK[4], "switch main", "merge feature/api-request-id", "branch -d feature/api-request-id"])
    for step in range(6, 11):
        follow(git, WALK[step])
    follow(git, ["switch -c trial", "switch main", "branch -D trial"])
    assert holding(git.folder) == list(range(1, 11))
    git(f"clone -q {git.folder.as_uri()} ../clone")
    return Git(git.folder.parent / "clone", seconds=1_767_900_000)


def test_a_clone_says_what_it_cannot_tell_and_where_one_could_see_it(clone):
    results = {result.step: result for result in check_repository(clone.folder)}
    assert {step: result.ok for step, result in results.items()} == {
        step: None if step in (4, 5, 7, 8) else True for step in range(1, 11)
    }
    for step in (4, 5, 7, 8):
        assert "clone" in results[step].found and "check" in results[step].next_step
        assert not any(word in results[step].found for word in ("itself", "copy", "squash", "never"))


def test_a_revert_with_other_words_cannot_be_told_in_a_clone(at):
    git = at(9)
    follow(git, [*WALK[9], "commit --amend -m 'Take it back'"])
    git(f"clone -q {git.folder.as_uri()} ../clone")
    result = one(git.folder.parent / "clone", 9)
    assert result.ok is None and "as in a clone" in result.found


def test_the_shell_shows_a_question_mark_for_what_a_clone_cannot_tell(clone, churn_lab):
    code, out, _ = churn_lab("git", "check", 4, "--repo", clone.folder)
    assert code == 1 and "?" in out and "NO" not in out
    answer = json.loads(churn_lab("git", "check", 4, "--json", "--repo", clone.folder)[1])
    assert answer["steps"][0]["ok"] is None and answer["ok"] is False


def test_a_commit_made_on_main_is_still_told_from_one_that_came_by_a_merge(at):
    git = at(4)
    follow(git, WALK[4][1:])
    assert one(git.folder, 4).ok is False and "made on main itself" in one(git.folder, 5).found


# --- a check only looks ---


def snapshot(folder):
    kept = {}
    for root, _, names in os.walk(folder):
        for file in names:
            path = os.path.join(root, file)
            if not file.startswith("churn-lab.json"):
                kept[path] = (os.stat(path).st_mtime_ns, Path(path).read_bytes())
    return kept


@pytest.mark.parametrize("step", [3, 7, 11])
def test_a_check_changes_nothing_but_its_memory(at, step):
    git = at(step)
    (git.folder / TRAIN).touch()  # a stale index entry, which `git status` would refresh
    before = snapshot(git.folder.parent)
    check_repository(git.folder)
    assert snapshot(git.folder.parent) == before


def test_a_check_runs_nothing_that_the_repository_brings(at, tmp_path):
    git = at(7)
    trap = tmp_path / "ran"
    program = f"touch '{trap.as_posix()}'; cat"
    settings = [
        "core.fsmonitor",
        "filter.trap.clean",
        "filter.trap.smudge",
        "diff.trap.textconv",
        "diff.trap.command",
        "diff.external",
        "core.pager",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "gpg.program",
        "alias.log",
        "alias.cat-file",
    ]
    for setting in settings:
        subprocess.run(["git", "-C", git.folder, "config", setting, program], check=True)
    (git.folder / ".gitattributes").write_text("*.py filter=trap diff=trap\n")
    (git.folder / "src" / "sitecustomize.py").write_text(f"open({str(trap)!r}, 'w')\n")
    (git.folder / TRAIN).write_text(f"open({str(trap)!r}, 'w')\ngate_f1 = 0.6\n")
    hooks = git.folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "reference-transaction", "pre-commit", "fsmonitor-watchman"):
        (hooks / hook).write_text(f"#!/bin/sh\n{program}\n")
        (hooks / hook).chmod(0o755)
    assert 6 in holding(git.folder)
    assert not trap.exists()


def test_an_inherited_git_dir_is_not_what_is_checked(at, monkeypatch):
    done, fresh = at(11, "done"), at(3, "fresh")
    monkeypatch.setenv("GIT_DIR", str(done.folder / ".git"))
    assert holding(fresh.folder) == [1, 2]


def test_a_link_out_of_the_project_is_not_followed(at, tmp_path):
    git = at(7)
    (tmp_path / "outside.py").write_text("# TODO: not here\n")
    (git.folder / "src" / "rollback.py").unlink()
    (git.folder / "src" / "rollback.py").symlink_to(tmp_path / "outside.py")
    assert "no TODO" in one(git.folder, 7).found


# --- repositories in trouble ---


def test_a_folder_that_is_not_there(tmp_path):
    results = check_repository(tmp_path / "none")
    assert (
        not any(result.ok for result in results) and results[0].next_step == f"churn-lab git start {tmp_path / 'none'}"
    )


def test_a_bare_repository(at):
    git = at(11)
    git("clone -q --bare . ../bare.git")
    assert one(git.folder.parent / "bare.git", 5).found == "a bare one"


def test_an_empty_repository(at):
    git = at(1)
    git("init")
    assert holding(git.folder) == [1]
    assert all(result.next_step for result in check_repository(git.folder)[1:])


@pytest.mark.parametrize("damage", ["commit", "HEAD", "index", "packed"])
def test_a_damaged_repository(at, damage):
    git = at(6)
    inside = git.folder / ".git"
    if damage == "commit":
        oid = git("rev-parse HEAD~1").strip()
        path = inside / "objects" / oid[:2] / oid[2:]
        path.chmod(0o644)
        path.write_bytes(b"rubbish")
    elif damage == "packed":
        git("gc -q")
        pack = next((inside / "objects" / "pack").glob("*.pack"))
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:200])
    else:
        (inside / damage).write_bytes(b"rubbish")
    failed = [result for result in check_repository(git.folder) if not result.ok]
    assert failed and all(result.found and result.next_step for result in failed)
    assert any("fsck" in result.next_step for result in failed)


def test_a_commit_that_is_missing(at):
    git = at(6)
    oid = git("rev-parse HEAD~1").strip()
    path = git.folder / ".git" / "objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    path.unlink()
    results = check_repository(git.folder)
    assert len(results) == 10
    assert any("damaged or missing" in result.found and "fsck" in result.next_step for result in results)


def test_a_file_that_is_missing_from_the_history_is_called_missing(at):
    git = at(5)
    blob = git("rev-parse feature/api-request-id:src/api.py").strip()
    path = git.folder / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.unlink()
    result = one(git.folder, 4)
    assert "src/api.py of commit" in result.found and "missing" in result.found and "fsck" in result.next_step
    assert one(git.folder, 3).ok


def test_a_committed_file_that_is_no_python_is_called_so(at):
    git = at(6)
    follow(git, [(TRAIN, "gate_f1 = 0.55", ">>>>>>> b\ngate_f1 = 0.55"), "commit -a -m x"])
    assert "Python cannot read" in one(git.folder, 6).found


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (
            ["switch -c b", GATE_62, "commit -a -m b", "switch main", GATE_50, "commit -a -m m", "!merge b"],
            "a merge is not",
        ),
        (
            ["switch -c b", GATE_62, "commit -a -m b", "switch main", GATE_50, "commit -a -m m", "!rebase b"],
            "a rebase is not",
        ),
        (
            ["switch -c b", GATE_62, "commit -a -m b", "switch main", GATE_50, "commit -a -m m", "!cherry-pick b"],
            "a cherry-pick is",
        ),
        (["bisect start", "bisect bad"], "a bisect is not"),
    ],
)
def test_in_the_middle_of_something(at, actions, words):
    git = at(6)
    follow(git, actions)
    assert holding(git.folder)[:5] == [1, 2, 3, 4, 5]
    assert words in one(git.folder, 9).found


def test_a_detached_head(at):
    git = at(11)
    git("checkout -q --detach HEAD~3")
    assert holding(git.folder) == list(range(1, 11))


def test_a_shallow_clone(at):
    git = at(11)
    subprocess.run(
        ["git", "clone", "-q", "--depth", "2", git.folder.as_uri(), git.folder.parent / "shallow"],
        check=True,
        env=git_environment(),
    )
    results = check_repository(git.folder.parent / "shallow")
    assert [result.step for result in results if result.ok][:2] == [1, 2]


def grow(git, commits, path, text):
    """Add many commits to main, in one stream; every second one goes back to an older setting."""
    tip, stream = git("rev-parse main").strip(), []
    for n in range(commits):
        odd = n % 2
        body = text.format(n=n, last_n=500 if odd else 200, z=2.0 if odd else 2.5, bad="" if odd else "BAD CHANGE")
        start = f"from {tip}\n" if n == 0 else ""
        stream.append(f"commit refs/heads/main\ncommitter A <a@b> {1767900000 + n} +0000\ndata 1\nm\n{start}")
        stream.append(f"M 100644 inline {path}\ndata {len(body)}\n{body}\n")
    assert run_git(git.folder, "fast-import", "--quiet", "--force", stdin="".join(stream).encode()).returncode == 0
    git("reset -q --hard main")


# --- long histories ---


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (TRAIN, "gate_f1 = 0.60\nx = {n}\n"),
        (DRIFT, "z_threshold = 2.0\nlast_n = {last_n}\nx = {n}\n"),
        (DRIFT, "z_threshold = {z}\nlast_n = 500\nx = {n}\n"),
        (API, "# {bad}\nx = {n}\n"),
    ],
)
def test_a_check_asks_and_walks_no_more_often_when_a_history_is_ten_times_as_long(at, path, text, monkeypatch):
    def count(commits):
        git = at(11, f"lab-{commits}")
        grow(git, commits, path, text)
        calls = Counter()

        def counted(name, function):
            def call(*args, **kwargs):
                calls[name] += 1
                return function(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(Lab, "reach", counted("reach", Lab.reach))
            for module in (checks, undo_checks):
                patch.setattr(module, "descendants", counted("descendants", module.descendants))
            patch.setattr(subprocess, "run", counted("git", subprocess.run))
            check_repository(git.folder)
        return calls

    short, long = count(30), count(300)
    assert set(short) == {"reach", "descendants", "git"}
    assert all(long[name] <= short[name] + 3 for name in short), (short, long)


# --- answers ---


def test_hints_get_clearer_and_there_are_three(at):
    results = check_repository(at(4).folder)
    assert [choose_hints(results, count) for count in (0, 1, 3, 9)] == [fill_hints(None, 4)[:n] for n in (0, 1, 3, 3)]
    assert choose_hints(check_repository(at(4, "again").folder, 1), 3) == []


@pytest.mark.parametrize("step", [0, 11, -1])
def test_a_step_that_is_not_there(tmp_path, step):
    with pytest.raises(LabError, match="a step from 1 to 10"):
        check_repository(tmp_path, step)


def test_the_shell_says_it_with_exit_codes(at):
    git = at(4)
    (git.folder / ".git" / "churn-lab.json").unlink(missing_ok=True)

    def shell(*arguments, said=""):
        command = [Path(sys.executable).with_name("churn-lab"), "git", *arguments]
        environment = {**os.environ, "COLUMNS": "200"}
        return subprocess.run(
            command, input=said, capture_output=True, text=True, env=environment, timeout=60, check=False
        )

    assert shell("check", "3", "--repo", git.folder).returncode == 0
    failed = shell("check", "--repo", git.folder, "--hint", "--hint")
    assert failed.returncode == 1 and "Hint 2" in failed.stdout and "Hint 3" not in failed.stdout
    assert "Step 4: expected" in failed.stdout and "Next: " in failed.stdout
    answer = json.loads(shell("check", "--json", "--repo", git.folder).stdout)
    assert not answer["ok"] and [step["ok"] for step in answer["steps"]] == [True] * 3 + [False] * 7
    svg = git.folder.parent / "graph.svg"
    drawn = shell("graph", "--repo", git.folder, "--svg", svg)
    assert "(HEAD → main)" in drawn.stdout and svg.read_text().startswith("<svg")
    assert shell("reset", "5", "--into", git.folder.parent / "new").returncode == 0
    assert shell("check", "4", "--repo", git.folder.parent / "new").returncode == 0
    assert shell("reset", "5", "--into", git.folder).returncode == 1
    refused = shell("reset", "5", "--repo", git.folder, said="n\n")
    assert refused.returncode == 1 and "refs/churn-lab" not in git("for-each-ref")
