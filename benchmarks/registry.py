"""What registering, promoting, rolling back and listing cost at 10, 100 and 1,000 versions, beside MLflow's registry.

MLflow registers a version and sets an alias in SQLite; it copies, hashes, loads and probes no model. Ours does all of
that, so the two are not the same work: the figures say what safety costs. Medians of 15 calls.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rivals import rival_python

from churn_lab.generate_data import generate
from churn_lab.prepare_data import prepare
from churn_lab.registry import (
    current_model,
    list_versions,
    model_path,
    promote,
    read_history,
    read_metadata,
    register,
)
from churn_lab.rollback import rollback
from churn_lab.train import train
from churn_lab.workspace import Workspace, create_workspace, write_json

SIZES = (10, 100, 1000)
REPEATS = 15

MLFLOW = """
import json, os, statistics, sys, time
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import logging; logging.disable(logging.CRITICAL)
from mlflow import MlflowClient
folder, sizes, repeats = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
client = MlflowClient(f"sqlite:///{folder}/registry.db", f"sqlite:///{folder}/registry.db")
client.create_registered_model("churn")
def measure(action):
    times = []
    for _ in range(repeats):
        began = time.perf_counter(); action(); times.append(time.perf_counter() - began)
    return statistics.median(times)
result, count = {}, 0
def add():
    global count
    client.create_model_version("churn", source=folder); count += 1
for size in sizes:
    while count < size: add()
    result[size] = {"register": measure(add), "promote": measure(lambda: client.set_registered_model_alias("churn", "champion", count)),
        "list": measure(lambda: client.search_model_versions("name='churn'", max_results=5000))}
print(json.dumps(result))
"""


def run_command(lab: Workspace, *arguments: str) -> None:
    """One command in a process of its own."""
    program = "from churn_lab.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments, "--workspace", str(lab.root)]
    subprocess.run(command, check=True, capture_output=True)


def measure(action, repeats: int = REPEATS) -> float:
    """Median seconds of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def fill(lab: Workspace, size: int) -> None:
    """Give a registry `size` versions, each of which has served; their files are links to one model's."""
    entries, references = read_metadata(lab), json.loads(lab.train_stats.read_text())
    template, lines = entries[0], read_history(lab)[:2]
    with lab.history.open("a") as history:
        for version in range(len(entries) + 1, size + 1):
            name = f"churn_model_v{version}_20260101_000000.joblib"
            for suffix in (".joblib", ".onnx"):
                os.link(model_path(lab, template["model_file"], suffix), (lab.models / name).with_suffix(suffix))
            entries.append({**template, "version": version, "model_file": name})
            references[name] = references[template["model_file"]]
            history.writelines(json.dumps({**line, "to": name}) + "\n" for line in lines)
    write_json(lab.metadata, entries)
    write_json(lab.train_stats, references)
    promote(lab, entries[-1]["model_file"])


def measure_ours(folder: Path) -> dict[int, dict[str, float]]:
    """Seconds by size and action."""
    lab, result = Workspace(folder / "lab"), {}
    create_workspace(lab.root)
    generate(lab)
    prepare(lab)
    entry = train(lab)
    joblib, onnx = (model_path(lab, entry["model_file"], suffix).read_bytes() for suffix in (".joblib", ".onnx"))
    reference = json.loads(lab.train_stats.read_text())[entry["model_file"]]
    for size in SIZES:
        fill(lab, size)
        first, second = (row["model_file"] for row in list_versions(lab)[:2])
        result[size] = {
            "register": measure(lambda: register(lab, joblib, onnx, dict(entry), reference)),
            "promote": measure(lambda a=first, b=second: promote(lab, a if current_model(lab) == b else b)),
            "rollback": measure(lambda: rollback(lab)),
            "list": measure(lambda: list_versions(lab)),
            "check for a switch": measure(lambda: lab.current_model.stat()),
            "churn-lab registry list": measure(lambda: run_command(lab, "registry", "list"), repeats=5),
            "churn-lab train": measure(lambda: run_command(lab, "train"), repeats=5),
        }
    return result


with tempfile.TemporaryDirectory() as folder:
    ours = measure_ours(Path(folder))
    python = rival_python("mlflow", "mlflow>=3,<4")
    command = [python, "-c", MLFLOW, folder, json.dumps(SIZES), str(REPEATS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    mlflow = {int(size): figures for size, figures in json.loads(done.stdout.splitlines()[-1]).items()}

print("milliseconds" + " " * 23 + "".join(f"{size:>10,}" for size in SIZES) + "    1,000 / 10")
for who, figures in (("churn_lab", ours), ("MLflow", mlflow)):
    for action in figures[SIZES[0]]:
        times = [figures[size][action] for size in SIZES]
        row = "".join(f"{1000 * seconds:10.2f}" for seconds in times)
        print(f"{who:10}{action:25}{row}{times[-1] / times[0]:14.2f}")
