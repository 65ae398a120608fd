"""Grading: a class in which everything is handed in that can be, judged as it should be, and nothing else touched."""

import csv
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import classroom_ways as ways
import joblib
import psutil
import pytest
from conftest import SOAK, snapshot, wait_until
from test_exercises import RIGHT, WRONG, name

from churn_lab.classroom import exercises, grading, sandbox
from churn_lab.classroom.exercises import is_open
from churn_lab.classroom.grade_pages import file_name
from churn_lab.classroom.grading import grade, read_result
from churn_lab.classroom.remote_answer import Gone, Peer
from churn_lab.classroom.student_edition import build_edition
from churn_lab.classroom.submission import find_answers, read_course
from churn_lab.classroom.unpack import Findings
from churn_lab.files import LabError
from churn_lab.generate_data import generate
from churn_lab.git_lab.reset import build_state
from churn_lab.prepare_data import prepare
from churn_lab.workspace import Workspace, create_workspace

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the limits of a POSIX system")

LIGHT = ["02_environment", "11_headless_runs"]  # pages that import little
PLACES = ["2.2", "2.3", "11.2", "11.3"]  # their exercises that take a function


def states(out, student) -> dict[str, str]:
    return {row["number"]: row["state"] for row in read_result(out, student)["exercises"]}


def own_processes(grader: int | None = None) -> set[int]:
    """Processes that a grader has started; default: this process."""
    found, mark = set(), f"churn-lab-grade-{grader or os.getpid()}-"
    for process in psutil.process_iter():
        try:
            if mark in " ".join([*process.cmdline(), *process.environ().values()]):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition") / "course"
    build_edition(folder, ways.ROOT)
    return folder


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The course's pages that these tests need, so that its own solutions are judged in a moment."""
    folder = tmp_path_factory.mktemp("instructor") / "nbs"
    folder.mkdir()
    for stem in (*LIGHT, "01_project_structure"):
        shutil.copy(ways.ROOT / "nbs" / f"{stem}.ipynb", folder)
    return folder


