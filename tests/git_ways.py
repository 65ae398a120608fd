"""What students do in the Git lab, right and wrong: each way starts where its step begins."""

from dataclasses import dataclass
from pathlib import Path

from churn_lab.git_lab.git import Git
from churn_lab.git_lab.reset import (
    ADD_TODO,
    API,
    DRIFT,
    GATE_50,
    GATE_62,
    LAST_N,
    RETURN_HEX,
    ROLLBACK,
    SOLVED,
    TRAIN,
    TRIAL,
    USE_UUID,
    Action,
    do_actions,
)
from churn_lab.git_lab.reset import WALK as SCRIPT
from churn_lab.git_workflow import Result, check_repository

# The script with the checks that a student makes on the way
WALK = {
    step: [
        part
        for action in actions
        for part in ((action, "check") if str(action).startswith(("stash", "reset")) else (action,))
    ]
    for step, actions in SCRIPT.items()
}


def follow(git: Git, actions: list[Action]) -> None:
    """Do what a student does, the word `check` included."""
    for action in actions:
        if action == "check":
            check_repository(git.folder)
        else:
            do_actions(git, [action])


@dataclass(frozen=True)
class Way:
    "One thing a student may do in a step."

    step: int
    words: str
    actions: tuple[Action, ...]


def _ways(step: int, **ways: list[Action]) -> list[Way]:
    return [Way(step, words.replace("_", " "), tuple(actions)) for words, actions in ways.items()]


def try_way(
    folder: Path,  # a project in the state in which the way's step begins
    way: Way,
) -> Result:
    "Do what a student did, and check the step."
    follow(Git(folder, seconds=1_767_700_000), list(way.actions))
    return check_repository(folder, way.step)[0]


ADD, COMMIT = "add .gitignore src", "commit -a -m 'Go on'"
Z_20 = (DRIFT, "z_threshold = 2.5", "z_threshold = 2.0")
RIGHT_WAYS = [
    *_ways(
        1,
        shortest=["init"],
        other_main_branch=["init -b trunk"],
        sha256=["init --object-format=sha256"],
        twice=["init", "init"],
        git_folder_elsewhere=["init --separate-git-dir ../elsewhere.git"],
        with_a_commit=["init", ADD, "commit -m x"],
    ),
    *_ways(
        2,
        shortest=WALK[2],
        everything=["add -A", "commit -m 'All of it'"],
        amended=["add .gitignore", "commit -m x", ADD, "commit --amend -m y"],
        two_commits=["add src", "commit -m code", "add .gitignore", "commit -m rules"],
        main_branch_renamed=[ADD, "commit -m x", "branch -m production"],
        rules_changed_on_the_disk_later=[ADD, "commit -m x", (".gitignore", "runs/\n")],
        data_taken_out_again=[
            ("data/raw.csv", "x"),
            "add -f data",
            ADD,
            "commit -m x",
            "rm -q --cached data/raw.csv",
            "commit -m y",
        ],
        placeholders=[
            (".gitignore", "data/*\n!data/.gitkeep\nmodels/\nlogs/\n"),
            ("data/.gitkeep", ""),
            "add -A",
            "commit -m x",
        ],
    ),
]

_NOTES: list[Action] = [("NOTES.md", "x"), "add NOTES.md", COMMIT]  # the main branch goes on
RIGHT_WAYS += _ways(
    3,
    shortest=WALK[3],
    at_once=[Z_20, COMMIT],
    as_integer=[(DRIFT, "z_threshold = 2.5", "z_threshold: float = 2"), COMMIT],
    in_two_commits=[(DRIFT, "2.5", "2.2"), COMMIT, (DRIFT, "2.2", "2.0  # stricter"), COMMIT],
    on_a_branch=["switch -c z", Z_20, COMMIT, "switch main", "merge z"],
    amended=[(DRIFT, "2.5", "2.0"), COMMIT, *_NOTES[:2], "commit --amend -m better"],
    other_line_ends=[(DRIFT, "z_threshold = 2.5\n", "z_threshold = 2.0\r\n"), COMMIT],
)
_IMPORT = (API, "from pathlib import Path\n", "import uuid\nfrom pathlib import Path\n")
BRANCH = "switch -c feature/api-request-id"
RIGHT_WAYS += _ways(
    4,
    shortest=WALK[4],
    other_name=["checkout -b ids", _IMPORT, (API, "return None", "return uuid.uuid4().hex"), COMMIT],
    in_two_lines=[BRANCH, _IMPORT, (API, "return None", "key: str = uuid.uuid4().hex\n    return key"), COMMIT],
    formatted=[BRANCH, _IMPORT, (API, "return None", 'return f"{uuid.uuid4().hex}"'), COMMIT],
    a_lambda=[BRANCH, USE_UUID, (API, "id=new_request_id)", "id=lambda: uuid4().hex)"), COMMIT],
    a_helper=[
        BRANCH,
        USE_UUID,
        (API, "def new", "def make():\n    return uuid4().hex\n\n\ndef new"),
        (API, "None", "make()"),
        COMMIT,
    ],
    hyphens_removed=[
        BRANCH,
        USE_UUID,
        (API, "return None", "key = str(uuid4()).replace('-', '')\n    return key"),
        COMMIT,
    ],
    two_commits=[BRANCH, USE_UUID, COMMIT, RETURN_HEX, COMMIT],
    moved_off_main=[USE_UUID, RETURN_HEX, COMMIT, BRANCH, "branch -f main HEAD~1"],
)

