"""The way back: by service, not by number; checked first, recorded after."""

import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import snapshot

from churn_lab.files import LabError
from churn_lab.model_cards import read_card, read_metadata
from churn_lab.monitor_drift import check_drift
from churn_lab.registry import promote
from churn_lab.registry_history import current_model, read_history, read_switches
from churn_lab.registry_repair import prune
from churn_lab.rollback import list_targets, rollback, stack_served, stack_switches
from churn_lab.train import ForestParams, train

SMALL = ForestParams(n_estimators=5)


def names(lab) -> list[str]:
    return [entry["model_file"] for entry in read_metadata(lab)]


def history(text: str) -> list[dict]:
    """`+a` promotes a, `-a` rolls back to a; `?+a`, `?-a`: recovered; `?a`: and nobody knows which of the two it was."""
    actions = {"+": "promote", "-": "rollback"}
    events = []
    for word in text.split():
        action, name = actions.get(word.lstrip("?")[0]), word.lstrip("?+-")
        known = {"action": action} if word[0] != "?" else {"action": "recover"}
        events.append(known | ({"interrupted": action} if word[0] == "?" and action else {}) | {"to": name})
    return events


@pytest.mark.parametrize(
    ("events", "before"),
    [
        ("", []),
        ("+a", []),
        ("+a +b +c", ["b", "a"]),
        ("+a +b +c -b", ["a"]),
        ("+a +b +c -b -a", []),
        ("+a +b -a +c", ["a"]),
        ("+a +b -z", ["b", "a"]),
        ("+a +b +a", ["b", "a"]),
        ("+a +b +a -b", ["a"]),
        ("+a +b ?a", []),
        ("+a +b +c ?b", ["a"]),
        ("+a +b ?c", ["b", "a"]),
        ("+a +b ?+c", ["b", "a"]),
        ("+a +b ?+a", ["b", "a"]),
        ("+a +b ?+a -b", ["a"]),
        ("+a +b ?-a", []),
        ("+a +b +c ?-b", ["a"]),
        ("+a +b ?-z", ["b", "a"]),
    ],
)
def test_before_is_a_question_about_service(events, before):
    assert stack_switches(history(events))[:-1][::-1] == before


def test_rolling_back_twice_goes_on_backwards_and_then_ends(churn_lab, lab):
    train(lab, forest=SMALL, gate_f1=0.0, tolerance=1.0)
    first, second, _ = names(lab)
    assert churn_lab("rollback", "--workspace", lab.root, "--why", "test")[0] == 0
    assert current_model(lab) == second and read_history(lab)[-1]["why"] == "test"
    assert churn_lab("rollback", "--workspace", lab.root)[0] == 0
    assert current_model(lab) == first
    code, _, error = churn_lab("rollback", "--workspace", lab.root)
    assert code == 1 and "Expected a model that served before this one, found none" in error
    code, out, _ = churn_lab("rollback", "--workspace", lab.root, "--to", names(lab)[2], "--json")
    assert code == 0 and json.loads(out)["to"] == current_model(lab) == names(lab)[2]


def test_a_refused_model_is_no_target_unless_forced(churn_lab, lab):
    refused = train(lab, forest=SMALL, gate_f1=1.0)["model_file"]
    code, _, error = churn_lab("rollback", "--workspace", lab.root, "--to", refused)
    assert code == 1 and "which the gate refused" in error and current_model(lab) == names(lab)[1]
    assert churn_lab("rollback", "--workspace", lab.root, "--to", refused, "--force")[0] == 0
    assert current_model(lab) == refused and "forced" in read_history(lab)[-1]["why"]


def test_a_damaged_model_is_skipped_or_named(lab):
    train(lab, forest=SMALL, gate_f1=0.0, tolerance=1.0)
    first, second, third = names(lab)
    content = bytearray((lab.models / second).read_bytes())
    content[100] ^= 1
    (lab.models / second).write_bytes(content)
    with pytest.raises(LabError, match=f"{second} with SHA-256"):
        rollback(lab, to=second)
    assert current_model(lab) == third
    result = rollback(lab)
    assert result["to"] == current_model(lab) == first and second in result["skipped"]


def test_the_list_says_what_can_be_restored_and_why_not(churn_lab, lab):
    refused = train(lab, forest=SMALL, gate_f1=1.0)["model_file"]
    (lab.models / names(lab)[0]).unlink()
    rows = {row["model_file"]: row["why_not"] for row in list_targets(lab)}
    assert "no such file" in rows[names(lab)[0]]
    assert rows[names(lab)[1]] == "in service" and rows[refused] == "the gate refused it"
    before = snapshot(lab.root)
    code, out, _ = churn_lab("rollback", "--list", "--workspace", lab.root)
    assert code == 0 and "the gate refused it" in out and snapshot(lab.root) == before


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "churn_model_v9_20200101_000000.joblib", "a\0b", ""])
def test_a_name_that_is_no_version_changes_nothing(lab, name):
    before = snapshot(lab.root)
    with pytest.raises(LabError):
        promote(lab, name)
    assert snapshot(lab.root) == before