@pytest.fixture(scope="module")
def graded(edition, course, tmp_path_factory):
    """A class, graded once: its submissions, its grades, and which hostile answer stands where."""
    base = tmp_path_factory.mktemp("class")
    submissions, out = base / "submissions", base / "grades"
    right = ways.solutions()
    ways.hand_in(submissions / "ada", edition, right, LIGHT)
    ways.zip_folder(submissions / "ada", submissions / "ada.zip")
    ways.hand_in(submissions / "ben", edition, {number: right[number] for number in ("2.1", "2.2")}, LIGHT)
    ways.hand_in(submissions / "cy", edition, {number: ways.wrong(number) for number in right}, LIGHT)
    (submissions / "dee").mkdir()
    places = {
        "friend": submissions / "ben" / "nbs" / f"{LIGHT[0]}.ipynb",
        "grades": out / "grades.csv",
        "solutions": course / f"{LIGHT[0]}.ipynb",
    }
    hostile = {}
    for place, way in enumerate(ways.HOSTILE):
        hostile.setdefault(f"mallory{place // len(PLACES)}", {})[PLACES[place % len(PLACES)]] = way
    for student, by_number in hostile.items():
        answers = {number: ways.make_hostile(way, number, **places) for number, way in by_number.items()}
        ways.hand_in(submissions / student, edition, {**right, **answers}, LIGHT)
    ways.spoil_files(ways.hand_in(submissions / "files", edition, right, LIGHT))
    ways.hand_in(submissions / "slip", edition, right, LIGHT[:1])
    ways.zip_folder(submissions / "slip", submissions / "slip.zip")
    ways.add_slip_and_link(submissions / "slip.zip")
    ways.add_bomb(submissions / "slip.zip", 40)
    broken = ways.hand_in(submissions / "broken", edition, right, LIGHT) / "nbs" / f"{LIGHT[1]}.ipynb"
    broken.write_bytes(broken.read_bytes()[:5000])
    (submissions / "no.zip").write_bytes(b"PK\x03\x04 no zip")
    outside = {path: path.stat().st_mtime_ns for path in base.parent.iterdir() if path.name[:5] != "class"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("churn_lab.classroom.unpack._BYTES", 20_000_000)
        outcome = grade(submissions, out, jobs=2, notebooks=course)
    assert {path: path.stat().st_mtime_ns for path in base.parent.iterdir() if path.name[:5] != "class"} == outside
    return {"submissions": submissions, "out": out, "hostile": hostile, "outcome": outcome}


def test_right_partly_right_wrong_and_empty_get_what_they_should(graded):
    numbers = {number for stem, own in ways.numbers_by_notebook().items() if stem in LIGHT for number in own}
    for student, expected in (("ada", "right"), ("cy", "wrong")):
        found = states(graded["out"], student)
        assert {found[number] for number in numbers} == {expected}
        assert {state for number, state in found.items() if number not in numbers} == {"missing"}
    ben = states(graded["out"], "ben")
    assert [ben[number] for number in ("2.1", "2.2", "2.3", "11.1")] == ["right", "right", "open", "open"]
    assert set(states(graded["out"], "dee").values()) == {"missing"}


def test_no_hostile_answer_gets_a_point_and_none_costs_another_one(graded):
    for student, by_number in graded["hostile"].items():
        result = read_result(graded["out"], student)
        for row in result["exercises"]:
            if row["number"] in by_number:
                assert row["points"] == 0 and row["state"] != "right", by_number[row["number"]]
            elif row["number"].split(".")[0] in ("2", "11"):
                assert row["state"] == "right", (student, row)


SEEN = {
    "kill the parent": "tried to end another process",
    "fork bomb": "processes",
    "replaces check": "replaced check",
    "prints a pass": "printed what looks like a verdict",
    "reads a friend": "another student's submission",
    "writes the grades": "the grades",
    "reads the solutions": "the instructor's course",
    "a program that reads a friend": "another student's submission",
    "the network": "tried to use the network",
}
TOLD = {
    "endless loop": "they still run",
    "endless sleep": "none so far",
    "sys.exit": "SystemExit",
    "os._exit": "ended itself with 0",
    "a gigabyte of output": "OSError",
    "a gigabyte of memory": "MemoryError",
    "a full disk": "OSError",
    "looks up the stack": "42",
}


def test_an_attempt_is_named_and_an_accident_is_explained(graded):
    if graded["outcome"]["way"] == "":
        pytest.skip("no walls on this system")
    for student, by_number in graded["hostile"].items():
        result = read_result(graded["out"], student)
        rows = {row["number"]: row for row in result["exercises"]}
        for number, way in by_number.items():
            if way in SEEN:
                seen = [text for text in result["attempts"] if text.startswith(number) or way == "replaces check"]
                assert any(SEEN[way] in text for text in seen), (way, result["attempts"])
            if way in TOLD:
                assert TOLD[way] in rows[number]["found"], (way, rows[number])


def test_files_that_are_no_notebooks_are_named_and_the_others_are_graded(graded):
    files = read_result(graded["out"], "files")
    assert {row["state"] for row in files["exercises"] if row["number"].startswith("11.")} == {"right"}
    notes = "\n".join(files["notes"])
    assert not [text for text in notes.splitlines() if text.startswith("a_folder.ipynb")]
    for text in (
        "picture.ipynb is no notebook",
        "deep.ipynb is no notebook",
        "a notebook in R",
        "pipe.ipynb is no file",
    ):
        assert text in notes
    assert "history.ipynb has no exercise of this course" in notes
    assert sum("a symbolic link out of the folder" in text for text in files["attempts"]) == 2
    broken = states(graded["out"], "broken")
    assert broken["2.1"] == "right" and broken["11.1"] == "missing"
    assert "no zip that can be read" in read_result(graded["out"], "no")["notes"][0]


def test_a_zip_neither_slips_out_nor_blows_up(graded):
    slip = read_result(graded["out"], "slip")
    assert states(graded["out"], "slip")["2.2"] == "right"
    assert sum("leads out of the folder" in text for text in slip["attempts"]) == 3
    assert any("more than 20 MB" in text for text in slip["attempts"])
    assert any("a symbolic link in the zip" in text for text in slip["attempts"])
    assert not [*graded["submissions"].parent.rglob("slipped.txt")]


def test_nothing_stays_behind(graded):
    assert own_processes() == set()
    assert not [*(graded["out"] / "running").iterdir()]
    names = {path.name for path in (graded["out"]).iterdir()}
    assert names == {"students", "running", "course.json", "grades.csv", "cohort.html", ".lock"} & names | {
        "grades.csv"
    }


def test_the_table_has_a_line_for_each_student_and_exercise(graded):
    with (graded["out"] / "grades.csv").open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert [*rows[0]] == ["student", "exercise", "points", "of", "seconds", "hints", "state"]
    numbers = {row["exercise"] for row in rows}
    students = {row["student"] for row in rows}
    assert len(rows) == len(numbers) * len(students) and len(students) == graded["outcome"]["students"]
    assert sum(float(row["points"]) for row in rows if row["student"] == "ada") == len(numbers_of(LIGHT))


def numbers_of(stems) -> list[str]:
    return [number for stem, numbers in ways.numbers_by_notebook().items() if stem in stems for number in numbers]


# --- cells that have moved ---


def test_cells_that_were_renamed_doubled_moved_or_deleted_are_found_or_only_they_are_lost(edition, course, tmp_path):
    right = ways.solutions()
    folder = ways.hand_in(tmp_path / "class" / "eve", edition, right, LIGHT) / "nbs"
    notebook = ways.read(folder / f"{LIGHT[1]}.ipynb")
    (folder / f"{LIGHT[1]}.ipynb").unlink()
    for cell in notebook["cells"]:
        cell["id"] = f"new-{cell['id']}"  # as after a copy by way of another program
    ways.write(folder / "final FINAL (2).ipynb", notebook)
    notebook = ways.read(folder / f"{LIGHT[0]}.ipynb")
    first, second = ways.stub(notebook, "2.1"), ways.stub(notebook, "2.2")
    notebook["cells"].remove(first)
    twin = {**second, "id": "twin", "source": ways.wrong("2.2")}
    helper = {**second, "id": "helper", "source": "def clean(pins, installed):\n    return sorted(pins)"}
    notebook["cells"] = [*reversed(notebook["cells"])]
    notebook["cells"].insert(0, twin)  # runs before the right one; the last one counts, as in a notebook
    ways.answer(
        notebook, "2.3", right["2.3"].replace("sorted(", "clean(0, 0) or sorted(").replace("clean(0, 0) or ", "")
    )
    notebook["cells"].append(helper)
    ways.write(folder / f"{LIGHT[0]}.ipynb", notebook)
    ways.write(folder / f"{LIGHT[0]}-Copy1.ipynb", ways.read(edition / "nbs" / f"{LIGHT[0]}.ipynb"))
    grade(tmp_path / "class", tmp_path / "grades", notebooks=course)
    found = states(tmp_path / "grades", "eve")
    assert [found[number] for number in ("2.1", "2.2", "2.3")] == ["open", "right", "right"]
    assert {found[number] for number in numbers_of(LIGHT[1:])} == {"right"}


# --- the batch ---


def test_a_killed_batch_goes_on_where_it_was_and_grades_nobody_twice(edition, course, tmp_path):
    submissions, out = tmp_path / "class", tmp_path / "grades"
    right = ways.solutions()
    for student in ("ann", "bob", "cat", "dan"):
        ways.hand_in(submissions / student, edition, right, LIGHT[:1])
    program = "from churn_lab.cli import main; main()"
    command = [sys.executable, "-c", program, "classroom", "grade", submissions, "--out", out, "--jobs", "1"]
    batch = subprocess.Popen(command, cwd=course.parent, stdout=subprocess.DEVNULL)
    wait_until(lambda: (out / "students").is_dir() and len([*(out / "students").glob("*.json")]) >= 2, seconds=60)
    batch.send_signal(signal.SIGKILL)
    batch.wait()
    wait_until(lambda: own_processes(batch.pid) == set())
    before = {path.stem: path.stat().st_mtime_ns for path in (out / "students").glob("*.json")}
    assert 2 <= len(before) < 4
    fresh = {}
    grade(submissions, out, notebooks=course, on_student=fresh.__setitem__)
    assert {student for student, new in fresh.items() if not new} == set(before)
    after = {path.stem: path.stat().st_mtime_ns for path in (out / "students").glob("*.json")}
    assert len(after) == 4 and all(after[student] == moment for student, moment in before.items())
    assert states(out, "dan")["2.2"] == "right" and not [*(out / "running").iterdir()]

    ways.write(submissions / "bob" / "nbs" / f"{LIGHT[0]}.ipynb", {"cells": [], "metadata": {}})
    fresh.clear()
    grade(submissions, out, only=["ann"], notebooks=course, on_student=fresh.__setitem__)
    assert fresh == {"ann": False}
    grade(submissions, out, notebooks=course, on_student=fresh.__setitem__)
    assert fresh == {"ann": False, "bob": True, "cat": False, "dan": False}
    assert states(out, "bob")["2.2"] in ("missing", "open")


def test_ctrl_c_costs_nobody_a_point(edition, course, tmp_path):
    submissions, out = tmp_path / "class", tmp_path / "grades"
    right = ways.solutions()
    ways.hand_in(submissions / "ann", edition, right, LIGHT[:1])
    ways.hand_in(submissions / "bob", edition, {**right, "2.2": "while True:\n    pass"}, LIGHT[:1])
    command = [sys.executable, "-c", "from churn_lab.cli import main; main()"]
    batch = subprocess.Popen(
        [*command, "classroom", "grade", submissions, "--out", out, "--jobs", "1"],
        cwd=course.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: (out / "students" / "ann.json").exists(), seconds=60)
    wait_until(lambda: len(own_processes(batch.pid)) > 1, seconds=30)
    time.sleep(0.5)
    batch.send_signal(signal.SIGINT)
    _, told = batch.communicate(timeout=30)
    assert batch.returncode == 130 and b"Traceback" not in told
    assert not (out / "students" / "bob.json").exists()
    wait_until(lambda: own_processes(batch.pid) == set())


def test_what_a_person_can_get_wrong_is_said(churn_lab, edition, tmp_path):
    (tmp_path / "empty").mkdir()
    ways.hand_in(tmp_path / "class" / "ann", edition, {}, LIGHT[:1])
    for arguments, told in (
        ((tmp_path / "nowhere",), "a folder a student"),
        ((tmp_path / "empty",), "put each submission there"),
        ((tmp_path / "class", "--only", "bob"), "a submission of bob, found ann"),
        ((tmp_path / "class", "--out", tmp_path / "class" / "grades"), "outside of the submissions"),
    ):
        code, out, err = churn_lab("classroom", "grade", *arguments)
        assert code == 1 and out == "" and "Traceback" not in err
        assert told in err or "the folder that holds a folder or a zip a student" in err


def test_a_limit_for_the_whole_submission_ends_what_is_left_with_a_reason(edition, course, tmp_path):
    answers = {number: "while True:\n    pass" for number in numbers_of(LIGHT)}
    ways.hand_in(tmp_path / "class" / "loop", edition, answers, LIGHT)
    ways.hand_in(tmp_path / "class" / "good", edition, ways.solutions(), LIGHT[:1])
    started = time.monotonic()
    grade(tmp_path / "class", tmp_path / "grades", limits=sandbox.Limits(seconds=20), notebooks=course)
    loop = read_result(tmp_path / "grades", "loop")["exercises"]
    assert {row["state"] for row in loop if row["number"] in answers} == {"stopped"}
    assert "20 seconds for the whole submission" in loop[-1]["found"] and time.monotonic() - started < 60
    assert states(tmp_path / "grades", "good")["2.2"] == "right"


# --- answers in another process ---


def offer(connection, answer) -> None:
    student = Peer(connection, trusting=True)
    try:
        student.send(is_open(answer), "", answer)
        student.serve()
    except Gone:
        os._exit(0)


@pytest.fixture
def next_door():
    """Put an answer into another process; what the judge gets of it."""
    started = []

    def move(answer):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=offer, args=(there, answer))
        process.start()
        there.close()
        started.append((process, here))
        return Peer(here, trusting=False).receive()[2]

    yield move
    for process, here in started:
        process.kill()
        process.join()
        here.close()