MERGE, TO_MAIN = "merge -m Merge feature/api-request-id", "switch main"
RIGHT_WAYS += _ways(
    5,
    shortest=WALK[5],
    fast_forward=[TO_MAIN, MERGE],
    branch_deleted=[TO_MAIN, MERGE, "branch -d feature/api-request-id"],
    rebased_first=[TO_MAIN, *_NOTES, "switch -", "rebase main", TO_MAIN, MERGE],
    commit_of_its_own=[TO_MAIN, "merge --no-ff --no-commit feature/api-request-id", "commit -m Joined"],
    main_went_on=[TO_MAIN, *_NOTES, MERGE],
    both_ways=[TO_MAIN, *_NOTES, "switch -", "merge -m Up main", TO_MAIN, MERGE],
)

_QUOTES = '"' * 3
_PARTED, _JOIN = WALK[6][:6], "-m Join experiment/strict-gate"
_OTHER_WAY_ROUND = "<<<<<<< HEAD\ngate_f1 = 0.62\n=======\ngate_f1 = 0.5\n>>>>>>> {}\n"
RIGHT_WAYS += _ways(
    6,
    shortest=WALK[6],
    values_swapped=[
        "switch -c b",
        GATE_50,
        COMMIT,
        TO_MAIN,
        GATE_62,
        COMMIT,
        "!merge b",
        (TRAIN, _OTHER_WAY_ROUND.format("b"), "gate_f1 = 0.6\n"),
        COMMIT,
    ],
    other_side_first=[
        *_PARTED,
        "switch -",
        "!merge main",
        (TRAIN, _OTHER_WAY_ROUND.format("main"), "gate_f1 = 0.60\n"),
        COMMIT,
        TO_MAIN,
        "merge experiment/strict-gate",
    ],
    one_side_then_amended=[
        *_PARTED,
        f"merge -X ours {_JOIN}",
        (TRAIN, "0.5\n", "0.6\n"),
        "commit -a --amend --no-edit",
    ],
    markers_quoted_in_a_text=[
        *WALK[6][:7],
        (*SOLVED[:2], f"gate_f1 = 0.60\n{_QUOTES}\n{SOLVED[1]}{_QUOTES}\n"),
        COMMIT,
    ],
    heading_underlined_with_equal_signs=[*WALK[6], (TRAIN, '"""Train', '"""Training\n=======\n\nTrain'), COMMIT],
    settled_in_the_next_commit=[*_PARTED, f"merge -X theirs {_JOIN}", (TRAIN, "0.62", "0.60"), COMMIT],
    other_line_ends=[*WALK[6][:7], (*SOLVED[:2], "gate_f1 = 0.60\r\n"), COMMIT],
)

