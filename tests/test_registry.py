"""The registry survives kills, races, tampering, full disks and many versions."""

import hashlib
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

from churn_lab.files import LabError, read_json, write_json
from churn_lab.generate_data import generate
from churn_lab.model_cards import model_path, read_card, read_metadata
from churn_lab.prepare_data import prepare
from churn_lab.registry import list_versions, promote, register
from churn_lab.registry_history import current_model, read_history, read_switches
from churn_lab.registry_repair import check_version, check_versions, prune, repair
from churn_lab.rollback import find_rollback_target, list_targets, rollback, stack_served
from churn_lab.serving_model import load_pipeline, open_model
from churn_lab.train import ForestParams, train
from churn_lab.workspace import Workspace, create_workspace

SMALL = ForestParams(n_estimators=5)
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
def three(small, tmp_path) -> Workspace:
    """A project of this test's own with three small versions, the third in service."""
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
        repair(lab)


def look_around(lab: Workspace) -> list[str]:
    """What every reader does; raises if anything was left in a state that does not work."""
    model = open_model(lab, current_model(lab))
    probe = model.card["probe"]
    assert model.predict_proba_one(probe["features"]) == pytest.approx(probe["probability"], abs=1e-5)
    list_targets(lab), read_history(lab), check_versions(lab)
    assert stack_served(lab)[-1] == model.name  # the history and the pointer tell the same
    assert find_rollback_target(lab)[0] != model.name
    return [row["model_file"] for row in list_versions(lab)]


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
def test_killed_at_any_instant_the_current_model_loads_and_nothing_else_is_lost(three):
    rng = random.Random(20)
    seconds = {"train": 3.0, "promote": 0.3, "rollback": 0.5, "prune": 0.3, "repair": 0.8}
    before, killed = look_around(three), 0
    for number in range(300 if SOAK else 30):
        action = list(seconds)[number % 5]
        served = current_model(three)
        if action == "rollback":  # to leave it for a version that served but once
            served = train_small(three, number)["model_file"]
            before = look_around(three)
        if action == "repair":
            three.train_stats.unlink()
        process = PROCESSES.Process(target=act, args=(str(three.root), action, number))
        process.start()
        began = time.monotonic()
        process.join(rng.uniform(0.0, seconds[action]))
        killed += process.is_alive()
        process.kill()
        process.join()
        if process.exitcode == 0:
            seconds[action] = time.monotonic() - began
        names = look_around(three)
        if action == "rollback" and current_model(three) != served:
            assert served not in stack_served(three)
        assert names[: len(before)] == before and len(names) <= len(before) + 1, action
        before = names
        if number % 5 == 4:
            assert not repair(three)["problems"]
            train_small(three, number)  # no command fails because of what was left
            assert not [
                path.name for path in [*three.models.glob(".*"), *three.registry.glob(".*")] if path.name != ".lock"
            ]
            before = look_around(three)
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


def test_many_writers_and_readers_at_once_lose_nothing_and_see_nothing_broken(three):
    answers = PROCESSES.Queue()
    work = ["train"] * 8 + ["rollback"] * 4 + ["read"] * 4
    processes = [
        PROCESSES.Process(target=run_and_report, args=(str(three.root), w, i, answers)) for i, w in enumerate(work)
    ]
    for process in processes:
        process.start()
    results = [answers.get(timeout=180) for _ in processes]
    for process in processes:
        process.join()
    assert not [answer for action, answer in results if action == "failed"]
    trained = [answer for action, answer in results if action == "train"]
    names = [row["model_file"] for row in list_versions(three)]
    versions = [row["version"] for row in list_versions(three)]
    assert len(set(versions)) == len(versions) == 3 + 8 and sorted(names[3:]) == sorted(trained)
    recorded = {action: [] for action in ("register", "promote", "rollback")}
    for event in read_history(three):
        recorded.setdefault(event["action"], []).append(event["to"])
    assert all(recorded["register"].count(name) == recorded["promote"].count(name) == 1 for name in trained)
    rolled_back = [answer for action, answer in results if action == "rollback" and answer.endswith(".joblib")]
    assert sorted(recorded["rollback"]) == sorted(rolled_back) and "recover" not in recorded
    look_around(three)


def flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".joblib", ".onnx"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "swapped", "linked"])
def test_tampered_files_are_refused_by_name_and_both_hashes(three, suffix, damage):
    current, target = current_model(three), read_metadata(three)[0]["model_file"]
    path, other = model_path(three, target, suffix), model_path(three, current, suffix)
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
        promote(three, target)
    assert f"models/{path.name}" in str(caught.value) and current_model(three) == current
    if damage in ("flipped", "truncated", "swapped"):
        hashes = str(caught.value).split("SHA-256 ")[1]
        assert read_metadata(three)[0][suffix[1:] + "_sha256"][:16] in hashes and hashes.count("…") == 2
    if suffix == ".joblib":
        with pytest.raises(LabError):
            load_pipeline(three, target)


def test_a_pickle_that_was_not_registered_is_never_opened(three, tmp_path):
    trap = b"cos\nsystem\n(S'touch " + str(tmp_path / "trapped").encode() + b"'\ntR."
    (three.models / current_model(three)).write_bytes(trap)
    with pytest.raises(LabError, match="was changed after it was registered"):
        load_pipeline(three)
    assert not (tmp_path / "trapped").exists()


def change_card(lab: Workspace, model_file: str, **changes) -> None:
    """Edit a card by hand; None takes a key away."""
    card = {**read_card(lab, model_file), **changes}
    card = {key: value for key, value in card.items() if value is not None}
    write_json(model_path(lab, model_file, ".json"), card)


def test_a_pickle_that_is_swapped_after_it_was_hashed_is_never_opened(three, tmp_path, monkeypatch):
    from churn_lab import serving_model

    path = model_path(three, current_model(three))
    trap = b"cos\nsystem\n(S'touch " + str(tmp_path / "trapped").encode() + b"'\ntR."
    check = serving_model.read_checked

    def swap_afterwards(*arguments):
        content = check(*arguments)
        path.write_bytes(trap)
        return content

    monkeypatch.setattr(serving_model, "read_checked", swap_afterwards)
    assert load_pipeline(three).predict_proba and not (tmp_path / "trapped").exists()


def test_another_scikit_learn_is_named_and_serving_is_not_affected(three):
    for name in [entry["model_file"] for entry in read_metadata(three)]:
        change_card(three, name, libraries={"scikit-learn": "0.24.2"})
    with pytest.raises(LabError, match=r"scikit-learn 0\.24\.2, which made .*found scikit-learn \d"):
        load_pipeline(three)
    look_around(three)


TRICKS = [
    "../three/models/x.joblib",
    "/etc/passwd",
    "a\0b.joblib",
    "churn_model_v1_20200101_000000.joblib/..",
    "CON",
    "",
]


@pytest.mark.parametrize("name", TRICKS)
def test_a_name_that_leads_elsewhere_is_refused_wherever_it_comes_from(three, name):
    for ask in (lambda: model_path(three, name), lambda: open_model(three, name), lambda: promote(three, name)):
        with pytest.raises(LabError):
            ask()
    three.current_model.write_bytes(name.encode() + b"\n")
    with pytest.raises(LabError, match="current_model.txt"):
        current_model(three)


@pytest.mark.parametrize("name", ["../data/raw.csv", "{root}/data/raw.csv", "../registry/history.jsonl"])
def test_a_listed_name_that_leads_elsewhere_deletes_and_opens_nothing(churn_lab, three, name):
    entries, versions, kept = read_metadata(three), list_versions(three), snapshot(three.data)
    write_json(three.metadata, [{**entries[0], "model_file": name.format(root=three.root), "version": 0}, *entries])
    assert list_versions(three) == versions
    assert churn_lab("rollback", "--to", "0", "--workspace", three.root)[0] == 1
    assert churn_lab("registry", "prune", "--keep", "1", "--workspace", three.root)[0] == 0
    assert snapshot(three.data) == kept and len(read_history(three)) > 3
    repair(three)
    assert read_json(three.metadata, "") == entries