def test_the_drift_reference_follows_the_model(lab):
    log = lab.logs / "predictions-2026-01-01.jsonl"
    line = {"model_version": names(lab)[0], "probability": 0.1, "features": {"region": "NA"}, "ts": 1767225600.0}
    log.write_text(json.dumps(line) + "\n")
    rollback(lab)
    result = check_drift(lab)
    assert result.model_file == names(lab)[0] and result.reference == read_card(lab, names(lab)[0])["reference"]


KILLED = """
import os, signal, sys
from churn_lab import registry
from churn_lab.workspace import Workspace

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "before":
    registry.write_atomic = die
else:
    write = registry.write_atomic
    registry.write_atomic = lambda *arguments: (write(*arguments), die())
registry.promote(Workspace(sys.argv[2]), *sys.argv[3:])
"""


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
@pytest.mark.parametrize("action", ["promote", "rollback"])
@pytest.mark.parametrize("instant", ["before", "after"])
def test_a_switch_killed_before_or_after_the_pointer_moves_needs_no_repair(lab, action, instant):
    first, second = names(lab)
    served = stack_served(lab)
    command = [sys.executable, "-c", KILLED, instant, str(lab.root), first, action, "for a reason"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    event = read_history(lab)[-1]
    assert (event["action"], event["from"], event["to"], event["why"]) == (action, second, first, "for a reason")
    if instant == "before":
        assert current_model(lab) == second and stack_served(lab) == served
    else:
        assert current_model(lab) == first and read_switches(lab)[-1] == event
        assert stack_served(lab) == ([first] if action == "rollback" else [first, second, first])
    third = train(lab, forest=SMALL, gate_f1=0.0, tolerance=1.0)["model_file"]  # the next line's `from` tells the same
    assert stack_served(lab)[-2:] == [second if instant == "before" else first, third]


def test_a_switch_that_fails_takes_its_line_back(lab, monkeypatch):
    before = snapshot(lab.root)
    monkeypatch.setattr("churn_lab.registry.write_atomic", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        promote(lab, names(lab)[0])
    assert snapshot(lab.root) == before


def test_a_served_model_that_nobody_knows_any_more_is_skipped(lab):
    train(lab, forest=SMALL, gate_f1=0.0, tolerance=1.0)
    first, second, third = names(lab)
    for path in (lab.models / second, lab.metadata):
        path.with_suffix(".json").unlink()
    result = rollback(lab)
    assert result["to"] == current_model(lab) == first and list(result["skipped"]) == [second]
    assert "found none" not in result["skipped"][second] and "a card" in result["skipped"][second]


@pytest.mark.parametrize("content", [b"", b"../x\n", b"\xff\xfe"])
def test_a_damaged_pointer_is_mended_by_the_commands_that_its_message_names(churn_lab, lab, content):
    lab.current_model.write_bytes(content)
    code, _, error = churn_lab("rollback", "--workspace", lab.root)
    assert code == 1 and error.endswith("Next: churn-lab registry repair\n")
    assert churn_lab("rollback", "--list", "--workspace", lab.root)[0] == 0
    assert churn_lab("registry", "list", "--workspace", lab.root)[0] == 0
    assert prune(lab, keep=1) == []
    assert churn_lab("rollback", "--to", "1", "--workspace", lab.root)[0] == 0
    assert current_model(lab) == names(lab)[0]
    lab.current_model.write_bytes(content)
    assert churn_lab("registry", "repair", "--workspace", lab.root)[0] == 0 and current_model(lab) == names(lab)[0]
    lab.current_model.write_bytes(content)
    assert train(lab, forest=SMALL, gate_f1=0.0)["model_file"] == current_model(lab)


def test_a_version_number_is_a_name(churn_lab, lab):
    assert churn_lab("rollback", "--to", "v1", "--workspace", lab.root)[0] == 0 and current_model(lab) == names(lab)[0]
    shown = json.loads(churn_lab("registry", "show", "2", "--json", "--workspace", lab.root)[1])
    assert shown["model_file"] == names(lab)[1]
    scored = json.loads(churn_lab("evaluate", "--model", "2", "--json", "--workspace", lab.root)[1])
    assert scored["model_file"] == names(lab)[1]
    code, _, error = churn_lab("registry", "show", "9", "--workspace", lab.root)
    assert code == 1 and "Expected a registered version, found 9" in error


def test_lines_of_the_history_that_say_nothing_are_left_out(lab):
    count = len(read_history(lab))
    with lab.history.open("a") as f:
        f.write('{"action": "promote"}\n{"action": "promote", "ts": "", "to": []}\n[]\nnull\n')
    assert len(read_history(lab)) == count and len(list_targets(lab)) == 2
    assert rollback(lab)["to"] == names(lab)[0]


def test_a_rollback_to_the_model_in_service_is_refused_and_not_recorded(churn_lab, lab):
    before = lab.history.read_bytes()
    code, _, err = churn_lab("rollback", "--workspace", lab.root, "--to", current_model(lab))
    assert code == 1 and "Expected another model than the one in service" in err
    assert lab.history.read_bytes() == before