_STASHED = [ADD_TODO, "stash"]
_MADE: list[Action] = [(TRIAL, "one line\n"), "add experiments", "commit -m 'Try a reset'"]
SOFT, MIXED, HARD = (f"reset --{kind} HEAD~1" for kind in ("soft", "mixed", "hard"))
RIGHT_WAYS += _ways(
    7,
    shortest=WALK[7],
    not_yet_committed=[*_STASHED, "stash pop"],
    with_a_name=[ADD_TODO, "stash push -m later", "stash pop"],
    applied_and_dropped=[*_STASHED, "stash apply", "stash drop"],
    with_untracked=[ADD_TODO, ("new.txt", "x"), "stash -u", "stash pop"],
    onto_a_branch=[*_STASHED, "stash branch later"],
    lost_after_the_check=[*_STASHED, "stash pop", "check", "reset --hard"],
    in_small_letters=[(ROLLBACK, "\nimport sys", "\n# todo: ask first\nimport sys"), "stash", "stash pop"],
    another_one_after_a_commit=[
        ADD_TODO,
        COMMIT,
        (ROLLBACK, "# TODO", "# TODO: and log it\n# TODO"),
        "stash",
        "stash pop",
    ],
)
RIGHT_WAYS += _ways(
    8,
    shortest=WALK[8],
    hard_first=[*_MADE, HARD, "check", *_MADE, SOFT, "check", "commit -m x", MIXED, "check"],
    three_commits=[
        *_MADE,
        (TRIAL, "two\n"),
        COMMIT,
        (TRIAL, "three\n"),
        COMMIT,
        SOFT,
        "check",
        "reset --hard",
        MIXED,
        "check",
        "reset --hard",
        HARD,
    ],
    file_that_was_there=[
        *_MADE,
        *(part for how in (SOFT, MIXED, HARD) for part in ((TRIAL, f"new {how}\n"), COMMIT, how, "check")),
    ],
    on_a_branch=["switch -c trial", *WALK[8]],
    on_no_branch=["checkout -q --detach", *WALK[8]],
)

_UNEDIT = (API, "# BAD CHANGE\n", "")
_BAD = WALK[9][:2]
RIGHT_WAYS += _ways(
    9,
    shortest=WALK[9],
    later=[*_BAD, *_NOTES, "revert --no-edit HEAD~1"],
    own_words=[*WALK[9], "commit --amend -m 'Take it back'"],
    in_two_moves=[*_BAD, "revert --no-commit HEAD", "commit --no-edit"],
    on_a_branch=["switch -c bad", *WALK[9], TO_MAIN, "merge bad"],
)
_ON_MAIN, _READY = WALK[10][:-4], WALK[10][:-3]  # both have moved; and back on the branch
RIGHT_WAYS += _ways(
    10,
    shortest=WALK[10],
    not_merged_yet=WALK[10][:-2],
    with_the_other_backend=[*_READY, "rebase --apply main"],
    onto=[*_READY, "rebase --onto main HEAD~2"],
    from_main=[*_ON_MAIN, "rebase main feature/drift-last-n"],
    changed_again=[*WALK[10][:-2], (DRIFT, "last_n = 500", "last_n = 400"), COMMIT],
    old_branch_kept=[*_READY, "branch backup", "rebase main"],
    squashed=[*WALK[10][:-2], "reset --soft main", "commit -m 'Both in one'"],
    branch_deleted=[*WALK[10], "branch -d feature/drift-last-n"],
)

WRONG_WAYS = [
    *_ways(
        1,
        no_repository=[],
        in_a_folder_below=["-C src init"],
        in_the_folder_above=["-C .. init"],
        bare=["init --bare .git"],
        damaged_HEAD=["init", (".git/HEAD", "nonsense\n")],
        a_folder_named_git=[(".git/config", "")],
        a_link_to_nowhere=[(".git", "gitdir: nowhere\n")],
    ),
]

WRONG_WAYS += [
    *_ways(
        2,
        nothing=[],
        added_only=[ADD],
        empty_commit=["commit --allow-empty -m 'Start'"],
        no_gitignore=["add src", "commit -m x"],
        a_readme_only=[("README.md", "x"), "add README.md", "commit -m x"],
        data_committed=[("data/raw.csv", "x"), "add -f data", ADD, "commit -m x"],
        model_committed_before_the_rule=[("models/m.joblib", "x"), "add -f models", "commit -m x", ADD, "commit -m y"],
        no_rule_for_models=[(".gitignore", "data/\nlogs/\n"), ADD, "commit -m x"],
        rules_not_committed=[(".gitignore", "runs/\n"), ADD, "commit -m x", (".gitignore", "data/\nmodels/\nlogs/\n")],
        rules_on_one_machine_only=[
            (".gitignore", "runs/\n"),
            (".git/info/exclude", "data/\nmodels/\nlogs/\n"),
            ADD,
            "commit -m x",
        ],
    ),
]

