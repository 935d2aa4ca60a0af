"""What is shipped: one version, an sdist that can test itself, and a command of its own."""

import configparser
import re
from pathlib import Path

import pytest
import typed_user

import tau_rnn

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def metadata():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_the_version_stands_once(metadata):
    assert metadata["metadata"]["version"] == "attr: tau_rnn.__version__"
    version = re.escape(tau_rnn.__version__)
    assert re.search(rf"^version: {version}$", (ROOT / "CITATION.cff").read_text(), re.M)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest and newest[1] == tau_rnn.__version__


def test_the_command_of_the_package_is_the_door(metadata):
    name, _, target = metadata["options.entry_points"]["console_scripts"].partition("=")
    module, _, function = target.strip().partition(":")
    assert (name.strip(), module) == ("tau-rnn", "tau_rnn.run")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_the_oldest_python_is_said_once_more_only(metadata):
    oldest = metadata["options"]["python_requires"].removeprefix(">=")
    classifiers = metadata["metadata"]["classifiers"]
    versions = re.findall(r"Python :: (3\.\d+)$", classifiers, re.M)
    assert versions[0] == oldest and f"Python {oldest} or newer" in (ROOT / "README.md").read_text()
    assert metadata["mypy"]["python_version"] == oldest


@pytest.mark.parametrize("folder", ["tests", "tutorials", "validation", "benchmarks", "docs"])
def test_an_sdist_has_what_its_tests_need(folder):
    assert f"graft {folder}" in (ROOT / "MANIFEST.in").read_text().splitlines()


def test_the_oldest_versions_are_those_that_are_promised(metadata):
    promised = metadata["options"]["install_requires"] + metadata["options.extras_require"]["test"]
    pinned = (ROOT / "tests" / "oldest.txt").read_text()
    for name, version in re.findall(r"^([a-z]+)>=([\d.]+)$", promised, re.M):
        found = re.search(rf"^{name}==([\d.]+)$", pinned, re.M)
        assert found and f"{found[1]}.".startswith(f"{version}."), name


def test_the_script_that_is_checked_strictly_runs(tmp_path, capsys, few_measures):
    assert typed_user.main([str(tmp_path / "store")]) == 0
    assert capsys.readouterr().out == "True (20,) (3, 2) True ['accuracy', 'loss']\n"
