"""A cluster on the loopback address, of real processes that are really killed: the results of one machine, or a message."""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, snapshot, wait_until
from test_score_parts import make_customers

from churn_lab.file_parts import find_files
from churn_lab.files import LabError
from churn_lab.log_sums import read_window_by
from churn_lab.monitor_drift import check_drift
from churn_lab.score_parts import score_part, score_parts
from churn_lab.traffic import draw_traffic, shift_traffic, simulate_predictions

cluster = pytest.importorskip("churn_lab.cluster", reason="Dask is not installed (extra: scale)")
dask = pytest.importorskip("dask")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes as POSIX does")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Machines:
    """A scheduler and workers, each a process of its own, as `dask scheduler` and `dask worker` start them."""

    def __init__(self, folder, scheme="tcp", options=(), **settings):
        self.folder, self.port, self.processes, self.workers = folder, free_port(), [], []
        self.address = f"{scheme}://127.0.0.1:{self.port}"
        options = ["--host", f"{scheme}://127.0.0.1", "--port", str(self.port), "--no-dashboard", *options]
        self.scheduler = self.start([sys.executable, "-m", "dask", "scheduler", *options], **settings)

    def start(self, command, **settings):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), **settings}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes.append(
            subprocess.Popen(command, env=environment, cwd=self.folder, start_new_session=True, **quiet)
        )
        return self.processes[-1]

    def add_worker(self, *options, program=("-m", "dask", "worker"), before=(), **settings):
        options = options or ("--no-nanny",)
        common = [self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder), *options]
        self.workers.append(self.start([*before, sys.executable, *program, *common], **settings))
        return self.workers[-1]

    def close(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def machines(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 60.0)  # other tests keep this machine busy
    made = []

    def make(workers=0, **settings):
        made.append(Machines(tmp_path_factory.mktemp("machines"), **settings))
        for _ in range(workers):
            made[-1].add_worker()
        return made[-1]

    yield make
    for one in made:
        one.close()


def slow(part):
    """Some work: this file is on the workers' path."""
    time.sleep(0.3)
    return part, os.getpid()


def eat(part):
    """Hold half a gigabyte until somebody ends it."""
    held, deadline = [bytearray(os.urandom(1 << 20) * 20) for _ in range(25)], time.monotonic() + 60
    while held and time.monotonic() < deadline:
        time.sleep(0.1)


def score_held(job):
    """`score_part`, which comes to no end any more when three parts have."""
    while len([*job.out.glob("records/*.json")]) >= 3:
        time.sleep(0.05)
    return score_part(job)


def run_out(part):
    raise MemoryError


def score(lab, path, out, client, on_part=lambda rows, share: None):
    run = cluster.share_work(client, [path, lab.models], out)
    return score_parts(lab, find_files(path), out, part_bytes=9000, on_part=on_part, run=run)


def close(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) if isinstance(a, float) else a == b


@pytest.fixture
def logged(lab):
    """Six days of customers, the last two of them changed, with a damaged line and another model's."""
    for path in lab.logs.glob("*"):
        path.unlink()
    for day in range(6):
        customers = shift_traffic(
            lab, draw_traffic(lab, 150, seed=day), ["tenure_months=-20", "region=MARS"] * (day > 3)
        )
        path = simulate_predictions(lab, customers, start=1_790_000_000 + 86_400 * day)
    path.write_text(
        path.read_text() + '{"torn": \n' + path.read_text().splitlines()[0].replace(".joblib", ".old") + "\n"
    )
    return lab


def test_one_two_and_four_workers_give_what_one_machine_gives(machines, logged, tmp_path):
    path = make_customers(tmp_path / "customers.csv")
    alone = score_parts(logged, find_files(path), tmp_path / "alone", part_bytes=9000)
    drift = {
        since: check_drift(logged, all_lines=not since, since=since).to_dict()
        for since in (None, 1_790_000_000 + 200_000)
    }
    there = machines(workers=1)
    for count in (1, 2, 4):
        while len(there.workers) < count:
            there.add_worker()
        with cluster.open_cluster(there.address) as client:
            client.wait_for_workers(count, timeout=30)
            done = score(logged, path, tmp_path / f"on{count}", client)
            assert done == alone and snapshot(tmp_path / f"on{count}") == snapshot(tmp_path / "alone"), count
            read = partial(read_window_by, cluster.share_work(client, [logged.logs]))
            for since, expected in drift.items():
                found = check_drift(logged, all_lines=not since, since=since, read=read).to_dict()
                assert close(json.loads(json.dumps(found)), json.loads(json.dumps(expected))), (count, since)
            assert len({worker for _, worker in cluster.map_on_cluster(client, slow, range(3 * count))}) == count
            with pytest.raises(LabError, match="memory for one part"):
                cluster.map_on_cluster(client, run_out, [1])
    assert drift[None]["verdict"] == "drift" and drift[None]["log"]["damaged"] == 1


def test_a_worker_that_is_killed_costs_nothing_and_counts_nothing_twice(machines, lab, tmp_path):
    path, there, seen = make_customers(tmp_path / "customers.csv"), machines(workers=2), []

    def kill_one(rows, share):
        seen.append(rows)
        if len(seen) == 2:
            there.workers[0].kill()

    alone = score_parts(lab, find_files(path), tmp_path / "alone", part_bytes=9000)
    with cluster.open_cluster(there.address) as client:
        client.wait_for_workers(2, timeout=30)
        done = score(lab, path, tmp_path / "out", client, kill_one)
    assert there.workers[0].wait() == -signal.SIGKILL
    fresh = done["fresh"]  # one less, if a part was written and its worker died before it said so
    assert {**done, "fresh": len(seen)} == alone and len(seen) - fresh in (0, 1)
    assert seen[-1] == alone["rows"] and len(seen) == len(alone["parts"])
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "alone") and not [*tmp_path.glob("out/*/.*")]


