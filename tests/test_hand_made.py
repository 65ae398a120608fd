"""A project whose scripts somebody wrote: every step is checked, and the kit's commands say what they would need."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, snapshot

from churn_lab.lab_checks import check_lab
from churn_lab.registry_history import current_model
from churn_lab.script_stubs import STUBS
from churn_lab.workspace import Workspace, create_workspace

SCRIPTS = Path(__file__).parent / "by_hand"


def python(lab, name) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, lab.src / f"{name}.py"], cwd=lab.root, capture_output=True, text=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workspace:
    """A project by hand with two versions, rolled back to the first."""
    lab = Workspace(tmp_path_factory.mktemp("hand") / "lab")
    create_workspace(lab.root, build=True)
    for name in STUBS:
        shutil.copy(SCRIPTS / Path(name).name, lab.root / name)
    for name in ("generate_data", "prepare_data", "train"):
        assert python(lab, name).returncode == 0
    train = lab.src / "train.py"
    train.write_text(train.read_text().replace("seed = 42", "seed = 7"))
    assert python(lab, "train").returncode == python(lab, "rollback").returncode == 0
    return lab


@pytest.fixture
def by_hand(finished, tmp_path) -> Workspace:
    return Workspace(shutil.copytree(finished.root, tmp_path / "lab"))


def test_scripts_by_hand_hold_in_all_nine_steps_and_are_left_as_they_were(by_hand):
    before = snapshot(by_hand.root)
    findings = check_lab(by_hand)
    assert [f for f in findings if not f.ok and f.step != "2"] == []
    assert {f.step for f in findings} == set("123456789") and snapshot(by_hand.root) == before


def read_script(stem, verb) -> str:
    """What a page shows by hand, as a script: its imports, the cells tagged `by-hand`, and one call."""
    cells = json.loads((ROOT / "nbs" / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "by-hand" in cell["metadata"].get("tags", [])]
    lines = "".join(cells[2]["source"]).splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from ")) and "churn_lab" not in line]
    call = f"{verb}_by_hand(Path(__file__).resolve().parents[1])\n"
    return "\n\n".join(["from pathlib import Path", "\n".join(imports), *tagged, call])


def test_what_the_pages_show_by_hand_is_a_project_that_holds(tmp_path):
    lab = Workspace(tmp_path / "lab")
    create_workspace(lab.root, build=True)
    steps = {"generate_data": "03_generate_data", "prepare_data": "04_prepare_data"}
    for name, stem in {**steps, "train": "05b_train", "evaluate": "05b_train"}.items():
        (lab.src / f"{name}.py").write_text(read_script(stem, name.partition("_")[0]))
        ran = python(lab, name)
        assert ran.returncode == 0, ran.stderr
    assert [finding for finding in check_lab(lab, ("3", "4", "5", "6")) if not finding.ok] == []


def test_a_stub_runs_and_has_no_point(tmp_path):
    lab = Workspace(tmp_path / "lab")
    create_workspace(lab.root, build=True)
    assert all(len(text.splitlines()) <= 30 for text in STUBS.values())
    held = {(f.step, f.aspect): f for f in check_lab(lab)}
    assert [key for key, f in held.items() if f.ok and key[0] > "2"] == [("4", "unchanged since prepare")]
    assert held["3", "data/raw.csv"].next_step == "python src/generate_data.py"
    assert (
        held["5", "passed its gate"].next_step
        == held["6", "the pointer names a version"].next_step
        == "python src/train.py"
    )


@pytest.mark.parametrize(
    ("script", "right", "wrong", "step", "found"),
    [
        ("prepare_data", "dtype=str, keep_default_na=False", "dtype=str", "4", "0% in data/processed.csv"),
        ("prepare_data", "raw = raw[raw[name].between(0, largest)]", "pass", "4", "3 rows that break it"),
        ("train", '"f1": f1,', '"f1": f1 + 0.1,', "5", "0."),
        ("monitor_drift", "(was[\"std\"] / len(now) ** 0.5)", "was[\"std\"]", "8", "exit code 0"),
        ("rollback", "os.replace(pointer.with_suffix(\".new\"), pointer)", "", "9", "is in service"),
    ],
)  # fmt: skip
def test_a_script_that_does_less_loses_the_point_and_is_told_why(by_hand, script, right, wrong, step, found):
    path = by_hand.src / f"{script}.py"
    assert right in path.read_text()
    path.write_text(path.read_text().replace(right, wrong))
    if script == "prepare_data":
        rows = by_hand.raw.read_text().splitlines()
        by_hand.raw.write_text("\n".join([*rows, *["900,1,20.0,basic,EU,0"] * 3]) + "\n")
    if script in ("prepare_data", "train"):
        assert python(by_hand, script).returncode == 0
    wrong = [f for f in check_lab(by_hand, (step,)) if not f.ok]
    assert wrong and any(found in f.found for f in wrong) and all(f.next_step for f in wrong)


def test_the_kits_commands_say_which_file_they_lack_and_what_would_make_it(by_hand, churn_lab):
    where = ["--workspace", by_hand.root]
    for command in (["drift"], ["evaluate"], ["registry", "show"]):
        code, _, error = churn_lab(*command, *where)
        assert code == 1 and f"card models/{Path(current_model(by_hand)).stem}.json" in error
        assert "only a line in registry/metadata.json" in error and "churn-lab train, which makes all three" in error
    _, out, _ = churn_lab("registry", "list", *where)
    assert "2 versions without a card" in out and current_model(by_hand) in out


def test_what_scripts_have_listed_stays_when_the_kit_trains_into_the_same_project(by_hand, churn_lab):
    listed = json.loads(by_hand.metadata.read_text())
    stats = json.loads(by_hand.train_stats.read_text())
    assert churn_lab("prepare", "--workspace", by_hand.root)[0] == 0
    assert churn_lab("train", "--n-estimators", "5", "--gate-f1", "0.1", "--workspace", by_hand.root)[0] == 0
    after = json.loads(by_hand.metadata.read_text())
    assert after[:2] == listed and after[2]["version"] == 3
    assert {name: json.loads(by_hand.train_stats.read_text())[name] for name in stats} == stats
    python(by_hand, "train")  # and the other way round
    assert [entry["version"] for entry in json.loads(by_hand.metadata.read_text())] == [1, 2, 3, 4]
    assert churn_lab("registry", "repair", "--workspace", by_hand.root)[0] == 0
    assert [entry["version"] for entry in json.loads(by_hand.metadata.read_text())] == [1, 2, 3, 4]
