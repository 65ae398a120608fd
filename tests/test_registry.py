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

from churn_lab.files import LabError, json_text, read_json, write_json
from churn_lab.generate_data import generate
from churn_lab.prepare_data import prepare
from churn_lab.registry import (
    current_model,
    list_versions,
    load_pipeline,
    model_path,
    open_entry,
    open_model,
    promote,
    read_history,
    read_metadata,
    register,
    registry_lock,
)
from churn_lab.registry_repair import plan_repair, prune, repair
from churn_lab.rollback import find_way_back, list_targets, rollback, served_before, stack_served
from churn_lab.train import Forest, train
from churn_lab.workspace import Workspace, create_workspace

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
        repair(lab)


def look_around(lab: Workspace) -> list[str]:
    """What every reader does; raises if anything was left in a state that does not work."""
    model = open_model(lab, current_model(lab))
    probe = model.entry["probe"]
    assert model.probability_of(probe["features"]) == pytest.approx(probe["probability"], abs=1e-5)
    list_targets(lab), read_history(lab), plan_repair(lab)
    history = read_history(lab)  # and where the next rollback leads: to what the history says, never to what serves
    switched = stack_served(history)[-1] != model.name
    noted = [*history, {"action": "recover", "to": model.name}] if switched else history
    assert find_way_back(lab)[0] != model.name and model.name not in served_before(noted)[:1]
    return [row["model_file"] for row in list_versions(lab)]


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
def test_killed_at_any_instant_the_current_model_loads_and_nothing_else_is_lost(lab):
    rng = random.Random(20)
    seconds = {"train": 3.0, "promote": 0.3, "rollback": 0.5, "prune": 0.3, "repair": 0.8}
    before, killed = look_around(lab), 0
    for number in range(300 if SOAK else 30):
        action = list(seconds)[number % 5]
        served = current_model(lab)
        if action == "rollback":  # to leave it for a version that served but once
            served = train_small(lab, number)["model_file"]
            before = look_around(lab)
        if action == "repair":
            lab.train_stats.unlink()
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
        if action == "rollback" and current_model(lab) != served:  # done, perhaps without its line in the history
            with registry_lock(lab):
                assert served not in served_before(read_history(lab))
        assert names[: len(before)] == before and len(names) <= len(before) + 1, action
        before = names
        if number % 5 == 4:
            repair(lab)
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
    recorded = {action: [] for action in ("register", "promote", "rollback")}
    for event in read_history(lab):
        recorded.setdefault(event["action"], []).append(event["to"])
    assert all(recorded["register"].count(name) == recorded["promote"].count(name) == 1 for name in trained)
    rolled_back = [answer for action, answer in results if action == "rollback" and answer.endswith(".joblib")]
    assert sorted(recorded["rollback"]) == sorted(rolled_back) and "recover" not in recorded
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


@pytest.mark.parametrize("name", ["../data/raw.csv", "{root}/data/raw.csv", "../registry/history.jsonl"])
def test_an_entry_whose_name_leads_elsewhere_deletes_and_opens_nothing(churn_lab, lab, name):
    entries, kept = read_metadata(lab), snapshot(lab.data) | snapshot(lab.models)
    write_json(lab.metadata, [{**entries[0], "model_file": name.format(root=lab.root), "version": 0}, *entries])
    history = lab.history.read_bytes()
    for command in (["registry", "prune", "--keep", "1"], ["rollback", "--to", "0"], ["rollback", "--list"]):
        code, _, error = churn_lab(*command, "--workspace", lab.root)
        assert code == 1 and "churn-lab registry repair" in error, command
    assert snapshot(lab.data) | snapshot(lab.models) == kept and lab.history.read_bytes() == history
    repair(lab)
    assert read_metadata(lab) == entries


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
    for command in (["registry", "list"], ["registry", "history"], ["rollback", "--list"], ["registry", "repair"]):
        assert churn_lab(*command, "--workspace", lab.root)[0] == 0, command
    assert snapshot(lab.root) == before


