"""The student edition: no line of a solution anywhere in it, the same bytes each time, and answers that outlive it."""

import json
import os
import re
import subprocess
import sys
import zipfile

import classroom_ways as ways
import pytest
from conftest import ROOT, SOAK, snapshot

from churn_lab.classroom.student_edition import MANIFEST, build_edition, find_leaks, make_edition, strip_cell
from churn_lab.classroom.update_edition import KEPT, update_edition
from churn_lab.files import LabError


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition") / "course"
    build_edition(folder, ROOT, zipped=True)
    return folder


# --- handing out ---


def test_nothing_in_it_gives_a_solution_away(edition):
    files = {path.relative_to(edition).as_posix(): path.read_bytes() for path in edition.rglob("*") if path.is_file()}
    assert [*find_leaks(files, ROOT)] == []
    assert not any("test" in name.split("/")[0] or "classroom" in name and name.endswith(".ipynb") for name in files)
    for name, content in files.items():
        if name.endswith(".ipynb"):
            text = content.decode()
            assert "BEGIN SOLUTION" not in text or "exercises" in name, name
            assert "folded cells hold" not in text and "](inside/classroom/" not in text, name


PLACES = ["churn_lab/classroom/room_06.py", "constraints.txt", "README.md"]


@pytest.mark.parametrize("number", sorted(ways.solutions()))
def test_a_solution_that_is_put_back_is_found_wherever_it_stands(number):
    notebook = ways.read(ROOT / "nbs" / "06_registry.ipynb")
    notebook["cells"] = [strip_cell(cell) for cell in notebook["cells"]]
    next(cell for cell in notebook["cells"] if ways.grade_id(cell) == "solution-6.1")["source"] = ways.solutions()[
        number
    ]
    files = {name: ("# first\n" + ways.solutions()[number] + "\n# last\n").encode() for name in PLACES}
    files["nbs/06_registry.ipynb"] = json.dumps(notebook).encode()
    found = [*find_leaks(files, ROOT)]
    for name in files:
        assert any(leak.startswith(f"{name} has a line of {number}") for leak in found), name


def test_a_line_is_found_whatever_its_spaces_quotes_and_comments_and_a_build_with_it_is_refused(tmp_path, monkeypatch):
    files = make_edition(ROOT)
    files["LICENSE"] += b"\n   passed  = [ row for row in versions if row['passed_gate'] ]  # for later\n"
    assert [leak.split(" has ")[0] for leak in find_leaks(files, ROOT)] == ["LICENSE"]
    monkeypatch.setattr("churn_lab.classroom.student_edition.make_edition", lambda course, with_solutions: files)
    with pytest.raises(LabError, match="an edition without solutions, found LICENSE has a line of 6.2"):
        build_edition(tmp_path / "course", ROOT)
    assert [*tmp_path.iterdir()] == []


def test_hidden_tests_are_taken_out_and_looked_for(tmp_path):
    hidden = "check('1.1', answer)\n### BEGIN HIDDEN TESTS\nassert sorted(answer) == ['.gitignore', 'logs/']\n### END HIDDEN TESTS"
    cell = {"cell_type": "code", "metadata": {"nbgrader": {"grade_id": "check-1.1"}}, "source": hidden, "outputs": [1]}
    assert strip_cell(cell)["source"] == ["check('1.1', answer)\n"] and strip_cell(cell)["outputs"] == []
    (tmp_path / "nbs").mkdir()
    ways.write(tmp_path / "nbs" / "01_x.ipynb", {"cells": [cell]})
    leak = b"if True:\n    assert sorted(answer) == ['.gitignore', 'logs/']"
    assert len([*find_leaks({"a.py": leak}, tmp_path)]) == 1


def test_an_empty_cell_stands_where_each_solution_was_and_the_rest_is_as_it_was(edition):
    for stem, numbers in ways.numbers_by_notebook().items():
        ours, theirs = ways.read(ROOT / "nbs" / f"{stem}.ipynb"), ways.read(edition / "nbs" / f"{stem}.ipynb")
        ours["cells"] = [cell for cell in ours["cells"] if "instructor" not in cell["metadata"].get("tags", [])]
        assert [cell["id"] for cell in theirs["cells"]] == [cell["id"] for cell in ours["cells"]]
        for before, after in zip(ours["cells"], theirs["cells"]):
            name = ways.grade_id(before)
            if name.startswith("solution-"):
                assert after["source"] == [] and after["outputs"] == [] and "jupyter" not in after["metadata"]
                assert after["metadata"]["nbgrader"] == before["metadata"]["nbgrader"]
            elif before["cell_type"] == "code" and not name:
                assert after == before
        stubs = ["".join(ways.stub(theirs, number)["outputs"][0]["text"]) for number in numbers]
        assert all("is open" in text for text in stubs)


