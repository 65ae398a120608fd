"""Samples for the tests of the drift check: a window of customers as numpy adds it up, not as the log's query does."""

import numpy as np
import pandas as pd

from churn_lab.contract import Contract
from churn_lab.drift_findings import judge_window
from churn_lab.generate_data import draw_customers
from churn_lab.prepare_data import LAB_CONTRACT
from churn_lab.reference import describe_numbers, describe_rows, make_reference

SHIFTED = dict(avg_session_minutes=lambda c: (c["avg_session_minutes"] + 7.5).round(1))


def describe_window(rows: pd.DataFrame, contract: Contract, reference: dict, probability: np.ndarray) -> dict:
    """A window of customers, in the form of the reference."""
    prediction = describe_numbers(probability, reference["prediction"]["edges"])
    prediction["positive_share"] = float((probability >= 0.5).mean())
    return {"rows": len(rows), "features": describe_rows(rows, contract, reference), "prediction": prediction}


def draw_pair(rng, size, change=None):
    """A fresh reference and a fresh window, as `judge_window` takes them."""
    seen = draw_customers(3000, seed=int(rng.integers(1 << 30)))
    reference = make_reference(seen, LAB_CONTRACT, rng.random(1000), 0.5)
    rows = draw_customers(size, seed=int(rng.integers(1 << 30)))
    rows = change(rows, rng) if change else rows
    return reference, describe_window(rows, LAB_CONTRACT, reference, rng.random(size))


def share_of(verdict, size, windows, change=None):
    """How many of so many fresh windows get a verdict."""
    rng = np.random.default_rng(5)
    return np.mean([judge_window(*draw_pair(rng, size, change)).verdict == verdict for _ in range(windows)])