WRONG_WAYS += _ways(
    3,
    nothing=[],
    edited_only=[Z_20],
    added_only=[Z_20, ADD],
    empty_commit=["commit --allow-empty -m 'z_threshold = 2.0'"],
    other_number=[(DRIFT, "2.5", "1.5"), COMMIT],
    in_a_comment=[(DRIFT, "z_threshold = 2.5", "z_threshold = 2.5  # 2.0"), COMMIT],
    on_a_branch_only=["switch -c z", Z_20, COMMIT],
    undone=[Z_20, COMMIT, "revert --no-edit HEAD"],
    right_on_a_branch_and_wrong_here=["switch -c z", Z_20, COMMIT, "switch main", (DRIFT, "2.5", "1.5"), COMMIT],
    in_the_first_commit=[Z_20, "commit -a --amend --no-edit"],
)

WRONG_WAYS += _ways(
    4,
    nothing=[],
    empty_branch=[BRANCH],
    not_committed=[BRANCH, USE_UUID, RETURN_HEX],
    empty_commit=[BRANCH, "commit --allow-empty -m ids"],
    a_constant=[BRANCH, USE_UUID, (API, "return None", "return 'abc123'"), COMMIT],
    not_text=[BRANCH, USE_UUID, (API, "return None", "return uuid4()"), COMMIT],
    a_number=[BRANCH, USE_UUID, (API, "return None", "return uuid4().int"), COMMIT],
    made_once=[
        BRANCH,
        USE_UUID,
        (API, "def new", "KEY = uuid4().hex\n\n\ndef new"),
        (API, "return None", "return KEY"),
        COMMIT,
    ],
    not_returned=[BRANCH, USE_UUID, (API, "return None", "uuid4().hex"), COMMIT],
    not_imported=[BRANCH, RETURN_HEX, COMMIT],
    module_not_imported=[BRANCH, (API, "return None", "return uuid.uuid4().hex"), COMMIT],
    on_the_main_branch=[USE_UUID, RETURN_HEX, COMMIT],
    branch_made_afterwards=[USE_UUID, RETURN_HEX, COMMIT, BRANCH],
)

WRONG_WAYS += _ways(
    5,
    not_merged=[TO_MAIN],
    squashed=[TO_MAIN, "merge --squash feature/api-request-id", "commit -m ids"],
    file_copied=[TO_MAIN, "checkout feature/api-request-id -- src/api.py", "commit -m ids"],
    not_committed=[TO_MAIN, "merge --no-ff --no-commit feature/api-request-id"],
    wrong_direction=[TO_MAIN, *_NOTES, "switch -", "merge -m Merge main"],
    their_side_dropped=[TO_MAIN, "merge --no-ff -s ours -m Merge feature/api-request-id"],
    our_side_dropped=[
        TO_MAIN,
        (DRIFT, "2.0", "1.9"),
        COMMIT,
        "switch -",
        "merge -s ours -m Merge main",
        TO_MAIN,
        MERGE,
    ],
    reverted=[TO_MAIN, "merge --no-ff -m Merge feature/api-request-id", "revert --no-edit -m 1 HEAD"],
)

WRONG_WAYS += _ways(
    6,
    nothing=[],
    still_open=WALK[6][:7],
    markers_committed=[*WALK[6][:7], COMMIT],
    not_merged=_PARTED,
    their_side=[*_PARTED, f"merge -X theirs {_JOIN}"],
    our_side=[*_PARTED, f"merge -s ours {_JOIN}"],
    no_merge=[*_PARTED, (TRAIN, "0.5\n", "0.60\n"), COMMIT],
    no_conflict=["switch -c b", GATE_62, COMMIT, TO_MAIN, "merge --no-ff -m Join b", (TRAIN, "0.62", "0.60"), COMMIT],
    one_side_only=[
        GATE_50,
        COMMIT,
        "switch -c b",
        (TRAIN, "0.5\n", "0.62\n"),
        COMMIT,
        TO_MAIN,
        "merge --no-ff -m Join b",
        (TRAIN, "0.62", "0.60"),
        COMMIT,
    ],
    other_values=[
        "switch -c b",
        GATE_62,
        COMMIT,
        TO_MAIN,
        (TRAIN, "0.55", "0.52"),
        COMMIT,
        "merge -X ours -m Join b",
        (TRAIN, "0.52", "0.60"),
        COMMIT,
    ],
    changed_back=[*WALK[6], (TRAIN, "0.60", "0.62"), COMMIT],
    something_else_dropped=[*WALK[6][:7], SOLVED, (API, "return uuid4().hex", "return None"), COMMIT],
)

