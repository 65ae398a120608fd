"""Files in parts: the rows of the whole, each scored once, whatever was killed or has changed in between."""

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from conftest import snapshot
from filelock import FileLock
from hypothesis import example, given, settings
from hypothesis import strategies as st

from churn_lab.batch_scoring import score_file
from churn_lab.batch_table import read_rows
from churn_lab.csv_files import open_csv
from churn_lab.file_parts import choose_folder, cut_file, find_files
from churn_lab.files import LabError
from churn_lab.generate_data import draw_customers
from churn_lab.registry import promote
from churn_lab.registry_history import current_model
from churn_lab.score_parts import score_part, score_parts

HEADER = "tenure_months,num_complaints,avg_session_minutes,plan_type,region,note\n"
ODD = ["-1,1,3,basic,EU,x\n", "1,2\n", '"1,2,3,basic,EU,x\n', '1,2,3,basic,MARS,"two\nlines"\n', "1,2,3,basic,EU,x,7\n"]


def make_customers(path, rows=2000):
    """A file with rows of every odd kind, far from each other, and cells that hold a line end."""
    lines = (
        draw_customers(rows, seed=3).drop(columns="churn").assign(note='a, "b"').to_csv(index=False).splitlines(True)
    )
    for place, text in enumerate(ODD):
        lines.insert(300 + 350 * place, text)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def score(lab, path, out, **given):
    return score_parts(lab, find_files(path), out, **{"part_bytes": 9000, **given})


def read(paths) -> list[dict[str, str]]:
    return [row for path in sorted(paths) for row in csv.DictReader(io.StringIO(path.read_text("utf-8"), newline=""))]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from(['a,"b\nc"', "a,b", '"', 'a,"b', 'b",c', "a", "", 'é,"x""y"', "a,b,c", 'a"b,"']), max_size=30
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.integers(1, 60),
)
@example(["5,6"] * 5, "\n", "\r", False, 1)
@example(['a,"b\nc"', ""], "\n", "\r", False, 2)
def test_parts_of_any_size_hold_the_records_of_the_file_with_their_lines(tmp_path_factory, rows, end, first, bom, size):
    folder = tmp_path_factory.mktemp("cut")
    path, copy, found = folder / "file.csv", folder / "part.csv", []
    text = ("\ufeff" if bom else "") + "x,y" + first + end.join([*(row.replace("\n", end) for row in rows), "1,2"])
    path.write_bytes(text.encode())
    file = open_csv(path)
    parts = [*cut_file("file", path, size)]
    for part in parts:
        part.copy_to(copy)
        found += [(line + part.skipped, *rest) for line, *rest in read_rows(replace(file, path=copy))]
    assert found == [*read_rows(file)]
    assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]
    assert size > 20 or len(parts) > 1 or len(found) < 12


def test_parts_together_are_what_the_whole_file_gives(lab, tmp_path):
    path, out = make_customers(tmp_path / "customers.csv"), tmp_path / "out"
    whole, done = score_file(lab, path), score(lab, path, out)
    assert len(done["parts"]) > 5 and done["fresh"] == len(done["parts"])
    rows = read((out / "parts").iterdir())
    assert rows == read([whole.path]) and len(rows) == done["rows"] == whole.rows
    rejected = read((out / "rejected").iterdir())
    assert rejected == read([whole.rejected_path]) and len(rejected) == done["rejected"] == 4
    assert (done["unseen"], done["predicted_positive"]) == (whole.unseen, whole.predicted_positive)
    told = {reason: count for part in done["parts"] for reason, count in part["reasons"].items()}
    assert told["2 cells in place of 6"] == told["7 cells in place of 6"] == 1
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["inputs"][0]["bytes"] == path.stat().st_size == done["parts"][-1]["input"]["end"]
    assert {name for part in manifest["parts"] for name in part["files"]} == {
        file.relative_to(out).as_posix() for name in ("parts", "rejected") for file in (out / name).iterdir()
    }


