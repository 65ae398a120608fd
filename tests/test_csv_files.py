"""CSV files as people send them."""

import gzip
import time

import pytest

from churn_lab.csv_files import open_csv, read_csv, write_csv
from churn_lab.files import LabError
from churn_lab.workspace import Workspace

GOOD = "region,churn\nNA,0\nEU,1\n"


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
        ("region,churn\nEU,1\nK\u00f6ln,\u00e9".encode()[:-1], "line 3 that is not UTF-8"),
        (b"region,churn,region\nNA,1,EU\n", "region repeated"),
        (b"region,a;b,c;churn\nNA,1;2,3;0\nEU,4;5,6;1\n", "commas or semicolons"),
        (b"region,churn\n<<<<<<< HEAD\nNA,1\n=======\nNA,0\n>>>>>>> other\n", "Git conflict marker in line 2"),
        (b"region,churn\nNA,1,7\n", "3 cells in place of 2 in line 2"),
        (b'region,churn\n"N\nA",1\n\nEU\n', "1 cells in place of 2 in line 5"),
        (b'"region,churn\n' + b"NA,1\n" * 40_000, "opens in line 1 .no second one in 131,072"),
        (b'region,churn\nEU,0\nNA,"1\n' + b"NA,1\n" * 40_000, "opens in line 3"),
        (b'region,churn\nEU,0\nNA,"1\nEU,0\n', "opens in line 3"),
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


def test_a_file_as_excel_saves_it_in_half_of_europe_is_read_and_said_so(tmp_path):
    path = tmp_path / "kunden.csv"
    for mark, words in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        path.write_bytes(f"region{mark}umsatz\r\nEU{mark}12,5\r\nNA{mark}7,25\r\n".encode("utf-8-sig"))
        assert read_csv(path).to_dict("list") == {"region": ["EU", "NA"], "umsatz": ["12,5", "7,25"]}
        assert open_csv(path).described == f"kunden.csv was read with {words} between the cells"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_each_kind_are_read_and_blank_lines_are_none(tmp_path, end):
    path = tmp_path / "customers.csv"
    path.write_bytes(end.join(["", "region,churn", "NA,0", "", "  ", "EU,1", ""]).encode())
    assert read_csv(path).to_dict("list") == {"region": ["NA", "EU"], "churn": ["0", "1"]}


def test_a_compressed_file_and_a_column_without_a_name_are_read(tmp_path):
    path = tmp_path / "customers.csv.gz"
    path.write_bytes(gzip.compress(b",region,churn\n0,NA,0\n1,EU,1\n"))
    assert read_csv(path).columns.tolist() == ["Unnamed: 0", "region", "churn"]
    path.write_bytes(b"region,churn\n")
    with pytest.raises(LabError, match="customers.csv.gz"):
        read_csv(path)


@pytest.mark.parametrize(
    "content",
    [
        'note,churn\n"=======",0\nfine,1\n',
        'note,churn\n"first\n=======\nlast",0\nfine,1\n',
        'note,churn\n"a\n<<<<<<< HEAD\n=======\n>>>>>>> other\n",0\nfine,1\n',
        "note,churn\n<<<<<<< HEAD,0\nfine,1\n",
        "note\n=======\nfine\n",
    ],
)
def test_what_only_looks_like_a_conflict_is_read(tmp_path, content):
    path = tmp_path / "customers.csv"
    path.write_text(content)
    assert len(read_csv(path)) == 2


def test_a_stray_quote_does_not_make_reading_slow(tmp_path):
    path, durations = tmp_path / "customers.csv", []
    for rows in (20_000, 200_000):
        path.write_text("region,churn\n" + "NA,1\n" * rows + 'EU,"0\n' + "NA,1\n" * rows)
        began = time.perf_counter()
        with pytest.raises(LabError, match=f"opens in line {rows + 2}"):
            read_csv(path)
        durations.append(time.perf_counter() - began)
    assert durations[1] < 40 * durations[0], "ten times the rows take ten times as long, not a hundred times"


def test_rows_know_their_lines_and_uneven_ones_can_be_collected(tmp_path):
    path, uneven = tmp_path / "customers.csv", []
    path.write_text('a,b\n1,2\n\n3\n"x\ny",4\n5,6,7\n8,9\n')
    assert [line for line, _ in open_csv(path).rows(uneven)] == [2, 5, 8]
    assert uneven == [(4, "1 cells in place of 2"), (7, "3 cells in place of 2")]
