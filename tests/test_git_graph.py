"""The commit graph and the three trees, in characters and in SVG."""

import pytest

from churn_lab.files import LabError
from churn_lab.git_lab.git import Git
from churn_lab.git_lab.graph import draw_graphs, draw_trees, graph_text, layout_graph, read_graph, read_trees
from churn_lab.git_lab.objects import Commit
from churn_lab.git_lab.reset import build_state


def commits(*lines):
    return [Commit(oid, "", parents.split(), 0, 0, oid, names.split()) for oid, parents, names in lines]


@pytest.mark.parametrize(
    ("history", "drawn"),
    [
        ([], "no commit yet"),
        ([("b", "a", ""), ("a", "", "")], "●  b b\n●  a a"),
        (
            [("m", "b c", ""), ("c", "a", ""), ("b", "a", ""), ("a", "", "")],
            "●  m m\n├─╮\n│ ●  c c\n● │  b b\n├─╯\n●  a a",
        ),
        ([("f", "m", "HEAD"), ("m", "", "main")], "  ●  f (HEAD) f\n╭─╯\n●  m (main) m"),
        (
            [("f", "a", "x"), ("m", "a", "main"), ("a", "", "")],
            "  ●  f (x) f\n● │  m (main) m\n├─╯\n●  a a",
        ),
        (
            [("g", "f m", "x"), ("f", "a", ""), ("m", "a", "main"), ("a", "", "")],
            "  ●  g (x) g\n╭─┤\n│ ●  f f\n● │  m (main) m\n├─╯\n●  a a",
        ),
        (
            [("o", "x y z", ""), ("z", "a", ""), ("y", "a", ""), ("x", "a", ""), ("a", "", "")],
            "●  o o\n├─┬─╮\n│ │ ●  z z\n│ ● │  y y\n● │ │  x x\n├─┴─╯\n●  a a",
        ),
    ],
)
def test_the_graph_in_characters(history, drawn):
    assert graph_text(layout_graph(commits(*history))) == drawn


def test_git_draws_the_same_lanes_for_a_long_history(tmp_path):
    git = build_state(tmp_path, 11)
    rows = layout_graph(read_graph(tmp_path, 100))
    assert [row.commit.oid for row in rows] == git("rev-list --topo-order --branches").split()
    first_parents = set(git("rev-list --first-parent main").split())
    assert {row.commit.oid for row in rows if row.lane == 0} == first_parents
    for row in rows:
        assert row.lane not in row.busy


def test_a_subject_cannot_break_the_picture(tmp_path):
    git = Git(tmp_path)
    git("init")
    git("commit --allow-empty -m '<b>&\"'")
    svg = draw_graphs(history=read_graph(tmp_path)).svg
    assert "&lt;b&gt;&amp;&quot;" in svg and "<b>" not in svg


def test_an_empty_repository_and_a_detached_head_can_be_drawn(tmp_path):
    git = Git(tmp_path)
    git("init")
    assert read_graph(tmp_path) == []
    git("commit --allow-empty -m one")
    git("checkout -q --detach")
    git("commit --allow-empty -m two")
    assert [commit.names for commit in read_graph(tmp_path)] == [["HEAD"], ["main"]]


def test_no_repository_cannot_be_drawn(tmp_path):
    with pytest.raises(LabError, match="not a git repository"):
        read_graph(tmp_path)


def test_the_three_trees(tmp_path):
    git = Git(tmp_path)
    git("init")
    note = tmp_path / "note.txt"
    note.write_text("a = 1\n")
    assert read_trees(tmp_path, "note.txt") == {"HEAD": "—", "index": "—", "working tree": "a = 1"}
    git("add note.txt")
    git("commit -m x")
    note.write_text("a = 2\n")
    git("add note.txt")
    note.unlink()
    trees = read_trees(tmp_path, "note.txt", "a =")
    assert trees == {"HEAD": "a = 1", "index": "a = 2", "working tree": "—"}
    assert "a = 2" in draw_trees({"now": trees}).text


def test_a_picture_that_is_cut_off_says_so(tmp_path, churn_lab):
    build_state(tmp_path / "lab", 11)
    code, out, _ = churn_lab("git", "graph", "--limit", 3, "--repo", tmp_path / "lab")
    assert code == 0 and out.rstrip().splitlines()[-1] == "┊  older commits"
    assert "older commits" in draw_graphs(history=read_graph(tmp_path / "lab", 3)).svg
    assert "older" not in churn_lab("git", "graph", "--repo", tmp_path / "lab")[1]


def test_a_commits_message_sends_no_codes_to_whoever_reads_the_graph(tmp_path, churn_lab):
    git = Git(tmp_path)
    git("init")
    git("commit --allow-empty -m '\x1b[31mred \x1b]0;title\x07 \x9b2J'")
    code, out, _ = churn_lab("git", "graph", "--repo", tmp_path)
    assert code == 0 and "red" in out
    assert not any(ord(character) < 32 and character != "\n" or 127 <= ord(character) < 160 for character in out)
    assert "\x1b" not in draw_graphs(history=read_graph(tmp_path)).svg
