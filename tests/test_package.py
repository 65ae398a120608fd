"""The package as others install it: metadata from settings.ini, types, and a wheel that works on its own."""

import socket
import subprocess
import sys
import urllib.request
import venv
import zipfile
from configparser import ConfigParser

import pytest
from conftest import ROOT, SOAK, wait_until


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(folder.glob("*.whl"))


def test_the_wheel_says_what_settings_ini_says(wheel):
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert f"Version: {settings['DEFAULT']['version']}" in metadata
    assert "License-Expression: Apache-2.0" in metadata and "License-File: LICENSE" in metadata
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert all(f"Provides-Extra: {extra}" in metadata for extra in ("notebooks", "dev", "scale"))
    core = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert len(core) == len(settings["DEFAULT"]["requirements"].split())
    assert {
        "churn_lab/py.typed",
        "churn_lab/templates/report.html",
        "churn_lab/cli.py",
        "churn_lab/git_lab/git.py",
    } <= set(names)


def answers(address: str) -> bool:
    try:
        return b'"status":"ok"' in urllib.request.urlopen(address, timeout=1).read()
    except OSError:
        return False


@pytest.mark.skipif(not SOAK, reason="installs the core from scratch; `make soak` runs it")
def test_the_wheel_alone_goes_from_init_to_a_trained_model(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    scripts = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    install = [scripts / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    for step in (
        "--help",
        "init lab",
        "generate --rows 1000",
        "prepare",
        "train --gate-f1 0.3",
        "evaluate",
        "serve --help",
    ):
        where = [] if step.startswith(("-", "init", "serve")) else ["--workspace", "lab"]
        done = subprocess.run(
            [scripts / "churn-lab", *step.split(), *where], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{step}: {done.stderr}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([scripts / "churn-lab", "serve", "--workspace", "lab", "--port", str(port)], cwd=tmp_path)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), seconds=30)
    finally:
        server.terminate()
        server.wait(timeout=10)