@pytest.fixture(scope="module")
def many(small, tmp_path_factory) -> Workspace:
    """A registry of 1,000 versions, each of which has served; their files are links to one model's."""
    lab = Workspace(tmp_path_factory.mktemp("many") / "lab")
    shutil.copytree(small.root, lab.root)
    entries, references = read_metadata(lab), json.loads(lab.train_stats.read_text())
    template, reference, lines = entries[0], references[entries[0]["model_file"]], read_history(lab)[:2]
    for version in range(4, 1001):
        name = f"churn_model_v{version}_20260101_000000.joblib"
        entries.append({**template, "version": version, "model_file": name})
        references[name] = reference
        for suffix in (".joblib", ".onnx"):
            os.link(model_path(lab, template["model_file"], suffix), (lab.models / name).with_suffix(suffix))
    write_json(lab.metadata, entries)
    write_json(lab.train_stats, references)
    with lab.history.open("a") as f:
        f.writelines(json.dumps({**line, "to": e["model_file"]}) + "\n" for e in entries[3:] for line in lines)
    lab.current_model.write_text(entries[-1]["model_file"] + "\n")
    return lab


def test_a_thousand_versions_are_listed_and_numbered_on(many):
    assert [row["version"] for row in list_versions(many)] == list(range(1, 1001))
    assert train_small(many)["version"] == 1001
    look_up = open_model(many, current_model(many))
    assert look_up.entry["version"] == 1001


def copy_of_first(lab: Workspace) -> tuple[bytes, bytes, dict, dict]:
    """What `register` asks for: the first version's files, figures and reference."""
    entry = read_metadata(lab)[0]
    joblib, onnx = (model_path(lab, entry["model_file"], suffix).read_bytes() for suffix in (".joblib", ".onnx"))
    return joblib, onnx, entry, json.loads(lab.train_stats.read_text())[entry["model_file"]]


