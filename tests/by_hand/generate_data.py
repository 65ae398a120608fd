"""Step 3: draw customers and write data/raw.csv."""

from pathlib import Path

import numpy as np
import pandas as pd

LAB = Path(__file__).resolve().parents[1]
rows = 5000
seed = 42


def draw_customers(rows, seed):
    """A table with one row a customer; the same seed draws the same customers."""
    rng = np.random.default_rng(seed)
    customers = pd.DataFrame(
        {
            "tenure_months": rng.integers(0, 61, rows),
            "num_complaints": rng.poisson(1.2, rows),
            "avg_session_minutes": rng.gamma(4, 6, rows).round(1),
            "plan_type": rng.choice(["basic", "premium"], rows, p=[0.7, 0.3]),
            "region": rng.choice(["NA", "EU", "AF", "AS"], rows),
        }
    )
    basic = customers["plan_type"] == "basic"
    score = 0.9 * customers["num_complaints"] - 0.05 * customers["tenure_months"] + 1.0 * basic
    score -= 0.03 * customers["avg_session_minutes"]
    customers["churn"] = (rng.random(rows) < 1 / (1 + np.exp(0.8 - score))).astype(int)
    return customers


if __name__ == "__main__":
    draw_customers(rows, seed).to_csv(LAB / "data" / "raw.csv", index=False)
