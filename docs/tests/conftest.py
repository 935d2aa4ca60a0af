"""The site, served as a reader meets it, and a browser to read it with.

    python docs/pyodide_folder.py FOLDER && python docs/build.py --pyodide FOLDER
    python -m pytest docs/tests

What is missing skips these tests, with a reason: the site, Pyodide in it, playwright, or Chromium.
"""

import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent
HTML = DOCS / "_build" / "html"
sys.path[:0] = [str(DOCS), str(DOCS.parent / "tests")]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def html():
    if not (HTML / "index.html").exists():
        pytest.skip("the site is not built: make site")
    return HTML


@pytest.fixture(scope="session")
def address(html):
    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def watched(context, address, path):
    """A page, with the list of its errors."""
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.errors = errors = []
    page.on("pageerror", lambda error: errors.append(f"{page.url}: {error}"))
    page.on("console", lambda m: m.type == "error" and errors.append(f"{page.url}: {m.text}"))
    page.on("response", lambda r: r.status >= 400 and errors.append(f"{r.status} {r.url}"))
    page.goto(address + path)
    return page


@pytest.fixture
def visit(browser, address):
    """Opens a page of the site; at the end, no page may have had an error."""
    contexts, pages = [], []

    def open_page(path, *, width=1280, **settings):
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 900}, **settings)
        )
        pages.append(watched(contexts[-1], address, path))
        return pages[-1]

    yield open_page
    for context in contexts:
        context.close()
    assert not [error for page in pages for error in page.errors]


@pytest.fixture(scope="module")
def opened(browser, address):
    """The chapters in which code runs, each opened once: Python takes its time to start."""
    pages, context = {}, browser.new_context(viewport={"width": 1280, "height": 900})
    yield lambda path: pages.get(path) or pages.setdefault(path, watched(context, address, path))
    context.close()


@pytest.fixture
def live(html, opened):
    """Opens a chapter in which code runs without network, as it was at first."""
    if not (html / "_static" / "pyodide" / "pyodide.js").exists():
        pytest.skip("the site was built without Pyodide: docs/build.py --pyodide FOLDER")
    used = []

    def open_page(path):
        used.append(opened(path))
        used[-1].evaluate("reset()")
        used[-1].evaluate("delete document.body.dataset.tau")
        return used[-1]

    yield open_page
    assert not [error for page in used for error in page.errors]
