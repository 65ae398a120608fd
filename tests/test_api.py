"""The service's promises to its callers: what it answers, what it refuses, and what it writes down first."""

import json
import os
import shutil
import socket
import subprocess
import sys

import pandas as pd
import pytest
from conftest import wait_until
from fastapi.testclient import TestClient

from churn_lab.api import create_app
from churn_lab.contract import clean_value, make_field_check
from churn_lab.fast_routes import MAX_BODY
from churn_lab.model_cards import find_entry, read_metadata
from churn_lab.prediction_log import write_whole
from churn_lab.prepare_data import LAB_CONTRACT, prepare
from churn_lab.registry import promote
from churn_lab.registry_history import current_model
from churn_lab.serving_model import load_pipeline
from churn_lab.train import ForestParams, train
from churn_lab.workspace import create_workspace

CUSTOMER = {
    "tenure_months": 3,
    "num_complaints": 4,
    "avg_session_minutes": 9.5,
    "plan_type": "basic",
    "region": "NA",
}
SMALL = ForestParams(n_estimators=5)
JSON = {"content-type": "application/json"}


@pytest.fixture
def client(lab):
    with TestClient(create_app(lab)) as client:
        yield client


def logged(lab) -> list[dict]:
    lines = [line for path in sorted(lab.logs.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines if line]


def names(lab) -> list[str]:
    return [entry["model_file"] for entry in read_metadata(lab)]


def test_an_answer_is_the_models_and_its_log_line_says_the_same(client, lab):
    response = client.post("/predict", json=CUSTOMER | {"request_id": "order 17"})
    answer = response.json()
    assert response.status_code == 200, answer
    expected = load_pipeline(lab).predict_proba(pd.DataFrame([CUSTOMER]))[0, 1]
    assert abs(answer["probability"] - expected) < 1e-5
    entry = find_entry(lab, current_model(lab))
    assert answer["prediction"] == int(expected >= entry["threshold"]) and answer["threshold"] == entry["threshold"]
    assert answer["model_version"] == entry["model_file"] and answer["request_id"] == "order 17"
    (line,) = logged(lab)
    assert line["features"] == CUSTOMER and "unseen" not in line
    shared = ("request_id", "model_version", "prediction", "probability", "latency_ms")
    assert {key: line[key] for key in shared} == {key: answer[key] for key in shared}


def test_values_are_cleaned_as_in_preparation(client, lab):
    messy = {"tenure_months": " 3.0 ", "num_complaints": 4.0, "plan_type": "  BASIC", "region": "na"}
    tidy, cleaned = (client.post("/predict", json=CUSTOMER | change).json() for change in ({}, messy))
    assert cleaned["probability"] == tidy["probability"]
    assert logged(lab)[1]["features"] == CUSTOMER


@pytest.mark.parametrize("feature", LAB_CONTRACT.features, ids=lambda feature: feature.name)
def test_the_service_understands_a_value_as_preparation_does_or_refuses_it(feature):
    check = make_field_check(feature)
    for value in (
        "3",
        " 3.0 ",
        3,
        3.0,
        "1e1",
        "basic ",
        "Premium",
        "n/a",
        "3,5",
        "٣",
        "0x3",
        "1_000",
        "600",
        "-0",
        "x",
    ):
        try:
            found = check.validate_python(value)
        except ValueError:
            continue
        assert found == clean_value(feature, value) and found is not None, value


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"tenure_months": -1}, "tenure_months", "greater than or equal to 0"),
        ({"tenure_months": 601}, "tenure_months", "less than or equal to 600"),
        ({"tenure_months": 2.5}, "tenure_months", "integer"),
        ({"tenure_months": True}, "tenure_months", "integer"),
        ({"tenure_months": None}, "tenure_months", "missing"),
        ({"tenure_months": 10**400}, "tenure_months", "finite"),
        ({"avg_session_minutes": float("nan")}, "avg_session_minutes", "finite"),
        ({"avg_session_minutes": float("inf")}, "avg_session_minutes", "finite"),
        ({"avg_session_minutes": "-Infinity"}, "avg_session_minutes", "finite"),
        ({"avg_session_minutes": [1]}, "avg_session_minutes", "number"),
        ({"plan_type": " "}, "plan_type", "missing"),
        ({"plan_type": True}, "plan_type", "text"),
        ({"plan_type": {"a": 1}}, "plan_type", "text"),
        ({"plan_type": "NA\0"}, "plan_type", "text"),
        ({"region": "x" * 1001}, "region", "1000 characters"),
        ({"shoe_size": 42}, "shoe_size", "not permitted"),
        ({"request_id": "x" * 129}, "request_id", "128 characters"),
        ({"request_id": "a\nb"}, "request_id", "printable"),
        ({"request_id": 7}, "request_id", "string"),
    ],
)
def test_a_body_against_the_contract_is_refused_by_field_and_rule(client, lab, change, field, words):
    response = client.post("/predict", content=json.dumps(CUSTOMER | change), headers=JSON)
    (problem,) = response.json()["detail"]
    assert response.status_code == 422 and problem["loc"][:2] == ["body", field] and words in problem["msg"]
    assert logged(lab) == []


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"{", JSON, 422, "Invalid JSON"),
        (b"[]", JSON, 422, "Input should be"),
        (b"", JSON, 422, "Invalid JSON"),
        (b'{"plan_type": "\\ud800"}', JSON, 422, "Invalid JSON"),
        (b"{}", JSON, 422, "tenure_months"),
        (b"{}", {"content-type": "text/plain"}, 415, "application/json"),
        (b"{}", {}, 415, "application/json"),
        (b" " * (MAX_BODY + 1), JSON, 413, "1,000,000 bytes"),
    ],
)
def test_a_body_that_is_no_customer_is_refused(client, content, headers, status, words):
    response = client.post("/predict", content=content, headers=headers)
    assert response.status_code == status and words in response.text


