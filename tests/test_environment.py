"""The doctor: it finds what is wrong and says how to mend it."""

import json
import socket

import pytest

from churn_lab.environment import doctor
from churn_lab.files import LabError
from churn_lab.machine_checks import check_folder, check_libraries, check_port, read_pins
from churn_lab.workspace import Workspace


def test_a_sound_machine_has_nothing_to_mend(churn_lab, tmp_path):
    rows = doctor(Workspace(tmp_path), port=0)
    assert [row for row in rows if not row["ok"]] == []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, out, _ = churn_lab("doctor", "--workspace", tmp_path, "--port", port, "--json")
    assert code == 0 and {"Python", "pandas", "Git", "Jupyter kernel"} <= {row["check"] for row in json.loads(out)}


def test_a_busy_port_is_found_and_another_one_named(churn_lab, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert check_port(port)["mend"] == f"churn-lab serve --port {port + 1}"
        code, out, _ = churn_lab("doctor", "--workspace", tmp_path, "--port", port)
    assert code == 1 and "in use" in out


def test_a_library_of_another_version_is_a_failure_with_its_mend(monkeypatch):
    from importlib import metadata

    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.1" if name == "pandas" else real(name))
    row = next(row for row in check_libraries() if row["check"] == "pandas")
    assert not row["ok"] and row["found"] == "0.0.1" and "pip install -c constraints.txt" in row["mend"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    from pathlib import Path

    def refuse(self, data):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    write = check_folder(Workspace(tmp_path))[0]
    assert not write["ok"] and write["found"] == "permission denied" and "--workspace" in write["mend"]


def test_pins_follow_markers_and_damage_is_named(tmp_path):
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("numpy==2.4.6 ; python_version >= '3'\nnumpy==1.0 ; python_version < '3'\n# nothing\n")
    assert read_pins(constraints) == {"numpy": "2.4.6"}
    constraints.write_text("<<<<<<< HEAD\n")
    with pytest.raises(LabError, match="line 1"):
        read_pins(constraints)
