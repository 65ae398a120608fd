"""Step 9: restore the model that was served before."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

LAB = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    pointer, history = LAB / "registry" / "current_model.txt", LAB / "registry" / "history.jsonl"
    name = pointer.read_text().strip()
    entries = json.loads((LAB / "registry" / "metadata.json").read_text())
    passed = [entry["model_file"] for entry in entries if entry["passed_gate"]]
    earlier = passed[: passed.index(name)]
    if not earlier:
        raise SystemExit(f"no version before {name} has passed its gate")
    event = {"ts": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "action": "rollback", "from": name, "to": earlier[-1]}
    with history.open("a", encoding="utf-8") as log:
        log.write(json.dumps(event) + "\n")
    pointer.with_suffix(".new").write_text(earlier[-1] + "\n")
    os.replace(pointer.with_suffix(".new"), pointer)
    print(f"{earlier[-1]} is in service")
