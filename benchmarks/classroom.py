"""A class of 100: every mark as expected, nothing left behind, and what it costs beside papermill and nbgrader.

40 students are right, 30 partly, 15 wrong, 5 hand in nothing, and 10 are hostile, each way at least once. The grader is
killed in the middle and started again. `--students 20` is a class of the same kind, for a quick look.
"""

import argparse
import collections
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import papermill
from figures import record, record_growth
from rivals import rival_python, rival_version

from churn_lab.classroom.grading import read_result
from churn_lab.classroom.student_edition import build_edition
from churn_lab.course import catch_up
from churn_lab.notebook_runner import start_kernel, stop_kernel
from churn_lab.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import classroom_ways as ways  # noqa: E402

SHARES = {"right": 40, "partly": 30, "wrong": 15, "empty": 5, "hostile": 10}
PAGE = "09_rollback"  # that is graded beside nbgrader
FILES = ("spoiled files", "slip and link", "bomb", "broken", "moved cells")
Expected = dict[str, str]  # number of an exercise -> its state; "no points" for a hostile answer


def hand_in(folder: Path, edition: Path, kind: str, places: dict[str, Path]) -> Expected:
    """One student's submission, and what it should get."""
    right, numbers = ways.solutions(), [n for own in ways.numbers_by_notebook().values() for n in own]
    if kind == "empty":
        folder.mkdir(parents=True)
        return dict.fromkeys(numbers, "missing")
    if kind == "partly":
        chosen = {number: random.choice(("right", "wrong", "open")) for number in numbers}
    else:
        chosen = dict.fromkeys(numbers, kind)
    sources = {"right": right.get, "wrong": ways.wrong}
    answers = {number: sources[state](number) for number, state in chosen.items() if state != "open"}
    ways.hand_in(folder, edition, answers)
    return chosen


def hand_in_hostile(folder: Path, edition: Path, wanted: list[str], places: dict[str, Path]) -> Expected:
    """A right submission with hostile answers among the others, or hostile files beside them."""
    right, expected = ways.solutions(), dict.fromkeys(ways.solutions(), "right")
    functions = [number for number, source in right.items() if source.startswith(("def ", "import ", "from "))]
    functions = [number for number in functions if "\ndef " in f"\n{right[number]}"]
    answers = dict(right)
    for number, way in zip(random.sample(functions, len(wanted)), wanted):
        if way in ways.HOSTILE:
            answers[number], expected[number] = ways.make_hostile(way, number, **places), "no points"
    ways.hand_in(folder, edition, answers)
    if "spoiled files" in wanted:
        ways.spoil_files(folder)
    if "moved cells" in wanted:
        path = folder / "nbs" / "06_registry.ipynb"
        notebook = ways.read(path)
        notebook["cells"].remove(ways.stub(notebook, "6.1"))
        notebook["cells"] = notebook["cells"][::-1]
        expected["6.1"] = "open"
        ways.write(path.with_name("mine (2).ipynb"), notebook)
        path.unlink()
    if "broken" in wanted:
        path = folder / "nbs" / "02_environment.ipynb"
        path.write_bytes(path.read_bytes()[:3000])
        expected |= {number: "missing" for number in expected if number.startswith("2.")}
    if {"slip and link", "bomb"} & {*wanted}:
        archive = folder.with_suffix(".zip")
        ways.zip_folder(folder, archive)
        if "slip and link" in wanted:
            ways.add_slip_and_link(archive)
        if "bomb" in wanted:
            ways.add_bomb(archive, 2000)
    return expected


def make_class(submissions: Path, edition: Path, count: int, places: dict[str, Path]) -> dict[str, Expected]:
    """All submissions; what each should get."""
    expected = {}
    for kind, share in SHARES.items():
        students = max(1, round(count * share / 100))
        for place in range(students):
            name = f"{kind}-{place:02}"
            if kind == "hostile":
                wanted = [*ways.HOSTILE, *FILES][place::students]
                expected[name] = hand_in_hostile(submissions / name, edition, wanted, places)
            else:
                expected[name] = hand_in(submissions / name, edition, kind, places)
    return expected


def run_grader(submissions: Path, out: Path, stop_after: int | None = None) -> tuple[float, float]:
    """Grade, or kill the grader after some students; seconds, and MB of the grader's own at most."""
    command = [sys.executable, "-c", "from churn_lab.cli import main; main()", "classroom", "grade"]
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen([*command, submissions, "--out", out, "--jobs", "2"], cwd=ROOT)
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = max(peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
        except (OSError, TypeError):
            pass
        if stop_after is not None and len([*out.glob("students/*.json")]) >= stop_after:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.2)
    if stop_after is None and process.returncode:
        sys.exit(f"the grader ended with {process.returncode}")
    return time.perf_counter() - started, peak / 1024


def count_strays() -> int:
    """Processes of a batch that are still there."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found += b"churn-lab-grade-" in path.read_bytes()
        except OSError:
            continue
    return found


def compare(out: Path, expected: dict[str, Expected]) -> tuple[int, list[str]]:
    """How many marks were looked at, and those that are not as expected."""
    looked, wrong = 0, []
    for name, states in expected.items():
        rows = {row["number"]: row for row in (read_result(out, name) or {"exercises": []})["exercises"]}
        for number, state in states.items():
            looked += 1
            row = rows.get(number, {"state": "lost", "points": None})
            as_expected = row["points"] == 0 if state == "no points" else row["state"] == state
            if not as_expected:
                wrong.append(f"{name} {number}: expected {state}, got {row['state']} {row.get('found', '')}")
    return looked, wrong


def run_papermill(student: Path, folder: Path) -> float:
    """Seconds that papermill takes for one student's notebooks, in order, errors allowed."""
    started = time.perf_counter()
    for path in sorted((student / "nbs").glob("*.ipynb")):
        kernel = start_kernel(Workspace(folder / "my-lab"), folder)
        papermill.execute_notebook(str(path), str(folder / path.name), progress_bar=False, km=kernel, cwd=str(folder))
        stop_kernel(kernel)
    return time.perf_counter() - started


