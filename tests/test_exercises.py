"""Exercises: any right way is accepted, each wrong one is told what is wrong, and nothing blocks."""

import ast
import collections
import csv
import json
import os
import sys
import tempfile

import answers_monitor
import answers_prepare
import pandas as pd
import pytest
from conftest import ROOT
from packaging.requirements import Requirement

from churn_lab.classroom import exercises
from churn_lab.classroom.exercises import check, find_exercise, hint, judge, solution
from churn_lab.files import LabError, write_atomic
from churn_lab.model_cards import model_path
from churn_lab.registry import list_versions, promote
from churn_lab.registry_history import current_model
from churn_lab.registry_repair import repair
from churn_lab.rollback import find_rollback_target, rollback
from churn_lab.workspace import create_workspace

# --- answers; right ones are written in ways of their own ---


def climb(start):
    while not (start / "src" / "train.py").exists():
        if start == start.parent:
            return None
        start = start.parent
    return start


def farthest(start):
    found = [f for f in (start, *start.parents) if (f / "src" / "train.py").is_file()]
    return found[-1] if found else None


def count_first_cells(path):
    return dict(collections.Counter(line.split(",")[0] for line in path.read_text().splitlines()[1:]))


def count_by_hand(path):
    with path.open(newline="") as file:
        return collections.Counter(row["region"] for row in csv.DictReader(file))


def replace_with_tempfile(path, text):
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    try:
        os.replace(name, path)
    except OSError:
        os.remove(name)
        raise


def replace_and_leave(path, text):
    path.with_suffix(".tmp").write_text(text)
    path.write_bytes(b"")  # on the way
    os.replace(path.with_suffix(".tmp"), path)


def replace_and_litter(path, text):
    new = path.with_suffix(".tmp")
    new.write_text(text)
    os.replace(new, path)


def remove_and_write(path, text):
    path.unlink(missing_ok=True)
    path.write_text(text)


def replace_silently(path, text):
    try:
        replace_with_tempfile(path, text)
    except OSError:
        pass


def best_by_loop(versions, metric):
    best = None
    for row in versions:
        if row["passed_gate"] and (best is None or row[metric] >= best[metric]):
            best = row
    return best["version"] if best else None


def best_by_pandas(versions, metric):
    frame = pd.DataFrame(versions, columns=["version", "f1", "roc_auc", "passed_gate"])
    frame = frame[frame["passed_gate"].astype(bool)].sort_values([metric, "version"])
    return None if frame.empty else int(frame["version"].iloc[-1])


def best_and_sort_in_place(versions, metric):
    versions.sort(key=lambda row: (row["passed_gate"], row[metric], row["version"]))
    return versions[-1]["version"] if versions and versions[-1]["passed_gate"] else None


def served(history, moment):
    switches = [e["to"] for e in history if e["ts"] <= moment and e["action"] in ("promote", "rollback")]
    return switches[-1] if switches else None


def served_backwards(history, moment):
    for event in reversed(history):
        if event["action"] in {"promote", "rollback", "recover"} and not event["ts"] > moment:
            return event["to"]
    return None


def mend_by_hand(lab):
    for row in list_versions(lab):
        if not row["current"]:
            promote(lab, row["model_file"], force=True)
    repair(lab)


def mend_pointer_only(lab):
    (other,) = [row["model_file"] for row in list_versions(lab) if not row["current"]]
    promote(lab, other, force=True)


def mend_with_an_empty_list(lab):
    mend_pointer_only(lab)
    lab.metadata.touch()


def mend_by_copying(lab):
    names = [row["model_file"] for row in list_versions(lab)]
    model_path(lab, names[1], ".onnx").write_bytes(model_path(lab, names[0], ".onnx").read_bytes())
    mend_by_hand(lab)


def log_with_append(predict, path, customer):
    probability = predict(customer)
    with open(path, "ab") as log:
        log.write(json.dumps({"probability": probability, "features": customer}).encode() + b"\n")
    return probability


def log_by_pathlib(predict, path, customer):
    probability = predict(customer)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(handle, (json.dumps({"features": customer, "probability": probability, "ts": 0}) + "\n").encode())
    os.close(handle)
    return probability


def log_over(predict, path, customer):
    probability = predict(customer)
    path.write_text(json.dumps({"features": customer, "probability": probability}) + "\n")
    return probability


def log_or_not(predict, path, customer):
    probability = predict(customer)
    try:
        log_with_append(predict, path, customer)
    except OSError:
        pass
    return probability


