"""The site in a browser: pages read well, blocks run, the marker marks, the keyboard suffices."""

import json
import re

import pytest
import tutorial_lint as lint

CHAPTER_3 = "tutorials/03_bptt_by_hand.html"
RIGHT = """
from tau_rnn import backward
"""
SLIP = """
import tau_rnn

def backward(params, traj, dy):
    grads = tau_rnn.backward(params, traj, dy)
    return grads._replace(tau=-grads.tau)
"""


def chapter_pages(html):
    return sorted(p.relative_to(html).as_posix() for p in html.glob("tutorials/[0-9]*.html"))


def finished(page):
    """Wait until Python has done what it was asked for."""
    page.wait_for_function("document.body.dataset.tau === 'done'", timeout=600_000)
    page.evaluate("delete document.body.dataset.tau")


# Reading


def test_every_formula_is_set(html):
    pages = list(html.rglob("*.html"))
    bad = [p.name for p in pages if "katex-error" in p.read_text(encoding="utf-8")]
    assert pages and not bad


def test_numbered_equations_are_targets_of_their_citations(html):
    text = (html / CHAPTER_3).read_text(encoding="utf-8")
    for number in re.findall(r'href="(?:03_bptt_by_hand.html)?#(eq-3-\d+)"', text):
        assert f'id="{number}"' in text
    assert "tutorials/03_bptt_by_hand.html#eq-3-4" in (html / "api/tau_rnn.bptt.html").read_text()


def test_names_in_docstrings_are_links(html):
    text = (html / "api/tau_rnn.bptt.html").read_text(encoding="utf-8")
    for link in ("#tau_rnn.bptt.plain_backward", "tau_rnn.model.html#tau_rnn.model.forward"):
        assert f'href="{link}"' in text
    text = (html / "api/tau_rnn.taus.html").read_text(encoding="utf-8")
    generator = "https://numpy.org/doc/stable/reference/random/generator.html#numpy.random.Generator"
    assert f'href="{generator}"' in text
    assert "tau_rnn/taus.py.html#L-" in text  # what only the source shows
    text = (html / "api/tau_rnn.training.html").read_text(encoding="utf-8")
    assert re.search(r"<strong>params</strong></dt><dd><p><a .*Params</a> before training", text)
    pages = [p.read_text(encoding="utf-8") for p in html.glob("api/*.html")]
    assert "Alias for field" not in "".join(pages)
    assert len(pages) > 50 and not [page for page in pages if "<cite>" in page]


def test_no_link_within_the_site_is_dead(html):
    ids = {}
    for page in set(html.rglob("*.html")) - set(html.glob("_static/**/*")):
        ids[page] = set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8")))
    dead = []
    for page in ids:
        for link in set(re.findall(r'href="([^"]+)"', page.read_text(encoding="utf-8"))):
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link) or path.endswith((".css", ".js", ".png", ".svg")):
                continue
            there = (page.parent / path.partition("?")[0]).resolve() if path else page
            lost = anchor and anchor not in ids.get(there, ())
            if lost or not (there in ids or there.is_file()):
                dead.append(f"{page.relative_to(html)}: {link}")
    assert not dead


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_load_without_errors_and_do_not_scroll_sideways(html, visit, address, width):
    pages = [*chapter_pages(html), "index.html", "tutorials/glossary.html", "results.html",
             "validation/poster_claims.html", "validation/REPORT.html", "tutorials/cheatsheet.html",
             "api/tau_rnn.bptt.html", "explore/index.html",
             "source/tau_rnn/bptt.py.html"]  # fmt: skip
    page = visit(pages[0], width=width)
    wide = []
    for path in pages:
        page.goto(address + path)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wide.append(path)
    assert not wide


def test_a_page_is_whole_without_javascript(visit):
    page = visit(CHAPTER_3, java_script_enabled=False)
    assert page.locator(".katex-display .tag").count() >= 15
    assert "for t in (2, 1, 0):" in page.locator(".highlight-python").nth(2).inner_text()
    assert page.locator(".tau-buttons").count() == 0
    assert page.locator("article img").first.evaluate("i => i.complete && i.naturalWidth") > 100
    page.locator("details summary").first.click()
    assert page.locator("details[open] .highlight-python").count() == 1


