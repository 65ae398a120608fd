"""The registry survives kills, races, tampering, full disks and many versions."""

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from conftest import SOAK, snapshot

from churn_lab.generate_data import generate
from churn_lab.prepare_data import prepare
from churn_lab.registry import (
    current_model,
    list_versions,
    load_pipeline,
    model_path,
    open_model,
    promote,
    read_history,
    read_metadata,
    register,
)
from churn_lab.registry_repair import plan_repair, prune, repair
from churn_lab.rollback import list_targets, rollback
from churn_lab.train import Forest, train
from churn_lab.workspace import LabError, Workspace, create_workspace, write_json

SMALL = Forest(n_estimators=5)
PROCESSES = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
if os.name == "posix":
    PROCESSES.set_forkserver_preload(
        ["churn_lab.train", "churn_lab.rollback", "sklearn.ensemble", "skl2onnx", "pandera.pandas"]
    )


def train_small(lab: Workspace, seed: int = 0, **settings) -> dict:
    return train(lab, seed=seed, gate_f1=0.0, tolerance=1.0, forest=SMALL, **settings)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Workspace:
    lab = Workspace(tmp_path_factory.mktemp("small") / "lab")
    create_workspace(lab.root)
    generate(lab, rows=300)
    prepare(lab)
    for seed in range(3):
        train_small(lab, seed)
    return lab


@pytest.fixture
def lab(small, tmp_path) -> Workspace:
    shutil.copytree(small.root, tmp_path / "lab")
    return Workspace(tmp_path / "lab")


def act(root: str, action: str, seed: int) -> None:
    lab = Workspace(root)
    names = [row["model_file"] for row in list_versions(lab)]
    if action == "train":
        train_small(lab, seed)
    elif action == "promote":
        promote(lab, random.Random(seed).choice(names[-3:]))
    elif action == "rollback":
        rollback(lab)
    elif action == "prune":
        prune(lab, keep=3)
    else:
        lab.train_stats.unlink(missing_ok=True)
        repair(lab)


def look_around(lab: Workspace) -> list[str]:
    """What every reader does; raises if anything was left in a state that does not work."""
    model = open_model(lab, current_model(lab))
    probe = model.entry["probe"]
    assert model.probability_of(probe["features"]) == pytest.approx(probe["probability"], abs=1e-5)
    list_targets(lab), read_history(lab), plan_repair(lab)
    return [row["model_file"] for row in list_versions(lab)]


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
def test_killed_at_any_instant_the_current_model_loads_and_nothing_else_is_lost(lab):
    rng = random.Random(20)
    seconds = {"train": 3.0, "promote": 0.3, "rollback": 0.5, "prune": 0.3, "repair": 0.8}
    before, killed = look_around(lab), 0
    for number in range(300 if SOAK else 30):
        action = list(seconds)[number % 5]
        process = PROCESSES.Process(target=act, args=(str(lab.root), action, number))
        process.start()
        began = time.monotonic()
        process.join(rng.uniform(0.0, seconds[action]))
        killed += process.is_alive()
        process.kill()
        process.join()
        if process.exitcode == 0:
            seconds[action] = time.monotonic() - began
        names = look_around(lab)
        assert names[: len(before)] == before and len(names) <= len(before) + 1, action
        before = names
        if number % 5 == 4:
            train_small(lab, number)  # no command fails because of what was left
            assert not list(lab.models.glob(".*.tmp")) and not list(lab.registry.glob(".*.tmp"))
            before = look_around(lab)
    assert killed > (60 if SOAK else 6)


def run_and_report(root: str, action: str, seed: int, answers) -> None:
    try:
        if action == "read":
            for _ in range(40):
                name = current_model(Workspace(root))
                assert open_model(Workspace(root), name).name == name
                list_versions(Workspace(root))
            answers.put((action, None))
        elif action == "train":
            answers.put((action, train_small(Workspace(root), seed)["model_file"]))
        else:
            answers.put((action, rollback(Workspace(root))["to"]))
    except LabError as error:
        answers.put((action if action == "rollback" else "failed", str(error)))
    except BaseException as error:
        answers.put(("failed", repr(error)))
        raise


