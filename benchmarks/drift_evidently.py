"""Asks Evidently about windows in CSV files; run by drift.py in an environment that has Evidently. Prints JSON."""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

warnings.simplefilter("ignore")
METHODS = {"default": {}, "psi": {"method": "psi", "threshold": 0.1}}


def drifted(report, columns: list[str]) -> dict[str, bool]:
    """Which columns Evidently calls drifted, by its own threshold and the direction of its method."""
    found = {}
    for metric in report.dict()["metrics"]:
        config = metric["config"]
        if "drift_share" in config:
            found["dataset"] = metric["value"]["share"] >= config["drift_share"]
        if config.get("column") in columns:
            value, threshold = float(metric["value"]), config["threshold"]
            found[config["column"]] = value < threshold if "p_value" in config["method"] else value >= threshold
    return found


def main(folder: Path) -> None:
    reference = pd.read_csv(folder / "reference.csv", keep_default_na=False, na_values=[""])
    numbers = list(reference.select_dtypes("number"))
    categories = [name for name in reference if name not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    reference, answers = Dataset.from_pandas(reference, definition), {}
    for path in sorted(folder.glob("case*.csv")):
        windows = [
            rows.drop(columns="window")
            for _, rows in pd.read_csv(path, keep_default_na=False, na_values=[""]).groupby("window")
        ]
        answers[path.stem] = {}
        for method, options in METHODS.items():
            if len(windows) == 1 and method != "default":
                continue
            found, started = [], time.perf_counter()
            for window in windows:
                report = Report([DataDriftPreset(**options)]).run(Dataset.from_pandas(window, definition), reference)
                found.append(drifted(report, numbers + categories))
            seconds = (time.perf_counter() - started) / len(windows)
            shares = {
                column: float(np.mean([row.get(column, False) for row in found])) for column in numbers + categories
            }
            anything = float(np.mean([any(row[name] for name in shares) for row in found]))
            shares["dataset"] = float(np.mean([row["dataset"] for row in found]))
            answers[path.stem][method] = {**shares, "any": anything, "seconds": seconds}
    print(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