FIRST = {(case[0], len(case)): case for case in reversed([*RIGHT, *WRONG])}  # a right and a wrong one of each exercise
CASES = [*RIGHT, *WRONG] if SOAK else [*FIRST.values()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{name(case[1])}")
def test_an_answer_next_door_gets_the_verdict_that_it_gets_here(next_door, case):
    verdict = exercises.judge(case[0], next_door(case[1]), 60)
    if len(case) == 2:
        assert verdict.state == "right", verdict.wrong
    else:
        assert verdict.state == "wrong"
        told = f"expected {verdict.wrong.expected}, found {verdict.wrong.found}.\n     Try: {verdict.wrong.next_step}"
        assert case[2] in told


class Trap:
    """Unpickled by somebody who believes it, it runs a program."""

    def __reduce__(self):
        return (os.system, ("touch sprung",))


def test_what_comes_back_runs_nothing(next_door, tmp_path):
    with pytest.raises(LabError, match="an object of posix.system"):
        next_door(lambda: Trap())()
    assert not (tmp_path / "sprung").exists()


def test_two_names_never_share_a_file():
    names = ["Ada", "ada", "Ada ", "../Ada", "Ada/..", "Ада", "Ada_", "=Ada", "x" * 300]
    files = [file_name(name) for name in names]
    assert len({*files}) == len(names) and all(len(name) < 100 and "/" not in name for name in files)
    assert json.dumps(files).isascii()


# --- projects and repositories ---


def test_a_project_and_a_repository_are_judged_step_by_step(edition, course, tmp_path):
    project = tmp_path / "class" / "ada" / "my-lab"
    build_state(project, 4)
    create_workspace(project)
    generate(Workspace(project), rows=300)
    with (project / "src" / "api.py").open("a") as file:
        file.write("\nimport os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n")
    before = snapshot(project)
    grade(tmp_path / "class", tmp_path / "grades", notebooks=course)
    assert snapshot(project) == before
    rows = {row["number"]: row for row in read_result(tmp_path / "grades", "ada")["exercises"]}
    found = {number: row["state"] for number, row in rows.items() if number[0] in "lg"}
    assert [found[f"git {step}"] for step in (1, 2, 3, 6, 10)] == ["right"] * 3 + ["wrong"] * 2
    assert [found[f"lab {step}"] for step in (1, 3, 4, 5, 6)] == ["right", "right", "partly", "wrong", "wrong"]
    assert "lab 2" not in found and rows["lab 1"]["points"] == rows["lab 1"]["of"] == 3
    assert rows["lab 5"]["expected"] and rows["lab 5"]["next_step"]


class Forger:
    """A model that is none: whoever opens the pickle runs it, and it writes what it would like into every open file."""

    def __reduce__(self):
        line = json.dumps({"number": "1.1", "state": "right", "held": 9}) + "\\n"
        code = f"import os\nfor handle in range(3, 64):\n    try: os.write(handle, {line!r}.encode())\n    except OSError: pass"
        return (exec, (code,))


def test_a_model_that_is_a_program_changes_no_mark_but_its_own(edition, course, tmp_path):
    project = tmp_path / "class" / "eve" / "my-lab"
    ways.hand_in(tmp_path / "class" / "eve", edition, {"1.1": "answer = 42"}, ["01_project_structure"])
    lab = Workspace(project)
    create_workspace(project)
    generate(lab, rows=300)
    prepare(lab)
    model_file = "churn_model_v1_20260101_000000.joblib"
    with (lab.models / model_file).open("wb") as file:
        joblib.dump(Forger(), file)
    lab.current_model.write_text(model_file + "\n")
    lab.metadata.write_text(json.dumps([{"model_file": model_file, "version": 1, "metrics": {}, "passed_gate": True}]))
    grade(tmp_path / "class", tmp_path / "grades", notebooks=course)
    found = states(tmp_path / "grades", "eve")
    assert found["1.1"] == "wrong" and found["lab 1"] == "right" and found["lab 5"] in ("wrong", "partly")


@pytest.mark.parametrize("way", ["namespaces", ""])
def test_other_systems_grade_the_same_and_say_which_walls_are_missing(edition, course, tmp_path, monkeypatch, way):
    """As whoever is not root on Linux, and as on a system without namespaces."""
    if way and not sandbox.find_way():
        pytest.skip("no namespaces on this system")
    monkeypatch.setattr("churn_lab.classroom.grading.find_way", lambda: way)
    right, numbers = ways.solutions(), numbers_of(LIGHT)
    hostile = dict(zip(PLACES, ("endless loop", "os._exit", "a gigabyte of memory", "prints a pass")))
    answers = {number: ways.make_hostile(kind, number) for number, kind in hostile.items()}
    ways.hand_in(tmp_path / "class" / "mallory", edition, {**right, **answers}, LIGHT)
    ways.hand_in(tmp_path / "class" / "ada", edition, right, LIGHT)
    outcome = grade(tmp_path / "class", tmp_path / "grades", notebooks=course)
    assert {states(tmp_path / "grades", "ada")[number] for number in numbers} == {"right"}
    found = states(tmp_path / "grades", "mallory")
    assert {number for number in numbers if found[number] == "right"} == {*numbers} - {*PLACES}
    page = (tmp_path / "grades" / "cohort.html").read_text()
    assert outcome["way"] == way and ("NOT closed off" in page) == (way == "") and own_processes() == set()


def test_an_answer_that_leans_on_what_only_the_page_gives_is_judged_after_the_page_has_run(edition, course, tmp_path):
    folder = ways.hand_in(tmp_path / "class" / "ada", edition, ways.solutions(), LIGHT[:1])
    path = folder / "nbs" / f"{LIGHT[0]}.ipynb"
    notebook = ways.read(path)
    notebook["cells"].insert(
        2, {"cell_type": "code", "id": "own", "metadata": {}, "source": "tested = '.'.join('311')"}
    )
    ways.answer(notebook, "2.1", "answer = tested")
    ways.answer(notebook, "2.3", "answer = nowhere")
    ways.write(path, notebook)
    grade(tmp_path / "class", tmp_path / "grades", notebooks=course)
    rows = {row["number"]: row for row in read_result(tmp_path / "grades", "ada")["exercises"]}
    assert rows["2.1"]["state"] == "right"
    assert "NameError: name 'nowhere'" in rows["2.3"]["found"] and rows["2.3"]["seconds"] < 20


def test_a_function_of_the_same_name_on_another_page_is_no_answer(edition, tmp_path):
    pages = read_course(ways.ROOT / "nbs")
    folder = ways.hand_in(tmp_path / "ada", edition, {"6.4": ways.wrong("6.4")}, ["06_registry", "08_monitor_drift"])
    answers = find_answers(folder, pages, Findings())
    assert {
        stem: [number for cell in cells if cell["changed"] for number in cell["numbers"]]
        for stem, cells in answers.items()
    } == {
        "06_registry": ["6.4"],
        "08_monitor_drift": [],
    }
    own = {
        "cell_type": "code",
        "id": "mine",
        "metadata": {},
        "source": "def best_version(versions, metric):\n    return 1",
    }
    ways.write(tmp_path / "ada" / "retyped.ipynb", {"cells": [own], "metadata": {}})
    (tmp_path / "ada" / "nbs" / "06_registry.ipynb").unlink()
    answers = find_answers(folder, pages, Findings())
    assert [cell["numbers"] for cell in answers["06_registry"]] == [["6.2"]]


def test_another_machine_has_walls_around_its_own_home_too(tmp_path, monkeypatch):
    source, jobs = tmp_path / "class" / "ann", []
    source.mkdir(parents=True)
    course = grading.Course([], {}, "", grading._find_way_once(), [["/home/first/", "files outside its folder"]])
    monkeypatch.setenv("HOME", "/home/second")
    monkeypatch.setattr(grading, "grade_student", lambda job, running: jobs.append(job) or True)
    job = grading.StudentJob("ann", source, grading.digest(source), tmp_path / "out", course, sandbox.Limits(), 0)
    grading.grade_there(job)
    walls = {folder for folder, _ in jobs[0].course.protected}
    assert {"/home/first/", "/home/second/", f"{ways.ROOT / 'tests'}/", f"{tmp_path / 'class'}/"} <= walls
    with pytest.raises(LabError, match="bob as the first machine sees it, found none"):
        grading.grade_there(replace(job, source=tmp_path / "class" / "bob"))


def test_what_a_killed_grader_has_left_is_removed_where_it_lies(tmp_path):
    folder = tmp_path / "churn-lab-grade-1-left"
    for host, there in (("elsewhere", True), (socket.gethostname(), False)):
        folder.mkdir(exist_ok=True)
        mark = tmp_path / f"ann@{host}"
        mark.write_text(str(folder))
        grading._sweep([mark])
        assert folder.exists() == mark.exists() == there
