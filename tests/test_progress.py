"""How far somebody is, and one step back."""

import json

from conftest import snapshot

from churn_lab.classroom.exercises import check
from churn_lab.git_lab.git import Git
from churn_lab.progress import list_exercises, read_progress
from churn_lab.registry_history import current_model
from churn_lab.rollback import rollback
from churn_lab.workspace import create_workspace


def row(lab, step) -> dict:
    return next(row for row in read_progress(lab) if row["lab"] == 1 and row["step"] == step)


def test_checks_and_answers_are_told_as_they_were_last(churn_lab, lab, monkeypatch):
    monkeypatch.chdir(lab.root)
    monkeypatch.delenv("CHURN_LAB_HOME", raising=False)
    assert row(lab, "4")["points"] is None
    churn_lab("check", "4", "--workspace", lab.root)
    for answer in ("v4", "v1", "v1"):
        check("9.1", answer)
    assert (row(lab, "4")["points"], row(lab, "4")["of"]) == (3, 3)
    assert row(lab, "9")["right"] == 1 and row(lab, "9")["exercises"] == 3
    lab.processed.write_text(lab.processed.read_text().replace(",NA,", ",EU,"))
    churn_lab("check", "4", "--workspace", lab.root)
    code, out, _ = churn_lab("progress", "--workspace", lab.root)
    assert code == 0 and "1 of 3" in out and "Prepare the data" in out
    assert row(lab, "4")["points"] == 1


def test_git_steps_are_asked_as_they_are_now_and_damaged_notes_are_passed_over(churn_lab, empty_lab):
    lab = empty_lab
    git = Git(lab.root)
    git("init")
    git("add .gitignore src")
    git("commit -m 'Start the project'")
    (lab.root / "runs").mkdir()
    (lab.root / "runs" / "progress.jsonl").write_text('{"step": "3", "points": 1, "of": 1}\nhalf a li\n[1]\n')
    rows = json.loads(churn_lab("progress", "--json", "--workspace", lab.root)[1])
    held = {r["step"]: r["points"] for r in rows if r["lab"] == 2}
    assert held["1"] == held["2"] == 1 and held["5"] == 0
    assert row(lab, "3")["points"] == 1


def test_each_room_with_a_front_room_counts_its_exercises():
    numbers = list_exercises()
    assert numbers == sorted(set(numbers), key=lambda n: [int(p) for p in n.split(".")]) and {"1.1", "9.3"} <= set(
        numbers
    )


def test_a_step_is_taken_back_alone_and_its_files_are_kept(churn_lab, lab):
    script = lab.src / "prepare_data.py"
    script.write_text(script.read_text() + "# mine\n")
    before = snapshot(lab.root)
    code, out, _ = churn_lab("reset", "4", "--workspace", lab.root)
    assert code == 0 and "data/processed.csv" in out and "backups" in out
    after = snapshot(lab.root)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    kept = {name for name in changed if name.startswith("backups")}
    assert {name.split("/", 2)[2]: after[name] for name in kept} == {
        name: before[name] for name in ("data/contract.json", "data/processed.csv", "src/prepare_data.py")
    }
    assert changed - kept - {"runs/progress.jsonl"} == {
        "data/contract.json",
        "data/processed.csv",
        "src/prepare_data.py",
    }
    assert "# mine" not in script.read_text() and row(lab, "4")["points"] is None
    assert "nothing to take back" in churn_lab("reset", "4", "--workspace", lab.root)[1]


def test_taking_back_the_models_takes_the_pointer_too_and_training_begins_anew(churn_lab, lab):
    assert churn_lab("reset", "5", "--workspace", lab.root)[0] == 0
    assert not lab.current_model.exists() and not list(lab.models.glob("*")) and lab.raw.exists()
    code, out, _ = churn_lab("train", "--n-estimators", "5", "--gate-f1", "0.1", "--json", "--workspace", lab.root)
    assert code == 0 and json.loads(out)["version"] == 1


def test_taking_back_the_rollback_serves_the_newest_that_passed(churn_lab, lab):
    newest = current_model(lab)
    rollback(lab)
    assert churn_lab("reset", "9", "--workspace", lab.root)[0] == 0 and current_model(lab) == newest


def test_a_step_without_files_says_what_to_do_and_stubs_come_back_as_stubs(churn_lab, tmp_path):
    create_workspace(tmp_path / "lab", build=True)
    for step, next_step in (("2", "churn-lab doctor"), ("6", "churn-lab registry repair")):
        code, _, error = churn_lab("reset", step, "--workspace", tmp_path / "lab")
        assert code == 1 and f"found {step}" in error and next_step in error
    script = tmp_path / "lab" / "src" / "train.py"
    stub = script.read_text()
    script.write_text("print('my own')\n")
    assert churn_lab("reset", "5", "--workspace", tmp_path / "lab")[0] == 0 and script.read_text() == stub
