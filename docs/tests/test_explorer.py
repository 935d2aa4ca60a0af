"""The explorer in a browser: sliders move what is drawn, and Python computed what is drawn."""

import re

import numpy as np
import pytest

from tau_rnn.explore import Sliders, explore

PAGE = "explore/index.html"
BOX = {"left": 50, "right": 370, "top": 40, "bottom": 240}  # as in explore.js


def moves(page):
    return int(page.evaluate("document.getElementById('explorer').dataset.moves ?? 0"))


def drawn_after(page, act):
    """Do something, and wait until a new view is drawn."""
    before = moves(page)
    act()
    page.wait_for_function(f"document.getElementById('explorer').dataset.moves > {before}")


@pytest.fixture
def page(html, opened):
    """The explorer with its sliders where they start; Python is started once for all tests."""
    if not (html / "_static" / "pyodide" / "pyodide.js").exists():
        pytest.skip("the site was built without Pyodide: docs/build.py --pyodide FOLDER")
    page = opened(PAGE)
    page.set_viewport_size({"width": 1280, "height": 900})
    start = page.get_by_role("button", name="Start the sliders")
    if start.is_visible():
        drawn_after(page, start.click)
    else:
        again = "f => { f.reset(); f.dispatchEvent(new Event('input')); }"
        drawn_after(page, lambda: page.locator(".explorer-controls").evaluate(again))
    yield page
    assert not page.errors


def points(page, panel, selector):
    """Centres of the circles of a panel, in its own units."""
    found = page.eval_on_selector_all(
        f"svg[data-panel={panel}] {selector}",
        "all => all.map(c => [Number(c.getAttribute('cx')), Number(c.getAttribute('cy'))])",
    )
    return np.array(found)


def curve(page, panel, k):
    path = page.locator(f"svg[data-panel={panel}] g path.line").nth(k).get_attribute("d")
    return np.array([[float(v) for v in pair.split()] for pair in re.split("[ML]", path)[1:]])


def places(values, limits, ends):
    (a, b), (start, end) = limits, ends
    return start + (np.asarray(values) - a) / (b - a) * (end - start)


def test_the_page_says_what_it_loads_and_loads_nothing_before(visit):
    page = visit(PAGE)
    loaded = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
    assert not [name for name in loaded if "pyodide" in name or "/live/" in name]
    assert "17 MB" in page.inner_text(".explorer-start")
    assert page.locator(".explorer-panels img").evaluate("i => i.complete && i.naturalWidth") > 500


def test_the_panels_draw_what_python_computes(page):
    view = explore(Sliders())
    re_, im = view.panels["eigenvalues"].xlim, view.panels["eigenvalues"].ylim
    drawn = points(page, "eigenvalues", "circle")
    x = places(view.eigenvalues.real, re_, (BOX["left"], BOX["right"]))
    y = places(view.eigenvalues.imag, im, (BOX["bottom"], BOX["top"]))
    order = [np.lexsort(np.round(p, 3).T) for p in (drawn, np.stack([x, y], axis=1))]
    # The browser's LAPACK gives the same eigenvalues to rounding; a pixel is 1.
    np.testing.assert_allclose(drawn[order[0]], np.stack([x, y], axis=1)[order[1]], atol=0.01)
    for k in range(3):
        panel, line = view.panels["autocorrelation"], curve(page, "autocorrelation", k)
        y = places(view.autocorrelation[:, k], panel.ylim, (BOX["bottom"], BOX["top"]))
        np.testing.assert_allclose(line[:, 1], y, atol=0.06)  # written with one decimal
        panel, line = view.panels["adjoint"], curve(page, "adjoint", k)
        y = places(np.log(view.adjoint[:, k]), np.log(panel.ylim), (BOX["bottom"], BOX["top"]))
        np.testing.assert_allclose(line[:, 1], y, atol=0.06)
    for name, panel in view.panels.items():
        words = page.locator(f"svg[data-panel={name}]").text_content()
        assert all(text in words for text in (panel.title, panel.note, panel.x, panel.y))


def test_the_keyboard_moves_every_slider_and_each_moves_the_drawing(page):
    for name in ("width", "gain", "delay", "dt"):
        slider = page.locator(f"[name={name}]")
        label, before = slider.locator(".."), curve(page, "adjoint", 0)
        shown, value = label.locator("output").inner_text(), float(slider.input_value())
        slider.focus()
        drawn_after(page, lambda: page.keyboard.press("ArrowLeft"))
        after = curve(page, "adjoint", 0)
        assert float(slider.input_value()) < value
        assert label.locator("output").inner_text() != shown
        assert before.shape != after.shape or not np.allclose(before, after)
    for name, value in (("dist", "bimodal"), ("dynamics", "continuous")):
        before = points(page, "eigenvalues", "circle")
        choice = page.locator(f"[name={name}]")
        drawn_after(page, lambda choice=choice, value=value: choice.select_option(value))
        assert not np.allclose(before, points(page, "eigenvalues", "circle"))


def test_a_phone_reads_it_without_scrolling_sideways(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    widths = page.eval_on_selector_all(
        ".explorer-panels svg", "all => all.map(s => s.getBoundingClientRect().width)"
    )
    assert len(widths) == 5 and min(widths) > 300
    page.evaluate("document.querySelector('svg[data-panel=effective]').scrollIntoView()")
    assert (
        page.locator("[name=gain]").evaluate("e => e.getBoundingClientRect().top") > 0
    )  # in sight


def test_the_page_is_whole_without_javascript(visit):
    page = visit(PAGE, java_script_enabled=False)
    assert page.locator(".explorer-panels img").is_visible()
    assert not page.locator(".explorer-controls").is_visible()
    assert not page.get_by_role("button", name="Start the sliders").is_visible()
