"""Submissions as students hand them in: right, partly right, wrong, empty, and in every way that can go wrong."""

import json
import os
import re
import shutil
import stat
import zipfile
from pathlib import Path

from conftest import ROOT


def cell_text(cell) -> str:
    return "".join(cell["source"])


def grade_id(cell) -> str:
    """`solution-6.2`; nbgrader itself allows no dot."""
    name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
    return re.sub(r"-(\d+)-(\d+)$", r"-\1.\2", name)


def read(path) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write(path, notebook) -> None:
    Path(path).write_text(json.dumps(notebook), encoding="utf-8")


def solutions() -> dict[str, str]:
    """Number -> the course's own solution, without its markers."""
    found = {}
    for path in sorted((ROOT / "nbs").glob("[0-9]*.ipynb")):
        for cell in read(path)["cells"]:
            if grade_id(cell).startswith("solution-"):
                lines = [line for line in cell_text(cell).splitlines() if not line.startswith("### ")]
                found[grade_id(cell).removeprefix("solution-")] = "\n".join(lines)
    return found


def numbers_by_notebook() -> dict[str, list[str]]:
    """Stem -> the numbers of its exercises."""
    found = {}
    for path in sorted((ROOT / "nbs").glob("[0-9]*.ipynb")):
        names = [grade_id(cell) for cell in read(path)["cells"]]
        numbers = [name.removeprefix("solution-") for name in names if name.startswith("solution-")]
        if numbers:
            found[path.stem] = numbers
    return found


def stub(notebook, number) -> dict:
    """The cell in which one answers."""
    return next(cell for cell in notebook["cells"] if f'check("{number}"' in cell_text(cell))


def answer(notebook, number, source) -> None:
    """Write an answer into its cell, above the check that stands there."""
    cell = stub(notebook, number)
    call = re.search(r"^check\(.*\)$", cell_text(cell), re.M)[0]
    cell["source"] = f"{source}\n\n{call}\n"


def hand_in(folder, edition, answers, stems=None) -> Path:
    """A student's folder: the edition's notebooks with these answers, number -> source."""
    (folder / "nbs").mkdir(parents=True)
    for stem, numbers in numbers_by_notebook().items():
        if stems and stem not in stems:
            continue
        notebook = read(edition / "nbs" / f"{stem}.ipynb")
        for number in numbers:
            if number in answers:
                answer(notebook, number, answers[number])
        write(folder / "nbs" / f"{stem}.ipynb", notebook)
    return folder


def wrong(number) -> str:
    """An answer of the right form that is wrong: what the solution is called, and 42."""
    source = solutions()[number]
    name = re.search(r"^def (\w+)", source, re.M)
    return f"def {name[1]}(*given, **named):\n    value = 42\n    return value" if name else "answer = 42"


# --- one hostile answer each; all of them to exercises that take a function ---

