"""One trained project, made once for all tests; each test breaks its own copy."""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from churn_lab import cli
from churn_lab.generate_data import generate
from churn_lab.prepare_data import prepare
from churn_lab.train import ForestParams, train
from churn_lab.workspace import Workspace, create_workspace

ROOT = Path(__file__).resolve().parents[1]
SOAK = os.environ.get("CHURN_LAB_SOAK") == "1"  # `make soak`: all of it; otherwise a seeded part


LONGEST = ("test_outputs_come_out_again_in_order", "test_the_whole_lab_runs_into_a_report_that_needs_no_network")


def pytest_collection_modifyitems(items):
    """The longest tests first, so that no process waits for the other at the end."""
    items.sort(key=lambda item: item.name not in LONGEST)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """No test sees the developer's own project."""
    monkeypatch.delenv("CHURN_LAB_HOME", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def no_other_machine(monkeypatch):
    """Nothing in the package opens a socket to another machine."""
    connect = socket.socket.connect

    def only_here(self, address):
        host = address[0] if isinstance(address, tuple) else ""
        if host not in ("", "localhost", "127.0.0.1", "::1"):
            raise AssertionError(f"a connection to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Iterator[Workspace]:
    """A project with two versions, the second in service. Read only: use `lab` to change something."""
    shared = (
        tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.getbasetemp()
    )
    lab = Workspace(shared / "trained")
    with FileLock(str(lab.root) + ".lock"):
        if not (lab.root / "done").exists():
            create_workspace(lab.root)
            generate(lab, rows=2000)
            prepare(lab)
            train(lab, forest=ForestParams(n_estimators=30), gate_f1=0.4)
            train(lab, forest=ForestParams(n_estimators=30), gate_f1=0.4, tolerance=1.0, seed=1)
            (lab.root / "done").touch()
    before = snapshot(lab.root)
    yield lab
    assert snapshot(lab.root) == before, "a test has changed the project that all tests share"


@pytest.fixture
def lab(trained, tmp_path) -> Workspace:
    """A trained project of this test's own."""
    copy = Workspace(tmp_path / "lab")
    shutil.copytree(trained.root, copy.root)
    return copy


@pytest.fixture
def empty_lab(tmp_path) -> Workspace:
    """A project without data."""
    create_workspace(tmp_path / "empty")
    return Workspace(tmp_path / "empty")


@pytest.fixture
def churn_lab(capsys):
    """Run a command: its exit code, standard output and standard error."""

    def command(*arguments) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            cli.main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture
def telco() -> Path:
    """The real data set, which the kit does not ship."""
    path = Path(os.environ.get("CHURN_LAB_REAL_DATA", ROOT.parent / "shared" / "data")) / "telco.csv"
    if not path.is_file():
        pytest.skip(f"no real data at {path}; set CHURN_LAB_REAL_DATA to its folder")
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, locks aside: to show that nothing changed."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def wait_until(condition, seconds: float = 10) -> None:
    """Wait for something that another process does; fail if it does not come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


CHROMIUM = "/usr/bin/chromium"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser():
    """A real browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        except playwright.Error as error:
            pytest.skip(f"no browser to test with: {error.message.splitlines()[0]} (apt-get install chromium)")
        yield browser
        browser.close()