def least_seconds(action, repeats: int = 15) -> float:
    """Of several calls the quickest, which other work on the machine has delayed least."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def test_a_thousand_versions_cost_a_registration_less_than_reading_them(trained, many, tmp_path):
    few = Workspace(tmp_path / "few")
    shutil.copytree(trained.root, few.root)
    model = copy_of_first(few)
    seconds = [least_seconds(lambda lab=lab: register(lab, *model)) for lab in (few, many)]
    reading = least_seconds(lambda: (read_metadata(many), read_json(many.train_stats, "")))
    assert seconds[1] - seconds[0] < reading


def test_a_thousand_versions_are_listed_in_less_than_three_times_the_time_of_a_few(lab, many):
    program = "from churn_lab.cli import main; main()"

    def show_list(lab: Workspace) -> None:
        command = [sys.executable, "-c", program, "registry", "list", "--workspace", str(lab.root)]
        subprocess.run(command, check=True, capture_output=True)

    few, much = (least_seconds(lambda lab=lab: show_list(lab), 5) for lab in (lab, many))
    assert much < 3 * few


@pytest.mark.parametrize("damage", ["{}", "[{]", "middle", "reference"])
def test_a_refused_registration_writes_nothing(lab, damage):
    path = lab.train_stats if damage == "reference" else lab.metadata
    content = path.read_bytes()
    middle = content.index(b'"features"')
    path.write_bytes(damage.encode() if damage[0] in "{[" else content[:middle] + b"x" + content[middle + 1 :])
    before = snapshot(lab.root)
    with pytest.raises(LabError, match="registry repair"):
        register(lab, b"", b"", {"passed_gate": True}, {})
    assert snapshot(lab.root) == before


@pytest.mark.parametrize("style", [{}, {"indent": 7}, {"separators": (",", ":")}])
def test_a_version_is_added_as_if_all_had_been_written_anew(lab, style):
    for path in (lab.metadata, lab.train_stats):
        path.write_text("\n" + json.dumps(json.loads(path.read_text()), **style) + " \n\n")
    entries, references = read_metadata(lab), json.loads(lab.train_stats.read_text())
    new = register(lab, *copy_of_first(lab))
    assert read_metadata(lab) == [*entries, new] and new["version"] == 4
    assert json.loads(lab.train_stats.read_text()) == {**references, new["model_file"]: references[list(references)[0]]}


def test_what_was_registered_reads_as_if_it_had_been_written_at_once(lab):
    for _ in range(2):
        register(lab, *copy_of_first(lab))
    for path in (lab.metadata, lab.train_stats):
        assert path.read_text() == json_text(json.loads(path.read_text()))


def test_an_entry_that_somebody_added_by_hand_is_seen_by_the_next_registration(lab):
    register(lab, *copy_of_first(lab))
    entries = read_metadata(lab)
    added = {**entries[0], "version": 9, "model_file": "churn_model_v9_20260101_000000.joblib"}
    write_json(lab.metadata, [*entries, added])
    assert register(lab, *copy_of_first(lab))["version"] == 10 and read_metadata(lab)[4] == added


def test_a_lost_list_of_versions_is_not_begun_anew(churn_lab, lab):
    before, content = list_versions(lab), snapshot(lab.models)
    lab.metadata.unlink()
    for command in (["registry", "list"], ["train", "--n-estimators", "5", "--gate-f1", "0"], ["rollback"]):
        code, _, error = churn_lab(*command, "--workspace", lab.root)
        assert code == 1 and "churn-lab registry repair" in error and not lab.metadata.exists(), command
    lab.current_model.unlink()  # the history knows as well
    with pytest.raises(LabError, match="registry/metadata.json, found no such file"):
        list_versions(lab)
    repair(lab)
    assert list_versions(lab) == before and snapshot(lab.models) == content


def test_a_lost_list_and_no_models_are_a_new_beginning_after_a_repair(lab):
    lab.metadata.unlink()
    shutil.rmtree(lab.models)
    lab.models.mkdir()
    plan = repair(lab)
    assert any("churn-lab train" in problem for problem in plan.problems)
    assert train_small(lab)["model_file"] == current_model(lab)


def test_a_killed_first_registration_does_not_block_the_second(lab):
    for path in (lab.metadata, lab.current_model, lab.history):
        path.unlink()
    assert list_versions(lab) == [] and train_small(lab)["version"] == 4


@pytest.mark.parametrize("content", [None, "[]", "{"])
def test_lost_or_damaged_references_are_repaired_and_then_training_goes_on(lab, content):
    lab.train_stats.unlink() if content is None else lab.train_stats.write_text(content)
    with pytest.raises(LabError, match="churn-lab registry repair"):
        train_small(lab)
    repair(lab)
    assert len(json.loads(lab.train_stats.read_text())) == 3 and train_small(lab)["version"] == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [("metrics", None), ("probe", None), ("onnx_sha256", "0" * 64), ("threshold", 0.99), ("passed_gate", False)],
)
def test_an_entry_that_was_damaged_or_altered_is_made_again_from_its_model(lab, key, value):
    entries = read_metadata(lab)
    changed = [*entries[:2], {**entries[2], key: value}]
    if value is None:
        del changed[2][key]
    write_json(lab.metadata, changed)
    assert repair(lab).steps == ["metadata.json: add 1 entries from models/"]
    assert read_metadata(lab) == entries and plan_repair(lab).steps == []


def forget_hashes(lab: Workspace) -> None:
    lines = [json.loads(line) for line in lab.history.read_text().splitlines()]
    lab.history.write_text("".join(json.dumps({**e, "onnx_sha256": None}) + "\n" for e in lines))


@pytest.mark.parametrize("key, damaged", [("contract", {}), ("probe", {"features": {}})])
def test_an_entry_with_an_empty_core_is_told_and_repaired(churn_lab, lab, key, damaged):
    kept = lab.metadata.read_text()
    entries = json.loads(kept)
    entries[0][key] = damaged
    write_json(lab.metadata, entries)
    for command in (["registry", "list"], ["rollback", "--list"], ["drift"]):
        code, _, err = churn_lab(*command, "--workspace", lab.root)
        assert code == 1 and "Next: churn-lab registry repair" in err
    assert churn_lab("registry", "repair", "--yes", "--workspace", lab.root)[0] == 0
    assert json.loads(lab.metadata.read_text()) == json.loads(kept)
    assert [event["to"] for event in read_history(lab) if event["action"] == "repair"] == ["metadata.json"]


@pytest.mark.parametrize("empty", ["[]", "\n[]\n", " [ ]", "[\n]\n"])
def test_the_first_registration_after_an_emptied_list_is_sound(lab, empty):
    lab.metadata.write_text(empty)
    lab.train_stats.write_text(empty.replace("[", "{").replace("]", "}"))
    entry = train_small(lab)
    assert [row["model_file"] for row in list_versions(lab)] == [entry["model_file"]]
    assert list(json.loads(lab.train_stats.read_text())) == [entry["model_file"]]


def test_without_a_witness_a_disagreement_is_told_and_not_decided(lab):
    entries = read_metadata(lab)
    write_json(lab.metadata, [{**entries[0], "onnx_sha256": "0" * 64}, *entries[1:]])
    forget_hashes(lab)
    plan = plan_repair(lab)
    assert plan.steps == [] and len(plan.problems) == 1 and entries[0]["model_file"] in plan.problems[0]


def test_a_model_that_was_changed_is_not_blessed_when_its_entry_is_lost(lab):
    import onnx

    name = read_metadata(lab)[0]["model_file"]
    path = model_path(lab, name, ".onnx")
    model = onnx.load(path)
    model.doc_string = "changed; answers the probe as before"
    onnx.save(model, path)
    lab.metadata.unlink()
    plan = repair(lab)
    assert any(path.name in problem and "SHA-256" in problem for problem in plan.problems)
    assert [row["version"] for row in list_versions(lab)] == [2, 3]


def test_without_history_and_pointer_the_highest_version_serves(lab):
    first = model_path(lab, read_metadata(lab)[0]["model_file"], ".onnx")
    for _ in range(8):
        train_small(lab)
    assert first.exists() and list_versions(lab)[-1]["version"] == 11
    for path in (lab.history, lab.current_model, lab.metadata):
        path.unlink()
    repair(lab)
    assert "_v11_" in current_model(lab) and [row["version"] for row in list_versions(lab)] == list(range(1, 12))


def test_pruning_spares_the_nearest_sound_model_if_the_one_before_is_damaged(lab):
    first, second, third = (entry["model_file"] for entry in read_metadata(lab))
    flip(model_path(lab, second, ".onnx"))
    assert prune(lab, keep=1) == [second] and rollback(lab)["to"] == first


def test_a_damaged_model_is_told_once_and_by_us(lab, capfd):
    import onnx

    entry = read_metadata(lab)[0]
    path = model_path(lab, entry["model_file"], ".onnx")
    model = onnx.load(path)
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "TreeEnsembleClassifier" else ():
            del attribute.ints[len(attribute.ints) // 2 :], attribute.floats[len(attribute.floats) // 2 :]
    for content in (path.read_bytes()[:3000], model.SerializeToString()):
        path.write_bytes(content)
        with pytest.raises(LabError, match="a model in models/"):
            open_entry(lab, {**entry, "onnx_sha256": hashlib.sha256(content).hexdigest()})
    assert capfd.readouterr().err == ""


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
        register(lab, b"x" * 60_000, onnx, entry, {})
    (lab.root / "filler").unlink()
    assert snapshot(lab.root) == before


@pytest.mark.parametrize("fails", ["metadata.json", "history.jsonl"])
def test_a_registration_that_fails_late_takes_everything_back(lab, monkeypatch, fails):
    from churn_lab import registry, workspace

    def refuse(*_, **__):
        raise LabError("to write it", "no space left on device", "free some")

    entry, before = read_metadata(lab)[0], snapshot(lab.root)
    onnx = model_path(lab, entry["model_file"], ".onnx").read_bytes()
    if fails == "history.jsonl":
        monkeypatch.setattr(registry, "record", refuse)
    else:
        move = workspace._replace
        monkeypatch.setattr(
            workspace, "_replace", lambda source, path: refuse() if path == lab.metadata else move(source, path)
        )
    with pytest.raises(LabError, match="no space left"):
        register(lab, b"x", onnx, entry, {})
    assert snapshot(lab.root) == before
