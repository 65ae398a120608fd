"""The page, in a real browser: fill in, read the answer, see an error at its field, see the model change."""

import json
import threading
import time

import pytest
import uvicorn
from conftest import wait_until

from churn_lab.api import create_app
from churn_lab.model_cards import read_metadata
from churn_lab.page import find_example
from churn_lab.registry import promote
from churn_lab.registry_history import current_model
from churn_lab.serving_model import open_model


@pytest.fixture
def served(lab):
    """The address of a running service."""
    server = uvicorn.Server(uvicorn.Config(create_app(lab), port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)


class Visit:
    """A page with everything it complained about and asked for."""

    def __init__(self, browser, address: str, width: int = 1280):
        self.address, self.complaints, self.requests = address, [], []
        self.page = browser.new_page(viewport={"width": width, "height": 844})
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def close(self, tolerated: str = "") -> None:
        strangers = [url for url in self.requests if not url.startswith((self.address, "data:"))]
        complaints = [text for text in self.complaints if not (tolerated and tolerated in text)]
        self.page.close()
        assert strangers == [] and complaints == []


@pytest.mark.parametrize("width", [1280, 390])
def test_an_example_is_filled_in_and_answered_with_the_keyboard_alone(browser, served, lab, width):
    visit = Visit(browser, served, width)
    page, model = visit.page, open_model(lab, current_model(lab))
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "a risky one":
            break
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#verdict") == "will probably leave"
    reference = json.loads(lab.train_stats.read_text())[model.name]["features"]
    probability = model.predict_proba_one(find_example(model, reference, 1))
    assert abs(float(page.inner_text("#probability").split()[0]) - 100 * probability) <= 0.5
    assert page.inner_text("#spoken").startswith(page.inner_text("#probability"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    visit.close()


def test_every_control_has_a_name_and_points_to_its_hint(browser, served):
    visit = Visit(browser, served)
    nameless = visit.page.evaluate(
        """() => [...document.querySelectorAll("input, select, button, a")].filter((control) =>
            !(control.labels && control.labels.length) && !control.ariaLabel && !control.textContent.trim()).length"""
    )
    lost = visit.page.evaluate(
        """() => [...document.querySelectorAll("[aria-describedby]")].flatMap((control) =>
            control.getAttribute("aria-describedby").split(" ")).filter((id) => !document.getElementById(id)).length"""
    )
    assert (nameless, lost) == (0, 0)
    assert visit.page.get_by_label("Region", exact=False).first.evaluate("control => control.tagName") == "SELECT"
    visit.close()


def test_an_error_stands_at_its_field_and_is_gone_when_mended(browser, served):
    visit = Visit(browser, served)
    page = visit.page
    page.click("text=a safe customer")
    page.fill("#field-1", "-5")
    page.click("#ask")
    page.wait_for_selector("#failure:not([hidden])")
    assert "greater than or equal to 0" in page.inner_text("#field-1-error")
    assert page.get_attribute("#field-1", "aria-invalid") == "true" and page.inner_text("#field-2-error") == ""
    assert page.evaluate("document.activeElement.id") == "field-1"
    page.fill("#field-1", "5")
    page.click("#ask")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#field-1-error") == "" and not page.is_visible("#failure")
    visit.close(tolerated="422")


def test_a_category_of_ones_own_is_answered_with_a_warning(browser, served):
    visit = Visit(browser, served)
    visit.page.click("text=a safe customer")
    visit.page.select_option("#field-4", label="another one …")
    visit.page.fill("#field-4-other", "gold <b>")
    visit.page.click("#ask")
    visit.page.wait_for_selector("#unseen:not([hidden])")
    assert "plan_type" in visit.page.inner_text("#unseen")
    visit.close()


def test_a_number_beyond_the_training_data_is_answered_with_a_warning(browser, served):
    visit = Visit(browser, served)
    visit.page.click("text=a safe customer")
    visit.page.fill("#field-1", "599")
    visit.page.click("#ask")
    visit.page.wait_for_selector("#unseen:not([hidden])")
    assert "tenure_months" in visit.page.inner_text("#unseen")
    visit.close()


def test_an_empty_form_offers_a_request_that_can_be_sent(browser, served):
    visit = Visit(browser, served)
    code = visit.page.inner_text("#code")
    assert "null" not in code and '"tenure_months":' in code
    visit.close()


def test_the_name_changes_with_the_model_behind_the_page(browser, served, lab):
    first, second = (entry["model_file"].removesuffix(".joblib") for entry in read_metadata(lab))
    visit = Visit(browser, served)
    assert visit.page.inner_text("#model-name") == second
    promote(lab, first + ".joblib", action="rollback")
    visit.page.wait_for_function("name => document.getElementById('model-name').textContent === name", arg=first)
    f1 = str(read_metadata(lab)[0]["metrics"]["f1"])
    visit.page.wait_for_function(
        "f1 => document.querySelector('[data-figure=\"metrics.f1\"]').textContent === f1", arg=f1
    )
    visit.close()


def test_the_request_as_code_follows_the_form(browser, served):
    visit = Visit(browser, served)
    visit.page.click("text=a risky one")
    visit.page.fill("#field-1", "17")
    for language, words in (("curl", '"tenure_months":17'), ("Python", "urlopen"), ("PowerShell", "Invoke-RestMethod")):
        visit.page.click(f"role=tab[name={language}]")
        code = visit.page.inner_text("#code")
        assert words in code and served + "predict" in code
    visit.page.keyboard.press("ArrowRight")
    assert visit.page.inner_text("#code").startswith("curl ")
    visit.close()


def test_a_locked_service_asks_for_its_key(browser, lab, monkeypatch, served):
    monkeypatch.setenv("CHURN_LAB_API_KEY", "sesame")
    server = uvicorn.Server(uvicorn.Config(create_app(lab), port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    try:
        visit = Visit(browser, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/")
        assert not visit.page.query_selector("#form") and "premium" not in visit.page.content()
        visit.page.fill("#unlock-key", "sesam")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_function("() => document.getElementById('unlock-error').textContent !== ''")
        assert "not the right one" in visit.page.inner_text("#unlock-error")
        visit.page.fill("#unlock-key", "sesame")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#form")
        visit.page.click("text=a safe customer")
        visit.page.click("#ask")
        visit.page.wait_for_selector("#answer:not([hidden])")
        assert visit.page.inner_text("[data-figure=threshold]") != "–"
        visit.close()
    finally:
        server.should_exit = True
        thread.join(10)


def test_the_documentation_works_without_a_network(browser, served):
    visit = Visit(browser, served + "docs")
    visit.address = served
    visit.page.wait_for_selector("text=Predict whether a customer will leave")
    time.sleep(0.3)
    visit.close()