def log_without_customer(predict, path, customer):
    with open(path, "a") as log:
        log.write(json.dumps({"probability": predict(customer)}) + "\n")
    return predict(customer)


def explain_by_sorting(predict, customer, typical):
    def moved(name):
        return -abs(predict(customer) - predict({**customer, name: typical[name]}))

    return sorted(customer, key=moved)[:3]


def explain_by_series(predict, customer, typical):
    moves = {name: predict(customer | {name: typical[name]}) - predict(customer) for name in customer}
    return pd.Series(moves).abs().nlargest(3).index.tolist()


def explain_upwards(predict, customer, typical):
    moves = {name: predict(customer) - predict(customer | {name: typical[name]}) for name in customer}
    return sorted(moves, key=moves.get, reverse=True)[:3]


def explain_the_least(predict, customer, typical):
    return explain_by_sorting(predict, customer, typical)[::-1]


def explain_in_place(predict, customer, typical):
    before, moves = predict(customer), {}
    for name in list(customer):
        customer[name] = typical[name]
        moves[name] = abs(predict(customer) - before)
    return sorted(moves, key=moves.get, reverse=True)[:3]


def stack_back(switches):
    stack = []
    for switch in switches:
        if switch["action"] == "rollback" and switch["to"] in stack:
            stack = stack[: len(stack) - stack[::-1].index(switch["to"])]
        elif stack[-1:] != [switch["to"]]:
            stack.append(switch["to"])
    return dict(enumerate(reversed(stack))).get(1)


def recursive_back(switches, stack=()):
    if not switches:
        return stack[1] if len(stack) > 1 else None
    (first, *rest), top = switches, stack
    if first["action"] == "rollback" and first["to"] in stack:
        top = stack[stack.index(first["to"]) :]
    elif not stack or stack[0] != first["to"]:
        top = (first["to"], *stack)
    return recursive_back(rest, top)


def one_before(switches):
    return switches[-2]["to"] if len(switches) > 1 else None


def promotions_only(switches):
    names = [switch["to"] for switch in switches if switch["action"] == "promote"]
    return names[-2] if len(names) > 1 else None


def ask_with_names(lab, ask):
    target, _ = find_rollback_target(lab)
    return ask(f"Go from {current_model(lab)} to {target}?") and rollback(lab)


def ask_with_numbers(lab, ask):
    numbers = {row["model_file"]: row["version"] for row in list_versions(lab)}
    question = f"v{numbers[current_model(lab)]} serves. Back to v{numbers[find_rollback_target(lab)[0]]}?"
    if ask(question):
        rollback(lab)


def ask_later(lab, ask):
    target, _ = find_rollback_target(lab)
    question = f"From {current_model(lab)} to {target}?"
    rollback(lab)
    ask(question)


def ask_nobody(lab, ask):
    rollback(lab)


def ask_blindly(lab, ask):
    if ask("Are you sure?"):
        rollback(lab)


def pins_by_packaging(text):
    found = {}
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line:
            pin = Requirement(line)
            if not pin.marker or pin.marker.evaluate():
                found[pin.name.casefold()] = str(pin.specifier).removeprefix("==")
    return found


def pins_by_hand(text):
    found = {}
    for line in text.splitlines():
        line, _, condition = line.partition("#")[0].partition(";")
        if "==" in line and "never" not in condition:
            name, version = line.split("==")
            found[name.strip().lower()] = version.strip()
    return found


def pins_with_conditions(text):
    lines = [line.partition("#")[0].partition(";")[0] for line in text.splitlines()]
    return {name.strip().lower(): version.strip() for name, version in (x.split("==") for x in lines if "==" in x)}


def pins_as_written(text):
    return {Requirement(x.split("#")[0]).name: v for x, v in pins_by_packaging_lines(text)}


def pins_by_packaging_lines(text):
    for line in text.splitlines():
        stripped = line.split("#")[0].strip()
        if stripped and "never" not in stripped:
            yield stripped, str(next(iter(Requirement(stripped).specifier)).version)


def mend_in_a_loop(pins, installed):
    return [name for name in sorted(pins) if name not in installed or installed[name] != pins[name]]


def fit_by_kind(text, default):
    kinds = {int: int, float: float, str: str}
    return kinds[type(default)](text)


def fit_by_literal(text, default):
    if isinstance(default, str):
        return text
    value = ast.literal_eval(text) if text[:1].isdigit() else None
    if isinstance(default, float) and isinstance(value, int | float):
        return float(value)
    if isinstance(default, int) and isinstance(value, int):
        return value
    raise ValueError(text)