def check_contrast(page, part):
    """Contrast, names and roles of a part of a page, in both themes."""
    from build import AXE, AXE_SHA512, npm_file

    page.evaluate(npm_file("axe-core", AXE, AXE_SHA512, "axe.min.js").decode())
    rules = {"runOnly": ["wcag2a", "wcag2aa"], "preload": False}
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(f"document.documentElement.dataset.theme === '{theme}'")
        found = page.evaluate("([part, rules]) => axe.run(part, rules)", [part, rules])
        wrong = [(v["id"], v["nodes"][0]["html"][:100]) for v in found["violations"]]
        assert not wrong, f"{page.url}, {theme}"
    page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("path", [CHAPTER_3, "index.html", "api/tau_rnn.bptt.html"])
def test_contrast_and_names_for_readers_of_the_screen(visit, path):
    check_contrast(visit(path), "article")


# Running


@pytest.mark.parametrize("chapter", ["00_five_minutes", "01_one_leaky_neuron", "03_bptt_by_hand"])
def test_every_block_runs_and_prints_what_the_text_shows(live, chapter):
    page = live(f"tutorials/{chapter}.html")
    last = page.locator(".tau-buttons", has=page.get_by_role("button", name="Run all above")).last
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    last.get_by_role("button", name="Run all above").click()
    finished(page)
    last.get_by_role("button", name=re.compile("^Run block")).click()
    finished(page)
    printed = page.evaluate(
        "cells.map(cell => [cell.output.dataset.state, "
        "[...cell.output.querySelectorAll('.tau-out')].map(e => e.textContent).join('')])"
    )
    text = (lint.TUTORIALS / f"{chapter}.md").read_text(encoding="utf-8")
    found = lint.blocks(text)
    shown = [
        (block, below.text if below.language == "text" else "")
        for block, below in zip(found, [*found[1:], lint.Block("", "", 0)])
        if block.language == "python"
    ]
    assert len(shown) == len(printed)
    for (block, expected), (state, output) in zip(shown, printed):
        assert state == "done", f"{block.line}: {output}"
        assert not lint.differences(output, expected), block.line
    if chapter == "01_one_leaky_neuron":
        figures = page.locator(".tau-output img").all()
        assert figures and all(f.evaluate("i => i.naturalWidth") > 100 for f in figures)


def test_the_marker_passes_a_right_backward_and_names_a_wrong_one(live):
    page = live(CHAPTER_3)
    editor, report = page.locator("#my-bptt"), page.locator(".tau-report")
    for width, beside in ((1600, True), (1280, True), (390, False)):
        page.set_viewport_size({"width": width, "height": 900})
        one, two = editor.bounding_box(), report.bounding_box()
        assert beside == (two["x"] >= one["x"] + one["width"]), width
        assert beside != (two["y"] >= one["y"] + one["height"]), width
    page.set_viewport_size({"width": 1280, "height": 900})
    assert "def backward(params, traj, dy):" in editor.inner_text()
    right = "all 7 gradients are right"
    for code, words, wrong in ((SLIP, "wrong sign", ["dtau"]), (RIGHT, right, [])):
        editor.fill(code)
        page.get_by_role("button", name="Mark it").click()
        finished(page)
        assert words in report.inner_text()
        assert report.locator(".tau-wrong th").all_inner_texts() == wrong
        assert len(wrong) == report.get_by_text("✗ wrong").count()
        check_contrast(page, ".tau-report")
    page.reload()
    assert editor.inner_text().strip() == RIGHT.strip()  # kept
    page.get_by_role("button", name="Start again").click()
    assert "Your turn" in editor.inner_text()


def test_an_answer_is_checked(live):
    page = live("tutorials/01_one_leaky_neuron.html")
    answer = page.locator(".tau-answer").first
    for text, words in (("check_1(0.5)", "Not yet."), ("check_1(0.1353)", "Right.")):
        answer.locator("pre").first.fill(text)
        answer.get_by_role("button", name="Check").click()
        finished(page)
        assert answer.locator(".tau-verdict").inner_text() == words


