"""How long `churn-lab --help` takes, against a bare Typer program with two commands."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import record

BARE = (
    "import typer\napp = typer.Typer()\n@app.command()\ndef one(): 'One.'\n@app.command()\ndef two(): 'Two.'\napp()\n"
)


def seconds(*command: str) -> float:
    """The wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *command, "--help"], check=True, capture_output=True)
    return time.perf_counter() - began


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15)
count = parser.parse_args().pairs
with tempfile.TemporaryDirectory() as folder:
    bare = Path(folder) / "bare.py"
    bare.write_text(BARE)
    pairs = [(seconds("-c", "from churn_lab.cli import main; main()"), seconds(str(bare))) for _ in range(count)]

ratios = [ours / bare for ours, bare in pairs]
record("`churn-lab --help`", ratios, reference="a bare Typer program", target="<= 2", readme=True)
record("`churn-lab --help`, time", [ours for ours, _ in pairs], "s")
