"""Run every benchmark, one after the other, and write the figures page.

    python benchmarks/run_all.py                # all of it, half an hour and more on a calm machine: RESULTS.md, README.md
    python benchmarks/run_all.py --only drift   # measure one again; the others stay as they were measured
    python benchmarks/run_all.py --quick        # a look in five minutes, into benchmarks/quick/, which is not the page

A script that fails does not end it: what it would have measured stands there as not measured, with the reason.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
import psutil
from figures import make_table, tell_number, tell_spread, tell_target, tell_value

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

HERE = Path(__file__).resolve().parent
SCRIPTS = {  # name -> its title on the page, options of a full run and of a quick one
    "serving": ("The prediction service", "", "--quick --without-mlflow"),
    "drift": ("The drift check", "", "--quick"),
    "cluster": ("Past one machine", "", "--quick"),
    "registry": ("The registry", "", "--quick --without-mlflow"),
    "dashboard": ("The dashboard", "", "--quick"),
    "headless": ("The whole lab without a screen", "", "--quick"),
    "classroom": ("A class", "", "--students 4 --without-peers"),
    "git_check": ("The Git lab", "", "--quick"),
    "own_data": ("Tables of one's own", "", "--only plain"),
    "startup": ("The command line", "", "--pairs 5"),
}
LIBRARIES = "churn_lab pandas scikit-learn onnxruntime duckdb fastapi uvicorn papermill nbconvert distributed".split()
PATIENCE = 3600  # seconds for one script
MARKS = ("<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n")


def describe_machine() -> str:
    """Cores, memory, system and versions, in one line."""
    names = [line.split(": ")[1] for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return (
        f"{os.cpu_count()} cores ({names[0] if names else platform.machine()}), {memory:.0f} GB, {system}; {libraries}"
    )


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def measure(script: Path, options: list[str], before: dict[str, Any]) -> dict[str, Any]:
    """Run one script: what it recorded, and why it ended if it failed."""
    started, began, load = datetime.now(UTC), time.monotonic(), os.getloadavg()[0] / os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        kept, said = Path(folder, "figures.jsonl"), Path(folder, "said")
        kept.touch()
        with said.open("w") as errors:
            try:
                code = subprocess.run(
                    [sys.executable, script, *options],
                    env={**os.environ, "CHURN_LAB_FIGURES": str(kept)},
                    stderr=errors,
                    timeout=PATIENCE,
                ).returncode
                reason = f"ended with {code}" if code else ""
            except subprocess.TimeoutExpired:
                reason = f"not done after {PATIENCE} s"
        last = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()][-1:]
        rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    minutes = (time.monotonic() - began) / 60
    how = f"{started:%Y-%m-%d %H:%M} UTC, {minutes:.1f} minutes, load at the start {load:.2f} a core"
    result = {"how": how, "machine": describe_machine(), "options": options, "rows": rows}
    if reason:
        reason = ": ".join([reason, *last])[:300].replace("|", "/")
        names = [row["figure"] for row in rows if row["kind"] == "figure"]
        lost = [row for row in before.get("rows", []) if row["kind"] == "figure" and row["figure"] not in names]
        lost = lost or [{"kind": "figure", "figure": f"what {script.name} measures"}]
        result["rows"] = rows + [{**row, "values": [], "target": "", "failed": reason} for row in lost]
    return result


def draw_growth(row: dict[str, Any], path: Path) -> None:
    """How a cost grows, on two logarithmic axes; the dotted line doubles with what grows, or halves if that is workers."""
    figure, axes = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    for name, costs in row["series"].items():
        axes.plot([float(size) for size in costs], list(costs.values()), "o-", label=name)
    sizes = [float(size) for size in next(iter(row["series"].values()))]
    every = [cost for costs in row["series"].values() for cost in costs.values()]
    if row["axis"] == "workers" and row["unit"] == "s":
        first = max(costs[min(costs, key=float)] for costs in row["series"].values())
        axes.plot(sizes, [first * sizes[0] / size for size in sizes], color="#bbbbbb", linestyle=":", label="half")
    else:
        last = max(costs[max(costs, key=float)] for costs in row["series"].values())
        axes.plot(sizes, [last * size / sizes[-1] for size in sizes], color="#bbbbbb", linestyle=":", label="linear")
    axes.set(xscale="log", yscale="log", xlabel=row["axis"], ylabel=row["unit"], title=row["cost"])
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], minor=False)
    axes.set_yticks([min(every), max(every)], [tell_number(cost, row["unit"]) for cost in (min(every), max(every))])
    axes.minorticks_off()
    figure.legend(loc="outside right upper", fontsize=8)
    plt.rcParams["svg.hashsalt"] = "churn_lab"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def render_section(name: str, result: dict[str, Any], folder: Path, machine: str) -> str:
    """One script: its figures, how its costs grow, its details."""
    command = " ".join([f"python benchmarks/{name}.py", *result["options"]])
    text = [f"## {SCRIPTS[name][0]}", f"`{command}`: {result['how']}."]
    if result["machine"] != machine:
        text.append(f"Measured elsewhere: {result['machine']}.")
    kinds: dict[str, list] = {"figure": [], "growth": [], "table": []}
    for row in result["rows"]:
        kinds[row["kind"]].append(row)
    if kinds["figure"]:
        text.append(make_table([render_figure(row) for row in kinds["figure"]]))
    for row in kinds["growth"]:
        file = f"{name}_{re.sub(r'[^a-z0-9]+', '_', row['cost'].lower()).strip('_')}.svg"
        draw_growth(row, folder / file)
        text.append(f"![{row['cost']} by {row['axis']}]({file})")
    for row in kinds["table"]:
        text += [f"### {row['title']}", make_table(row["rows"]), row["text"]]
    return "\n\n".join(part for part in text if part)


def render_figure(row: dict[str, Any]) -> dict[str, str]:
    """A figure as a row of the page; one without values was not measured."""
    if "failed" in row:
        value, spread, target = f"not measured: {row['failed']}", "", ""
    else:
        value, spread, target = tell_value(row), tell_spread(row), tell_target(row).replace("MISSED", "**missed**")
    found = {"figure": row["figure"], "reference in the same run": row.get("reference", ""), "value": value}
    return {**found, "spread, pairs": spread, "target": target}


def render_page(results: dict[str, Any], folder: Path, quick: bool = False) -> str:
    """The figures page; plots are drawn beside it."""
    machine = next(reversed(results.values()))["machine"]
    rows = [row for result in results.values() for row in result["rows"] if row["kind"] == "figure"]
    aimed = [row for row in rows if row.get("target")]
    missed = [row["figure"] for row in aimed if "MISSED" in tell_target(row)]
    failed = [row["figure"] for row in rows if "failed" in row]
    missing = [f"all of '{title}'" for name, (title, *_) in SCRIPTS.items() if name not in results]
    text = [
        "# QUICK: a look, not the figures" if quick else "# The figures",
        f"`make bench` writes this page. The machine: {machine}.",
        "A figure is the median of its pairs; a pair is measured in turns, since other work on a machine comes and goes. "
        "Ratios count, seconds are those of this machine.",
        f"Missed, of {len(aimed)} with a target: {'; '.join(missed) or 'none'}.",
        f"Not measured: {'; '.join([*failed, *missing]) or 'none'}.",
    ]
    text += [render_section(name, results[name], folder, machine) for name in SCRIPTS if name in results]
    return "\n\n".join(text) + "\n"


def quote_figures(results: dict[str, Any], readme: str) -> str:
    """The README with those figures in it that are meant for it."""
    table = []
    for row in (row for name in SCRIPTS if name in results for row in results[name]["rows"] if row.get("readme")):
        found = render_figure(row)
        del found["spread, pairs"]
        table.append(found)
    before, rest = readme.split(MARKS[0])
    return before + MARKS[0] + (make_table(table) + "\n" if table else "") + MARKS[1] + rest.split(MARKS[1])[1]


def main(scripts: Path = HERE, folder: Path = HERE, readme: Path = HERE.parent / "README.md") -> None:
    """Measure, keep, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(SCRIPTS), help="one script; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer pairs and smaller sizes, into benchmarks/quick/")
    parser.add_argument("--render", action="store_true", help="measure nothing; write the page from what was kept")
    options = parser.parse_args()
    folder = folder / "quick" if options.quick else folder
    folder.mkdir(exist_ok=True)
    kept = folder / "results.json"
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for name in [] if options.render else options.only or SCRIPTS:
        if (scripts / f"{name}.py").exists():
            print(f"\n== {name}", flush=True)
            arguments = SCRIPTS[name][2 if options.quick else 1].split()
            before = results.pop(name, {})  # the newest comes last
            results[name] = measure(scripts / f"{name}.py", arguments, before)
            kept.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "RESULTS.md").write_text(render_page(results, folder, options.quick), encoding="utf-8")
    if not options.quick:
        readme.write_text(quote_figures(results, readme.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"\n{folder / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