def test_a_new_category_is_answered_and_reported(client, lab):
    answer = client.post("/predict", json=CUSTOMER | {"plan_type": "gold", "region": "Mars"}).json()
    assert answer["unseen"] == ["plan_type", "region"] == logged(lab)[0]["unseen"]
    assert 0 <= answer["probability"] <= 1


def test_a_strict_service_refuses_a_category_that_training_never_had(lab):
    client = TestClient(create_app(lab, strict=True))
    response = client.post("/predict", json=CUSTOMER | {"region": "Mars"})
    (problem,) = response.json()["detail"]
    assert response.status_code == 422 and problem["loc"] == ["body", "region"] and "AF, AS, EU, NA" in problem["msg"]
    response = client.post("/predict/batch", json={"rows": [CUSTOMER, CUSTOMER | {"plan_type": "gold"}]})
    assert response.json()["detail"][0]["loc"] == ["body", "rows", 1, "plan_type"] and logged(lab) == []
    assert client.post("/predict", json=CUSTOMER).status_code == 200


def test_a_number_beyond_the_training_data_is_answered_and_reported(client, lab):
    answer = client.post("/predict", json=CUSTOMER | {"tenure_months": 599}).json()
    assert answer["beyond"] == ["tenure_months"] == logged(lab)[0]["beyond"] and "unseen" not in answer
    assert "beyond" not in client.post("/predict", json=CUSTOMER).json()


def test_a_missing_request_id_is_made_or_stays_empty_as_the_student_decides(lab):
    generated = TestClient(create_app(lab)).post("/predict", json=CUSTOMER).json()["request_id"]
    assert len(generated) == 32 and int(generated, 16)
    empty = TestClient(create_app(lab, new_request_id=lambda: None)).post("/predict", json=CUSTOMER).json()
    assert empty["request_id"] is None and logged(lab)[1]["request_id"] is None