def test_one_thread_and_four_give_the_same_bytes_also_as_parquet(lab, tmp_path):
    (tmp_path / "in").mkdir()
    make_customers(tmp_path / "in" / "a.csv")
    customers = draw_customers(2000, seed=3).drop(columns="churn")
    customers.loc[1500, "tenure_months"], customers.loc[100, "region"] = -1, "MARS"
    duckdb.from_df(customers).write_parquet(str(tmp_path / "in" / "b.parquet"))
    for threads in (1, 4):
        score(lab, tmp_path / "in", tmp_path / f"out{threads}", threads=threads)
    assert snapshot(tmp_path / "out1") == snapshot(tmp_path / "out4")
    whole, parts = score_file(lab, tmp_path / "in" / "b.parquet"), sorted(tmp_path.glob("out1/parts/b-*.parquet"))
    rows = [row for path in parts for row in duckdb.read_parquet(str(path)).fetchall()]
    assert len(parts) > 2 and rows == duckdb.read_parquet(str(whole.path)).fetchall()
    rejected = read((tmp_path / "out1" / "rejected").glob("b-*"))
    assert rejected == read([whole.rejected_path]) and [row["line"] for row in rejected] == ["1501"]


def test_lines_that_end_in_two_ways_are_scored_once(lab, tmp_path):
    path = tmp_path / "mixed.csv"
    lines = draw_customers(60, seed=1).drop(columns="churn").to_csv(index=False).splitlines()
    path.write_bytes("\r".join([lines[0], "\n".join(lines[1:])]).encode())
    done = score(lab, path, tmp_path / "out", part_bytes=500)
    assert len(done["parts"]) > 2 and (done["rows"], done["rejected"]) == (60, 0) == (score_file(lab, path).rows, 0)


def test_a_run_that_was_killed_goes_on_without_scoring_a_part_twice(lab, tmp_path):
    path, out = make_customers(tmp_path / "customers.csv"), tmp_path / "out"
    program = (
        "import os, signal, sys, churn_lab.score_parts as s; from churn_lab.workspace import Workspace\n"
        "move, left = s.write_together, [3]\n"
        "def stop(files):\n"
        "    left[0] -= 1\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if not left[0] else move(files)\n"
        "s.write_together = stop\n"
        "s.score_parts(Workspace(sys.argv[1]), {'customers': s.Path(sys.argv[2])}, s.Path(sys.argv[3]), part_bytes=9000)"
    )
    killed = subprocess.run([sys.executable, "-c", program, lab.root, path, out])
    assert killed.returncode == -signal.SIGKILL and not (out / "manifest.json").exists()
    written = {file: file.stat().st_mtime_ns for file in (out / "parts").glob("*.csv")}
    assert len(written) == 2
    done = score(lab, path, out)
    assert done["fresh"] == len(done["parts"]) - 2
    assert all(file.stat().st_mtime_ns == moment for file, moment in written.items())
    score(lab, path, tmp_path / "at once")
    assert snapshot(out) == snapshot(tmp_path / "at once") and not [*out.glob("*/.*")]


def test_only_what_no_longer_holds_is_scored_again(lab, tmp_path):
    path, out = make_customers(tmp_path / "customers.csv"), tmp_path / "out"
    first = score(lab, path, out)
    sound = snapshot(out)
    assert score(lab, path, out)["fresh"] == 0

    (out / "parts" / "customers-00002.csv").write_text("half of")
    (out / "records" / "customers-00003.json").write_text("{}")
    (out / "parts" / "customers-00004.csv").unlink()
    (out / "parts" / ".customers-00099.csv.left.tmp").mkdir()
    (out / "records" / ".customers-00099.json.left.old").touch()
    assert score(lab, path, out)["fresh"] == 3 and snapshot(out) == sound
    assert not [*out.glob("*/.*")]

    path.write_text(path.read_text() + "1,2,3,basic,EU,x\n")
    assert score(lab, path, out)["fresh"] == 1
    path.write_text("".join(path.read_text().splitlines(True)[:40]))
    assert len(score(lab, path, out)["parts"]) == 1
    assert len([*(out / "parts").iterdir()]) == len([*(out / "records").iterdir()]) == 1

    make_customers(path)
    score(lab, path, out)
    other = next(
        card.stem + ".joblib" for card in lab.models.glob("*.json") if card.stem + ".joblib" != current_model(lab)
    )
    promote(lab, other)
    done = score(lab, path, out)
    assert done["fresh"] == len(first["parts"]) and done["model"]["model_file"] == other