@pytest.mark.parametrize("gone", ["workers", "scheduler"])
def test_nobody_left_stops_within_seconds_and_what_was_finished_is_kept(machines, lab, tmp_path, monkeypatch, gone):
    monkeypatch.setattr(cluster, "GONE", 1.0)
    path, out, there, seen = make_customers(tmp_path / "customers.csv"), tmp_path / "out", machines(workers=1), []

    def kill(rows, share):
        seen.append(time.monotonic())
        if len(seen) == 2:
            there.workers[0].kill()
            if gone == "scheduler":
                there.scheduler.kill()

    with pytest.raises(LabError) as told:
        with cluster.open_cluster(there.address) as client:
            score(lab, path, out, client, kill)
    assert time.monotonic() - seen[1] < 20, "it hung"
    assert ("none for 1 seconds" if gone == "workers" else "it is gone, after 2 parts") in told.value.found
    assert "same command again" in told.value.next_step and not (out / "manifest.json").exists()
    finished = len([*(out / "records").iterdir()])
    done = score_parts(lab, find_files(path), out, part_bytes=9000)
    assert finished >= 2 and done["fresh"] == len(done["parts"]) - finished


def test_nobody_there_or_somebody_else(churn_lab, lab, machines, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    path = make_customers(tmp_path / "customers.csv", rows=1500)
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port := free_port()), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for address, told in (
            (f"127.0.0.1:{free_port()}", "no answer within 1 seconds"),
            (f"127.0.0.1:{port}", "no answer within 1 seconds"),
            ("nowhere", "missing port"),
            ("local:many", "local or local:N"),
        ):
            code, out, err = churn_lab("predict", path, "--workspace", lab.root, "--cluster", address)
            assert (code, out) == (1, "") and told in err and "Traceback" not in err, address
    finally:
        server.kill()
        server.wait()
    empty = machines()
    monkeypatch.setenv("CHURN_LAB_CLUSTER", empty.address)
    monkeypatch.setattr(cluster, "PATIENCE", 8.0)
    code, out, err = churn_lab("predict", path, "--workspace", lab.root)
    assert (code, out) == (1, "") and f"dask worker {empty.address}" in err
    assert not [*tmp_path.glob("customers_pred*")]


def test_an_address_that_is_a_workers_or_wants_certificates_is_told(churn_lab, lab, machines, tmp_path):
    path, there = make_customers(tmp_path / "customers.csv"), machines(workers=1)
    with cluster.open_cluster(there.address) as client:
        worker = next(iter(client.nthreads()))
    for address, told in (
        (worker, f"a Dask scheduler at {worker}, found a worker.\nNext: --cluster {there.address}\n"),
        (f"tls://127.0.0.1:{there.port}", "Next: the certificates in Dask's settings"),
    ):
        code, out, err = churn_lab("predict", path, "--workspace", lab.root, "--cluster", address)
        assert (code, out) == (1, "") and told in err and "Traceback" not in err, address


