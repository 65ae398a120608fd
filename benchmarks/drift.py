"""How far the drift check can be trusted, and what it costs. Every figure is printed beside its reference.

    python benchmarks/drift.py                      # everything; about 15 minutes on two cores
    python benchmarks/drift.py --only false-alarms --windows 200
    python benchmarks/drift.py --quick              # fewer windows, a shorter log, no Evidently

The Telco customer churn data are read from the folder that CHURN_LAB_REAL_DATA names (`real-data`), if they are there.

A population is a large table of customers with the model's probabilities. Each simulated check draws its own training
rows and its own window from it, so both samples are fresh and no difference is real unless a scenario makes it so.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from figures import record, record_growth, record_table
from joblib import Parallel, delayed
from rivals import rival_python

from churn_lab.check_rows import clean_rows, type_columns
from churn_lab.contract import Contract
from churn_lab.drift_findings import DriftResult, judge_window
from churn_lab.generate_data import draw_customers, generate
from churn_lab.log_window import sql_name, sum_up
from churn_lab.prediction_log import format_line
from churn_lab.prepare_data import prepare, read_processed
from churn_lab.reference import make_reference
from churn_lab.registry_history import current_model
from churn_lab.serving_model import ServingModel, open_model
from churn_lab.train import train
from churn_lab.workspace import Workspace, create_workspace

SIZES = (50, 100, 200, 1_000, 10_000, 100_000)
EVIDENTLY = "0.7.23"
REAL = Path(os.environ.get("CHURN_LAB_REAL_DATA", "real-data"))
HELD_OUT = 1_000  # rows that the reference of the predictions comes from


@dataclass(frozen=True)
class Population:
    """Customers to draw from, with what a model says about each."""

    name: str
    rows: pd.DataFrame  # typed features
    probability: np.ndarray
    contract: Contract
    threshold: float
    trained_on: int  # how many rows a training set has

    def draw_reference(self, rng: np.random.Generator) -> dict:
        """What a card would keep of a fresh training set."""
        rows = self.rows.iloc[rng.integers(len(self.rows), size=self.trained_on)]
        held_out = self.probability[rng.integers(len(self.rows), size=HELD_OUT)]
        return make_reference(rows, self.contract, held_out, self.threshold)

    def draw_window(self, rng: np.random.Generator, size: int) -> pd.DataFrame:
        """Customers with the model's probabilities."""
        chosen = rng.integers(len(self.rows), size=size)
        return self.rows.iloc[chosen].assign(probability=self.probability[chosen]).reset_index(drop=True)

    def judge(self, reference: dict, window: pd.DataFrame) -> DriftResult:
        """The verdict, by the same query as for a log, from the parsed line on."""
        rules = self.contract.model_dump(mode="json")
        card = {"model_file": "m", "threshold": self.threshold, "contract": rules, "reference": reference}
        values = [
            f"{sql_name(f.name)} := {f'nullif({sql_name(f.name)}, {EMPTY})' if f.kind == 'category' else sql_name(f.name)}"
            for f in self.contract.features
        ]
        with duckdb.connect(config={"threads": 1}) as db:
            db.register("customers", window)
            db.execute(
                "CREATE VIEW predictions AS SELECT 'm' AS model_version, probability, 0.0 AS ts, "
                f"struct_pack({', '.join(values)}) AS features FROM customers"
            )
            return judge_window(reference, sum_up(db, card).sample)


EMPTY = "''"


def describe(name: str, rows: pd.DataFrame, model: ServingModel, trained_on: int) -> Population:
    probability = model.predict_proba(rows).astype(float)
    texts = {f.name: rows[f.name].astype(object) for f in model.contract.features if f.kind == "category"}
    return Population(name, rows.assign(**texts), probability, model.contract, model.threshold, trained_on)