def test_lists_cards_and_pointer_are_made_again_and_the_command_says_so(churn_lab, three):
    before, served = list_versions(three), current_model(three)
    three.metadata.write_text("[{]")
    three.train_stats.unlink()
    three.current_model.write_text("nonsense\n")
    code, out, error = churn_lab("registry", "repair", "--workspace", three.root)
    assert code == 0 and error == "" and str(three.root) in out
    assert all(f"registry/{name}" in out for name in ("metadata.json", "train_stats.json", "current_model.txt"))
    assert list_versions(three) == before and current_model(three) == served
    assert churn_lab("registry", "repair", "--workspace", three.root)[1].endswith("nothing to repair\n")
    assert "recover" in [event["action"] for event in read_history(three)]


def test_a_damaged_card_is_made_again_from_the_lists_and_blocks_nobody_if_they_are_lost_too(churn_lab, three):
    first, second = (entry["model_file"] for entry in read_metadata(three)[:2])
    before, path = list_versions(three), model_path(three, first, ".json")
    path.write_text(path.read_text()[:200])
    code, _, error = churn_lab("registry", "list", "--workspace", three.root)
    assert code == 1 and f"models/{path.name}" in error and "Next: churn-lab registry repair" in error
    assert not repair(three)["problems"] and list_versions(three) == before
    change_card(three, second, probe={"features": {}})
    three.metadata.unlink()
    done = repair(three)["done"]
    assert any("moved to backups/" in line for line in done) and list(three.backups.glob(f"{second[:-7]}*"))
    assert [row["version"] for row in list_versions(three)] == [1, 3]


@pytest.mark.parametrize("file", ["joblib", "onnx", "card"])
def test_a_repair_names_the_version_whose_files_are_not_what_was_registered(churn_lab, three, file):
    name = read_metadata(three)[0]["model_file"]
    if file == "card":
        change_card(three, name, threshold=0.99)
    else:
        flip(model_path(three, name, "." + file))
    code, _, error = churn_lab("registry", "repair", "--workspace", three.root)
    assert code == 1 and error.startswith(f"cannot be mended: {name}")


def test_with_no_model_file_left_everything_says_train(churn_lab, three):
    for path in [*three.models.glob("*.joblib"), *three.models.glob("*.onnx")]:
        path.unlink()
    code, out, error = churn_lab("registry", "repair", "--workspace", three.root)
    assert code == 1 and "nothing to repair" not in out and "Next: churn-lab train" in error
    code, _, error = churn_lab("rollback", "--workspace", three.root)
    assert code == 1 and error.endswith("Next: churn-lab train\n")
    code, out, _ = churn_lab("doctor", "--json", "--workspace", three.root)
    service = next(row for row in json.loads(out) if row["check"] == "model in service")
    assert code == 1 and not service["ok"] and service["mend"] == "churn-lab train"
    assert train_small(three)["version"] == 4 and current_model(three)


def test_a_switch_that_was_killed_never_happened_and_the_next_command_needs_no_repair(three):
    first = read_metadata(three)[0]["model_file"]
    served, kept = current_model(three), stack_served(three)
    line = {"ts": "2026-01-01T00:00:00Z", "action": "promote", "from": served, "to": first, "why": ""}
    with three.history.open("a") as f:
        f.write(json.dumps(line) + "\n")  # as after a crash between history and pointer
    assert stack_served(three) == kept
    fresh = train_small(three, 9)["model_file"]
    assert stack_served(three) == [*kept, fresh] and rollback(three)["to"] == served


def test_a_pointer_set_by_hand_is_read_as_a_way_back_and_a_rollback_goes_on_from_there(three):
    names = [entry["model_file"] for entry in read_metadata(three)]
    three.current_model.write_text(names[1] + "\n")
    assert stack_served(three) == names[:2] and rollback(three)["to"] == names[0]
    promote(three, names[1])
    promote(three, names[2])
    three.current_model.write_text(names[0] + "\n")
    assert read_switches(three)[-1]["action"] == "by hand" and stack_served(three) == names[:1]
    with pytest.raises(LabError, match="served before"):
        rollback(three)


