"""Step 8: are they still the customers that the model has learned from? Exit code 3: no."""

import json
import sys
from pathlib import Path

import pandas as pd

LAB = Path(__file__).resolve().parents[1]
z_threshold = 2.5
last_n = 200


def find_drift(now, then):
    """The columns whose mean has moved, each with its z in standard errors."""
    z = {name: (now[name].mean() - was["mean"]) / (was["std"] / len(now) ** 0.5) for name, was in then.items()}
    return {name: round(value, 1) for name, value in z.items() if abs(value) > z_threshold}


if __name__ == "__main__":
    name = (LAB / "registry" / "current_model.txt").read_text().strip()
    then = json.loads((LAB / "registry" / "train_stats.json").read_text())[name]
    logs = sorted((LAB / "logs").glob("predictions-*.jsonl"))
    lines = [json.loads(line) for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    features = [line["features"] for line in lines if line["model_version"] == name]
    moved = find_drift(pd.DataFrame(features[-last_n:]), then)
    print(f"drift: {moved}" if moved else "stable")
    sys.exit(3 if moved else 0)
