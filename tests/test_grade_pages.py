"""The pages of a class in a real browser: complete without a server, in light, dark, on a phone, and safe to open."""

import random
import re

import pytest

from churn_lab.classroom.grade_pages import file_name, write_cohort, write_student

NUMBERS = [f"{step}.{place}" for step in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11) for place in (1, 2, 3)]
EVIL = '<img src=x onerror="document.title=1">'
MISTAKES = ["before the first promotion there was none", "of equals, take the newest", "a rollback switches, too"]


def row(number, state, evil=False) -> dict:
    points = {"right": 1.0, "partly": 0.5}.get(state, 0.0)
    found = {"number": number, "title": f"{number} An exercise", "state": state, "points": points, "of": 1}
    if state in ("wrong", "partly", "stopped"):
        found |= {"expected": "v2", "found": EVIL if evil else "v1", "next_step": random.choice(MISTAKES)}
    if state == "partly":
        found["reason"] = "5 of 8 cases held"
    if state not in ("open", "missing"):
        source = EVIL if evil else "def who_served(history, moment):\n    return history[-1]['to']"
        found |= {"answer": source, "spent": random.randrange(60, 4000), "hints": random.randrange(3)}
    return found


def make_class(out, count=30):
    """Pages of a class whose members are of all kinds, and one of whom tries to write into the pages."""
    random.seed(1)
    (out / "students").mkdir(parents=True)
    results = []
    for place in range(count):
        skill = place / count
        evil = place == 3
        name = EVIL if evil else f"{random.choice(['Ada', 'Ben', 'Chidi', 'Dora', 'Émile', 'Fatima'])} {place:02}"
        kinds = random.choices(["right", "partly", "wrong", "stopped", "open"], [8 * skill + 0.5, 1, 2, 0.3, 1], k=33)
        rows = [row(number, kind, evil) for number, kind in zip(NUMBERS, kinds)]
        if place == 0:
            rows = [row(number, "missing") for number in NUMBERS]
        if place in (5, 9):
            rows[4]["print"] = "same"
        attempts = ["6.2: tried to open another student's submission"] if evil else []
        result = {
            "student": name,
            "exercises": rows,
            "notes": ["pipe is no file"] if evil else [],
            "attempts": attempts,
        }
        write_student(out, result)
        results.append(result)
    write_cohort(out, results, "root")
    return results


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    out = tmp_path_factory.mktemp("pages") / "grades"
    return out, make_class(out)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_pages_open_alone_in_light_and_dark_and_on_a_phone(browser, pages, width, scheme):  # noqa: F811
    out, results = pages
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints, requests = [], []
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"file://{out}/cohort.html")
    title = page.title()
    assert page.locator(".map tbody tr").count() == len(results)
    assert page.locator(".map tbody td:not(.sum)").count() == len(results) * len(NUMBERS)
    for place in ("cohort", "student"):
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width, place
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 23, 29)"
        assert dark == (scheme == "dark")
        if place == "cohort":
            page.locator(".map tbody th a").first.click()
            page.wait_for_selector("section.panel")
    page.goto(f"file://{out}/students/{file_name(EVIL)}.html")
    assert EVIL in page.inner_text("h1") and page.locator("img").count() == 0
    assert title == "The class: 30 students" and complaints == []
    assert all(url.startswith("file://") for url in requests)
    page.close()


def test_a_cell_of_the_map_can_be_read(browser, pages):  # noqa: F811
    """Text against its ground, as the guidelines for accessible pages measure it: at least 4.5."""
    out, _ = pages
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(f"file://{out}/cohort.html")
        for state in ("right", "partly", "wrong", "stopped", "open"):
            colors = page.evaluate(
                "state => { const s = getComputedStyle(document.querySelector('td.' + state)); return [s.color, s.backgroundColor] }",
                state,
            )
            assert contrast(*colors) >= 4.5, (scheme, state)
        page.close()


def contrast(one: str, other: str) -> float:
    def light(color: str) -> float:
        parts = [int(part) / 255 for part in color[4:-1].split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_students_page_has_what_is_theirs_and_nobody_else(pages):
    out, results = pages
    mine = results[10]
    text = (out / "students" / f"{file_name(mine['student'])}.html").read_text(encoding="utf-8")
    assert mine["student"] in text and not any(other["student"] in text for other in results if other is not mine)
    for wrong in (row for row in mine["exercises"] if row.get("next_step")):
        assert wrong["next_step"] in text


def test_the_class_page_says_what_is_hard_and_who_needs_help(pages):
    out, results = pages
    text = (out / "cohort.html").read_text(encoding="utf-8")
    help_wanted = text.partition("Who needs help")[2].partition("</ul>")[0]
    assert results[0]["student"] in help_wanted and "nothing that could be graded" in help_wanted
    assert results[-1]["student"] not in help_wanted
    shares = [int(share) for share in re.findall(r'aria-label="(\d+) percent right"', text)]
    assert shares == sorted(shares) and len(shares) == len(NUMBERS)
    alike = text.partition("Alike")[2]
    assert results[5]["student"] in alike and results[9]["student"] in alike
    assert "tried to open another student" in text.partition("What was attempted")[2]
