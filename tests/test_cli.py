"""The command line: fast to start, honest exit codes, messages instead of tracebacks."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import snapshot

from churn_lab.model_cards import read_metadata
from churn_lab.registry_history import current_model, read_history

HEAVY = ("pandas", "sklearn", "matplotlib", "onnxruntime", "polars", "scipy", "fastapi")


def run(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, **options)


def test_help_names_every_command_and_imports_nothing_heavy():
    program = (
        "import sys\nfrom churn_lab.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = run("-c", program).stdout
    assert "HEAVY []" in out
    commands = (
        "init doctor generate prepare train evaluate registry serve simulate predict drift rollback run git".split()
    )
    assert all(f"\n  {command} " in out for command in commands)


def test_the_api_starts_without_scikit_learn_and_pandas(trained):
    program = (
        "import sys\nfrom churn_lab.api import create_app\n"
        f"create_app({str(trained.root)!r})\nprint([n for n in ('sklearn', 'pandas', 'matplotlib') if n in sys.modules])"
    )
    assert run("-c", program).stdout.strip() == "[]"


def test_a_command_before_the_project_exists_says_how_to_make_it(churn_lab, tmp_path):
    for command in ("generate", "prepare", "train", "evaluate", "drift", "rollback"):
        code, _, error = churn_lab(command, "--workspace", tmp_path / "nowhere")
        assert code == 1 and f"Next: churn-lab init {tmp_path / 'nowhere'}" in error, command


@pytest.mark.parametrize(
    "arguments", [["fly"], ["train", "--seed", "many"], ["train", "--gate-f1", "7"], ["generate", "x"]]
)
def test_wrong_usage_is_exit_code_2(churn_lab, arguments):
    assert churn_lab(*arguments)[0] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "an empty file"),
        ("../../etc/passwd\n", "a model's file name in registry/current_model.txt, found '../../etc/passwd'"),
        ("churn_model_v9_20200101_000000.joblib\n", "churn_model_v9_20200101_000000"),
    ],
)
def test_a_pointer_into_the_dark_is_named_with_the_way_out(churn_lab, lab, content, message):
    lab.current_model.write_text(content)
    code, _, error = churn_lab("evaluate", "--workspace", lab.root)
    assert code == 1 and message in error and "churn-lab r" in error.split("\nNext: ")[1]
    good = read_metadata(lab)[0]["model_file"]
    assert churn_lab("rollback", "--workspace", lab.root, "--to", good)[0] == 0 and current_model(lab) == good


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("{card}", ["registry", "list"]),
        ("{card}", ["train", "--n-estimators", "5"]),
        ("{card}", ["drift"]),
        ("{card}", ["evaluate"]),
        ("data/contract.json", ["train"]),
    ],
)
@pytest.mark.parametrize("content", ["", "{]", '{"a": [1,'])
def test_a_damaged_file_is_named_and_nothing_is_built_on_it(churn_lab, lab, file, command, content):
    file = file.format(card=f"models/{current_model(lab)[:-7]}.json")
    (lab.root / file).write_text(content)
    log = lab.logs / "predictions-2026-01-01.jsonl"
    log.write_text(json.dumps({"model_version": current_model(lab), "features": {}, "ts": 1.0}) + "\n")
    before = snapshot(lab.root)
    code, _, error = churn_lab(*command, "--workspace", lab.root)
    assert code == 1 and file in error and "\nNext: churn-lab " in error
    assert snapshot(lab.root) == before


def test_the_projects_scripts_do_what_their_commands_do(lab):
    result = run(str(lab.root / "src" / "train.py"), "--n-estimators", "5", "--gate-f1", "0.99")
    assert result.returncode == 5 and "refused" in result.stdout
    result = run(str(lab.root / "src" / "rollback.py"), "--list")
    assert result.returncode == 0 and "in service" in result.stdout
    result = run(str(lab.root / "src" / "evaluate.py"), "--json")
    assert json.loads(result.stdout)["model_file"] == current_model(lab)


def test_settings_on_top_of_a_script_are_used(lab):
    script = lab.root / "src" / "train.py"
    script.write_text(script.read_text().replace("gate_f1 = 0.55", "gate_f1 = 0.98"))
    assert run(str(script), "--n-estimators", "5").returncode == 5
    assert read_metadata(lab)[-1]["gate_f1"] == 0.98


def test_tables_name_the_current_model_and_json_is_json(churn_lab, trained):
    code, out, _ = churn_lab("registry", "list", "--workspace", trained.root)
    assert code == 0 and current_model(trained) in out
    rows = json.loads(churn_lab("registry", "list", "--json", "--workspace", trained.root)[1])
    assert [row["current"] for row in rows] == [False, True]
    assert json.loads(churn_lab("registry", "show", "--json", "--workspace", trained.root)[1])["version"] == 2
    events = json.loads(churn_lab("registry", "history", "--json", "--workspace", trained.root)[1])
    assert [event["action"] for event in events] == ["register", "promote", "register", "promote"]
    assert "promote" in churn_lab("registry", "history", "--workspace", trained.root)[1]


@pytest.mark.parametrize("command", [["registry", "history"], ["rollback", "--list"], ["registry", "list"]])
def test_versions_fit_into_a_terminal_of_100_columns_without_a_broken_name(lab, command):
    program = (
        "import sys; sys.stdout.isatty = lambda: True\n"
        f"from churn_lab.cli import main; main([*{command!r}, '--workspace', {str(lab.root)!r}])"
    )
    done = run("-c", program, env={**os.environ, "COLUMNS": "100"})
    lines = [line for line in done.stdout.splitlines() if line.startswith("│")]
    versions = len(read_history(lab)) if command[1] == "history" else 2
    assert done.returncode == 0 and len(lines) == versions and max(map(len, lines)) <= 100
    assert all("v1" in line or "v2" in line or "│ 1" in line or "│ 2" in line for line in lines)


def test_the_long_form_has_whole_names_and_machines(churn_lab, lab):
    for command in (["registry", "history"], ["rollback", "--list"]):
        out = churn_lab(*command, "--long", "--workspace", lab.root)[1]
        assert current_model(lab) in out and re.search(r"\d\d:\d\d:\d\dZ", out)
        assert current_model(lab) not in churn_lab(*command, "--workspace", lab.root)[1]


def test_the_version_is_told(churn_lab):
    code, out, _ = churn_lab("--version")
    assert code == 0 and re.fullmatch(r"churn-lab \d+\.\d+\.\d+\n", out)


def test_every_command_that_writes_says_where(churn_lab, lab, tmp_path):
    shutil.copytree(lab.src, tmp_path / "elsewhere" / "src")
    rows = lab.raw.read_text().splitlines()[:20]
    (tmp_path / "customers.csv").write_text("\n".join(rows) + "\n")
    commands = (
        ["init", str(tmp_path / "elsewhere")],
        ["generate", "--rows", "2000"],
        ["prepare"],
        ["train", "--n-estimators", "5", "--gate-f1", "0", "--tolerance", "1"],
        ["predict", str(tmp_path / "customers.csv")],
        ["rollback"],
        ["registry", "repair"],
        ["registry", "prune", "--keep", "1"],
        ["run", "--only", "1"],
    )
    for command in commands:
        where = [] if command[0] == "init" else ["--workspace", lab.root]
        code, out, error = churn_lab(*command, *where)
        assert code == 0 and str(tmp_path) in out, (command, out, error)


def test_a_full_disk_leaves_everything_as_it_was(churn_lab, lab, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    before = snapshot(lab.root)
    monkeypatch.setattr(os, "fsync", full)
    for command in (["generate"], ["prepare"], ["train", "--n-estimators", "5"], ["rollback"]):
        code, _, error = churn_lab(*command, "--workspace", lab.root)
        assert code == 1 and "no space left on device" in error, command
        assert snapshot(lab.root) == before, command