def test_a_torn_last_line_costs_one_line_only(three):
    three.history.write_bytes(three.history.read_bytes() + b'{"action": "prom')
    count = len(read_history(three))
    rollback(three, why="after the tear")
    assert len(read_history(three)) == count + 1 and read_history(three)[-1]["why"] == "after the tear"


def test_the_history_names_the_projects_commit(three):
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=three.root, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=three.root, check=True, capture_output=True, text=True)
    rollback(three)
    assert read_history(three)[-1]["git_commit"] == commit.stdout.strip()


def test_pruning_spares_the_model_in_service_and_the_way_back(churn_lab, three):
    first, second, third = (entry["model_file"] for entry in read_metadata(three))
    promote(three, first)
    assert churn_lab("registry", "prune", "--keep", "1", "--workspace", three.root)[:2] == (
        0,
        f"{three.models}: {second}\n",
    )
    assert model_path(three, first).exists() and model_path(three, third, ".onnx").exists()
    assert len(read_metadata(three)) == 3 and rollback(three)["to"] == third
    assert churn_lab("registry", "prune", "--keep", "0", "--workspace", three.root)[0] == 1


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a test mount a disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill_up(lab: Workspace) -> None:
    handle = os.open(lab.root / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(handle, b"x" * 4096):
            pass
    except OSError:
        os.close(handle)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root on Linux")
def test_a_full_disk_changes_nothing_and_leaves_no_debris(churn_lab, small, small_disk):
    lab = Workspace(small_disk / "lab")
    shutil.copytree(small.root, lab.root)
    fill_up(lab)
    before = snapshot(lab.root)
    for command in (["train", "--n-estimators", "5", "--gate-f1", "0"], ["rollback"], ["prepare"]):
        code, _, error = churn_lab(*command, "--workspace", lab.root)
        assert code == 1 and "no space left on device" in error, command
        assert snapshot(lab.root) == before, command


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root on Linux")
def test_a_read_only_project_is_told_of_and_can_still_be_looked_at(churn_lab, small, small_disk):
    lab = Workspace(small_disk / "lab")
    shutil.copytree(small.root, lab.root)
    before = snapshot(lab.root)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for command in (
        ["train", "--n-estimators", "5", "--gate-f1", "0"],
        ["rollback"],
        ["rollback", "--to", "1"],
        ["registry", "prune", "--keep", "1"],
    ):
        code, _, error = churn_lab(*command, "--workspace", lab.root)
        assert code == 1 and error.startswith("Expected to write") and "read-only file system" in error, command
    for command in (["registry", "list"], ["registry", "history"], ["rollback", "--list"]):
        assert churn_lab(*command, "--workspace", lab.root)[0] == 0, command
    assert snapshot(lab.root) == before


@pytest.fixture(scope="module")
def many(small, tmp_path_factory) -> Workspace:
    """A registry of 1,000 versions, each of which has served; their files are links to one model's."""
    lab = Workspace(tmp_path_factory.mktemp("many") / "lab")
    shutil.copytree(small.root, lab.root)
    template, lines = read_card(lab, read_metadata(lab)[0]["model_file"]), read_history(lab)[:2]
    with lab.history.open("a") as f:
        for version in range(4, 1001):
            name = f"churn_model_v{version}_20260101_000000.joblib"
            write_json((lab.models / name).with_suffix(".json"), {**template, "version": version, "model_file": name})
            for suffix in (".joblib", ".onnx"):
                os.link(model_path(lab, template["model_file"], suffix), (lab.models / name).with_suffix(suffix))
            f.writelines(json.dumps({**line, "from": None, "to": name}) + "\n" for line in lines)
    lab.current_model.write_text(name + "\n")
    return lab


def test_a_thousand_versions_are_listed_and_numbered_on(many):
    assert [row["version"] for row in list_versions(many)] == list(range(1, 1001))
    assert train_small(many)["version"] == 1001
    assert open_model(many, current_model(many)).card["version"] == 1001
    assert len(read_json(many.metadata, "")) == len(read_json(many.train_stats, "")) == 1001


def copy_of_first(lab: Workspace) -> tuple[bytes, bytes, dict, dict]:
    """What `register` asks for: the first version's files, figures and reference."""
    card = read_card(lab, read_metadata(lab)[0]["model_file"])
    joblib, onnx = (model_path(lab, card["model_file"], suffix).read_bytes() for suffix in (".joblib", ".onnx"))
    return joblib, onnx, {key: value for key, value in card.items() if key != "reference"}, card["reference"]


def test_a_refused_registration_writes_nothing(three):
    model = copy_of_first(three)
    model_path(three, read_metadata(three)[0]["model_file"], ".json").write_text("{]")
    before = snapshot(three.root)
    joblib, onnx, entry, reference = model
    with pytest.raises(LabError, match="registry repair"):
        register(three, joblib, onnx, entry, reference)
    assert snapshot(three.root) == before


@pytest.mark.parametrize("wrong", ["onnx", "probe", "contract", "reference", "metrics"])
def test_what_does_not_answer_as_scikit_learn_did_or_is_no_whole_card_cannot_be_registered(three, wrong):
    joblib, onnx, entry, reference = copy_of_first(three)
    if wrong == "onnx":
        onnx = model_path(three, read_metadata(three)[1]["model_file"], ".onnx").read_bytes()
    elif wrong == "probe":
        entry["probe"] = {**entry["probe"], "probability": entry["probe"]["probability"] + 1e-4}
    elif wrong == "reference":
        reference = {}
    else:
        del entry[wrong]
    before = snapshot(three.root)
    with pytest.raises(LabError):
        register(three, joblib, onnx, entry, reference)
    assert snapshot(three.root) == before


def test_both_lists_say_what_the_cards_say_after_each_registration(three):
    new = register(three, *copy_of_first(three))
    assert (
        read_json(three.metadata, "") == read_metadata(three)
        and read_metadata(three)[-1] == new
        and new["version"] == 4
    )
    references = {
        entry["model_file"]: read_card(three, entry["model_file"])["reference"] for entry in read_metadata(three)
    }
    assert read_json(three.train_stats, "") == references
    for path in (three.metadata, three.train_stats):
        assert path.read_text().count("\n") == 4 + 2  # a line a version


@pytest.mark.parametrize("content", [None, "[]", "{", '[{"version": 1}]'])
def test_lists_that_were_lost_or_edited_are_never_believed_against_the_cards(three, content):
    before = list_versions(three)
    for path in (three.metadata, three.train_stats):
        path.unlink() if content is None else path.write_text(content)
    assert list_versions(three) == before and rollback(three)["to"] == before[1]["model_file"]
    new = train_small(three)
    assert new["version"] == 4 and read_json(three.metadata, "") == read_metadata(three)


def test_a_registry_of_before_the_cards_lists_serves_drifts_and_rolls_back(churn_lab, three):
    before = list_versions(three)
    for path in three.models.glob("*.json"):
        path.unlink()
    three.history.write_text("".join(json.dumps(e) + "\n" for e in read_history(three) if "card_sha256" not in e))
    assert list_versions(three) == before and open_model(three, current_model(three))
    assert churn_lab("registry", "show", "2", "--workspace", three.root)[0] == 0
    assert rollback(three)["to"] == before[1]["model_file"]
    assert len(list(three.models.glob("*.json"))) == 3 and not check_versions(three)


def test_a_registration_killed_before_its_card_leaves_files_that_nobody_asks_for(three):
    before = list_versions(three)
    for suffix in (".joblib", ".onnx"):
        (three.models / f"churn_model_v4_20260101_000000{suffix}").write_bytes(b"half a mod")
    assert list_versions(three) == before and not check_versions(three)
    assert train_small(three)["version"] == 5


def test_a_history_without_models_is_a_new_beginning(three):
    shutil.rmtree(three.models)
    three.models.mkdir()
    three.metadata.unlink()
    assert list_versions(three) == [] and "churn-lab train" in repair(three)["problems"][-1]
    assert train_small(three)["model_file"] == current_model(three)


def test_without_history_and_pointer_the_highest_version_serves(three):
    for _ in range(8):
        train_small(three)
    for path in (three.history, three.current_model, three.metadata):
        path.unlink()
    repair(three)
    assert "_v11_" in current_model(three) and [row["version"] for row in list_versions(three)] == list(range(1, 12))


def test_versions_whose_files_are_lost_can_be_given_up(churn_lab, three):
    oldest = read_metadata(three)[0]["model_file"]
    for suffix in (".joblib", ".onnx"):
        (three.models / oldest).with_suffix(suffix).unlink()
    promote(three, read_metadata(three)[1]["model_file"])
    promote(three, read_metadata(three)[2]["model_file"])
    assert churn_lab("registry", "repair", "--workspace", three.root)[0] == 1
    assert oldest in churn_lab("registry", "prune", "--keep", "1", "--workspace", three.root)[1]
    assert churn_lab("registry", "repair", "--workspace", three.root)[0] == 0


def test_a_prune_killed_between_two_files_is_no_damage_and_the_next_one_ends_it(three):
    first = read_metadata(three)[0]["model_file"]
    path = model_path(three, first)
    pipeline = path.read_bytes()
    assert prune(three, keep=2) == [first]
    path.write_bytes(pipeline)
    assert not repair(three)["problems"]
    assert prune(three, keep=2) == [first] and not path.exists()
    assert prune(three, keep=2) == []


def test_pruning_spares_the_nearest_sound_model_if_the_one_before_is_damaged(three):
    first, second, third = (entry["model_file"] for entry in read_metadata(three))
    flip(model_path(three, second, ".onnx"))
    assert prune(three, keep=1) == [second] and rollback(three)["to"] == first


def test_a_damaged_model_is_told_once_and_by_us(three, capfd):
    import onnx

    entry = read_metadata(three)[0]
    path = model_path(three, entry["model_file"], ".onnx")
    model = onnx.load(path)
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "TreeEnsembleClassifier" else ():
            del attribute.ints[len(attribute.ints) // 2 :], attribute.floats[len(attribute.floats) // 2 :]
    for content in (path.read_bytes()[:3000], model.SerializeToString()):
        path.write_bytes(content)
        change_card(three, entry["model_file"], onnx_sha256=hashlib.sha256(content).hexdigest())
        with pytest.raises(LabError, match="a model in models/"):
            open_model(three, entry["model_file"])
    assert capfd.readouterr().err == "" and check_version(three, entry["model_file"])


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root on Linux")
def test_a_disk_that_takes_half_a_model_keeps_none_of_it(small, small_disk):
    lab = Workspace(small_disk / "lab")
    shutil.copytree(small.root, lab.root)
    before = snapshot(lab.root)
    fill_up(lab)
    os.truncate(lab.root / "filler", (lab.root / "filler").stat().st_size - 64 * 1024)
    entry = read_metadata(lab)[0]
    onnx = model_path(lab, entry["model_file"], ".onnx").read_bytes()
    with pytest.raises(LabError, match=r"\.onnx, found no space left on device"):
        register(lab, b"x" * 60_000, onnx, entry, {"rows": 1})
    (lab.root / "filler").unlink()
    assert snapshot(lab.root) == before


@pytest.mark.parametrize("fails", ["metadata.json", "history.jsonl"])
def test_a_registration_that_fails_late_takes_everything_back(three, monkeypatch, fails):
    from churn_lab import files

    model, before, move, flush = copy_of_first(three), snapshot(three.root), os.replace, os.fsync

    def refuse_metadata(source, target):
        if target == three.metadata:
            raise OSError(28, "No space left on device")
        move(source, target)

    def refuse_history(handle):
        if os.readlink(f"/proc/self/fd/{handle}").endswith("history.jsonl"):
            raise OSError(28, "No space left on device")
        flush(handle)

    if fails == "history.jsonl":
        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("asks /proc which file is being flushed")
        monkeypatch.setattr(os, "fsync", refuse_history)
    else:
        monkeypatch.setattr(files.os, "replace", refuse_metadata)
    with pytest.raises(LabError, match="no space left"):
        register(three, *model)
    assert snapshot(three.root) == before