def test_a_cluster_with_certificates_does_the_same_work(machines, tmp_path):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=lab"]
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    options = ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    there = machines(scheme="tls", options=options)
    there.add_worker("--no-nanny", *options)
    own = {f"distributed.comm.tls.client.{name}": path for name, path in (("key", key), ("cert", certificate))}
    with dask.config.set({"distributed.comm.tls.ca-file": certificate, **own}):
        with cluster.open_cluster(there.address) as client:
            assert [part for part, _ in cluster.map_on_cluster(client, slow, range(3))] == [0, 1, 2]


def change_package(folder):
    """A copy of the package in which one line is another."""
    shutil.copytree(ROOT / "churn_lab", folder / "churn_lab", ignore=shutil.ignore_patterns("__pycache__"))
    source = folder / "churn_lab" / "contract.py"
    source.write_text(source.read_text() + "\nLATER = 1\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT / 'tests'}"}


def test_a_worker_without_the_package_or_with_another_one_is_named(machines, tmp_path):
    there = machines()
    hide = "import sys; sys.modules['churn_lab'] = None; from dask.__main__ import main; sys.argv[:1] = ['dask', 'worker']; main()"
    without = there.add_worker(program=("-c", hide))
    with pytest.raises(LabError, match=r"found none \(.*\) on tcp://127.0.0.1:\d+"):
        with cluster.open_cluster(there.address):
            pass
    without.kill()
    wait_until(lambda: without.poll() is not None)
    there.add_worker(**change_package(tmp_path))
    with pytest.raises(LabError, match=r"churn_lab .* on each worker, found .*source \w+\) on tcp"):
        with cluster.open_cluster(there.address):
            pass


def test_a_worker_that_comes_late_with_another_package_computes_nothing(machines, tmp_path):
    there = machines(workers=1)
    with cluster.open_cluster(there.address) as client:
        there.workers[0].kill()
        wait_until(lambda: not client.nthreads())
        there.add_worker(**change_package(tmp_path))
        client.wait_for_workers(1, timeout=60)
        with pytest.raises(LabError, match=r"churn_lab .* on each worker, found .*source \w+\) on tcp"):
            cluster.map_on_cluster(client, slow, range(2))


def hide_folder(folder):
    """What to write before a command that is to find an empty folder there."""
    mount = 'mount -t tmpfs none "$0" && exec "$@"'
    hide = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, str(folder)]
    if subprocess.run([*hide, "true"], capture_output=True).returncode:
        pytest.skip("no file system of its own for a worker here")
    return hide


def test_nobody_is_graded_by_a_worker_that_sees_another_submission(churn_lab, machines, tmp_path):
    (tmp_path / "class" / "ann" / "nbs").mkdir(parents=True)
    (tmp_path / "class" / "ann" / "nbs" / "02_environment.ipynb").write_text("{}")
    there, out = machines(), tmp_path / "grades"
    there.add_worker(before=hide_folder(tmp_path / "class" / "ann"))
    code, _, err = churn_lab("classroom", "grade", tmp_path / "class", "--out", out, "--cluster", there.address)
    assert code == 1 and f"Expected {tmp_path / 'class' / 'ann'} as the first machine sees it, found another" in err
    assert "a folder that all machines mount" in err and not [*(out / "students").glob("ann*")]


def test_a_file_that_workers_do_not_see_is_named_before_anything_is_written(machines, lab, tmp_path):
    (tmp_path / "data").mkdir()
    hide = hide_folder(tmp_path / "data")
    path, there = make_customers(tmp_path / "data" / "customers.csv"), machines()
    there.add_worker(before=hide)
    with cluster.open_cluster(there.address) as client:
        with pytest.raises(
            LabError, match=r"customers.csv on each worker, with its [\d,]+ bytes, found none on tcp.*\n.*mount"
        ):
            score(lab, path, tmp_path / "out", client)
        shutil.copy(path, tmp_path / "customers.csv")
        with pytest.raises(LabError, match="data/out on each worker, found none"):
            score(lab, tmp_path / "customers.csv", tmp_path / "data" / "out", client)
    assert not [file for file in tmp_path.rglob("customers-0*")]