def test_many_writers_and_readers_at_once_lose_nothing_and_see_nothing_broken(lab):
    answers = PROCESSES.Queue()
    work = ["train"] * 8 + ["rollback"] * 4 + ["read"] * 4
    processes = [
        PROCESSES.Process(target=run_and_report, args=(str(lab.root), w, i, answers)) for i, w in enumerate(work)
    ]
    for process in processes:
        process.start()
    results = [answers.get(timeout=180) for _ in processes]
    for process in processes:
        process.join()
    assert not [answer for action, answer in results if action == "failed"]
    trained = [answer for action, answer in results if action == "train"]
    names = [row["model_file"] for row in list_versions(lab)]
    versions = [row["version"] for row in list_versions(lab)]
    assert len(set(versions)) == len(versions) == 3 + 8 and sorted(names[3:]) == sorted(trained)
    registered = [event["to"] for event in read_history(lab) if event["action"] == "register"]
    assert all(registered.count(name) == 1 for name in trained)
    look_around(lab)


def flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".joblib", ".onnx"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "swapped", "linked"])
def test_tampered_files_are_refused_by_name_and_both_hashes(lab, suffix, damage):
    current, target = current_model(lab), read_metadata(lab)[0]["model_file"]
    path, other = model_path(lab, target, suffix), model_path(lab, current, suffix)
    if damage == "flipped":
        flip(path)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "swapped":
        path.write_bytes(other.read_bytes())
    else:
        path.unlink()
        if damage == "linked":
            path.symlink_to(other)
    with pytest.raises(LabError) as caught:
        promote(lab, target)
    assert f"models/{path.name}" in str(caught.value) and current_model(lab) == current
    if damage in ("flipped", "truncated", "swapped"):
        hashes = str(caught.value).split("SHA-256 ")[1]
        assert read_metadata(lab)[0][suffix[1:] + "_sha256"][:16] in hashes and hashes.count("…") == 2
    if suffix == ".joblib":
        with pytest.raises(LabError):
            load_pipeline(lab, target)


def test_a_pickle_that_was_not_registered_is_never_opened(lab, tmp_path):
    trap = b"cos\nsystem\n(S'touch " + str(tmp_path / "trapped").encode() + b"'\ntR."
    (lab.models / current_model(lab)).write_bytes(trap)
    with pytest.raises(LabError, match="was changed after it was registered"):
        load_pipeline(lab)
    assert not (tmp_path / "trapped").exists()


def test_another_scikit_learn_is_named_and_serving_is_not_affected(lab):
    entries = read_metadata(lab)
    for entry in entries:
        entry["libraries"]["scikit-learn"] = "0.24.2"
    write_json(lab.metadata, entries)
    with pytest.raises(LabError, match=r"scikit-learn 0\.24\.2, which made .*found scikit-learn \d"):
        load_pipeline(lab)
    look_around(lab)


TRICKS = ["../lab/models/x.joblib", "/etc/passwd", "a\0b.joblib", "churn_model_v1_20200101_000000.joblib/..", "CON", ""]


@pytest.mark.parametrize("name", TRICKS)
def test_a_name_that_leads_elsewhere_is_refused_wherever_it_comes_from(lab, name):
    for ask in (lambda: model_path(lab, name), lambda: open_model(lab, name), lambda: promote(lab, name)):
        with pytest.raises(LabError):
            ask()
    lab.current_model.write_bytes(name.encode() + b"\n")
    with pytest.raises(LabError, match="current_model.txt"):
        current_model(lab)


def test_a_registry_is_rebuilt_from_its_models_and_what_was_replaced_is_kept(churn_lab, lab):
    before, served = list_versions(lab), current_model(lab)
    lab.metadata.write_text("[{]")
    lab.train_stats.unlink()
    lab.current_model.write_text("nonsense\n")
    broken = snapshot(lab.root)
    code, out, error = churn_lab("registry", "repair", "--workspace", lab.root)
    assert code == 1 and "add 3 entries" in out and "--yes" in error and snapshot(lab.root) == broken
    assert churn_lab("registry", "repair", "--yes", "--workspace", lab.root)[0] == 0
    assert list_versions(lab) == before and current_model(lab) == served
    assert [path.read_text() for path in lab.registry.glob("metadata.json.*.bak")] == ["[{]"]
    assert churn_lab("registry", "repair", "--workspace", lab.root) == (0, "nothing to repair\n", "")
    assert "recover" in [event["action"] for event in read_history(lab)]


