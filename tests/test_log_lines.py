"""Log lines become a table, the fast way or the patient one; and what is no line is noticed."""

import itertools
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_lab.log_lines import find_shape, log_schema, read_lines
from churn_lab.prepare_data import Contract, Feature

GOOD = b'{"model_version":"m","prediction":1,"probability":0.5,"ts":1,"features":{"a":1,"c":"x"}}'


@pytest.mark.parametrize(
    "line, readable",
    [
        (b"half a line {", 0),
        (GOOD[:50], 0),
        (GOOD + GOOD, 0),
        (b"\xff\xfe\xfa", 0),
        (b"\0" * 40, 0),
        (b'{"level": "INFO"}', 0),
        (b"[" * 3000, 0),
        (GOOD.replace(b'{"a":1,"c":"x"}', b"null"), 0),
        (GOOD.replace(b'"a":1', b'"a":1x'), 0),
        (GOOD.replace(b'"a":1', b'"a":1 2'), 0),
        (GOOD.replace(b'"a":1', b'"a":' + b"9" * 400), 0),  # JSON, and no number that polars takes
        (GOOD.replace(b'"a":1', b'"a":NaN'), 1),
        (GOOD.replace(b'"a":1', b'"a":"two"'), 1),
        (GOOD.replace(b'"a":1,', b""), 1),
        (GOOD.replace(b'"a":1', b'"a":true'), 1),
        (GOOD + b"\r", 1),
        (b"", None),
    ],
)
def test_damaged_lines_are_skipped_and_counted(line, readable):
    contract = Contract(
        target="t",
        positive="1",
        negative="0",
        features=[Feature(name="a", kind="number"), Feature(name="c", kind="category")],
    )
    around = [GOOD] * 3000
    frame, damaged = read_lines(b"\n".join([*around, line, *around]) + b"\n", log_schema(contract))
    assert (frame.height, damaged) == (2 * len(around) + (readable or 0), 1 if readable == 0 else 0)
    missing = frame["features"].struct.field("a").null_count()
    assert missing == (1 if readable and b"\r" not in line else 0)


def test_two_torn_lines_never_make_a_record():
    contract = Contract(target="t", positive="1", negative="0", features=[Feature(name="a", kind="number")])
    halves = [GOOD[:20], GOOD[21:]]  # with a comma between them, they would be one
    frame, damaged = read_lines(b"\n".join([GOOD, *halves, GOOD]), log_schema(contract))
    assert (frame.height, damaged) == (2, 2)


CONTRACT = Contract(
    target="t",
    positive="1",
    negative="0",
    features=[
        Feature(name="a", kind="number"),
        Feature(name="c, d", kind="category"),
        Feature(name="ts", kind="integer"),
    ],
)
SCHEMA = log_schema(CONTRACT)
TEXTS = st.one_of(
    st.none(), st.sampled_from(["basic", "NA", "", "a,b", 'say "no"', "back\\slash", "Köln", "{x}", "null"])
)
VALUES = st.fixed_dictionaries(
    {"a": st.one_of(st.none(), st.floats(-1e9, 1e9)), "c, d": TEXTS, "ts": st.integers(0, 99)}
)
RECORDS = st.builds(
    lambda features, probability, ts: {
        "request_id": "x",
        "model_version": "m",
        "prediction": int(probability > 0.5),
        "probability": probability,
        "features": features,
        "ts": ts,
    },
    VALUES,
    st.floats(0, 1),
    st.floats(1e9, 2e9),
)
PLAIN = CONTRACT.model_copy(update={"features": [f for f in CONTRACT.features if f.name != "c, d"]})


@settings(deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=6), st.booleans(), st.booleans())
def test_every_record_is_read_as_json_reads_it(records, compact, ascii):
    separators = (",", ":") if compact else (", ", ": ")
    block = "".join(json.dumps(r, separators=separators, ensure_ascii=ascii) + "\n" for r in records).encode()
    frame, damaged = read_lines(block, SCHEMA)
    assert damaged == 0
    for row, record in zip(frame.to_dicts(), records, strict=True):
        assert row == {key: record[key] for key in SCHEMA}