def test_strict_names_the_line_of_the_file_and_leaves_no_manifest(lab, tmp_path):
    path, out = make_customers(tmp_path / "customers.csv"), tmp_path / "out"
    score(lab, path, out)
    with pytest.raises(LabError, match="line 301: tenure_months"):
        score(lab, path, out, strict=True)
    assert not (out / "manifest.json").exists()


def test_only_folders_of_the_same_files_are_written_to_and_only_own_files_removed(lab, tmp_path):
    path, out = make_customers(tmp_path / "jan.csv"), tmp_path / "out"
    for name in ("records/a.json", "manifest.json", "parts/b.csv"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("{}")
        before = snapshot(tmp_path)
        with pytest.raises(LabError, match="a new folder .* in it"):
            score(lab, path, tmp_path / "mine")
        assert snapshot(tmp_path) == before and not (tmp_path / "mine" / ".lock").exists()

    score(lab, path, out)
    (out / "parts" / "notes.txt").write_text("do not touch")
    (out / ".DS_Store").touch()  # Finder's; nothing of ours goes by that name
    before = snapshot(out)
    path.rename(tmp_path / "feb.csv")
    with pytest.raises(LabError, match="those of jan.csv"):
        score(lab, tmp_path / "feb.csv", out)
    assert snapshot(out) == before
    make_customers(path, rows=300)
    assert len(score(lab, path, out)["parts"]) == 2
    left = {file.name for file in (out / "parts").iterdir()}
    assert left == {"jan-00001.csv", "jan-00002.csv", "notes.txt"}
    (out / "thesis.txt").write_text("do not touch")
    with pytest.raises(LabError, match=r"thesis.txt in it"):
        score(lab, path, out)


def test_what_changes_under_way_gets_no_manifest(lab, tmp_path):
    path, out, current = make_customers(tmp_path / "customers.csv"), tmp_path / "out", current_model(lab)
    jobs, manifest = [], out / "manifest.json"

    def stop(function, parts, on_done):
        jobs.append(next(iter(parts)))
        raise KeyboardInterrupt

    def write_input(rows, share):
        path.write_text(path.read_text())  # the same bytes, at another time

    def write_record(rows, share):
        record = out / "records" / "customers-00001.json"
        record.write_text(record.read_text().replace('"rows": ', '"rows": 1'))

    with pytest.raises(KeyboardInterrupt):
        score(lab, path, out, run=stop)
    assert not out.exists()
    for change, told in ((write_input, "customers.csv from first to last"), (write_record, "another customers-00001")):
        with pytest.raises(LabError, match=told):
            score(lab, path, out, on_part=change)
        assert not manifest.exists()

    promote(
        lab, next(name for name in (f"{card.stem}.joblib" for card in lab.models.glob("*.json")) if name != current)
    )
    score(lab, path, out)
    before = snapshot(out)
    with pytest.raises(LabError, match="it has ended"):
        score_part(jobs[0])  # a worker that was late
    assert snapshot(out) == before and manifest.exists()


def test_reasons_are_counted_without_the_texts_of_customers(lab, tmp_path):
    path = tmp_path / "customers.csv"
    odd = ["a; b (c", "a; b (c) (d", "x" * 50 + "; y"]
    path.write_text(HEADER + "1,2,3,basic,EU,x\n" + "".join(f"{cell},2,3,basic,EU,c\n" for cell in odd))
    (part,) = score(lab, path, tmp_path / "out")["parts"]
    ((reason, count),) = part["reasons"].items()
    assert reason.startswith("tenure_months: Input should be") and "(" not in reason and count == 3


def test_results_stay_in_the_folder_that_one_is_in(lab, tmp_path, monkeypatch):
    (tmp_path / "data" / "days").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "data")
    for name in ("mon.csv", "days/tue.csv"):
        draw_customers(20).drop(columns="churn").to_csv(name, index=False)
    inside = tmp_path / "data" / "data_predictions"
    for source in (".", "*.csv", "**/*.csv", tmp_path / "data", "../data"):
        assert choose_folder(source, find_files(source)) == inside, source
    for source in ("days", "days/*.csv", tmp_path / "data" / "days"):
        assert choose_folder(source, find_files(source)) == tmp_path / "data" / "days_predictions", source
    assert str(choose_folder("/", {"a": Path("/a.csv")})) == "/files_predictions" or os.name == "nt"
    done = score(lab, "**/*.csv", inside)
    assert score(lab, "**/*.csv", inside) == {**done, "fresh": 0}