def test_a_batch_is_answered_whole_or_not_at_all(client, lab):
    rows = [CUSTOMER | {"tenure_months": i, "request_id": f"r{i}"} for i in range(60)]
    answers = client.post("/predict/batch", json={"rows": rows}).json()["predictions"]
    alone = [client.post("/predict", json=row).json()["probability"] for row in rows]
    assert [a["request_id"] for a in answers] == [row["request_id"] for row in rows]
    assert [a["probability"] for a in answers] == pytest.approx(alone, abs=1e-6)
    assert len(logged(lab)) == 120
    rows[17]["region"] = rows[41]["tenure_months"] = None
    response = client.post("/predict/batch", json={"rows": rows})
    assert response.status_code == 422 and len(logged(lab)) == 120
    assert [p["loc"] for p in response.json()["detail"]] == [
        ["body", "rows", 17, "region"],
        ["body", "rows", 41, "tenure_months"],
    ]
    assert client.post("/predict/batch", json={"rows": [CUSTOMER] * 10_001}).status_code == 422
    assert client.post("/predict/batch", json={"rows": []}).status_code == 422


def test_no_answer_without_a_log_line(client, lab):
    assert client.post("/predict", json=CUSTOMER).status_code == 200
    shutil.rmtree(lab.logs)
    assert client.post("/predict", json=CUSTOMER).status_code == 200 and len(logged(lab)) == 1
    shutil.rmtree(lab.logs)
    lab.logs.write_text("in the way")
    response = client.post("/predict", json=CUSTOMER)
    assert response.status_code == 503 and "could not be logged" in response.text and str(lab.root) not in response.text
    assert client.post("/predict/batch", json={"rows": [CUSTOMER]}).status_code == 503
    health = client.get("/health")
    assert (
        health.status_code == 503 and health.json()["status"] == "no log" and "file exists" in health.json()["reason"]
    )
    lab.logs.unlink()
    assert client.get("/health").json()["status"] == "ok"
    assert client.post("/predict", json=CUSTOMER).status_code == 200 and len(logged(lab)) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_503(client, lab, monkeypatch):
    full = os.open("/dev/full", os.O_RDWR)
    monkeypatch.setattr(
        client.app.service.log, "_open", lambda day: setattr(client.app.service.log, "handle", os.dup(full))
    )
    response = client.post("/predict", json=CUSTOMER)
    assert response.status_code == 503 and "no space left" in response.text
    assert client.get("/health").json()["status"] == "no log"


def test_a_line_after_a_torn_one_is_whole(tmp_path):
    handle = os.open(tmp_path / "log", os.O_RDWR | os.O_APPEND | os.O_CREAT)
    os.write(handle, b'{"torn": ')
    write_whole(handle, b'{"whole": 1}\n')
    write_whole(handle, b'{"whole": 2}\n')
    os.close(handle)
    assert (tmp_path / "log").read_bytes().splitlines()[1:] == [b'{"whole": 1}', b'{"whole": 2}']


def test_midnight_in_utc_begins_another_file(lab):
    times = iter([86400 * 20000 - 0.001, 86400 * 20000, 86400 * 20000 - 0.5])
    client = TestClient(create_app(lab, clock=lambda: next(times)))
    for _ in range(3):
        assert client.post("/predict", json=CUSTOMER).status_code == 200
    lines = {path.name: len(path.read_text().splitlines()) for path in lab.logs.iterdir()}
    assert lines == {"predictions-2024-10-03.jsonl": 1, "predictions-2024-10-04.jsonl": 2}  # the clock went back


# --- the model changes ---


def test_a_rollback_is_followed_within_a_second(client, lab):
    first, second = names(lab)
    assert client.post("/predict", json=CUSTOMER).json()["model_version"] == second
    promote(lab, first, action="rollback")
    wait_until(lambda: client.post("/predict", json=CUSTOMER).json()["model_version"] == first, seconds=1)
    assert client.get("/health").json()["status"] == "ok"


def test_a_model_that_fails_its_check_is_not_switched_to(client, lab):
    first, second = names(lab)
    (lab.models / first.replace(".joblib", ".onnx")).write_bytes(b"damaged")
    lab.current_model.write_text(first + "\n")
    health = client.get("/health")
    assert health.status_code == 200 and health.json()["status"] == "degraded"
    assert "changed after it was registered" in health.json()["reason"] and str(lab.root) not in health.text
    assert client.post("/predict", json=CUSTOMER).json()["model_version"] == second
    lab.current_model.write_text(second + "\n")
    assert client.get("/health").json()["status"] == "ok"