def lab_population(size: int = 50_000) -> Population:
    """The lab's own customers, scored by a model of its own."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Workspace(folder)
        create_workspace(lab.root)
        generate(lab)
        prepare(lab)
        train(lab)
        model = open_model(lab, current_model(lab))
        rows = draw_customers(size, seed=1)[model.contract.names]
        rows = type_columns(clean_rows(rows, model.contract.features), model.contract.features)
        return describe("lab", rows, model, 3_000)


def telco_population(path: Path) -> Population:
    """The Telco customers, all 7,043 of them, scored by a model of their own."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Workspace(folder)
        create_workspace(lab.root)
        prepare(lab, raw=path, target="Churn", identifier="customerID")
        train(lab)
        model = open_model(lab, current_model(lab))
        rows = read_processed(lab, model.contract)
        return describe("Telco", rows, model, len(rows) * 3 // 5)


def count_alarms(population: Population, seeds: range) -> list[int]:
    """How many windows without drift are called drift, by size."""
    alarms = [0] * len(SIZES)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        reference = population.draw_reference(rng)
        for place, size in enumerate(SIZES):
            alarms[place] += population.judge(reference, population.draw_window(rng, size)).verdict == "drift"
    return alarms


def in_parallel(function, windows: int, *arguments) -> np.ndarray:
    """The sum of `function(*arguments, seeds)` over all seeds."""
    parts = [range(start, min(start + 25, windows)) for start in range(0, windows, 25)]
    return np.sum(Parallel(n_jobs=-1)(delayed(function)(*arguments, part) for part in parts), axis=0)


def simulate_false_alarms(populations: list[Population], windows: int) -> None:
    rows = []
    for population in populations:
        shares = in_parallel(count_alarms, windows, population) / windows
        told = {f"n={size:,}": f"{share:.1%}" for size, share in zip(SIZES, shares)}
        rows.append({"no drift": population.name, **told})
        text = f"promised; {windows:,} windows at each of {len(SIZES)} sizes, {SIZES[0]} to {SIZES[-1]:,} rows"
        name = f"drift check, false alarms without drift, {population.name} customers"
        record(name, max(shares), "%", text, "<= 0.05", readme=population.name == "lab")
    record_table("Alarms without drift", rows, f"{windows:,} windows at each size, each with training rows of its own.")


@dataclass(frozen=True)
class Scenario:
    """A change of one feature, made to a window."""

    name: str
    population: str
    feature: str
    size: int
    change: Callable[[pd.Series, np.random.Generator], pd.Series]

    def apply(self, window: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        return window.assign(**{self.feature: self.change(window[self.feature], rng)})


def shift(by: float, decimals: int) -> Callable:
    return lambda column, rng: (column + by).round(decimals)


def widen(centre: float, decimals: int) -> Callable:
    return lambda column, rng: ((column - centre) * 1.3 + centre).round(decimals)


def move(before: str, after: str, share: float) -> Callable:
    """15 points of all customers go from one category, which has `share` of them, to another."""

    def change(column: pd.Series, rng: np.random.Generator) -> pd.Series:
        return column.mask((column == before) & (rng.random(len(column)) < 0.15 / share), after)

    return change


def replace_some(value: str | float) -> Callable:
    """5 % of the values become another one, or missing."""
    return lambda column, rng: column.mask(rng.random(len(column)) < 0.05, value)


def make_scenarios(population: Population) -> list[Scenario]:
    """The changes that a check has to find, for one population."""
    if population.name == "lab":
        numbers, (first, second), other = {"avg_session_minutes": 1, "tenure_months": 0}, ("basic", "premium"), "region"
        category = "plan_type"
    else:
        numbers, (first, second), other = (
            {"MonthlyCharges": 2, "tenure": 0},
            ("Month-to-month", "Two year"),
            "PaymentMethod",
        )
        category = "Contract"
    lines, made = population.rows, []
    shares = {name: float((lines[category] == name).mean()) for name in (first, second)}
    for name, decimals in numbers.items():
        mean, spread = lines[name].mean(), lines[name].std()
        made.append((f"{name}: mean + 0.5 standard deviations", name, 200, shift(0.5 * spread, decimals)))
        made.append((f"{name}: spread + 30 %", name, 1_000, widen(mean, decimals)))
        made.append((f"{name}: 5 % missing", name, 200, replace_some(np.nan)))
    for before, after in ((first, second), (second, first)):
        made.append((f"{category}: 15 points more {after}", category, 200, move(before, after, shares[before])))
    made.append((f"{other}: 5 % in a new category", other, 200, replace_some("MARS")))
    return [Scenario(name, population.name, *rest) for name, *rest in sorted(made, key=lambda row: row[2])]


def count_detections(population: Population, seeds: range) -> list[int]:
    """How many windows of each scenario are found to have drifted, in the feature that was changed."""
    scenarios = make_scenarios(population)
    found = [0] * len(scenarios)
    for seed in seeds:
        rng = np.random.default_rng(10_000 + seed)
        reference = population.draw_reference(rng)
        for place, scenario in enumerate(scenarios):
            lines = scenario.apply(population.draw_window(rng, scenario.size), rng)
            result = population.judge(reference, lines)
            found[place] += any(
                row["feature"] == scenario.feature and row["status"] == "drift" for row in result.features
            )
    return found


def simulate_detection(populations: list[Population], windows: int) -> None:
    rows = []
    for population in populations:
        shares = in_parallel(count_detections, windows, population) / windows
        record(f"drift check, drift found, {population.name} customers, the rarest of the changes", min(shares), "%")
        for scenario, share in zip(make_scenarios(population), shares):
            rows.append({"data": population.name, "change": scenario.name, "n": scenario.size, "found": f"{share:.1%}"})
    text = f"{windows:,} windows each; found means that the changed feature itself is called drifted."
    record_table("Drift found", rows, text)


# Evidently, beside it, in an environment of its own


def ask_evidently(reference: pd.DataFrame, cases: dict[str, list[pd.DataFrame]]) -> dict[str, dict]:
    """For each case and method: how often each column is called drifted, how often any, and seconds a window."""
    with tempfile.TemporaryDirectory() as folder:
        reference.to_csv(Path(folder) / "reference.csv", index=False)
        for name, windows in cases.items():
            pd.concat(windows, keys=range(len(windows)), names=["window"]).reset_index("window").to_csv(
                Path(folder) / f"{name}.csv", index=False
            )
        script = Path(__file__).with_name("drift_evidently.py")
        python = rival_python("evidently", f"evidently=={EVIDENTLY}", "pandas<3")
        done = subprocess.run([python, script, folder], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        return json.loads(done.stdout.splitlines()[-1])


def compare_with_evidently(population: Population, windows: int) -> None:
    """The same windows for both; the reference is one training set, as Evidently wants its rows."""
    rng = np.random.default_rng(3)
    chosen = rng.integers(len(population.rows), size=population.trained_on)
    rows, held_out = (
        population.rows.iloc[chosen],
        population.probability[rng.integers(len(population.rows), size=HELD_OUT)],
    )
    reference = make_reference(rows, population.contract, held_out, population.threshold)
    cases: dict[str, list[pd.DataFrame]] = {}
    for size in SIZES[:5]:
        cases[f"no drift, n={size}"] = [
            population.draw_window(rng, size) for _ in range(min(windows, 20) if size >= 10_000 else windows)
        ]
    scenarios = {f"{scenario.name}, n={scenario.size}": scenario for scenario in make_scenarios(population)}
    for name, scenario in scenarios.items():
        drawn = (population.draw_window(rng, scenario.size) for _ in range(windows))
        cases[name] = [scenario.apply(lines, rng) for lines in drawn]
    files = {f"case{number}": name for number, name in enumerate(cases)}
    names = population.contract.names
    frames = {file: [lines[names] for lines in cases[name]] for file, name in files.items()}
    theirs, table = ask_evidently(rows[names], frames), []
    for file, name in files.items():
        scenario = scenarios.get(name)
        ours = [population.judge(reference, lines) for lines in cases[name]]
        if scenario:
            found = [
                any(r["feature"] == scenario.feature and r["status"] == "drift" for r in result.features)
                for result in ours
            ]
        else:
            found = [result.verdict == "drift" for result in ours]
        key = scenario.feature if scenario else "any"
        shares = {label: f"{theirs[file][method][key]:.0%}" for method, label in METHODS.items()}
        shares["Evidently, preset's verdict"] = f"{theirs[file]['default']['dataset']:.0%}"
        table.append({"windows": name, "churn_lab": f"{np.mean(found):.0%}", **shares})
    text = f"{windows} windows each, the same for both. Without drift: any column called drifted; else: the changed column."
    record_table(f"Beside Evidently {EVIDENTLY}, {population.name} customers", table, text)
    few = [row for row in table if row["windows"] in ("no drift, n=50", "no drift, n=100", "no drift, n=200")]
    theirs_too = ", ".join(row["Evidently, preset"] for row in few)
    record(
        f"drift check, false alarms on windows of 50, 100, 200 rows, {population.name} customers",
        [float(row["churn_lab"].rstrip("%")) / 100 for row in few],
        "%",
        f"Evidently {EVIDENTLY}'s preset on the same windows, {windows} of each: {theirs_too} with a drifted column",
        readme=population.name == "lab",
    )


METHODS = {"default": "Evidently, preset", "psi": "Evidently, PSI >= 0.1"}


# Cost


def write_log(lab: Workspace, lines: int) -> Path:
    """A log of one file, in lines as the API writes them."""
    model = open_model(lab, current_model(lab))
    unique = min(lines, 1_000_000)
    rows = draw_customers(unique, seed=7)[model.contract.names]
    probability = model.predict_proba(rows).tolist()
    path = lab.logs / "predictions-2026-01-01.jsonl"
    with path.open("wb") as log:
        for number, (values, chance) in enumerate(zip(rows.to_dict("records"), probability)):
            answer = {"request_id": f"{number:032x}", "model_version": model.name}
            answer |= {"prediction": int(chance >= model.threshold), "probability": chance, "latency_ms": 0.31}
            log.write(format_line(answer, values, 1767225600 + number / 100))
    block = path.read_bytes()
    with path.open("ab") as log:
        for _ in range(lines // unique - 1):
            log.write(block)
    return path


DRIFT = """
import resource, sys
from churn_lab.cli import main
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_maxrss / 1024, used.ru_utime + used.ru_stime, file=sys.stderr)
"""
# A child inherits the high-water mark of the process that starts it, so a small one stands between, and holds the watch.
STARTER = """
import subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
print(time.perf_counter() - started, file=sys.stderr)
sys.exit(code)
"""


def tear(path: Path, every: int) -> None:
    """Cut each so many-th line of a log in its middle."""
    lines = path.read_bytes().splitlines()
    lines[::every] = [line[: len(line) // 2] for line in lines[::every]]
    path.write_bytes(b"\n".join(lines))


def installed(kit: Path | None = None) -> dict[str, str]:
    """The environment, with modules compiled once and kept, as an installed package has them; maybe of another kit."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | ({"PYTHONPATH": str(kit)} if kit else {})


def time_drift(lab: Workspace, *options: object, kit: Path | None = None) -> tuple[float, float, float]:
    """Seconds, peak megabytes and processor seconds of the whole command."""
    command = [sys.executable, "-P", "-c", DRIFT, "drift", "--workspace", lab.root, *options]
    done = subprocess.run(
        [sys.executable, "-S", "-c", STARTER, *map(str, command)], capture_output=True, text=True, env=installed(kit)
    )
    assert done.returncode in (0, 3), done.stderr
    used, seconds = done.stderr.splitlines()[-2:]
    return float(seconds), *map(float, used.split())


def draw_rows(model: ServingModel, size: int, seed: int) -> pd.DataFrame:
    """What Evidently is asked about: the features and the probability, as our check looks at both."""
    rows = draw_customers(size, seed=seed)[model.contract.names]
    return rows.assign(probability=model.predict_proba(rows))


COST = """The whole command, from the start of Python to its end. One query returns counts, sums and bins, so no row is kept.
`histogram` would keep all of them; `histogram_exact`, for the categories that training knew, does not, and neither does
`count_if`. An aggregate with `FILTER` copies all columns for each of a wide table's hundreds of aggregates: 100 features took
9 s and 1.7 GB for 40,000 lines with it, 0.6 s and 0.3 GB without."""

READING = """
import sys, time, pandas as pd
wall, busy = time.perf_counter(), time.process_time()
pd.read_json(sys.argv[1], lines=True)
print(time.perf_counter() - wall, time.process_time() - busy)
"""


def time_pandas(path: Path) -> list[float]:
    """Seconds, and processor seconds, of pandas reading a log."""
    done = subprocess.run([sys.executable, "-c", READING, path], capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def measure_cost(lines: int, rounds: int, evidently: bool, before: Path | None = None) -> None:
    """Time and memory of the whole command, beside pandas and Evidently, at `lines` and ten times as many."""
    with tempfile.TemporaryDirectory() as folder:
        lab, small_lab, torn_lab = (Workspace(Path(folder) / name) for name in ("lab", "small", "torn"))
        create_workspace(lab.root)
        generate(lab)
        prepare(lab)
        train(lab)
        write_log(lab, lines // 100)
        shutil.copytree(lab.root, small_lab.root)
        path = write_log(lab, lines)
        shutil.copytree(lab.root, torn_lab.root)
        tear(torn_lab.logs / path.name, 1_000)
        model = open_model(lab, current_model(lab))
        current = draw_rows(model, lines, 7)
        costs = {lines // 100: time_drift(small_lab, "--all")}
        pairs, asked, earlier = [], [], []
        for _ in range(rounds):  # in turns, since other work on the machine comes and goes
            ours = time_drift(lab, "--all")
            pairs.append((*ours, time_drift(torn_lab, "--all")[0], *time_pandas(path)))
            if evidently:
                answer = ask_evidently(draw_rows(model, 3_000, 42), {"case0": [current]})
                asked.append(ours[0] / answer["case0"]["default"]["seconds"])
            if before:
                earlier.append(ours[0] / time_drift(lab, "--all", kit=before)[0])
        shutil.rmtree(torn_lab.root)
        whole, memory, busy, torn, reading, reading_busy = zip(*pairs)
        costs[lines] = [statistics.median(column) for column in (whole, memory, busy)]
        write_log(lab, 10 * lines)
        costs[10 * lines] = time_drift(lab, "--all")
        latest = [[time_drift(place, "--last-n", 200)[0] for place in (small_lab, lab)] for _ in range(2 * rounds)]
    what, pandas = f"drift check, {lines:,} log lines", "pandas' `read_json(lines=True)` alone"
    record(f"{what}, whole command", divide(whole, reading), "times", pandas, "<= 0.2", readme=True)
    if evidently:
        name = f"Evidently {EVIDENTLY}'s preset, the same rows in memory, import and reading not counted"
        record(f"{what}, whole command, beside Evidently", asked, "times", name, "<= 0.167", readme=True)
    if before:
        record(f"{what}, whole command, beside another version", earlier, "times", f"the kit in {before.name}")
    record(f"{what}, processor time", divide(busy, reading_busy), "times", pandas)
    record(f"{what}, one in a thousand torn", divide(torn, whole), "times", "none of them torn", "<= 1.2", readme=True)
    name = f"its memory at {lines:,} lines"
    record(
        f"drift check, {10 * lines:,} log lines, memory",
        [costs[10 * lines][1] / least for least in memory],
        "times",
        name,
        "<= 1.5",
        readme=True,
    )
    ratios = [large / small for small, large in latest]
    record(
        f"drift check, last 200 of {10 * lines:,} lines",
        ratios,
        "times",
        f"last 200 of {lines // 100:,} lines",
        "<= 1.5",
    )
    record(f"{what}, seconds", whole, "s")
    for place, (axis, unit) in enumerate((("time", "s"), ("memory", "MB"))):
        series = {"churn-lab drift --all": {size: cost[place] for size, cost in costs.items()}}
        record_growth(f"drift check, {axis}", "lines", unit, series)
    names = ("seconds", "MB", "seconds of processor")
    rows = [{"lines": f"{size:,}"} | {n: f"{c:.3g}" for n, c in zip(names, cost)} for size, cost in costs.items()]
    record_table("Cost of the whole command", rows, COST)


def divide(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio of each pair."""
    return [one / other for one, other in zip(ours, theirs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["false-alarms", "detection", "evidently", "cost"])
    parser.add_argument("--windows", type=int, default=800, help="simulated windows at each size")
    parser.add_argument("--before", type=Path, help="a checkout of another version of the kit, to time in turns")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="25 windows, 100,000 lines, without Evidently and without drift to be found",
    )
    options = parser.parse_args()
    wanted, windows = options.only, 25 if options.quick else options.windows
    telco = REAL / "telco.csv"
    populations = [lab_population()]
    if telco.is_file() and not options.quick:
        populations.append(telco_population(telco))
    if wanted in (None, "false-alarms"):
        simulate_false_alarms(populations, windows)
    if wanted == "detection" or not (wanted or options.quick):
        simulate_detection(populations, min(windows, 300))
    if wanted == "evidently" or not (wanted or options.quick):
        for population in populations:
            compare_with_evidently(population, 12)
    if wanted in (None, "cost"):
        lines, rounds = (100_000, 2) if options.quick else (1_000_000, 5)
        measure_cost(lines, rounds, not options.quick, options.before)


if __name__ == "__main__":
    main()
