"""Step 4: check and clean data/raw.csv and write data/processed.csv."""

from pathlib import Path

import pandas as pd

LAB = Path(__file__).resolve().parents[1]
max_missing = 0.05
NUMBERS = {"tenure_months": 600, "num_complaints": 1000, "avg_session_minutes": 1440}
CATEGORIES = {"plan_type": ["basic", "premium"], "region": ["NA", "EU", "AF", "AS"]}


def clean(raw):
    """The rows that keep the rules."""
    if raw.eq("").mean().max() > max_missing:
        raise SystemExit("too many values are missing")
    for name, largest in NUMBERS.items():
        raw[name] = pd.to_numeric(raw[name], errors="coerce")
        raw = raw[raw[name].between(0, largest)]
    for name, known in CATEGORIES.items():
        raw[name] = raw[name].str.strip()
        raw = raw[raw[name].isin(known)]
    whole = (raw["tenure_months"] % 1 == 0) & (raw["num_complaints"] % 1 == 0)
    return raw[whole & raw["churn"].isin(["0", "1"])]


if __name__ == "__main__":
    raw = pd.read_csv(LAB / "data" / "raw.csv", dtype=str, keep_default_na=False)
    clean(raw).to_csv(LAB / "data" / "processed.csv", index=False)