def test_a_worker_with_too_little_memory_ends_the_work_with_a_reason(machines):
    there = machines(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    there.add_worker("--memory-limit", "300MB")
    with cluster.open_cluster(there.address) as client:
        with pytest.raises(LabError) as told:
            cluster.map_on_cluster(client, eat, [1])
        assert "lives through part 1" in told.value.expected and "--memory-limit" in told.value.next_step


def test_ctrl_c_stops_all_that_was_started_and_the_next_run_goes_on(lab, tmp_path):
    path, out = make_customers(tmp_path / "customers.csv", rows=250_000), tmp_path / "customers_predictions"
    program = "import churn_lab.score_parts, test_cluster; churn_lab.score_parts.score_part = test_cluster.score_held\n"
    program += "from churn_lab.cli import main; main()"
    command = [sys.executable, "-c", program, "predict", path, "--workspace", lab.root]
    command += ["--part-mb", "1", "--cluster", "local:2"]
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    work = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT / "tests")}, **told)
    wait_until(lambda: [*out.glob("records/*.json")], seconds=60)
    family = psutil.Process(work.pid).children(recursive=True)
    os.killpg(work.pid, signal.SIGINT)  # a terminal sends it to all of them
    out_text, err = work.communicate(timeout=30)
    assert (work.returncode, out_text) == (130, "") and "stopped after" in err and "same command again" in err
    assert "Traceback" not in err and "dashboard: http://127.0.0.1" in err
    assert len(family) >= 2 and not psutil.wait_procs(family, timeout=10)[1]
    assert not (out / "manifest.json").exists()
    finished = len([*out.glob("records/*.json")])
    done = score_parts(lab, find_files(path), out, part_bytes=1 << 20)
    assert done["fresh"] == len(done["parts"]) - finished < len(done["parts"])


def test_without_a_cluster_nothing_of_dask_is_imported_and_without_dask_it_is_said_how_to_get_it(lab, tmp_path):
    path = make_customers(tmp_path / "customers.csv")
    program = (
        "import sys; from churn_lab.cli import main\n"
        "for command in (['predict', sys.argv[1]], ['predict', sys.argv[1], '--part-mb', '1'], ['drift', '--all']):\n"
        "    try: main([*command, '--workspace', sys.argv[2]])\n"
        "    except SystemExit: pass\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('dask', 'distributed', 'bokeh')])\n"
        "sys.modules['distributed'] = None\n"
        "main(['predict', sys.argv[1], '--workspace', sys.argv[2], '--cluster', 'local'])"
    )
    done = subprocess.run([sys.executable, "-c", program, path, lab.root], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]" and done.returncode == 1
    assert "Expected Dask, for --cluster" in done.stderr and "[scale]" in done.stderr and "Traceback" not in done.stderr


def test_a_class_gets_the_same_marks_on_a_cluster_also_if_a_worker_is_killed(machines, tmp_path):
    import classroom_ways as ways

    from churn_lab.classroom.grading import grade, read_result

    pages, right = tmp_path / "course" / "nbs", ways.solutions()
    pages.mkdir(parents=True)
    shutil.copy(ROOT / "nbs" / "02_environment.ipynb", pages)
    answers = {"ann": right, "bob": {number: ways.wrong(number) for number in right}, "cy": {}}
    for student, given in answers.items():
        ways.hand_in(tmp_path / "class" / student, tmp_path / "course", given, ["02_environment"])
    ways.hand_in(
        tmp_path / "class" / "eve", tmp_path / "course", {**right, "2.2": "while True: pass"}, ["02_environment"]
    )
    from churn_lab.classroom.sandbox import Limits

    limits = Limits(seconds=8)
    here = grade(tmp_path / "class", tmp_path / "here", limits=limits, notebooks=pages)
    there = machines(workers=2)
    with cluster.open_cluster(there.address) as client:
        client.wait_for_workers(2, timeout=30)
        run = cluster.share_work(client, [tmp_path / "class"], tmp_path / "there")
        told = {}

        def note(student, fresh):
            if not told:
                there.workers[0].kill()
            told[student] = fresh

        found = grade(tmp_path / "class", tmp_path / "there", limits=limits, notebooks=pages, on_student=note, run=run)
        assert found == here and told == dict.fromkeys(["ann", "bob", "cy", "eve"], True)
        assert grade(tmp_path / "class", tmp_path / "there", limits=limits, notebooks=pages, run=run)["graded"] == 0
    for student in told:
        marks = [
            [(row["number"], row["state"], row["points"]) for row in read_result(tmp_path / out, student)["exercises"]]
            for out in ("here", "there")
        ]
        assert marks[0] == marks[1], student
    assert (tmp_path / "here" / "grades.csv").read_bytes() == (tmp_path / "there" / "grades.csv").read_bytes()
    assert not [*(tmp_path / "there" / "running").iterdir()]
    assert not [*Path(tempfile.gettempdir()).glob(f"churn-lab-grade-{there.workers[0].pid}-*")]