def count_with_counter(results):
    states = collections.Counter("failed" if r["failure"] else "refused" if r["refused"] else "done" for r in results)
    return {state: states[state] for state in ("done", "refused", "failed")}


def count_in_sums(results):
    failed = sum(r["failure"] is not None for r in results)
    refused = sum(bool(r["refused"]) and r["failure"] is None for r in results)
    return {"done": len(results) - failed - refused, "refused": refused, "failed": failed}


CODES = {"all steps are done": 0, "the gate refused the model": 5}
CODES |= {"a cell of step 4 failed": 1, "churn-lab run --onyl 4": 2}
STATUSES = {"a tenure of -1": 422, "a region that training never had": 200}
STATUSES |= {"a right customer, and logs/ is a file": 503, "a right customer from another machine": 403}

RIGHT = [
    *answers_prepare.RIGHT,
    *answers_monitor.RIGHT,
    ("1.1", ["logs/", ".gitignore"]),
    ("1.1", (".gitignore", "logs/")),
    ("1.1", ["logs", ".gitignore"]),
    ("1.2", climb),
    ("1.2", lambda start: next((f for f in (start, *start.parents) if (f / "src/train.py").is_file()), None)),
    ("1.3", lambda path: pd.read_csv(path, keep_default_na=False)["region"].value_counts()),
    ("1.3", count_by_hand),
    ("1.4", replace_with_tempfile),
    ("1.4", lambda path, text: _as_os_error(write_atomic, path, text)),
    ("2.1", "3.1.1"),
    ("2.1", "3." + "1.1"),
    ("2.1", "pandas==3.1.1"),
    ("2.2", pins_by_packaging),
    ("2.2", pins_by_hand),
    ("2.3", mend_in_a_loop),
    (
        "2.3",
        lambda pins, installed: sorted(
            {n for n, v in pins.items()} - {n for n, v in installed.items() if pins.get(n) == v}
        ),
    ),
    ("6.1", (1, 2)),
    ("6.1", [1, 2]),
    ("6.2", best_by_loop),
    ("6.2", best_by_pandas),
    ("6.3", served),
    ("6.3", served_backwards),
    ("6.4", repair),
    ("6.4", mend_by_hand),
    ("7.1", STATUSES),
    ("7.1", {**STATUSES, "more": 1}),
    ("7.2", log_with_append),
    ("7.2", log_by_pathlib),
    ("7.3", explain_by_sorting),
    ("7.3", explain_by_series),
    ("9.1", "v1"),
    ("9.1", "".join(["v", "1"])),
    ("9.2", stack_back),
    ("9.2", recursive_back),
    ("9.3", ask_with_names),
    ("9.3", ask_with_numbers),
    ("11.1", CODES),
    ("11.1", {**CODES, "more": 9}),
    ("11.2", fit_by_kind),
    ("11.2", fit_by_literal),
    ("11.3", count_with_counter),
    ("11.3", count_in_sums),
]

