"""What registering, promoting, rolling back and listing cost at 10, 100 and 1,000 versions, beside MLflow's registry.

MLflow registers a version and sets an alias in SQLite; it copies, hashes, loads and probes no model. Ours does all of
that, so the two are not the same work: the figures say what safety costs.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import record, record_growth, record_table
from rivals import rival_python

from churn_lab.files import write_atomic, write_json
from churn_lab.generate_data import generate
from churn_lab.model_cards import derive_lists, find_entry, model_path, read_card, read_cards
from churn_lab.prepare_data import prepare
from churn_lab.registry import list_versions, promote, register
from churn_lab.registry_history import current_model, read_history
from churn_lab.rollback import rollback
from churn_lab.train import train
from churn_lab.workspace import Workspace, create_workspace

REPEATS = 15

TEXT = """Registering reads every card and writes both lists anew, so it grows with the versions. It happens once a training,
and a training takes seconds. What serves, promotes or rolls back reads one card; it grows with the history, which is read
whole, and with the list, which is looked through for versions without a card. Registering and promoting are not the same
work as in MLflow, which notes in its data base where a model lies; it copies, hashes, loads and probes nothing, and keeps no
history of who moved the alias. Ours flushes both model files and the card to the disk and writes into a history first; a
promotion hashes both files, loads the model and lets it answer before it switches."""

MLFLOW = """
import json, os, sys, time, mlflow
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import logging; logging.disable(logging.CRITICAL)
from mlflow import MlflowClient
folder, sizes, repeats = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
clients = {size: MlflowClient(*[f"sqlite:///{folder}/registry-{size}.db"] * 2) for size in sizes}
def add(size):
    clients[size].create_model_version("churn", source=folder)
def promote(size):
    clients[size].set_registered_model_alias("churn", "champion", size)
def show(size):
    clients[size].search_model_versions("name='churn'", max_results=5000)
def measure(action):
    found = {size: [] for size in sizes}
    for size in sizes:
        for _ in range(repeats):
            began = time.perf_counter(); action(size); found[size].append(time.perf_counter() - began)
    return found
for size in sizes:
    clients[size].create_registered_model("churn")
    for _ in range(size): add(size)
print(json.dumps([mlflow.__version__, {"register": measure(add), "set an alias": measure(promote), "list": measure(show)}]))
"""


def run_command(lab: Workspace, *arguments: str) -> None:
    """One command in a process of its own."""
    program = "from churn_lab.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments, "--workspace", str(lab.root)]
    subprocess.run(command, check=True, capture_output=True)


def measure(action, labs: dict[int, Workspace], repeats: int = REPEATS) -> dict[int, list[float]]:
    """Seconds of each call at each size; one size after the other, since a disk is still busy after a call."""
    found = {}
    for size, lab in labs.items():
        if hasattr(os, "sync"):
            os.sync()
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            action(lab)
            times.append(time.perf_counter() - began)
        found[size] = times
    return found


def fill(lab: Workspace, size: int) -> None:
    """Give a registry `size` versions, each of which has served; their files are links to one model's."""
    template, lines = read_cards(lab)[0], read_history(lab)[:2]
    with lab.history.open("a") as history:
        for version in range(2, size + 1):
            name = f"churn_model_v{version}_20260101_000000.joblib"
            for suffix in (".joblib", ".onnx"):
                os.link(model_path(lab, template["model_file"], suffix), (lab.models / name).with_suffix(suffix))
            write_json((lab.models / name).with_suffix(".json"), {**template, "version": version, "model_file": name})
            history.writelines(json.dumps({**line, "from": None, "to": name}) + "\n" for line in lines)
    for path, content in derive_lists(lab, read_cards(lab)).items():
        write_atomic(path, content)
    lab.current_model.write_text(name + "\n")