LINES = [
    b'{"model_version": "m", "probability": 0.25, "features": {"a": 1.5, "ts": 3}, "ts": 1767225600.5}',
    b'{"ts": 7, "model_version": "m", "probability": 0.25, "features": {"a": 1.5, "c": "basic"}}',
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("rest", [b"", b"0"])
def test_a_line_cut_anywhere_is_damaged(line, rest):
    record = json.loads(line)
    features = {name: pl.String if isinstance(value, str) else pl.Float64 for name, value in record["features"].items()}
    schema = {key: kind for key, kind in SCHEMA.items() if key in record} | {"features": pl.Struct(features)}
    for length in range(1, len(line)):
        torn = line[:length] + rest
        frame, damaged = read_lines(b"\n".join([line, torn, line]), schema)
        assert (frame.height, damaged) == (2, 1), torn


HEAD = b'{"request_id":"a","model_version":"m","prediction":1,"probability":0.5,"latency_ms":0.1,'
WHOLE = HEAD + b'"features":{"a":1,"ts":2},"ts":3}'
NUMBER = b'{"cost":0.1,' + WHOLE[18:]  # a first value without quotes
LAST = b'{"model_version":"m","prediction":1,"probability":0.5,"features":{"a":1,"ts":2},"ts":3,"request_id":"a"}'


@pytest.mark.parametrize(
    "good, bad",
    [
        (WHOLE, WHOLE + b"," + WHOLE),
        (WHOLE, WHOLE[:15] + WHOLE),
        (WHOLE, WHOLE[:18] + WHOLE),
        (WHOLE, WHOLE[:40] + WHOLE),
        (WHOLE, b"x" + WHOLE),
        (WHOLE, WHOLE.replace(b'"model_version":', b"")),
        (WHOLE, WHOLE.replace(b'"a",', b'"a,')),
        (WHOLE, WHOLE.replace(b'"a",', b'",')),
        (WHOLE, WHOLE.replace(b'"a",', b'x"a",')),
        (WHOLE, WHOLE.replace(b'"a",', b'"a"x,')),
        (WHOLE, WHOLE.replace(b'{"request_id":"a",', b"a,")),
        (NUMBER, NUMBER.replace(b'{"cost":0.1,', b"0.1,")),
        (LAST, LAST[:-1]),
        (LAST, LAST[:-3]),
        (LAST, LAST + b"}"),
        (LAST, LAST + LAST),
    ],
)
def test_lines_that_ran_into_each_other_are_damaged(good, bad):
    frame, damaged = read_lines(b"\n".join([good, bad, good]), log_schema(PLAIN))
    assert (frame.height, damaged) == (2, 1)


@pytest.mark.parametrize("value, text", [(b"5.0", "5"), (b"true", "true"), (b"null", None)])
def test_a_category_that_is_no_text_is_made_one(value, text):
    contract = PLAIN.model_copy(update={"features": [Feature(name="c", kind="category")]})
    block = b"\n".join([GOOD, GOOD.replace(b'"x"', value), GOOD])
    frame, damaged = read_lines(block, log_schema(contract))
    assert damaged == 0 and frame["features"].struct.field("c").to_list() == ["x", text, "x"]


def test_lines_as_the_api_writes_them_take_the_fast_way(monkeypatch):
    def patient(*_, **__):
        raise AssertionError("the patient reader was asked")

    monkeypatch.setattr(pl, "read_ndjson", patient)
    line = {"model_version": "m", "prediction": 1, "probability": 1e-07, "latency_ms": 0.2}
    firsts = {"request_id": "x"}, {"latency_ms": 0.3}, {}
    makes = itertools.product(firsts, ((",", ":"), (", ", ": ")), ("\n", "\r\n"))
    for first, separators, end in makes:
        lines = [first | line | {"features": {"a": a, "ts": 3}, "ts": 1.5} for a in (1.5, None, -2)]
        block = end.join(json.dumps(line, separators=separators) for line in lines).encode()
        frame, _ = read_lines(block, log_schema(PLAIN))
        assert frame["features"].struct.field("a").to_list() == [1.5, None, -2.0]
        assert frame["probability"].to_list() == [1e-07] * 3


def test_only_odd_lines_go_to_the_patient_reader_and_all_keep_their_order(monkeypatch):
    asked, read = [], pl.read_ndjson
    monkeypatch.setattr(pl, "read_ndjson", lambda block, **options: asked.append(block) or read(block, **options))
    contract = PLAIN.model_copy(update={"features": [Feature(name="c", kind="category")]})
    line = '{"model_version":"m","probability":0.5,"features":{"c":"basic"},"ts":%d}'
    lines = [(line % ts).encode() for ts in range(100)]
    lines[0] = lines[0][:-20] + lines[1]
    lines[1] = b'{"model_version":"m","ts":2}'  # a program of another kind
    lines[20] = lines[20].replace(b"20", b"9" * 400)
    lines[30] = lines[30].replace(b",", b"\xff", 1)
    lines[40] = lines[40].replace(b"basic", b"bank, automatic")
    lines[60] = lines[60].replace(b'"basic"', b'["basic"]')
    lines[70] = lines[70][:-20] + lines[71]
    lines[80] = b""
    lines[85] += b"\xff"
    lines[90] = lines[90].replace(b":", b": ")
    lines[95] = lines[95].replace(b"0.5", b'0.5,"x":NaN')
    frame, damaged = read_lines(b"\n".join(lines), log_schema(contract))
    assert damaged == 6 and frame["ts"].to_list() == [ts for ts in range(100) if ts not in (0, 1, 20, 30, 70, 80, 85)]
    texts = dict(zip(frame["ts"], frame["features"].struct.field("c")))
    assert (texts.pop(40), texts.pop(60), set(texts.values())) == ("bank, automatic", '["basic"]', {"basic"})
    assert max(block.count(b"\n") for block in asked) < 11


@pytest.mark.parametrize(
    "line", ['{"a":[1]}', '{"a":{"b":{"c":1}}}', '{"a":"x,y"}', '{"a.b":1}', '{"a":"\\\\"}', "[1]", "1"]
)
def test_a_line_without_a_plain_shape_is_left_to_the_patient_reader(line):
    with pytest.raises(ValueError):
        find_shape(line)