WRONG_WAYS += _ways(
    7,
    nothing=[],
    never_stashed=[ADD_TODO],
    committed_at_once=[ADD_TODO, COMMIT],
    still_stashed=_STASHED,
    applied_only=[*_STASHED, "stash apply"],
    dropped=[*_STASHED, "stash drop"],
    other_file_stashed=[(TRAIN, "0.60", "0.61"), "stash", "stash pop"],
    not_a_comment=[(ROLLBACK, "import sys", "TODO = 1\nimport sys"), "stash", "stash pop"],
)

WRONG_WAYS += _ways(
    8,
    nothing=[],
    added_only=_MADE[:2],
    committed_only=[*_MADE, "check"],
    soft_only=[*_MADE, SOFT, "check"],
    never_checked=[*_MADE, SOFT, "commit -m x", MIXED, "add experiments", "commit -m x", HARD],
    no_hard_reset=WALK[8][:-2],
    reverted_instead=[*_MADE, "revert --no-edit HEAD", "check"],
    checked_out_instead=[*_MADE, SOFT, "check", "commit -m x", MIXED, "check", *_MADE, "checkout -q HEAD~1", "check"],
    amended_instead=[
        *_MADE,
        SOFT,
        "check",
        "commit -m x",
        MIXED,
        "check",
        *_MADE,
        f"rm -q {TRIAL}",
        "commit --amend --allow-empty -m x",
    ],
    taken_off_by_hand=[*_MADE[:2], "check", f"rm -q --cached {TRIAL}", "check", "clean -fdq experiments", "check"],
    one_reset_and_two_edits=[
        *_MADE,
        SOFT,
        "check",
        f"rm -q --cached {TRIAL}",
        "check",
        "clean -fdq experiments",
        "check",
    ],
    one_hard_reset_and_two_edits=[*_MADE, HARD, "check", (TRIAL, "one line\n"), "check", "add experiments", "check"],
    three_times_soft=[*_MADE, *[SOFT, "check", "commit -m x"] * 3],
)

WRONG_WAYS += _ways(
    9,
    nothing=[],
    not_reverted=_BAD,
    amended_away=[*_BAD, _UNEDIT, "commit -a --amend --allow-empty --no-edit"],
    reset_away=[*_BAD, "reset --hard HEAD~1"],
    edited_out=[*_BAD, _UNEDIT, COMMIT],
    edited_out_and_not_committed=[*_BAD, _UNEDIT],
    reverted_with_more=[*_BAD, "revert --no-commit HEAD", (API, "app = ", "# better\napp = "), "commit -a --no-edit"],
    reverted_twice=[*WALK[9], "revert --no-edit HEAD"],
    empty_revert=[*_BAD, "commit --allow-empty -m 'Revert it'"],
    on_a_branch_only=["switch -c bad", *WALK[9]],
)

WRONG_WAYS += _ways(
    10,
    nothing=[],
    not_rebased=_READY,
    merged_into_the_branch=[*_READY, "merge -m Up main"],
    merged_instead=[*_ON_MAIN, "merge -m Join feature/drift-last-n"],
    nothing_to_rebase=[*WALK[10][:5], "rebase main"],
    copied=[*_ON_MAIN, "cherry-pick main..feature/drift-last-n"],
    wrong_branch_rebased=[*_ON_MAIN, "rebase feature/drift-last-n"],
    first_commit_lost=[
        "switch -c d",
        LAST_N,
        COMMIT,
        ("a.md", "x"),
        "add a.md",
        COMMIT,
        TO_MAIN,
        *_NOTES,
        "switch d",
        "rebase --onto main d~1",
    ],
    second_commit_lost=[
        "switch -c d",
        LAST_N,
        COMMIT,
        ("a.md", "x"),
        "add a.md",
        COMMIT,
        TO_MAIN,
        *_NOTES,
        "cherry-pick d~1",
        "branch -f d",
    ],
    last_commit_lost=[*WALK[10][:-2], "reset --hard HEAD~1"],
    main_went_on=[*WALK[10][:-1], *_NOTES],
    joined_by_a_merge_commit=[*WALK[10][:-1], "merge --no-ff -m Join feature/drift-last-n"],
    main_merged_in_later=[*WALK[10][:-1], *_NOTES, "switch -", "merge -m Up main"],
    stopped_half_way=[*_ON_MAIN, (DRIFT, "last_n = 200", "last_n = 300"), COMMIT, "switch -", "!rebase main"],
)