def measure_ours(folder: Path, sizes: tuple[int, ...], commands: int) -> dict[str, dict[int, list[float]]]:
    """Seconds of each call by action and size."""
    labs = {size: Workspace(folder / f"lab-{size}") for size in sizes}
    small = labs[sizes[0]]
    create_workspace(small.root)
    generate(small)
    prepare(small)
    entry = train(small)
    joblib, onnx = (model_path(small, entry["model_file"], suffix).read_bytes() for suffix in (".joblib", ".onnx"))
    reference = read_card(small, entry["model_file"])["reference"]
    entry = find_entry(small, entry["model_file"])
    for size in sizes[1:]:
        shutil.copytree(small.root, labs[size].root)
    for size, lab in labs.items():
        fill(lab, size)
    pairs = {lab: [row["model_file"] for row in list_versions(lab)[:2]] for lab in labs.values()}

    def alternate(lab: Workspace) -> None:
        promote(lab, pairs[lab][pairs[lab][0] == current_model(lab)])

    return {
        "register": measure(lambda lab: register(lab, joblib, onnx, entry, reference), labs),
        "promote": measure(alternate, labs),
        "rollback": measure(rollback, labs),
        "list": measure(list_versions, labs),
        "read the model in service": measure(lambda lab: read_card(lab, current_model(lab)), labs),
        "check for a switch": measure(lambda lab: lab.current_model.stat(), labs),
        "churn-lab registry list": measure(lambda lab: run_command(lab, "registry", "list"), labs, commands),
        "churn-lab train": measure(lambda lab: run_command(lab, "train"), labs, commands),
    }


TARGETS = {  # the cost at the most versions, over that at the fewest
    "promote": "",
    "rollback": "",
    "read the model in service": "<= 1.2",
    "check for a switch": "<= 1.2",
    "churn-lab registry list": "<= 3",
    "churn-lab train": "<= 1.2",
}


def tell(who: str, found: dict[str, dict[int, list[float]]]) -> list[dict[str, str]]:
    """The medians in milliseconds."""
    rows = []
    for action, by_size in found.items():
        medians = {f"{size:,}": f"{1000 * statistics.median(times):.3g}" for size, times in by_size.items()}
        rows.append({"milliseconds, by versions": f"{who}: {action}", **medians})
    return rows


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--without-mlflow", action="store_true", help="do not make an environment for mlflow")
parser.add_argument("--quick", action="store_true", help="10 and 100 versions")
options = parser.parse_args()
sizes = (10, 100) if options.quick else (10, 100, 1000)
with tempfile.TemporaryDirectory() as folder:
    ours = measure_ours(Path(folder), sizes, 2 if options.quick else 5)
    few, many = sizes[0], sizes[-1]
    for action, target in TARGETS.items():
        ratios = [more / less for more, less in zip(ours[action][many], ours[action][few])]
        record(f"{action}, {many:,} versions", ratios, reference=f"{few} versions", target=target)
    growing = {action: ours[action] for action in ("register", "promote", "rollback", "read the model in service")}
    rows = tell("churn_lab", ours)
    if not options.without_mlflow:
        python = rival_python("mlflow", "mlflow>=3,<4")
        command = [python, "-c", MLFLOW, folder, json.dumps(sizes), str(REPEATS)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        version, found = json.loads(done.stdout.splitlines()[-1])
        mlflow = {action: {int(size): times for size, times in by_size.items()} for action, by_size in found.items()}
        for action, other in (("register", "register"), ("promote", "set an alias"), ("list", "list")):
            ratios = [one / two for one, two in zip(ours[action][many], mlflow[other][many])]
            record(f"{action}, {many:,} versions, beside MLflow", ratios, reference=f"MLflow {version}: {other}")
        rows += tell(f"MLflow {version}", mlflow)
        growing |= {f"MLflow: {action}": by_size for action, by_size in mlflow.items() if action != "list"}
    medians = {
        name: {size: 1000 * statistics.median(times) for size, times in by_size.items()}
        for name, by_size in growing.items()
    }
    record_growth("the registry", "versions", "ms", medians)
    record_table("What each action costs", rows, TEXT)
