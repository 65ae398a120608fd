"""Places, atomic writes, and CSV files as people send them."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from churn_lab.workspace import (
    LabError,
    Workspace,
    create_workspace,
    find_workspace,
    json_text,
    locate_workspace,
    read_csv,
    write_atomic,
    write_csv,
)

GOOD = "region,churn\nNA,0\nEU,1\n"


def test_init_adds_what_is_missing_and_touches_nothing_else(tmp_path):
    create_workspace(tmp_path / "lab")
    script = tmp_path / "lab" / "src" / "train.py"
    script.write_text("gate_f1 = 0.7  # mine\n")
    (tmp_path / "lab" / "src" / "rollback.py").unlink()
    assert create_workspace(tmp_path / "lab") == ["src/rollback.py"]
    assert script.read_text() == "gate_f1 = 0.7  # mine\n"


def test_the_project_is_found_by_option_then_environment_then_course_then_here(tmp_path, monkeypatch):
    named, home, course = tmp_path / "named", tmp_path / "home", tmp_path / "course"
    (course / "nbs").mkdir(parents=True)
    (course / "nbs" / "01_project_structure.ipynb").touch()
    create_workspace(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    assert find_workspace().root == tmp_path / "here"
    monkeypatch.chdir(course / "nbs")
    assert locate_workspace().root == course / "my-lab"
    monkeypatch.setenv("CHURN_LAB_HOME", str(home))
    assert locate_workspace().root == home
    assert locate_workspace(named).root == named


def test_no_project_is_an_error_that_names_the_command(tmp_path):
    with pytest.raises(LabError, match="churn-lab init"):
        find_workspace(tmp_path / "nowhere")


def test_a_killed_writer_leaves_the_old_content_or_the_new(tmp_path):
    path = tmp_path / "pointer.txt"
    program = (
        "import sys, pathlib; from churn_lab.workspace import write_atomic\n"
        "for i in range(10**6): write_atomic(pathlib.Path(sys.argv[1]), f'{i % 10}' * 100_000)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)])
    while not path.exists():
        time.sleep(0.01)
    for _ in range(200):
        text = path.read_text()
        assert len(text) == 100_000 and len(set(text)) == 1
    writer.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    writer.wait()
    assert len(path.read_text()) == 100_000


def test_a_failed_write_leaves_no_debris(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(LabError, match="to write"):
        write_atomic(tmp_path / "taken", "text")
    with pytest.raises(LabError, match="no such file"):
        write_atomic(tmp_path / "missing" / "file", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def draw_json(rng: random.Random, depth: int = 0):
    """Something that JSON can say, full of what a careless search for brackets would trip over."""
    kind = rng.randrange(8 if depth else 6)
    if kind >= 6 or depth > 4:
        return rng.choice(["a [", "{", "x\n]\n", "\u2028 \x85 ", '"{\n', "},", 1, -2.5e30, None, True])
    if kind < 3:
        return {rng.choice("ab[{]}") + rng.choice(["", "\n", " ["]): draw_json(rng, depth + 1) for _ in range(kind * 2)}
    return [draw_json(rng, depth + 1) for _ in range(rng.randrange(6))]


def test_json_for_people_says_what_was_stored():
    rng = random.Random(5)
    for content in (draw_json(rng) for _ in range(2000)):
        assert json.loads(json_text(content)) == content


def test_json_for_people_keeps_on_one_line_what_fits_there():
    text = json_text(
        [{"seed": 1, "metrics": {"f1": 0.5, "why": "because " * 9}, "edges": list(range(200)), "why": ["w" * 130] * 2}]
    )
    lines = text.splitlines()
    assert f'    "metrics": {{"f1": 0.5, "why": "{"because " * 9}"}},' in lines and any(
        line.endswith("198, 199],") for line in lines
    )
    assert sum("w" * 130 in line for line in lines) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_keeps_north_america_and_accepts_a_byte_order_mark(tmp_path, encoding):
    path = tmp_path / "customers.csv"
    path.write_bytes(GOOD.encode(encoding))
    rows = read_csv(path)
    assert list(rows.columns) == ["region", "churn"] and rows["region"].tolist() == ["NA", "EU"]
    write_csv(rows, path)
    assert path.read_bytes() == GOOD.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b" \n\n", "an empty file"),
        (b"region,churn\n", "a header and no rows"),
        (b"PK\x03\x04\x00\x00\x08", "binary data"),
        (GOOD.encode("utf-16"), "UTF-16"),
        ("region,churn\nK\u00f6ln,1\n".encode("latin-1"), "line 2 that is not UTF-8"),
        (b"region,churn,region\nNA,1,EU\n", "region repeated"),
        (b"region,,churn\nNA,1,0\n", "no name for column 2"),
        (b"region;churn\nNA;1\n", "columns separated by commas"),
        (b"region,churn\n<<<<<<< HEAD\nNA,1\n=======\nNA,0\n>>>>>>> other\n", "Git conflict marker in line 2"),
        (b"region,churn\nNA,1,7\n", "the same number of cells"),
        (b'"region,churn\n' + b"NA,1\n" * 40_000, "the same number of cells"),
    ],
)
def test_a_csv_that_is_none_is_named_as_what_it_is(tmp_path, content, message):
    path = tmp_path / "customers.csv"
    path.write_bytes(content)
    with pytest.raises(LabError, match=message) as caught:
        read_csv(path)
    assert "customers.csv" in str(caught.value) and "\nNext: " in str(caught.value)
    assert path.read_bytes() == content


def test_a_missing_csv_names_the_step_that_makes_it(tmp_path):
    with pytest.raises(LabError, match="Next: churn-lab generate"):
        read_csv(Workspace(tmp_path).raw, "churn-lab generate")