WRONG = [
    *answers_prepare.WRONG,
    *answers_monitor.WRONG,
    ("1.1", ["logs/", ".gitignore", "src/train.py"], "an edited file is there"),
    ("1.1", ["logs/"], "one of the things that were taken away"),
    ("1.1", ["data/", "logs/", ".gitignore"], "leave out what is still in the project"),
    ("1.1", 2, "a list of names"),
    ("1.2", farthest, "the nearest one counts"),
    ("1.2", lambda start: start if (start / "src" / "train.py").is_file() else None, "the folder above is one"),
    ("1.2", lambda start: next((f for f in (start, *start.parents) if (f / "src").is_dir()), None), "without train.py"),
    ("1.3", lambda path: pd.read_csv(path)["region"].value_counts(), "pandas took NA"),
    ("1.3", lambda path: pd.read_csv(path)["region"].fillna("NA").value_counts(), "a region is a text"),
    ("1.3", count_first_cells, "the column is the one named region"),
    ("1.3", lambda path: len(path.read_text().splitlines()), "a dictionary"),
    ("1.4", lambda path, text: path.write_text(text), "a reader in the middle"),
    ("1.4", replace_and_leave, "a reader in the middle"),
    ("1.4", replace_and_litter, "nothing left behind when the swap fails"),
    ("1.4", replace_silently, "let the error through"),
    ("1.4", remove_and_write, "the old text, where the new one cannot be written"),
    ("2.1", "3.9.0", "the pin is the one that did"),
    ("2.1", ">=3.1", "which line of constraints.txt"),
    ("2.1", 3.1, "a version as text"),
    ("2.2", pins_with_conditions, "ask the condition"),
    ("2.2", pins_as_written, "use small letters"),
    ("2.2", lambda text: dict(x.split("==") for x in text.splitlines()), "ValueError"),
    (
        "2.3",
        lambda pins, installed: [n for n in pins if n in installed and pins[n] != installed[n]],
        "a library that is missing",
    ),
    (
        "2.3",
        lambda pins, installed: sorted(n for n in pins if not installed.get(n, "").startswith(pins[n])),
        "compare whole versions",
    ),
    ("2.3", lambda pins, installed: [n for n in pins if installed.get(n) != pins[n]], "sorted by name"),
    ("6.1", (2, 2), "did the pointer move"),
    ("6.1", (1, 1), "refused is not forgotten"),
    ("6.1", 1, "two numbers"),
    ("6.2", lambda versions, metric: max(versions, key=lambda row: row[metric])["version"], "refused is no candidate"),
    ("6.2", lambda versions, metric: best_by_loop(versions, "f1"), "the metric that was asked for"),
    ("6.2", lambda versions, metric: best_by_loop(versions[::-1], metric), "take the newest"),
    ("6.2", best_and_sort_in_place, "work on a copy"),
    ("6.3", lambda history, moment: history[-1]["to"], "before the first promotion"),
    ("6.3", lambda history, moment: _last(history, moment, ("promote",)), "a rollback switches, too"),
    ("6.3", lambda history, moment: _last(history, moment, None), "before the first promotion"),
    ("6.4", mend_pointer_only, "registry/metadata.json with both versions"),
    ("6.4", mend_with_an_empty_list, "registry/metadata.json with both versions"),
    ("6.4", mend_by_copying, "cannot be mended by writing into it"),
    ("6.4", lambda lab: print("mended"), "put the sound version into service"),
    ("7.1", {**STATUSES, "a tenure of -1": 500}, "I understood you"),
    ("7.1", {**STATUSES, "a region that training never had": 422}, "keeps the contract"),
    ("7.1", {**STATUSES, "a right customer from another machine": 200}, "only this machine may ask"),
    ("7.2", log_over, "append, do not write over"),
    ("7.2", log_or_not, "no answer where the log cannot be written"),
    ("7.2", log_without_customer, "the customer in each line"),
    ("7.3", explain_upwards, "moves nothing"),
    ("7.3", explain_the_least, "comes first"),
    ("7.3", explain_in_place, "work on a copy"),
    ("9.1", "v4", "v4 was rolled back from"),
    ("9.1", "v2", "v2 serves already"),
    ("9.1", "v9", "what served before v2 came"),
    ("9.2", one_before, "not forward to c"),
    ("9.2", promotions_only, "not forward to c"),
    ("9.2", lambda switches: switches[0]["to"], "IndexError"),
    ("9.3", ask_later, "ask first, act second"),
    ("9.3", ask_nobody, "a question before anything happens"),
    ("9.3", ask_blindly, "names both models"),
    ("11.1", {**CODES, "the gate refused the model": 1}, "a refusal is a result"),
    ("11.1", {**CODES, "churn-lab run --onyl 4": 1}, "wrong usage"),
    ("11.1", 5, "a dictionary"),
    ("11.2", lambda text, default: text, "the default says which type"),
    ("11.2", lambda text, default: type(default)(float(text)) if default != "" else text, "a ValueError for '1.5'"),
    ("11.2", lambda text, default: ast.literal_eval(text), "a value of type float for '1'"),
    (
        "11.3",
        lambda results: {"done": sum(r["ok"] for r in results), "refused": 0, "failed": 0},
        "its model does not serve",
    ),
    ("11.3", lambda results: dict(collections.Counter("done" for _ in results)), "zeros"),
    ("11.3", lambda results: count_by_gate(results), "whatever the gate said before"),
]


def count_by_gate(results):
    states = ["refused" if r["refused"] else "failed" if r["failure"] else "done" for r in results]
    return {state: states.count(state) for state in ("done", "refused", "failed")}


def _as_os_error(function, *arguments):
    try:
        function(*arguments)
    except LabError as error:
        raise OSError(error.found) from error


def _last(history, moment, actions):
    found = [e["to"] for e in history if e["ts"] <= moment and (actions is None or e["action"] in actions)]
    return found[-1] if found else None if actions else "nobody"


def name(value) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)


@pytest.mark.parametrize(("number", "answer"), RIGHT, ids=name)
def test_any_right_way_is_accepted(capsys, number, answer):
    check(number, answer, seconds=60)
    assert capsys.readouterr().out == f"{number} is right.\n"


