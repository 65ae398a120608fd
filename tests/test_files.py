"""Files are replaced in one move, all of them or none, and JSON is written for people."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import snapshot

from churn_lab import files
from churn_lab.files import LabError, json_text, write_atomic, write_together


def test_of_two_files_that_belong_together_none_changes_if_the_second_cannot_be_written(tmp_path):
    data, new, taken = tmp_path / "processed.csv", tmp_path / "new.csv", tmp_path / "contract.json"
    data.write_text("old rows")
    taken.mkdir()
    before = snapshot(tmp_path)
    with pytest.raises(LabError, match=r"to write .*contract\.json"):
        write_together({data: "new rows", new: "more", taken: "{}"})
    assert snapshot(tmp_path) == before


def test_of_two_files_that_belong_together_none_changes_if_the_last_swap_fails(tmp_path, monkeypatch):
    first, new, last = tmp_path / "first", tmp_path / "new", tmp_path / "last"
    first.write_text("old")
    last.write_text("old")
    before, move = snapshot(tmp_path), os.replace

    def refuse(source, target):
        if target == last:
            raise OSError(5, "Input/output error")
        move(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(LabError, match="input/output error"):
        write_together({first: "new", new: "new", last: "new"})
    assert snapshot(tmp_path) == before


def test_a_killed_writer_leaves_the_old_content_or_the_new(tmp_path):
    path = tmp_path / "pointer.txt"
    program = (
        "import sys, pathlib; from churn_lab.files import write_atomic\n"
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


def test_what_cannot_be_put_back_is_kept_beside(tmp_path, monkeypatch):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("old")
    swap, fail = files._replace, {"at": 2}

    def replace(source, target):
        fail["at"] -= 1
        if fail["at"] <= 0:
            raise OSError("the disk is gone")
        swap(source, target)

    monkeypatch.setattr(files, "_replace", replace)
    with pytest.raises(LabError, match="the disk is gone"):
        write_together({first: "new", second: "new"})
    (kept,) = tmp_path.glob(".first.txt.*.old")
    assert kept.read_text() == "old" and not second.exists() and not list(tmp_path.glob(".*.tmp"))
