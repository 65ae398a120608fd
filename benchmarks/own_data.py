"""Tables of many kinds through prepare, train and evaluate, beside an independent forest on the same split.

    python benchmarks/own_data.py [--only NAME]

Real files are read from the folder that CHURN_LAB_REAL_DATA names (`real-data`), and left out where they are not.
`exit` has the exit codes of prepare, train and evaluate.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from figures import record, record_table
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from churn_lab.contract import read_contract
from churn_lab.csv_files import open_csv
from churn_lab.evaluate import split_prepared
from churn_lab.prepare_data import read_processed
from churn_lab.workspace import Workspace

REAL = Path(os.environ.get("CHURN_LAB_REAL_DATA", "real-data"))


def draw(rows: int, seed: int = 1, rare: float = 0.3) -> tuple[pd.DataFrame, np.random.Generator]:
    """Customers of another company, with a signal of medium strength."""
    rng = np.random.default_rng(seed)
    age, visits = rng.integers(18, 90, rows), rng.poisson(4, rows)
    spent = rng.gamma(2, 120, rows).round(2)
    score = 0.03 * (age - 50) - 0.35 * (visits - 4) - 0.004 * (spent - 240) + rng.logistic(0, 1, rows)
    left = score > np.quantile(score, 1 - rare)
    city = rng.choice(["Lyon", "Nice", "Paris"], rows)
    return pd.DataFrame({"age": age, "visits": visits, "spent": spent, "city": city, "left": left.astype(int)}), rng


def euro(number: float) -> str:
    return f"{number:,.2f} €".translate(str.maketrans(",.", ".,"))


def make_tables() -> dict[str, tuple[pd.DataFrame | Path, str, str]]:
    """Name -> table, options of `prepare`, separator."""
    plain, rng = draw(3000)
    tables = {"plain": (plain, "--target left", ",")}
    wide = pd.DataFrame(rng.normal(size=(2000, 100)).round(3), columns=[f"x_{i}$" for i in range(100)])
    tables["wide, 100 columns"] = (
        wide.assign(left=(wide.iloc[:, :5].sum(axis=1) > 1).astype(int)),
        "--target left",
        ",",
    )
    tables["tall, 200,000 rows"] = (draw(200_000)[0], "--target left", ",")
    tables["1 % positive"] = (draw(20_000, rare=0.01)[0], "--target left", ",")
    french = plain.assign(spent=plain["spent"].map(euro), left=plain["left"].map({0: "non", 1: "oui"}))
    french = french.rename(columns={"city": "région", "spent": "dépensé"}).replace({"Lyon": "Orléans", "Nice": "Nîmes"})
    tables["French, semicolons"] = (french, "--target left", ";")
    days = pd.to_timedelta(rng.integers(0, 900, 3000) + 400 * plain["left"], unit="D")
    dates = plain.assign(since=(pd.Timestamp("2024-05-31") - days).dt.strftime("%d/%m/%Y"))
    tables["dates"] = (dates, "--target left", ",")
    notes = plain.assign(note=[f"customer wrote {i * 7919 % 3000} lines" for i in range(3000)], mail="a@b.example")
    tables["notes and constants"] = (notes, "--target left", ",")
    late = plain.assign(closing_day=np.where(plain["left"] == 1, rng.integers(1, 31, 3000).astype(str), ""))
    tables["leak by presence"] = (late, "--target left --max-missing 0.9", ",")
    tables["leak, allowed"] = (late, "--target left --max-missing 0.9 --allow closing_day", ",")
    strong = plain.assign(score=(plain["left"] * 2.2 + rng.normal(size=3000)).round(3))
    tables["strong score"] = (strong, "--target left", ",")
    codes = plain.assign(customer_no=rng.permutation(3000) + 70_000, zip=rng.integers(1000, 99_999, 3000).astype(str))
    codes["zip"], codes["account"] = codes["zip"].str.zfill(5), [str(10**17 + i * 977) for i in range(3000)]
    tables["codes and names"] = (codes, "--target left", ",")
    noise = pd.DataFrame({"customer": np.repeat(np.arange(500), 12), "left": np.repeat(rng.integers(0, 2, 500), 12)})
    for name in "abc":
        noise[name] = np.repeat(rng.normal(size=500).round(3), 12)
    tables["snapshots, no signal"] = (noise, "--target left --id customer --max-duplicates 1", ",")
    signed = plain.assign(balance=rng.normal(50, 15, 3000).round(0).astype(int))
    tables["few negatives"] = (signed, "--target left", ",")
    tables["100 rows"] = (draw(100, 5)[0], "--target left", ",")
    kept = plain.assign(retained=plain["left"].map({0: "Yes", 1: "No"})).drop(columns="left")
    tables["retained, Yes and No"] = (kept, "--target retained", ",")
    for name, load, positive in (
        ("breast cancer", load_breast_cancer, 0),
        ("wine", load_wine, 1),
        ("iris", load_iris, 1),
    ):
        bunch = load(as_frame=True)
        table = bunch.frame.assign(target=np.where(bunch.target == positive, "churned", "stayed"))
        tables[name] = (table, "--target target", ",")
    digits = load_digits(as_frame=True).frame
    tables["digits, is it 8"] = (
        digits.assign(target=(digits["target"] == 8).astype(int)),
        "--target target --min-distinct 1",
        ",",
    )
    real = {
        "telco.csv": "--target Churn --id customerID",
        "startup.csv": "--target status --max-missing 0.6",
        "fraud.csv": "--target label --allow accountAgeDays",
        "summer.csv": "--target uses_ad_boosts --max-missing 0.8",
    }
    return tables | {name: (REAL / name, options, ",") for name, options in real.items() if (REAL / name).is_file()}


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([Path(sys.executable).with_name("churn-lab"), *arguments], capture_output=True, text=True)


def independent_auc(lab: Workspace) -> float:
    """ROC AUC of a forest that knows nothing of the kit but the split, on one-hot columns."""
    contract = read_contract(lab)
    data = read_processed(lab)
    split = split_prepared(data, contract)
    columns = pd.get_dummies(data[contract.names], dtype=float)
    columns = columns.fillna(columns.median())
    forest = RandomForestClassifier(100, min_samples_leaf=10, random_state=7, n_jobs=-1)
    forest.fit(columns.loc[split.train.index], split.train[contract.target])
    return roc_auc_score(split.test[contract.target], forest.predict_proba(columns.loc[split.test.index])[:, 1])


def measure(name: str, table: pd.DataFrame | Path, options: str, separator: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        lab, path = Workspace(Path(folder) / "lab"), table
        if isinstance(table, pd.DataFrame):
            path = Path(folder) / "own.csv"
            table.to_csv(path, index=False, sep=separator)
        command("init", str(lab.root))
        where = ["--workspace", str(lab.root)]
        prepared = command("prepare", "--raw", str(path), *options.split(), *where, "--json")
        row = {"table": name, "columns": str(len(open_csv(path).columns)), "options": options}
        if prepared.returncode:
            return row | {"exit": str(prepared.returncode), "said": prepared.stderr.strip().splitlines()[0][:400]}
        found = json.loads(prepared.stdout)
        trained, scored = command("train", *where, "--json"), command("evaluate", *where, "--model", "1", "--json")
        auc = json.loads(scored.stdout)["metrics"]["roc_auc"] if not scored.returncode else float("nan")
        row |= {
            "rows": str(found["rows"]),
            "rejected": str(found["rejected"]),
            "left out": "; ".join(f"{column}: {reason}"[:90] for column, reason in found["left_out"].items()),
            "assumed": "; ".join(f"{b['column']} {b['rule']} ({b['rows']})" for b in found["assumed"]),
            "warnings": "; ".join(found["warnings"])[:300],
            "auc": f"{auc:.3f}",
            "independent": f"{independent_auc(lab):.3f}",
            "exit": f"{prepared.returncode} {trained.returncode} {scored.returncode}",
            "said": (trained.stderr + scored.stderr).strip()[:300],
        }
        return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="the tables whose names hold this")
    arguments = parser.parse_args()
    rows = []
    for name, (table, options, separator) in make_tables().items():
        if not arguments.only or arguments.only in name:
            rows.append(measure(name, table, options, separator))
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    ratios = [float(row["auc"]) / float(row["independent"]) for row in rows if row.get("auc", "nan") != "nan"]
    record("ROC AUC on tables of one's own", ratios, "times", "a forest that knows nothing of the kit but the split")
    shown = ("table", "columns", "rows", "rejected", "left out", "auc", "independent", "exit", "said")
    record_table(
        "Tables", [{key: row.get(key, "").replace("|", "/").replace("\n", " ") for key in shown} for row in rows]
    )


if __name__ == "__main__":
    main()
