"""Commands for a class: build the student edition, update it, grade what comes back."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from churn_lab.cli_cluster import ClusterOption, run_on
from churn_lab.cli_output import JsonOption, progress_bar, show_json

classroom = typer.Typer(help="A class: hand out the course, take it in.", no_args_is_help=True)


def _course() -> Path:
    """The folder of the course that this package belongs to."""
    from churn_lab.course import find_notebooks

    return find_notebooks()[0].resolve().parents[1]


@classroom.command("build")
def classroom_build(
    dest: Annotated[Path, typer.Argument(help="A new folder, or an edition that is replaced.")],
    zipped: Annotated[bool, typer.Option("--zip", help="Write DEST.zip, too.")] = False,
    with_solutions: Annotated[bool, typer.Option("--with-solutions", help="Keep the solutions.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the student edition: no solutions, nothing that gives one away, the same bytes from the same course."""
    from churn_lab.classroom.student_edition import build_edition

    result = build_edition(dest, _course(), zipped, with_solutions)
    if as_json:
        show_json(result)
        return
    state = "is current" if result["current"] else "written"
    print(f"{dest}: edition {result['edition']}, {result['files']} files, {result['exercises']} exercises, {state}")
    if not with_solutions:
        print("no line of a solution in it")


@classroom.command("update")
def classroom_update(
    folder: Annotated[Path, typer.Argument(help="A student's folder.")],
    edition: Annotated[
        Path | None, typer.Option(help="The new edition, a folder or a zip.", show_default="made from this course")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a new edition into a student's folder; what the student has written stays."""
    from churn_lab.classroom.update_edition import update_edition

    result = update_edition(folder, _course(), edition)
    if as_json:
        show_json(result)
        return
    print(f"{folder}: edition {result['edition']}, {result['answers']} cells of yours kept")
    for place in result["lost"]:
        print(f"no place in the new edition, at the end of its notebook: {place}")
    for name in result["kept"]:
        print(f"you had changed a file of the course; yours is {name}")


@classroom.command("grade")
def classroom_grade(
    submissions: Annotated[Path, typer.Argument(help="A folder with a folder or a zip a student.")],
    out: Annotated[Path, typer.Option(help="Where grades.csv, cohort.html and students/ are written.")] = Path(
        "grades"
    ),
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="How many at once; not with --cluster, where each worker has one.")
    ] = 2,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one submission.")] = 300,
    memory: Annotated[int, typer.Option(min=512, help="MB for one of its processes.")] = 1024,
    only: Annotated[list[str] | None, typer.Option(help="A student's name; may be repeated.")] = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grade what was handed in; whoever is graded already and has not changed is not graded again."""
    from churn_lab.classroom.grading import grade, list_students
    from churn_lab.classroom.sandbox import Limits, describe_way

    students = list_students(submissions, only)
    limits = Limits(seconds=timeout, memory_mb=memory)
    with run_on(cluster, students.values(), out) as run, progress_bar("the course itself", len(students)) as update:

        def on_student(name: str, fresh: bool) -> None:
            update(advance=1, description=name)

        result = grade(submissions, out, jobs, limits, only, on_student=on_student, run=run)
    if as_json:
        show_json(result)
        return
    print(f"{result['students']} students: {result['graded']} graded, {result['unchanged']} unchanged")
    if result["left_out"]:
        print(f"not graded, no folder and no zip: {', '.join(result['left_out'])}", file=sys.stderr)
    print(describe_way(result["way"]))
    print(f"{out / 'cohort.html'}\n{out / 'grades.csv'}")
