"""How long `churn-lab --help` takes, against a bare Typer program with two commands (median of 15 pairs)."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = (
    "import typer\napp = typer.Typer()\n@app.command()\ndef one(): 'One.'\n@app.command()\ndef two(): 'Two.'\napp()\n"
)


def seconds(*command: str) -> float:
    """The wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *command, "--help"], check=True, capture_output=True)
    return time.perf_counter() - began


with tempfile.TemporaryDirectory() as folder:
    bare = Path(folder) / "bare.py"
    bare.write_text(BARE)
    pairs = [(seconds("-c", "from churn_lab.cli import main; main()"), seconds(str(bare))) for _ in range(15)]

ours, reference = (statistics.median(column) for column in zip(*pairs, strict=True))
ratio = statistics.median(one / other for one, other in pairs)
print(f"churn-lab --help: {ours:.3f} s; bare Typer: {reference:.3f} s; ratio {ratio:.2f} (target <= 2)")
