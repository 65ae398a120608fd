"""What a benchmark script has measured: printed as it comes, and kept for the page if CHURN_LAB_FIGURES names a file."""

import json
import os
import statistics
from collections.abc import Sequence
from typing import Any


def record(
    figure: str,  # what was measured, in words; a name that stays from run to run
    values: float | Sequence[float],  # one a pair or a repeat; the figure is their median
    unit: str = "times",  # "times" for a ratio, "%" for a share (0.05 is 5 %), else as it is: s, MB, requests/s
    reference: str = "",  # what it is a ratio to, or stands beside, in the same run
    target: str = "",  # "<= 1.2" or ">= 0.9", in the unit of `values`; empty: reported
    readme: bool = False,  # the README quotes it
) -> None:
    """One figure, its spread and what was aimed at."""
    values = [values] if isinstance(values, int | float) else list(values)
    row = {"figure": figure, "values": values, "unit": unit, "reference": reference, "target": target, "readme": readme}
    print(f"{figure:<66} {tell_value(row):>12}  {tell_spread(row):<22} {tell_target(row)}  {reference}", flush=True)
    _keep("figure", **row)


def record_growth(
    cost: str,  # "churn-lab predict, CSV to CSV"
    axis: str,  # what grows: "rows"
    unit: str,  # of the cost: "s"
    series: dict[str, dict[int, float]],  # name of a line -> size -> cost
) -> None:
    """How a cost grows, for a plot."""
    _keep("growth", cost=cost, axis=axis, unit=unit, series=series)


def record_table(title: str, rows: list[dict[str, Any]], text: str = "") -> None:
    """Details: a table, and a sentence about it."""
    print(f"\n### {title}\n\n{make_table(rows)}\n", flush=True)
    _keep("table", title=title, rows=rows, text=text)


def make_table(rows: list[dict[str, Any]]) -> str:
    """Rows as a table in Markdown, their keys as its head."""
    lines = [rows[0], dict.fromkeys(rows[0], "---"), *rows]
    cells = [row.keys() if place == 0 else row.values() for place, row in enumerate(lines)]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in cells)


def tell_number(value: float, unit: str) -> str:
    """A number as people read it."""
    if unit == "%":
        return f"{100 * value:.1f} %"
    if unit == "times" and 0 < value < 0.5:
        return f"1/{1 / value:.1f}"
    if unit == "times":
        return f"{value:.2f}" if value < 20 else f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def tell_value(row: dict[str, Any]) -> str:
    """The median with its unit."""
    value = tell_number(statistics.median(row["values"]), row["unit"])
    return value if row["unit"] == "%" or "/" in value else f"{value} {row['unit']}"


def tell_spread(row: dict[str, Any]) -> str:
    """The least, the greatest, and how many there were."""
    values, unit = row["values"], row["unit"]
    if len(values) == 1:
        return "one"
    return f"{tell_number(min(values), unit)} to {tell_number(max(values), unit)}, {len(values)}"


def tell_target(row: dict[str, Any]) -> str:
    """What was aimed at, and whether it was met."""
    if not row["target"]:
        return ""
    sign, limit = row["target"].split()
    value = statistics.median(row["values"])
    met = value <= float(limit) if sign == "<=" else value >= float(limit)
    return f"{'at most' if sign == '<=' else 'at least'} {tell_number(float(limit), row['unit'])}: {'met' if met else 'MISSED'}"


def _keep(kind: str, **row: Any) -> None:
    if path := os.environ.get("CHURN_LAB_FIGURES"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **row}, ensure_ascii=False) + "\n")