@pytest.mark.parametrize(("number", "answer", "message"), WRONG, ids=name)
def test_a_wrong_way_is_told_what_is_wrong(capsys, number, answer, message):
    check(number, answer, seconds=60)
    out = capsys.readouterr().out
    assert message in out and f"{number}: expected " in out and "\n     Try: " in out and "Traceback" not in out


def endless(*_):
    while True:
        pass


HOSTILE = [
    (lambda *_: 1 / 0, "ZeroDivisionError"),
    (lambda *_: sys.exit("bye"), "SystemExit: bye"),
    (endless, "a loop that never ends"),
    ("best_version", "hand over the function itself"),
    (lambda: 1, "takes 0 positional arguments"),
]


@pytest.mark.parametrize(("answer", "message"), HOSTILE, ids=name)
def test_nothing_that_is_typed_ends_the_lesson(capsys, answer, message):
    check("6.2", answer, seconds=1)
    out = capsys.readouterr().out
    assert message in out and "Traceback" not in out


def test_an_exercise_that_nobody_began_is_open(capsys):
    def later(versions, metric):
        """What I shall do tomorrow."""
        ...

    for answer in (..., later, lambda versions, metric: ...):
        check("6.2", answer)
        assert "6.2 is open" in capsys.readouterr().out


def test_hints_become_clearer_and_the_last_one_stays(capsys, monkeypatch):
    monkeypatch.setattr(exercises, "_GIVEN", {})
    for number in (1, 2, 3, 3):
        hint("6.2")
        assert f"hint {number} of 3" in capsys.readouterr().out


def test_a_solution_is_the_one_of_the_page_and_where_there_is_none_it_says_so(capsys, monkeypatch, tmp_path):
    solution("6.2")
    shown = capsys.readouterr().out
    namespace = {}
    exec(shown, namespace)
    check("6.2", namespace["best_version"])
    assert "is right" in capsys.readouterr().out and "BEGIN SOLUTION" not in shown
    monkeypatch.setattr(exercises.churn_lab, "__file__", str(tmp_path / "churn_lab" / "__init__.py"))
    solution("6.2")
    assert "your instructor has them" in capsys.readouterr().out


def test_a_number_that_is_none_is_named():
    for number in ("99.1", "6.99", "x", "6"):
        with pytest.raises(LabError, match="the number of an exercise"):
            check(number, 1)


def test_tries_are_noted_in_the_project_and_the_pages_own_solutions_are_not(tmp_path, monkeypatch, capsys):
    create_workspace(tmp_path / "lab")
    monkeypatch.chdir(tmp_path / "lab")
    check("9.1", "v4")
    check("9.1", "v1")
    check("9.1", "v1", note=False)
    lines = [json.loads(line) for line in (tmp_path / "lab" / "runs" / "progress.jsonl").read_text().splitlines()]
    assert [(line["exercise"], line["state"]) for line in lines] == [("9.1", "wrong"), ("9.1", "right")]


def test_each_exercise_stands_on_its_page_with_a_check_a_solution_and_hints():
    numbers = {number for number, _ in RIGHT}
    for number in numbers:
        assert 2 <= len(find_exercise(number).hints) <= 3
        paths = (ROOT / "nbs").glob(f"{int(number.split('.')[0]):02}*.ipynb")
        cells = [cell for path in paths for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
        grades = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in cells]
        known_as = number.replace(".", "-")  # nbgrader allows no dot
        place = grades.index(f"solution-{known_as}")
        source = "".join(cells[place]["source"])
        assert source.startswith("### BEGIN SOLUTION\n") and source.endswith("### END SOLUTION")
        assert grades[place + 1] == f"check-{known_as}" and cells[place + 1]["outputs"][0]["text"] == [
            f"{number} is right.\n"
        ]
        assert "is open" in "".join(cells[place - 1]["outputs"][0]["text"])
    assert len(numbers) * 2 <= len(RIGHT) and all(sum(n == number for n, *_ in WRONG) >= 3 for number in numbers)


def test_a_wrong_try_spoils_nothing_for_the_next_one():
    def in_place(labels, *rest):
        labels[next(iter(labels))] = "z"
        return labels

    assert judge("10.2", in_place, 5).state == "wrong"
    assert all(judge(number, answer, 20).state == "right" for number, answer in RIGHT if number == "10.2")


def test_a_number_without_quotes_is_understood(capsys):
    check(6.2, ..., note=False)
    hint(6.2)
    assert "6.2" in capsys.readouterr().out
