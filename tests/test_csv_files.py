"""CSV files as people send them."""

import pytest

from churn_lab.csv_files import read_csv, write_csv
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