def test_a_repair_believes_no_file_that_is_not_what_it_says(lab):
    name = read_metadata(lab)[0]["model_file"]
    flip(lab.models / name)
    lab.metadata.unlink()
    plan = repair(lab)
    assert any(name in problem for problem in plan.problems)
    assert name not in [row["model_file"] for row in list_versions(lab)]


def test_a_switch_without_its_line_in_the_history_is_recorded_as_recovered(lab):
    first = read_metadata(lab)[0]["model_file"]
    lab.current_model.write_text(first + "\n")  # as after a crash between pointer and history
    train_small(lab, 9)
    recovered = next(event for event in read_history(lab) if event["action"] == "recover")
    assert recovered["to"] == first and rollback(lab)["to"] == first


def test_a_torn_last_line_costs_one_line_only(lab):
    lab.history.write_bytes(lab.history.read_bytes() + b'{"action": "prom')
    count = len(read_history(lab))
    rollback(lab, why="after the tear")
    assert len(read_history(lab)) == count + 1 and read_history(lab)[-1]["why"] == "after the tear"


def test_the_history_names_the_projects_commit(lab):
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=lab.root, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=lab.root, check=True, capture_output=True, text=True)
    rollback(lab)
    assert read_history(lab)[-1]["git_commit"] == commit.stdout.strip()


def test_pruning_spares_the_model_in_service_and_the_way_back(churn_lab, lab):
    first, second, third = (entry["model_file"] for entry in read_metadata(lab))
    promote(lab, first)
    assert churn_lab("registry", "prune", "--keep", "1", "--workspace", lab.root)[:2] == (0, f"{second}\n")
    assert model_path(lab, first).exists() and model_path(lab, third, ".onnx").exists()
    assert len(read_metadata(lab)) == 3 and rollback(lab)["to"] == third
    assert churn_lab("registry", "prune", "--keep", "0", "--workspace", lab.root)[0] == 1


def fill_up(lab: Workspace) -> None:
    handle = os.open(lab.root / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(handle, b"x" * 4096):
            pass
    except OSError:
        os.close(handle)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root on Linux")
def test_a_full_disk_changes_nothing_and_leaves_no_debris(churn_lab, small, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("this machine does not let a test mount a disk")
    try:
        lab = Workspace(disk / "lab")
        shutil.copytree(small.root, lab.root)
        fill_up(lab)
        before = snapshot(lab.root)
        for command in (["train", "--n-estimators", "5", "--gate-f1", "0"], ["rollback"], ["prepare"]):
            code, _, error = churn_lab(*command, "--workspace", lab.root)
            assert code == 1 and "no space left on device" in error, command
            assert snapshot(lab.root) == before, command
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture(scope="module")
def many(small, tmp_path_factory) -> Workspace:
    """A registry of 1,000 versions; their files are copies of one model's."""
    lab = Workspace(tmp_path_factory.mktemp("many") / "lab")
    shutil.copytree(small.root, lab.root)
    entries, references = read_metadata(lab), json.loads(lab.train_stats.read_text())
    template, reference = entries[0], references[entries[0]["model_file"]]
    for version in range(4, 1001):
        name = f"churn_model_v{version}_20260101_000000.joblib"
        entries.append({**template, "version": version, "model_file": name})
        references[name] = reference
    write_json(lab.metadata, entries)
    write_json(lab.train_stats, references)
    return lab


def test_a_thousand_versions_are_listed_and_numbered_on(many):
    assert [row["version"] for row in list_versions(many)] == list(range(1, 1001))
    assert train_small(many)["version"] == 1001
    look_up = open_model(many, current_model(many))
    assert look_up.entry["version"] == 1001


def test_a_refused_registration_writes_nothing(lab):
    lab.metadata.write_text("{}")
    before = snapshot(lab.root)
    with pytest.raises(LabError, match="registry repair"):
        register(lab, b"", b"", {"passed_gate": True}, {})
    assert snapshot(lab.root) == before