HOSTILE = {
    "endless loop": "while True:\n    pass",
    "endless sleep": "import time\n\ndef {name}(*given):\n    time.sleep(10_000)",
    "sys.exit": "import sys\nsys.exit(0)",
    "os._exit": "import os\n\ndef {name}(*given):\n    os._exit(0)",
    "kill the parent": "import os, signal\nfor pid in (os.getppid(), 1):\n    os.kill(pid, signal.SIGKILL)",
    "fork bomb": "import os, time\nfor turn in range(6):\n    os.fork()\ntime.sleep(60)",
    "a gigabyte of output": "def {name}(*given):\n    for turn in range(1000):\n        print('x' * 1_000_000)",
    "a gigabyte of memory": "def {name}(*given):\n    hoard = [bytearray(10**8) for turn in range(12)]\n    return len(hoard)",
    "a full disk": "def {name}(*given):\n    for turn in range(100):\n        with open(f'file-{{turn}}', 'wb') as file:\n            file.write(b'x' * 20_000_000)",
    "replaces check": "import churn_lab.classroom.exercises as exercises\n\ndef check(*given, **named):\n    print('right')\n\nexercises.judge = exercises.check = check\nexercises._KNOWN.clear()",
    "prints a pass": "print('{number} is right.')",
    "reads a friend": "def {name}(*given):\n    return open(FRIEND).read()",
    "writes the grades": "def {name}(*given):\n    with open(GRADES, 'w') as file:\n        file.write('mallory,1.1,100')",
    "reads the solutions": "def {name}(*given):\n    return open(SOLUTIONS).read()",
    "a program that reads a friend": "import subprocess\n\ndef {name}(*given):\n    return subprocess.run(['cat', FRIEND], capture_output=True).stdout",
    "the network": "import socket\n\ndef {name}(*given):\n    return socket.create_connection(('192.0.2.1', 80), 2)",
    "looks up the stack": "import gc, sys\n\ndef {name}(*given):\n    frame = sys._getframe()\n    while frame:\n        for name in ('number', 'answer', 'verdict', 'result'):\n            frame.f_locals.pop(name, None)\n        frame = frame.f_back\n    for thing in gc.get_objects():\n        if type(thing).__name__ in ('Verdict', 'Exercise'):\n            object.__setattr__(thing, 'state', 'right')\n    return 42",
    "a forged message": "import gc\n\ndef {name}(*given):\n    for thing in gc.get_objects():\n        if type(thing).__name__ == 'Connection':\n            thing.send_bytes(b'right')\n            thing.send(('return', print, (), False))\n    return 42",
}  # fmt: skip


def make_hostile(way, number, **places) -> str:
    """The source of a hostile answer to an exercise."""
    name = re.search(r"^def (\w+)", solutions()[number], re.M)[1]
    source = HOSTILE[way].replace("{name}", name).replace("{number}", number).replace("{{", "{").replace("}}", "}")
    for place, path in places.items():
        source = source.replace(place.upper(), repr(str(path)))
    return source


# --- hostile files ---


def zip_folder(folder, path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent))
    shutil.rmtree(folder)


def add_slip_and_link(path) -> None:
    """Entries that climb out of the folder, and one that is a link."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../slipped.txt", "out")
        archive.writestr("/slipped.txt", "out")
        archive.writestr("C:\\slipped.txt", "out")
        link = zipfile.ZipInfo("friend")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")


def add_bomb(path, megabytes) -> None:
    """A file of zeros that is a thousandth of its size in the zip."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("bomb", "w") as file:
        for _ in range(megabytes):
            file.write(bytes(1_000_000))


def spoil_files(folder) -> None:
    """Beside the right notebooks: what is none, and a way out of the folder."""
    write(
        folder / "nbs" / "history.ipynb", {"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "source": "1"}]}
    )
    foreign = {"kernelspec": {"language": "R", "name": "ir"}}
    write(folder / "nbs" / "12_in_R.ipynb", {"metadata": foreign, "cells": []})
    (folder / "nbs" / "picture.ipynb").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    (folder / "nbs" / "a_folder.ipynb").mkdir()  # what Windows unpacks a zip of one file into
    (folder / "nbs" / "deep.ipynb").write_text("[" * 100_000)
    if os.name == "posix":
        (folder / "way out").symlink_to("/etc")
        (folder / "nbs" / "passwd.ipynb").symlink_to("/etc/passwd")
        os.mkfifo(folder / "nbs" / "pipe.ipynb")


def hand_in_to_nbgrader(course, stem, answers, nbgrader) -> None:
    """A course of one page, its assignment made by nbgrader, and the answers of each student; `nbgrader` runs a command."""
    (course / "source" / "ps1").mkdir(parents=True)
    write(course / "source" / "ps1" / f"{stem}.ipynb", read(ROOT / "nbs" / f"{stem}.ipynb"))
    (course / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'lab'\n")
    nbgrader("generate_assignment", "ps1", "--create")
    for student, given in answers.items():
        folder = course / "submitted" / student / "ps1"
        folder.mkdir(parents=True)
        notebook = read(course / "release" / "ps1" / f"{stem}.ipynb")
        for number, source in given.items():
            answer(notebook, number, source)
        for cell in notebook["cells"]:
            if grade_id(cell).startswith("solution-"):
                cell["source"] = ""
        write(folder / f"{stem}.ipynb", notebook)