def test_a_folder_a_pattern_and_packed_files(lab, tmp_path):
    folder = tmp_path / "days"
    folder.mkdir()
    customers = draw_customers(50).drop(columns="churn").to_csv(index=False)
    for name in ("mon.csv", "mon_predictions.csv", "notes.txt", "tue.CSV"):
        (folder / name).write_text(customers)
    (folder / "wed.csv.GZ").write_bytes(gzip.compress(customers.encode()))
    assert [*find_files(folder)] == ["mon", "tue", "wed"] and [*find_files(folder / "*u*")] == ["tue"]
    assert choose_folder(folder, find_files(folder)) == tmp_path / "days_predictions"
    score(lab, folder / "mon.csv", folder / "mon_predictions")
    assert [*find_files(folder / "**" / "*")] == ["mon", "tue", "wed"]
    done = score(lab, folder, tmp_path / "out")
    assert done["rows"] == 150 and [part["part"] for part in done["parts"]] == ["mon-00001", "tue-00001", "wed-00001"]
    assert len({(tmp_path / "out" / "parts" / f"{day}-00001.csv").read_text() for day in ("mon", "tue", "wed")}) == 1
    (folder / "tue.parquet").write_bytes(b"")
    with pytest.raises(LabError, match="tue twice"):
        find_files(folder)


def test_what_a_person_can_get_wrong_is_said_and_nothing_is_overwritten(churn_lab, lab, tmp_path):
    path = make_customers(tmp_path / "customers.csv")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.csv").write_text(HEADER + "-1,2,3,basic,EU,x\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "empty.csv").write_text(HEADER)
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "short.csv").write_text("region,note\nEU,x\n")
    before = {*tmp_path.iterdir()}
    for source, options, told in (
        (path, ("--part-mb", 1, "--out", tmp_path / "mine"), "thesis.txt in it"),
        (tmp_path / "no*.csv", (), "CSV or Parquet files"),
        (tmp_path / "mine", (), "CSV or Parquet files"),
        (tmp_path / "empty", (), "found none"),
        (tmp_path / "short", ("--out", tmp_path / "new" / "out"), "no tenure_months"),
        (tmp_path / "bad", (), "1 rows that cannot be scored"),
    ):
        code, out, err = churn_lab("predict", source, "--workspace", lab.root, *options)
        assert (code, out) == (1, "") and told in err and "Traceback" not in err, source
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert {*tmp_path.iterdir()} - before == {tmp_path / "bad_predictions"}, "where the rejected rows are"
    assert not (tmp_path / "bad_predictions" / "manifest.json").exists()
    (tmp_path / "customers_predictions" / "records").mkdir(parents=True)
    with FileLock(tmp_path / "customers_predictions" / ".lock"):
        code, _, err = churn_lab("predict", path, "--workspace", lab.root, "--part-mb", 1)
    assert code == 1 and "another run" in err


def test_the_command_says_what_it_did(churn_lab, lab, tmp_path):
    path = make_customers(tmp_path / "customers.csv")
    command = ("predict", path, "--workspace", lab.root, "--part-mb", 1)
    code, out, _ = churn_lab(*command)
    assert code == 0 and "2001 rows in 1 parts, 0 of them from an earlier run" in out and "region in 1 rows" in out
    told = json.loads(churn_lab(*command, "--json")[1])
    assert told["fresh"] == 0 and told["rejected"] == 4 and os.path.isdir(told["folder"])
    assert not (tmp_path / "customers_predictions.csv").exists()