def test_work_is_loaded_late_shows_progress_and_can_be_stopped(live, html):
    page = live("tutorials/00_five_minutes.html")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_selector(".tau-intro")
    assert not [url for url in asked if "pyodide" in url or "/live/" in url]
    said = page.locator(".tau-intro").inner_text()
    size = {path.name: path.stat().st_size for path in (html / "_static/pyodide").iterdir()}
    first = sum(size[n] for n in size if re.match(r"pyodide\.(js|asm)|python_stdlib|numpy", n))
    scipy = sum(size[n] for n in size if re.match(r"scipy|openblas", n))
    rest = sum(size[n] for n in size if n.endswith(".whl") and not re.match("numpy|scipy", n))
    measured = [round(s / 1e6) for s in (first, scipy, rest)]
    assert measured == [int(n) for n in re.findall(r"(\d+) MB", said)]

    block = page.locator(".highlight-python pre").first
    block.fill("import itertools\nfor k in itertools.count():\n    print(k) if k < 3 else None")
    page.locator(".tau-run").first.click()
    page.locator(".tau-output", has_text="2").first.wait_for()
    assert "running" in page.locator(".tau-bar").inner_text()
    page.get_by_role("button", name="Stop").click()
    finished(page)
    assert page.locator(".tau-note").first.inner_text() == "stopped"
    page.get_by_role("button", name="Reset page").click()
    assert "import numpy" in block.inner_text()


def test_a_browser_that_cannot_switch_stacks_loads_everything_first(live, visit, html):
    """Firefox and Safari: Python cannot wait for a package in the middle of an import."""
    live("tutorials/00_five_minutes.html")  # skips where there is no Pyodide
    worker = (html / "_static" / "tau-worker.js").read_text(encoding="utf-8")
    without = "delete WebAssembly.Suspending; delete WebAssembly.promising;"
    page = visit("tutorials/00_five_minutes.html")
    page.route("**/tau-worker.js*", lambda route: route.fulfill(
        body=f"{without}\n{worker}", content_type="text/javascript"))  # fmt: skip
    block = page.locator(".highlight-python pre").first
    block.fill(
        "from pyodide.ffi import can_run_sync\nimport scipy.stats, matplotlib\n"
        "print(can_run_sync(), round(scipy.stats.norm.cdf(0.0), 3), matplotlib.__version__)"
    )
    page.locator(".tau-run").first.click()
    finished(page)
    assert page.locator(".tau-output").first.inner_text().split() == ["False", "0.5", "3.8.4"]


def test_the_keyboard_suffices(live):
    page = live("tutorials/01_one_leaky_neuron.html")
    first = page.locator(".highlight-python pre").first
    first.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("for k in (1, 2):\nprint(k)")  # Enter indents after a colon
    page.keyboard.press("Shift+Enter")
    finished(page)
    assert page.locator(".tau-output").first.inner_text().split() == ["1", "2"]
    page.keyboard.press("Tab")  # the editor is no trap
    assert page.evaluate("document.activeElement.className") == "tau-run"
    page.keyboard.press("Enter")
    finished(page)


def test_there_are_no_processes_and_gradients_are_exact(live):
    page = live("tutorials/00_five_minutes.html")
    block = page.locator(".highlight-python pre").first
    block.fill(
        "import tau_rnn\nfrom tau_rnn import run\n"
        "print(tau_rnn.check_backward(tau_rnn.backward, rtol=1e-10).ok)\n"
        "run.main(['--units', '4', '--steps', '2', '--seeds', '2', '--workers', '2'])"
    )
    page.locator(".tau-run").first.click()
    finished(page)
    said = page.locator(".tau-output").first.inner_text()
    assert "True" in said and "there are no processes here, got 2" in said


def test_the_pinned_python_is_the_one_that_is_served(html):
    from build import PYODIDE

    lock = html / "_static" / "pyodide" / "pyodide-lock.json"
    if not lock.exists():
        pytest.skip("the site was built without Pyodide")
    assert json.loads(lock.read_text(encoding="utf-8"))["info"]["version"] == PYODIDE
