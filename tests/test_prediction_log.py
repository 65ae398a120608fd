"""Lines are written whole and once, whoever rotates, tears or turns back the clock."""

import gzip
import json
import os
import subprocess
import sys

import pytest
from filelock import FileLock

from churn_lab.drift_report import parse_every
from churn_lab.files import LabError
from churn_lab.generate_data import draw_customers
from churn_lab.prediction_log import (
    LogError,
    PredictionLog,
    find_logs,
    format_line,
    parse_duration,
    parse_since,
    write_whole,
)
from churn_lab.traffic import simulate_predictions
from churn_lab.workspace import Workspace

NOON = 1767268800.0  # 2026-01-01T12:00 UTC
DAY = 86400


def numbered(*numbers) -> bytes:
    return b"".join(format_line({"request_id": str(number)}, {}, NOON) for number in numbers)


def ids(path) -> list[str]:
    text = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line)["request_id"] for line in text.splitlines()]


@pytest.fixture
def log(tmp_path):
    log = PredictionLog(Workspace(tmp_path))
    yield log
    log.close()


def test_a_batch_after_a_torn_line_is_there_whole_and_once(tmp_path):
    handle = os.open(tmp_path / "log", os.O_RDWR | os.O_APPEND | os.O_CREAT)
    os.write(handle, b'{"torn": ')
    write_whole(handle, numbered(*range(100)))
    write_whole(handle, numbered(100))
    os.close(handle)
    torn, *lines = (tmp_path / "log").read_bytes().splitlines()
    assert torn.startswith(b'{"torn": ')
    assert sorted(int(json.loads(line)["request_id"]) for line in lines) == list(range(101))


def test_a_torn_line_of_somebody_else_and_a_log_cut_short_cost_no_line(log):
    log.append(numbered(1), NOON)
    with log.path.open("ab") as other:
        other.write(b'{"torn": ')
    log.append(numbered(2, 3), NOON)
    assert [line.startswith(b'{"torn') for line in log.path.read_bytes().splitlines()] == [False, True, False, False]
    os.truncate(log.path, 0)
    log.append(numbered(4), NOON)
    log.append(numbered(5), NOON)
    assert ids(log.path) == ["4", "5"]


def test_where_appending_takes_two_steps_writers_take_turns(log):
    log.turn = FileLock(log.lab.logs / ".lock", timeout=0.1)  # as on Windows
    log.append(numbered(1), NOON)
    with FileLock(log.turn.lock_file), pytest.raises(LogError):
        log.append(numbered(2), NOON)
    log.append(numbered(3), NOON)
    assert ids(log.path or find_logs(log.lab)[0]) == ["1", "3"]


def test_a_log_that_was_renamed_is_left_and_a_new_one_begun(log):
    log.append(numbered(1), NOON)
    log.path.rename(log.path.with_suffix(".jsonl.1"))
    log.append(numbered(2), NOON)
    log.path.unlink()
    log.append(numbered(3), NOON)
    assert [(path.name, ids(path)) for path in find_logs(log.lab)] == [
        ("predictions-2026-01-01.jsonl.1", ["1"]),
        ("predictions-2026-01-01.jsonl", ["3"]),
    ]


@pytest.mark.parametrize("restarted", [False, True])
def test_when_the_clock_went_back_the_last_lines_are_those_answered_last(log, restarted):
    log.append(numbered(1), NOON + DAY)
    if restarted:
        log.close()
    log.append(numbered(2), NOON)
    log.append(numbered(3), NOON + 2 * DAY)
    log.append(numbered(4), NOON - DAY)
    assert [number for path in find_logs(log.lab) for number in ids(path)] == ["1", "2", "3", "4"]


def test_a_log_that_cannot_be_written_says_why_and_tries_again(log):
    log.lab.logs.write_text("a file in the way")
    with pytest.raises(LogError, match="file exists|not a directory"):
        log.append(numbered(1), NOON)
    log.lab.logs.unlink()
    log.append(numbered(2), NOON)
    assert ids(log.path) == ["2"]


def test_logs_are_found_by_day_also_rotated_and_compressed_ones(tmp_path):
    lab = Workspace(tmp_path)
    lab.logs.mkdir()
    in_order = [
        "archive.jsonl",
        "predictions.log",
        "predictions-2026-01-01.jsonl.gz",
        "predictions-2026-01-02.jsonl.10.gz",
        "predictions-2026-01-02.jsonl.2",
        "predictions-2026-01-02.jsonl.1",
        "predictions-2026-01-02.jsonl",
        "predictions-2026-01-03.jsonl",
    ]
    for name in [*reversed(in_order), "server.log", "notes.txt", "predictions-2026-01-03.jsonl.tmp"]:
        (lab.logs / name).touch()
    assert [path.name for path in find_logs(lab)] == in_order
    assert [path.name for path in find_logs(lab, since=NOON + DAY)] == in_order[:2] + in_order[3:]


def test_simulated_lines_are_those_that_the_service_writes(lab):
    path = simulate_predictions(lab, draw_customers(3, seed=1), start=NOON + DAY / 2 - 1.5)
    first, second = find_logs(lab)
    assert path == second and (len(ids(first)), len(ids(second))) == (2, 1)
    line = json.loads(first.read_bytes().splitlines()[1])
    keys = ["request_id", "model_version", "prediction", "probability", "latency_ms", "features", "ts"]
    assert list(line) == keys and line["ts"] == NOON + DAY / 2 - 0.5


def test_the_service_starts_without_what_reads_the_log():
    heavy = (
        "import sys, churn_lab.prediction_log; print([m for m in ('duckdb', 'scipy', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout.strip() == "[]"


def test_durations_and_moments():
    assert [parse_duration(text) for text in ("90s", "1.5h", "7d", "h", "5", "²h", "")] == [
        90,
        5400,
        604800,
        *[None] * 4,
    ]
    assert parse_since("2026-01-01T12:00") == NOON == parse_since("2026-01-01T13:00+01:00")
    for wrong in ("yesterday", "2026-13-01"):
        with pytest.raises(LabError, match="--since 24h"):
            parse_since(wrong)
    with pytest.raises(LabError, match="--every 60s"):
        parse_every("often")