def test_every_picture_of_a_page_is_handed_out(edition):
    shown = 0
    for page in (edition / "nbs").rglob("*.ipynb"):
        for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text("utf-8")):
            shown += 1
            assert (page.parent / name).is_file(), f"{page.name}: {name}"
    assert shown > 3


def test_the_same_course_gives_the_same_bytes_and_says_that_it_is_current(edition, tmp_path, churn_lab):
    code, out, _ = churn_lab("classroom", "build", tmp_path / "course", "--zip")
    assert code == 0 and "written" in out
    assert snapshot(tmp_path / "course") == snapshot(edition)
    assert (tmp_path / "course.zip").read_bytes() == edition.with_name("course.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "course.zip") as archive:
        assert {name.removeprefix("course/") for name in archive.namelist()} == {*snapshot(edition)}
    code, out, _ = churn_lab("classroom", "build", tmp_path / "course")
    assert code == 0 and "is current" in out


def test_a_folder_that_is_no_edition_or_was_worked_in_is_left_alone(edition, tmp_path, churn_lab):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    build_edition(tmp_path / "used", ROOT)
    (tmp_path / "used" / "nbs" / "01_project_structure.ipynb").write_text("worked on")
    before = snapshot(tmp_path)
    for folder, told in (("mine", "a new folder"), ("used", "01_project_structure.ipynb changed")):
        code, out, err = churn_lab("classroom", "build", tmp_path / folder)
        assert code == 1 and told in err and "Next: " in err
    assert snapshot(tmp_path) == before


def test_with_solutions_they_are_there(tmp_path):
    build_edition(tmp_path / "course", ROOT, with_solutions=True)
    text = (tmp_path / "course" / "nbs" / "06_registry.ipynb").read_text()
    assert text.count("BEGIN SOLUTION") == len(ways.numbers_by_notebook()["06_registry"])


def test_the_package_that_is_installed_from_it_checks_and_has_no_solution(edition, tmp_path):
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    source = tmp_path / "source"
    with zipfile.ZipFile(edition.with_name("course.zip")) as archive:
        archive.extractall(source)
    done = subprocess.run(
        [*install, "--target", tmp_path / "site", source / "course"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-500:]
    files = {path.name: path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.suffix in (".py", ".html")}
    assert len(files) > 50 and [*find_leaks(files, ROOT)] == []
    code = 'from churn_lab.classroom.exercises import *; check("9.1", "v1"); solution("9.1")'
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", capture_output=True, text=True, timeout=60
    )
    assert "9.1 is right." in said.stdout and "your instructor has them" in said.stdout, said.stderr


# --- a new edition around the answers ---


@pytest.fixture
def revised(edition, tmp_path):
    """A later edition: a sentence corrected, a page's cell corrected, an exercise gone, a cell added."""
    source = tmp_path / "course-2026"
    with zipfile.ZipFile(edition.with_name("course.zip")) as archive:
        archive.extractall(tmp_path / "unpacked")
    (tmp_path / "unpacked" / "course").rename(source)
    path = source / "nbs" / "06_registry.ipynb"
    notebook = ways.read(path)
    notebook["cells"][0]["source"] = ["# Step 6 · Registry, revised\n"]
    notebook["cells"][2]["source"] = ["import revised\n"]
    gone = ways.stub(notebook, "6.3")["id"]
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != gone]
    notebook["cells"].insert(5, {"cell_type": "markdown", "id": "news", "metadata": {}, "source": ["News"]})
    ways.write(path, notebook)
    (source / "LICENSE").write_text("another one\n")
    return source


def texts(path) -> list[str]:
    return [ways.cell_text(cell) for cell in ways.read(path)["cells"]]