def test_without_a_model_it_says_so_and_takes_the_first_one(empty_lab, lab):
    client = TestClient(create_app(empty_lab))
    assert client.post("/predict", json=CUSTOMER).status_code == 503
    assert client.get("/model-info").status_code == 503
    assert client.get("/health").json()["status"] == "no model" and client.get("/health").status_code == 503
    assert "churn-lab train" in client.get("/").text
    for name in ("models", "registry"):
        shutil.copytree(lab.root / name, empty_lab.root / name, dirs_exist_ok=True)
    wait_until(lambda: client.post("/predict", json=CUSTOMER).status_code == 200, seconds=2)


def test_another_contract_is_used_for_the_requests_that_its_model_answers(client, lab):
    raw = lab.raw.read_text().replace("num_complaints", "calls")
    (lab.root / "other.csv").write_text(raw)
    prepare(lab, raw=lab.root / "other.csv", target="churn")
    train(lab, forest=SMALL, gate_f1=0.0, tolerance=1.0)
    assert "gone: num_complaints; new: calls" in client.get("/health").json()["contract_changed"]
    assert client.post("/predict", json=CUSTOMER).status_code == 422
    renamed = {"calls" if name == "num_complaints" else name: value for name, value in CUSTOMER.items()}
    assert client.post("/predict", json=renamed).json()["model_version"] == names(lab)[2]
    assert "calls" in client.get("/openapi.json").json()["components"]["schemas"]["Customer"]["properties"]


# --- who may ask, and what is told ---


def test_a_key_protects_predictions_and_the_model(lab, monkeypatch):
    monkeypatch.setenv("CHURN_LAB_API_KEY", "sesame")
    client = TestClient(create_app(lab))
    for ask in (
        lambda **kw: client.post("/predict", json=CUSTOMER, **kw),
        lambda **kw: client.post("/predict/batch", json={"rows": [CUSTOMER]}, **kw),
        lambda **kw: client.get("/model-info", **kw),
    ):
        assert ask().status_code == 401
        assert ask(headers={"x-api-key": "sesam"}).status_code == 401
        assert ask(headers={"x-api-key": "sesame"}).status_code == 200
    assert client.get("/health").status_code == 200
    assert client.get("/openapi.json").json()["components"]["securitySchemes"]["key"]["name"] == "X-API-Key"


def test_whoever_has_no_key_is_shown_nothing_of_the_training_data(lab):
    client = TestClient(create_app(lab, api_key="sesame"))
    secrets = [*CUSTOMER, "premium", "AF", str(find_entry(lab, current_model(lab))["metrics"]["f1"])]
    for path in ("/", "/openapi.json", "/health", "/docs"):
        text = client.get(path).text
        assert not [secret for secret in secrets if secret in text], path
        assert not [s for s in secrets if s in client.get(path, headers={"x-api-key": "sesam"}).text], path
    page = client.get("/", headers={"x-api-key": "sesame"}).text
    described = client.get("/openapi.json", headers={"x-api-key": "sesame"}).json()["components"]["schemas"]
    assert "premium" in page and "region" in described["Customer"]["properties"]


@pytest.mark.parametrize(
    "path", ["/predict", "/predict/batch", "/model-info", "/", "/health", "/openapi.json", "/docs"]
)
def test_a_page_elsewhere_that_names_this_machine_as_its_own_is_refused(lab, path):
    client = TestClient(create_app(lab))
    ask = (
        (lambda **kw: client.post(path, json=CUSTOMER, **kw))
        if "predict" in path
        else (lambda **kw: client.get(path, **kw))
    )
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "[fe80::1]"):
        response = ask(headers={"host": host})
        assert response.status_code == 403 and "localhost" in response.json()["detail"], host
    for host in ("localhost:8000", "LOCALHOST", "127.0.0.1", "127.8.8.8:80", "[::1]:8000", "localhost."):
        assert ask(headers={"host": host}).status_code != 403, host
    elsewhere = TestClient(create_app(lab), client=("127.0.0.1", 5000))  # a real caller is never called testclient
    assert elsewhere.get("/health", headers={"host": "testserver"}).status_code == 403
    keyed = TestClient(create_app(lab, api_key="sesame"), headers={"x-api-key": "sesame", "host": "churn.example"})
    assert keyed.get("/model-info").status_code == 200


