"""The ten checks: every valid way passes, every wrong state fails and says why, and no check changes what it looks at."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from git_ways import RIGHT_WAYS, WALK, WRONG_WAYS, follow, try_way

from churn_lab.files import LabError
from churn_lab.git_lab.git import Git, git_environment, run_git
from churn_lab.git_lab.reset import GATE_50, GATE_62, TRAIN, build_state
from churn_lab.git_lab.source import gives_request_id, read_settings
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
    """Add many commits to main, in one stream."""
    tip, stream = git("rev-parse main").strip(), []
    for n in range(commits):
        body = text.format(n)
        start = f"from {tip}\n" if n == 0 else ""
        stream.append(f"commit refs/heads/main\ncommitter A <a@b> {1767900000 + n} +0000\ndata 1\nm\n{start}")
        stream.append(f"M 100644 inline {path}\ndata {len(body)}\n{body}\n")
    assert run_git(git.folder, "fast-import", "--quiet", "--force", stdin="".join(stream).encode()).returncode == 0
    git("reset -q --hard main")


@pytest.mark.parametrize(("path", "text"), [("notes.txt", "{}\n"), (TRAIN, "gate_f1 = 0.60\nx = {}\n")])
def test_ten_thousand_commits_take_seconds(at, path, text):
    git = at(11)
    grow(git, 10_000, path, text)
    start = time.perf_counter()
    listed = git("rev-list --all --objects")
    reading = time.perf_counter() - start
    start = time.perf_counter()
    held = holding(git.folder)
    took = time.perf_counter() - start
    assert held == list(range(1, 11)) and listed.count("\n") > 20_000
    assert took < 3 or took < 20 * reading, f"{took:.1f} s; listing the objects takes {reading:.1f} s"


# --- reading code ---


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("z = 2.0", 2.0),
        ("z=2", 2),
        ("z: float = 2.0  # hm\r\n", 2.0),
        ("z = 1\nz = 2", 2),
        ("a = z = 3", 3),
        ("# z = 2", None),
        ("'z = 2'", None),
        ("z = '2'", None),
        ("z = True", None),
        ("z = f()", None),
        ("def f():\n    z = 2", None),
        ("<<<<<<< HEAD\nz = 2", None),
        ("z = (" * 200, None),
        ("\ufeffz = 4", 4),
        ("z: float", None),
    ],
)
def test_a_setting_is_read_from_the_code(source, value):
    assert read_settings(source.encode()).get("z") == value


CALL = "\napp = create_app(LAB, new_request_id=new_request_id)\n"


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ("from uuid import uuid4\ndef new_request_id():\n    return uuid4().hex", True),
        ("import uuid as u\ndef new_request_id():\n    return u.uuid4().hex", True),
        ("import uuid\nnew_request_id = lambda: uuid.uuid4().hex", True),
        ("import secrets\ndef new_request_id():\n    return secrets.token_hex(16)", True),
        ("from uuid import uuid4\ndef new_request_id():\n    fresh = uuid4()\n    return fresh.hex", True),
        ("from uuid import uuid4\ndef new_request_id():\n    return str(uuid4()).replace('-', '')", True),
        ("from uuid import uuid4\ndef new_request_id():\n    return str(uuid4())", False),
        (
            "from uuid import uuid4\ndef new_request_id():\n    if False:\n        return uuid4().hex\n    return None",
            False,
        ),
        ("from uuid import uuid4\ndef new_request_id(key=uuid4().hex):\n    return key", False),
        ("from uuid import uuid4\ndef other():\n    return uuid4().hex\ndef new_request_id():\n    return None", False),
        ("from uuid import UUID\ndef new_request_id():\n    return UUID(int=0).hex", False),
        ("def new_request_id():\n    return new_request_id()", False),
        ("async def new_request_id():\n    return 1", False),
        ("# return uuid4().hex\ndef new_request_id():\n    return None", False),
    ],
)
def test_whether_code_makes_a_request_id(body, good):
    assert gives_request_id((body + CALL).encode()) is good


def test_code_that_never_creates_the_app_makes_no_id():
    assert not gives_request_id(b"from uuid import uuid4\ndef new_request_id():\n    return uuid4().hex\n")


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
