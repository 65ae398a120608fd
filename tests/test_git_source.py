"""Reading code: settings, markers, TODOs, and whether an API gives each request an id."""

import pytest

from churn_lab.git_lab.source import gives_request_id, has_conflict, has_todo, read_settings


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("z = 2.0", 2.0),
        ("z=2", 2),
        ("z: float = 2.0  # hm\r\n", 2.0),
        ("z = 1\nz = 2", 2),
        ("a = z = 3", 3),
        ("# z = 2", None),
        ("'z = 2'", None),
        ("z = '2'", None),
        ("z = True", None),
        ("z = f()", None),
        ("def f():\n    z = 2", None),
        ("<<<<<<< HEAD\nz = 2", None),
        ("z = (" * 200, None),
        ("\ufeffz = 4", 4),
        ("z: float", None),
    ],
)
def test_a_setting_is_read_from_the_code(source, value):
    assert read_settings(source.encode()).get("z") == value


U = "import uuid\n\n\ndef new_request_id(x=None):\n    "
CALL = "\napp = create_app(LAB, new_request_id=new_request_id)\n"


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ("from uuid import uuid4\ndef new_request_id():\n    return uuid4().hex", True),
        ("import uuid as u\ndef new_request_id():\n    return u.uuid4().hex", True),
        ("import uuid\nnew_request_id = lambda: uuid.uuid4().hex", True),
        ("import secrets\ndef new_request_id():\n    return secrets.token_hex(16)", True),
        ("from uuid import uuid4\ndef new_request_id():\n    fresh = uuid4()\n    return fresh.hex", True),
        ("from uuid import uuid4\ndef new_request_id():\n    return str(uuid4()).replace('-', '')", True),
        ("from uuid import uuid4\ndef new_request_id():\n    return str(uuid4())", False),
        (
            "from uuid import uuid4\ndef new_request_id():\n    if False:\n        return uuid4().hex\n    return None",
            False,
        ),
        ("from uuid import uuid4\ndef new_request_id(key=uuid4().hex):\n    return key", False),
        ("from uuid import uuid4\ndef other():\n    return uuid4().hex\ndef new_request_id():\n    return None", False),
        ("from uuid import UUID\ndef new_request_id():\n    return UUID(int=0).hex", False),
        ("def new_request_id():\n    return new_request_id()", False),
        ("async def new_request_id():\n    return 1", False),
        ("def new_request_id():\n    return uuid.uuid4().hex", False),
        (U + "key: str = uuid.uuid4().hex; return key", True),
        (U + "return f'{uuid.uuid4().hex}'", True),
        (U + "return str(uuid.uuid4().hex)", True),
        (U + "return f'{uuid.uuid4().int:032x}'", True),
        (U + "return f'{uuid.uuid4()!s}'.replace('-', '')", True),
        (U + "return '%s' % uuid.uuid4().hex", True),
        (U + "return '{}'.format(uuid.uuid4().hex)", True),
        (U + "return (key := uuid.uuid4().hex)", True),
        (U + "key = uuid.uuid4()\n    key = str(key)\n    key = key.replace('-', '')\n    return key", True),
        (U + "with open('x') as f:\n        return uuid.uuid4().hex", True),
        (U + "if x:\n        return uuid.uuid4().hex\n    else:\n        return uuid.uuid4().hex", True),
        (U + "if x:\n        return uuid.uuid4().hex", False),
        (U + "return f'{uuid.uuid4()}'", False),
        (U + "return f'id-{uuid.uuid4().hex}'", False),
        (U + "key = uuid.uuid4().hex\n    key += 'x'\n    return key", False),
        (U + "key = uuid.uuid4().hex\n    key = 'x'\n    return key", False),
        ("def new_request_id():\n    import uuid\n    return uuid.uuid4().hex", True),
        ("def other():\n    import uuid\ndef new_request_id():\n    return uuid.uuid4().hex", False),
        ("if TYPE_CHECKING:\n    import uuid\ndef new_request_id():\n    return uuid.uuid4().hex", False),
        ("from uuid import *\ndef new_request_id():\n    return uuid4().hex", True),
        ("from ids import uuid4\ndef new_request_id():\n    return uuid4().hex", False),
        ("from uuid import uuid4\ndef uuid4():\n    return 1\ndef new_request_id():\n    return uuid4().hex", False),
        ("import os\ndef new_request_id():\n    return os.urandom(16).hex()", True),
        ("# return uuid4().hex\ndef new_request_id():\n    return None", False),
    ],
)
def test_whether_code_makes_a_request_id(body, good):
    assert gives_request_id((body + CALL).encode()) is good


def test_code_that_never_creates_the_app_makes_no_id():
    assert not gives_request_id(b"from uuid import uuid4\ndef new_request_id():\n    return uuid4().hex\n")


def test_an_api_by_hand_that_calls_its_own_function_makes_an_id():
    api = "app = FastAPI()\n\n\n@app.post('/predict')\ndef predict(customer: dict):\n    return {'request_id': new_request_id()}\n"
    made = "from uuid import uuid4\n\n\ndef new_request_id():\n    return uuid4().hex\n\n\n"
    assert gives_request_id((made + api).encode())
    assert not gives_request_id((made.replace("uuid4().hex", "None") + api).encode())


def test_a_function_of_a_library_can_be_given_as_it_is():
    assert gives_request_id(b"import secrets\napp = create_app(LAB, new_request_id=secrets.token_hex)\n")


OPEN = "<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> b\n"


@pytest.mark.parametrize(
    ("source", "open_conflict"),
    [
        (OPEN, True),
        (OPEN.replace("\n", "\r\n"), True),
        (f'"""\n{OPEN}"""\n', False),
        ("# Heading\n=======\nx = (\n", False),
        ("<<<<<<< HEAD\nx = 1\n=======\n", False),
        (OPEN.replace("=======", "========"), False),
        ("x = '<<<<<<< HEAD'\n", False),
    ],
)
def test_a_marker_is_a_whole_line_outside_quotes_and_all_three_are_there(source, open_conflict):
    assert has_conflict(source.encode()) is open_conflict


@pytest.mark.parametrize(
    ("line", "found"), [("# TODO: x", 1), ("x = 1  # todo", 1), ("#Todo", 1), ("TODO = 1", 0), ("# mastodon", 0)]
)
def test_a_todo_is_a_comment_in_capitals_or_not(line, found):
    assert has_todo(line.encode()) == bool(found)