def test_an_update_brings_the_new_text_and_keeps_every_answer(edition, revised, tmp_path, churn_lab):
    student = tmp_path / "student"
    with zipfile.ZipFile(edition.with_name("course.zip")) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "course").rename(student)
    path = student / "nbs" / "06_registry.ipynb"
    notebook = ways.read(path)
    ways.answer(notebook, "6.2", "def best_version(versions, metric):\n    return 'mine'")
    ways.answer(notebook, "6.3", "def who_served(history, moment):\n    return 'mine, too'")
    place = notebook["cells"].index(ways.stub(notebook, "6.2"))
    added = {"cell_type": "code", "id": "added", "metadata": {}, "outputs": [], "execution_count": 7, "source": "6 * 7"}
    notebook["cells"].insert(place + 1, added)
    notebook["cells"][2]["source"] = "import mine"
    solution = next(cell for cell in notebook["cells"] if ways.grade_id(cell) == "solution-6.1")
    solution["source"] = "answer = 'second try'"
    ways.write(path, notebook)
    (student / "LICENSE").write_text("scribbled\n")
    (student / "my-lab").mkdir()
    (student / "my-lab" / "notes.txt").write_text("mine")
    code, out, err = churn_lab("classroom", "update", student, "--edition", revised)
    assert code == 0, err
    after = texts(path)
    assert after[0].startswith("# Step 6 · Registry, revised") and "News" in after
    assert any("return 'mine'" in text for text in after)
    assert after[[*map(lambda text: "return 'mine'" in text, after)].index(True) + 1] == "6 * 7"
    assert after.index("import mine") == after.index("import revised\n") + 1
    assert "answer = 'second try'" in after
    assert after[-2].strip() == KEPT.strip() and "mine, too" in after[-1] and "at the end of its notebook" in out
    ids = [cell["id"] for cell in ways.read(path)["cells"]]
    assert len({*ids}) == len(ids)
    assert (student / "LICENSE").read_text() == "another one\n"
    assert [kept.read_text() for kept in student.glob("LICENSE.yours-*")] == ["scribbled\n"]
    assert (student / "my-lab" / "notes.txt").read_text() == "mine"
    assert (student / MANIFEST).read_bytes() != (edition / MANIFEST).read_bytes()
    before = snapshot(student)
    assert churn_lab("classroom", "update", student, "--edition", revised)[0] == 0
    assert snapshot(student) == before, "the same edition again changes nothing"


def test_an_update_that_cannot_be_done_changes_nothing(edition, revised, tmp_path, monkeypatch, churn_lab):
    student = tmp_path / "student"
    with zipfile.ZipFile(edition.with_name("course.zip")) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "course").rename(student)
    before = snapshot(student)
    (tmp_path / "some.zip").write_bytes(b"no zip")
    for arguments, told in (
        ((tmp_path / "unpacked",), "a student's folder with nbs/"),
        ((student, "--edition", tmp_path / "some.zip"), "a folder or a zip, in"),
        ((student, "--edition", tmp_path / "nowhere"), "a folder or a zip, in"),
        ((student, "--edition", student), "the student's own folder"),
    ):
        code, _, err = churn_lab("classroom", "update", *arguments)
        assert code == 1 and told in err and "Traceback" not in err
    (student / MANIFEST).write_text("{")
    assert churn_lab("classroom", "update", student, "--edition", revised)[0] == 1
    (student / MANIFEST).write_bytes(before[MANIFEST])

    def fail(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("churn_lab.files.os.replace", fail)
    assert churn_lab("classroom", "update", student, "--edition", revised)[0] == 1
    assert snapshot(student) == before


def test_an_instructor_updates_from_the_course_itself(edition, tmp_path):
    with zipfile.ZipFile(edition.with_name("course.zip")) as archive:
        archive.extractall(tmp_path)
    path = tmp_path / "course" / "nbs" / "09_rollback.ipynb"
    notebook = ways.read(path)
    ways.answer(notebook, "9.1", "answer = 'v7'")
    ways.write(path, notebook)
    result = update_edition(tmp_path / "course", ROOT)
    assert result["answers"] == 1 and result["lost"] == result["kept"] == []
    assert any("answer = 'v7'" in text for text in texts(path))


# --- the real nbgrader ---


@pytest.mark.skipif(not SOAK, reason="installs nbgrader into an environment of its own; `make soak` runs it")
def test_nbgrader_gives_the_points_that_we_give(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [python, "-m", "pip", "install", "-q"]
    subprocess.run([*install, "nbgrader", "ipykernel", "-e", ROOT], check=True, timeout=900)
    course, stem = tmp_path / "course", "09_rollback"
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}

    def nbgrader(*arguments):
        command = [python, "-m", "nbgrader", *arguments]
        done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-2000:]

    right, numbers = ways.solutions(), ways.numbers_by_notebook()[stem]
    answers = {"ada": {n: right[n] for n in numbers}, "ben": {n: ways.wrong(n) for n in numbers}}
    ways.hand_in_to_nbgrader(course, stem, answers, nbgrader)
    assert "BEGIN SOLUTION" not in (course / "release" / "ps1" / f"{stem}.ipynb").read_text()
    nbgrader("autograde", "ps1")
    nbgrader("export")
    lines = (course / "grades.csv").read_text().splitlines()
    points = {}
    for line in lines[1:]:
        row = dict(zip(lines[0].split(","), line.split(",")))
        points[row["student_id"]] = float(row["score"])
    assert points == {"ada": len(numbers), "ben": 0.0}
    assert re.search(r"max_score", lines[0])
