"""The tutorials run, say what they print, show what they draw, and link to what exists.

Every chapter ``tutorials/NN_title.md`` is picked up by its name. How a chapter is made is written
in CONTRIBUTING.md; the rules for its text are functions in tutorial_lint.py.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tutorial_lint as lint
from chapter_runs import folder_for, run_chapter, run_python
from tutorial_lint import ROOT, TUTORIALS, Block, blocks, chapters, missing, notebook

#: Chapters that train, fit or measure for more than about 2 s; run with --slow.
SLOW = {"00", "04", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15"}

CHAPTERS = [pytest.param(path, id=path.stem) for path in chapters()]
RUNNING = [
    pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.name[:2] in SLOW else ())
    for path in chapters()
]
TEXTS = [pytest.param(path, id=path.stem) for path in sorted(TUTORIALS.glob("*.md"))]
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS)
running_chapter = pytest.mark.parametrize("chapter", RUNNING)
every_text = pytest.mark.parametrize("path", TEXTS)


def committed_figures(chapter) -> set[str]:
    """The chapter's figures under version control, or in the folder where there is no git."""
    found = {path.name for path in (TUTORIALS / "figures").glob(f"{chapter.name[:2]}_*")}
    names = tracked("tutorials/figures")
    return found if names is None else found & {Path(name).name for name in names}


def tracked(pattern) -> list[str] | None:
    """The files under version control that match, or None where there is no git."""
    if not ((ROOT / ".git").exists() and shutil.which("git")):
        return None
    answer = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True)
    return answer.stdout.splitlines() if answer.returncode == 0 else None


# Running


@running_chapter
def test_chapter_runs_prints_and_draws_what_it_shows(chapter, python_for_chapters, tmp_path):
    done, printed = run_chapter(chapter, tmp_path, python_for_chapters)
    assert done.returncode == 0, done.stderr

    text = chapter.read_text(encoding="utf-8")
    found = blocks(text)
    for block, below in zip(found, [*found[1:], None]):
        shown = below.text if below is not None and below.language == "text" else ""
        if block.language == "python" and str(block.line) not in printed:
            assert missing(block), f"{chapter.name}:{block.line}: was not run"
        elif block.language == "python":
            wrong = lint.differences(printed[str(block.line)], shown)
            assert not wrong, f"{chapter.name}:{block.line}: {wrong[0]}"
        elif block.language != "text":
            assert not shown, f"{chapter.name}:{below.line}: a text block below no Python block"

    referenced = {
        Path(target).name for _, _, target, image in lint.links(text) if image
        and Path(target).name.startswith(chapter.name[:2])
    }  # fmt: skip
    produced = {path.name for path in (tmp_path / "figures").iterdir()}
    assert referenced == committed_figures(chapter)
    if any(missing(block) for block in found if block.language == "python"):
        assert produced <= referenced
    else:
        assert produced == referenced
    for figure in (tmp_path / "figures").iterdir():
        check_figure(figure)
        check_figure(TUTORIALS / "figures" / figure.name)


def check_figure(path):
    data = path.read_bytes()
    assert len(data) <= 150_000, f"{path.name} has {len(data)} bytes"
    assert path.suffix in (".svg", ".png"), path.name
    if path.suffix == ".svg":
        assert b"<dc:date>" not in data, f"{path.name} holds a date"
        assert b"fill: #ffffff" in data[:5000], f"{path.name} has no white background"


def test_a_notebook_has_each_block_once_and_folds_solutions(tmp_path):
    path = tmp_path / "00_new.md"
    path.write_text(
        "# 0. New\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\nA word.\n\n<details>\n"
        "<summary>Solution</summary>\n\nBecause.\n\n```python\nprint(2)\n```\n\n```text\n2\n```\n\n"
        "</details>\n\n```console\nls\n```\n"
    )
    cells = notebook(path)["cells"]
    assert [(c["cell_type"], c["source"]) for c in cells] == [
        ("markdown", "# 0. New"),
        ("code", "print(1)"),
        ("markdown", "A word.\n\n\n*Solution* (folded below)\n\nBecause."),
        ("code", "print(2)"),
        ("markdown", "```console\nls\n```"),
    ]
    assert [c["metadata"] for c in cells if c["cell_type"] == "code"] == [
        {}, {"jupyter": {"source_hidden": True}},
    ]  # fmt: skip