def test_a_key_that_is_set_is_asked_for_whatever_else_was_said(lab):
    client = TestClient(create_app(lab, api_key="sesame", no_auth=True), client=("192.0.2.7", 40000))
    assert client.get("/model-info").status_code == 401
    assert client.get("/model-info", headers={"x-api-key": "sesame"}).status_code == 200


def test_strangers_are_refused_without_a_key(lab):
    stranger, allowed = ("192.0.2.7", 40000), create_app(lab, no_auth=True)
    assert TestClient(create_app(lab), client=stranger).post("/predict", json=CUSTOMER).status_code == 403
    assert TestClient(create_app(lab), client=stranger).get("/model-info").status_code == 403
    assert TestClient(allowed, client=stranger).post("/predict", json=CUSTOMER).status_code == 200


def test_an_address_that_others_reach_needs_a_key_or_a_word(churn_lab, lab, monkeypatch):
    code, _, error = churn_lab("serve", "--workspace", lab.root, "--host", "0.0.0.0")
    assert code == 1 and "set CHURN_LAB_API_KEY, or say --no-auth" in error
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = [churn_lab(name, "--workspace", lab.root, "--port", port) for name in ("serve", "dashboard")]
    for code, out, error in refused:
        assert code == 1 and out == "" and error.startswith(f"Expected to listen at 127.0.0.1, port {port}")
        assert "address already in use" in error and "Next: choose another one" in error


def test_model_info_tells_what_was_registered(client, lab):
    entry, info = find_entry(lab, current_model(lab)), client.get("/model-info").json()
    shared = ("metrics", "threshold", "gate", "trained_at_utc", "joblib_sha256", "onnx_sha256", "libraries", "contract")
    assert {key: info[key] for key in shared} == {key: entry[key] for key in shared}
    assert info["model_version"] == entry["model_file"] and str(lab.root) not in json.dumps(info)


def test_a_failure_shows_no_traceback(client, monkeypatch):
    monkeypatch.setattr(client.app.service, "new_request_id", lambda: 1 / 0)
    response = client.post("/predict", json=CUSTOMER)
    assert response.status_code == 500 and "ZeroDivision" not in response.text and "/" not in response.json()["detail"]


def test_the_scripts_of_the_documentation_come_from_the_package(client):
    page = client.get("/docs").text
    assert "http" not in page.replace("http-equiv", "") and "assets/swagger-ui-bundle.js" in page
    assert client.get("/assets/swagger-ui-bundle.js").status_code == 200
    assert client.get("/assets/../api.py").status_code == 404 == client.get("/assets/predict.html").status_code


def test_the_service_needs_neither_pandas_nor_scikit_learn(lab):
    program = (
        "import sys; from fastapi.testclient import TestClient; from churn_lab.api import create_app\n"
        f"client = TestClient(create_app({str(lab.root)!r}))\n"
        f"assert client.post('/predict', json={CUSTOMER!r}).status_code == 200\n"
        "assert client.get('/').status_code == 200\n"
        "print(sorted({'pandas', 'sklearn', 'joblib', 'matplotlib', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_real_customers_are_answered_by_a_contract_of_their_own(telco, tmp_path):
    create_workspace(tmp_path / "telco")
    lab = create_app(tmp_path / "telco").service.lab
    prepare(lab, raw=telco, target="Churn", identifier="customerID")
    train(lab, forest=SMALL, gate_f1=0.0)
    rows = pd.read_csv(telco, dtype=str, keep_default_na=False).head(50).drop(columns=["customerID", "Churn"])
    client = TestClient(create_app(lab))
    answers = client.post("/predict/batch", json={"rows": rows.to_dict("records")})
    assert answers.status_code == 200 and len(answers.json()["predictions"]) == 50
    assert client.get("/").text.count("data-name=") == 19
