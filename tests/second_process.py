"""The tests in two processes, for the second core: `pytest -n 2` without pytest-xdist.

When the tests are collected, this process is copied. It takes tests from the front of the list, its
copy from the back, until they meet. The copy stores what pytest says of its tests, a file of tests
at a time, and this process shows it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from itertools import chain

import pytest


def second_core(config) -> bool:
    """Whether there is one, and nobody who traces this process or types into it."""
    option = config.getoption
    return (
        sys.platform == "linux"  # elsewhere there are no copies, or libraries that break in them
        and len(os.sched_getaffinity(0)) > 1
        and option("capture") != "no"
        and not (option("usepdb") or option("trace") or option("collectonly"))
        and option("dist", "no") == "no"
        and "PYTEST_XDIST_WORKER" not in os.environ
        and "coverage" not in sys.modules
        and sys.gettrace() is None
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    if session.testsfailed or len(session.items) < 2 or not second_core(session.config):
        return None  # as pytest does it
    stored = Stored(session.config)
    left, right = os.pipe()  # a byte in it is the right to run one more test
    os.write(right, bytes(len(session.items)))
    os.close(right)
    session.config.get_terminal_writer().flush()
    copy = os.fork()
    if copy == 0:
        os._exit(run_copy(session, left, stored))
    try:
        for item, following in pairs(session.items, left):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            stored.shown.add(item.nodeid)
            stop_if_asked(session)
            if following is None or following.path != item.path:
                stored.show()
        status = os.waitpid(copy, 0)[1]
    except BaseException:
        os.kill(copy, signal.SIGINT)
        os.waitpid(copy, 0)
        raise
    stored.show()
    missing = {item.nodeid for item in session.items} - stored.shown
    if status or missing:
        status = os.waitstatus_to_exitcode(status)
        raise RuntimeError(f"second process: exit status {status}, {len(missing)} tests not run")
    stop_if_asked(session)
    return True


def pairs(items, left):
    """Each test that this process is to run, as long as there are any left, and the next one."""
    items = (item for item in items if os.read(left, 1))
    item = next(items, None)
    while item is not None:
        following = next(items, None)
        yield item, following
        item = following


def stop_if_asked(session):
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


def run_copy(session, left, stored) -> int:
    """What the copy of the process does: tests from the back. Returns its exit status."""
    plugins = session.config.pluginmanager
    capture = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()  # its files are those of the first process
    capture.start_global_capturing()
    plugins.unregister(name="terminalreporter")
    plugins.register(stored)
    try:
        for item, following in pairs(session.items[::-1], left):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            stored.end_of_test()
            if following is None or following.path != item.path:
                stored.end_of_file()
    except KeyboardInterrupt:
        return 1
    except BaseException:
        capture.stop_global_capturing()
        traceback.print_exc()
        return 1
    return 0


class Stored:
    """What pytest says of tests in the copy: it stores it, and the first process shows it."""

    def __init__(self, config):
        self.config, self.files = config, 0
        self.tests, self.told = [], []  # of this file, of this test
        self.shown = set()  # in the first process, with its own
        self.folder = config._tmp_path_factory.mktemp("second_process")

    def pytest_runtest_logstart(self, nodeid, location):
        self.told.append(("pytest_runtest_logstart", {"nodeid": nodeid, "location": location}))

    def pytest_runtest_logfinish(self, nodeid, location):
        self.told.append(("pytest_runtest_logfinish", {"nodeid": nodeid, "location": location}))

    def pytest_runtest_logreport(self, report):
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.told.append(("pytest_runtest_logreport", {"report": data}))

    def pytest_warning_recorded(self, warning_message, when, nodeid, location):
        of = {"warning_message": warning_message, "when": when, "nodeid": nodeid}
        self.told.append(("pytest_warning_recorded", {**of, "location": location}))

    def end_of_test(self):
        self.tests.insert(0, self.told)
        self.told = []

    def end_of_file(self):
        part = self.folder / "part"
        part.write_bytes(pickle.dumps([*chain(*self.tests)]))
        part.rename(self.folder / str(self.files))
        self.files += 1
        self.tests = []

    def show(self):
        """Say here what was stored since this was asked last."""
        hook = self.config.hook
        while (path := self.folder / str(self.files)).exists():
            self.files += 1
            for name, told in pickle.loads(path.read_bytes()):
                if "report" in told:
                    told["report"] = hook.pytest_report_from_serializable(
                        config=self.config, data=told["report"]
                    )
                if name == "pytest_warning_recorded":
                    hook.pytest_warning_recorded.call_historic(kwargs=told)
                else:
                    getattr(hook, name)(**told)
                if name == "pytest_runtest_logfinish":
                    self.shown.add(told["nodeid"])