def compare_with_nbgrader(base: Path, students: int, pairs: int) -> None:
    """The same answers on one page: `churn-lab classroom grade` beside `nbgrader autograde`."""
    python = rival_python("nbgrader", "nbgrader", "ipykernel", "-e", str(ROOT))
    project = catch_up(PAGE[:2], str(base / "my-lab"))  # that the page's own cells work in
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    environment["CHURN_LAB_HOME"] = str(project.root)
    course, ours, handed_in = base / "nbgrader", base / "one-page", base / "one-page-class"
    (ours / "nbs").mkdir(parents=True)
    shutil.copy(ROOT / "nbs" / f"{PAGE}.ipynb", ours / "nbs")

    def run(command: list, folder: Path) -> float:
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{command}: {done.stderr}")
        return time.perf_counter() - started

    def nbgrader(*arguments: str) -> float:
        return run([python, "-m", "nbgrader", *arguments], course)

    def grade() -> float:
        shutil.rmtree(base / "one-page-grades", ignore_errors=True)
        command = [sys.executable, "-c", "from churn_lab.cli import main; main()", "classroom", "grade", handed_in]
        return run([*command, "--out", base / "one-page-grades"], ours)

    right, numbers = ways.solutions(), ways.numbers_by_notebook()[PAGE]
    answers = {
        f"student-{place}": {n: right[n] if place % 3 else ways.wrong(n) for n in numbers} for place in range(students)
    }
    ways.hand_in_to_nbgrader(course, PAGE, answers, nbgrader)
    for student, given in answers.items():
        ways.hand_in(handed_in / student, ours, given, [PAGE])
    found = []
    for pair in range(pairs):
        if pair % 2:
            took = grade()
            found.append(took / nbgrader("autograde", "ps1", "--force"))
        else:
            theirs = nbgrader("autograde", "ps1", "--force")
            found.append(grade() / theirs)
    nbgrader("export")
    marks = collections.Counter()
    for row in csv.DictReader((base / "one-page-grades" / "grades.csv").open()):
        marks[row["student"]] += float(row["points"])
    others = {row["student_id"]: float(row["score"]) for row in csv.DictReader((course / "grades.csv").open())}
    if marks != others or sum(marks.values()) == 0:
        sys.exit(f"other marks than nbgrader's: {dict(marks)}, {others}")
    version = rival_version(python, "nbgrader")
    reference = (
        f"nbgrader {version}'s autograde, which executes all of each notebook, one after the other; ours: two jobs"
    )
    record(f"grading {students} students' answers on one page, beside nbgrader", found, "times", reference, readme=True)


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--without-peers", action="store_true", help="neither papermill nor nbgrader")
    options = parser.parse_args()
    random.seed(0)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        base = Path(name)
        build_edition(base / "edition", ROOT)
        submissions, out = base / "submissions", base / "grades"
        places = {"friend": submissions / "right-00" / "nbs" / "06_registry.ipynb"}
        places |= {"grades": out / "grades.csv", "solutions": ROOT / "nbs" / "09_rollback.ipynb"}
        expected = make_class(submissions, base / "edition", options.students, places)
        before = snapshot(submissions) | snapshot(ROOT / "nbs") | snapshot(ROOT / "tests")
        small, few_mb = base / "small", None
        small.mkdir()
        if len(expected) > 10:
            for student in [*expected][:10]:
                (small / student).symlink_to(submissions / student)
            _, few_mb = run_grader(small, base / "small-grades")
        killed_after, _ = run_grader(submissions, out, stop_after=options.students // 2)
        time.sleep(2)
        print(f"killed after {killed_after:.0f} s; processes left two seconds later: {count_strays()}")
        rest, many_mb = run_grader(submissions, out)
        looked, wrong = compare(out, expected)
        after = snapshot(submissions) | snapshot(ROOT / "nbs") | snapshot(ROOT / "tests")
        ours = (killed_after + rest) / len(expected)
        print(*wrong[:20], sep="\n  ")
        record(
            f"grading, {looked} marks of {len(expected)} students, not as expected", len(wrong), "marks", target="<= 0"
        )
        states = collections.Counter(
            row["state"] for student in expected for row in read_result(out, student)["exercises"]
        )
        print(f"states: {dict(states)}")
        changed = len(before.items() ^ after.items())
        record("grading, files of others that changed", changed, "files", target="<= 0")
        record("grading, processes left", count_strays(), "processes", target="<= 0")
        record("grading, a student, the killed batch and the course's own run included", ours, "s", "two jobs")
        if few_mb:
            record(f"grading, memory, {len(expected)} students", many_mb / few_mb, "times", "10 students")
            memory = {10: few_mb, len(expected): many_mb}
            record_growth("grading, memory of the grader", "students", "MB", {"churn-lab classroom grade": memory})
        if not options.without_peers:
            (base / "papermill").mkdir()
            theirs = run_papermill(submissions / "right-00", base / "papermill")
            name = f"papermill on one student's notebooks: {theirs:.0f} s"
            record("grading, a student, beside papermill", ours / theirs, "times", name, "<= 0.7")
            compare_with_nbgrader(base, 6, 5)