@pytest.mark.slow
@running_chapter
def test_chapter_becomes_a_notebook_that_runs(chapter, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{TUTORIALS}")
    content = notebook(chapter)
    content["cells"] = [c for c in content["cells"] if not missing(Block("", c["source"], 1))]
    cells = nbformat.from_dict(content)
    nbformat.validate(cells)
    folder = folder_for(chapter, tmp_path)
    nbclient.NotebookClient(
        cells, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()


def test_an_error_points_to_the_line_of_the_chapter(tmp_path):
    shutil.copy(TUTORIALS / "run.py", tmp_path)
    (tmp_path / "00_bad.md").write_text(
        "# 0. Bad\n\n```python\ndef half(x):\n    return x / 0\n```\n\n```python\nhalf(1)\n```\n"
    )
    done = run_python(["run.py", "00"], tmp_path)
    assert done.returncode == 1
    assert re.search(r'00_bad.md", line 9, in <module>\n    half\(1\)', done.stderr)
    assert re.search(r'00_bad.md", line 5, in half', done.stderr)
    assert "ZeroDivisionError" in done.stderr and "run.py" not in done.stderr
    assert "no chapter 07; there are 00" in run_python(["run.py", "07"], tmp_path).stderr


def test_update_writes_the_text_blocks(tmp_path):
    shutil.copy(TUTORIALS / "run.py", tmp_path)
    chapter = tmp_path / "00_new.md"
    before = "# 0. New\n\n```python\nprint(1)\n```\n\nA word.\n\n```python\nprint(2)\n```\n{}End.\n"
    chapter.write_text(before.format("\n```text\n7\n```\n"))
    assert run_python(["run.py", "--update"], tmp_path).returncode == 0
    after = before.replace("A word", "```text\n1\n```\n\nA word").format("\n```text\n2\n```\n")
    assert chapter.read_text() == after
    assert run_python(["run.py", "--update"], tmp_path).returncode == 0
    assert chapter.read_text() == after


# Reading


@every_text
def test_links_lead_somewhere(path):
    assert not lint.link_complaints(path)


@every_text
def test_quoted_code_is_in_the_file_it_is_quoted_from(path):
    assert not lint.quote_complaints(path)


@every_text
def test_github_shows_the_mathematics(path):
    assert not lint.math_complaints(path)


@every_chapter
def test_numbers_in_the_prose_come_from_a_block(chapter):
    assert not lint.number_complaints(chapter)


@every_chapter
def test_form_of_a_chapter(chapter):
    assert not lint.form_complaints(chapter)


@every_chapter
def test_the_main_line_of_a_chapter_is_not_too_dense(chapter):
    assert not lint.length_complaints(chapter)


def test_the_map_says_how_long_each_chapter_takes():
    assert not lint.map_complaints(TUTORIALS / "README.md")


def test_the_hours_path_takes_an_hour():
    assert not lint.hour_complaints(TUTORIALS / "README.md")


def test_glossary_is_in_order_and_leads_to_chapters():
    assert not lint.glossary_complaints(TUTORIALS / "glossary.md")


def test_every_cited_equation_exists():
    tags = lint.tags()
    places = sorted(ROOT.glob("*.md"))
    for part in ("tau_rnn", "tests", "validation", "benchmarks", "tutorials"):
        places += [p for p in sorted((ROOT / part).rglob("*")) if p.suffix in (".py", ".md")]
    missing = {
        f"{path.relative_to(ROOT)}: Eq. {number}"
        for path in places if path.name not in ("test_tutorials.py", "tutorial_lint.py")
        for number in lint.cited(path.read_text(encoding="utf-8")) if number not in tags
    }  # fmt: skip
    assert not missing


def test_every_chapter_is_on_the_map():
    targets = {target for _, _, target, _ in lint.links((TUTORIALS / "README.md").read_text())}
    assert {path.name for path in chapters()} | {"glossary.md", "cheatsheet.md"} <= targets


def test_no_notebook_is_committed():
    names = tracked("*.ipynb")
    if names is None:
        pytest.skip("no git here")
    assert not names


# The rules themselves: each sees the mistake it is there for


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("math", "where $x_i$ is", "where $\\dot{x}_i$ is"),
        ("math", "where $a \\lt b$ is", "where $a < b$ is"),
        ("math", "the set $\\lbrace 1 \\rbrace$", "the set $\\{ 1 \\}$"),
        ("math", "where $x$, and", "where $`x`$, and"),
        ("math", "where $a^\\ast$ is", "where $a^*$ is"),
        ("math", "$x$ axis", "$x$-axis"),
        ("math", "\n\n$$\na\n$$\n\nb", "a\n$$\na\n$$\n\nb"),
        ("math", "\n$$\na\n$$\n\nb", "\n$$\na\n$$\nb"),
        ("math", "\n$$\na\n$$\n", "\n$$ a $$\n"),
        ("math", "\n$$\na\n{}- b\n$$\n", "\n$$\na\n- b\n$$\n"),
        ("math", "\n$$\n\\mathrm{f}\n$$\n", "\n$$\n\\operatorname{f}\n$$\n"),
        ("math", "\n$$\nx_{ij}\n$$\n", "\n$$\nx_{ij\n$$\n"),
        ("math", "\n$$\na \\\\\nb\n$$\n", "\n$$\na \\\\ b\n$$\n"),
        ("math", "its own *time*, $x$.", "its *own $x$*."),
        ("math", "\n$$\na\n$$\n", "<details>\n\n$$\na\n$$\n\n</details>\n"),
        ("math", "\n$$\nx_{i}^{in}\n$$\n", "\n$$\nx^{in}_{i}\n$$\n"),
        (
            "math",
            "\n$$\n\\begin{aligned}\na &= b \\\\\n\\end{aligned} \\tag{1.1}\n$$\n",
            "\n$$\n\\begin{aligned}\na &= b \\tag{1.1} \\\\\n\\end{aligned}\n$$\n",
        ),
        ("number", "```python\nassert x < 0.37\n```\nabout 0.37 s", "about 0.37 s"),
        ("number", "```text\n0.3679\n```\nabout 0.37 s", "```text\n0.3679\n```\nabout 0.36 s"),
        ("number", "```text\n0.1234\n```\nby 12 %", "```text\n0.1234\n```\nby 13 %"),
        ("number", "```text\n3.2e-7\n```\nis 3e-7", "```text\n3.2e-7\n```\nis 4e-7"),
        ("link", "[x](other.md#a-b-c)", "[x](other.md#b)"),
        ("link", "[x](#here)\n\n# Here", "[x](#there)\n\n# Here"),
        ("link", "[`half`](code.py)", "[`third`](code.py)"),
        ("link", "[half](code.py)", "[half](code.py#L1)"),
        ("link", "![x](other.md)", "![x](figures/none.svg)"),
        ("quote", "[c](code.py)\n```py\nreturn x / 2\n```", "[c](code.py)\n```py\nreturn x\n```"),
        (
            "quote",
            "[c](code.py)\n```py\ndef half(x):\n...\ny = 3\n```",
            "[c](code.py)\n```py\ndef half(x):\ny = 3\n```",
        ),
        (
            "quote",
            "| a | [c](code.py) |\n|---|---|\n| `z` | `y = 3` |",
            "| a | [c](code.py) |\n|---|---|\n| `z` | `y = 4` |",
        ),
        (
            "glossary",
            "**A.** x [c](01_a.md)\n\n**B**, $b$. y [c](01_a.md)",
            "**B.** x [c](01_a.md)\n\n**A**, $b$. y [c](01_a.md)",
        ),
        ("glossary", "**A.** x [c](01_a.md)", "**A.** x"),
        ("glossary", "**A.** x [c](01_a.md)", "A: x [c](01_a.md)"),
        (
            "quote",
            "| [c](new.md) |\n|---|\n| `y = 7` |\n\n```python\ny = 7\n```",
            "| [c](new.md) |\n|---|\n| `y = 8` |\n\n```python\ny = 7\n```",
        ),
    ],
)
def test_rules_see_mistakes(rule, good, bad, tmp_path):
    (tmp_path / "other.md").write_text("# `A`, *b* c\n")
    (tmp_path / "code.py").write_text("def half(x):\n    return x / 2\n\n\ny = 3\n")
    path, rule = tmp_path / "new.md", getattr(lint, f"{rule}_complaints")
    path.write_text(good + "\n")
    assert not rule(path)
    path.write_text(bad + "\n")
    assert rule(path)


def test_printed_numbers_are_compared():
    assert not lint.differences("a = 1.0004\n", "a =  1.000\n")
    assert lint.differences("a = 1.002\n", "a = 1.000\n")
    assert lint.differences("a = 1\n", "b = 1\n")
    assert lint.differences("a = 1\n", "")
    assert lint.differences("1 2\n", "1\n")
    assert not lint.differences("True\n", "True\n")
    assert lint.differences("True\n", "False\n")


def test_citations_are_found():
    text = "see Eq. 3.4, Eqs. 1.2, 1.3 and 2.10; Equation 9.9, DOI 10.5"
    assert lint.cited(text) == {"3.4", "1.2", "1.3", "2.10"}
