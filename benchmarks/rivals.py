"""Environments for the libraries that the kit is compared with: made once, in the user's cache."""

import os
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path


def rival_python(name: str, *requirements: str) -> Path:
    """The Python of an environment that has `requirements`; made on first use, which takes minutes and a network."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    wanted = sha256(" ".join(requirements).encode()).hexdigest()[:8]
    folder = cache / "churn_lab" / f"{name}-{sys.version_info.major}.{sys.version_info.minor}-{wanted}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "done"
    if not done.exists():
        print(f"making an environment for {name}: {', '.join(requirements)}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *requirements], check=True, stdout=subprocess.DEVNULL
        )
        done.touch()
    return python


def rival_version(python: Path, package: str) -> str:
    """Which version of a package that environment has."""
    program = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()
