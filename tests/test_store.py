"""The store: a run comes back as it was written, and nothing else is taken for it."""

import io
import json
import os
import shutil
import stat
import zipfile
from functools import cache

import numpy as np
import pytest
from stored import TINY, contents, read_arrays, same, write_json

from tau_rnn.experiment import RunConfig, RunResult, iterate, load_run, store, summarise_run
from tau_rnn.experiment.files import StoreError, array_bytes, json_bytes, sha256
from tau_rnn.experiment.sweeps import sweep
from tau_rnn.experiment.unfinished import save_run, state_bytes
from tau_rnn.model import Params

pytestmark = pytest.mark.usefixtures("few_measures")


def write(folder, config) -> RunResult:
    """Compute and store a run as the command line does, with the state that it ends in."""
    *_, state = iterate(config)
    result = summarise_run(config, state, parts=())
    folder.mkdir(parents=True)
    store.write_run(folder, result, state_bytes(config, state))
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two stored runs of different seeds, and the result of the first."""
    root = tmp_path_factory.mktemp("runs")
    result = write(root / "run", TINY)
    write(root / "other", TINY.replace(seed=1))
    return root / "run", root / "other", result


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the first, to be damaged."""
    shutil.copytree(made[0], tmp_path / "run")
    return tmp_path / "run"


# --- what is written -----------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was_saved(made):
    stored, _, result = made
    back = load_run(stored)
    assert same(result, back) and back.metrics == result.metrics
    assert load_run(str(stored)).config == TINY
    for a, b in zip((*result.initial, *result.final), (*back.initial, *back.final)):
        assert a.dtype == b.dtype and a.shape == b.shape


def test_the_files_of_a_run(made):
    stored, _, result = made
    assert sorted(p.name for p in stored.iterdir()) == [
        "config.json", "final.npz", "history.csv", "initial.npz", "metrics.json", "state.npz",
        "units.npz",
    ]  # fmt: skip
    config = json.loads((stored / "config.json").read_text())
    assert config["settings"] == TINY.to_json() and config["key"] == TINY.key
    assert {"tau_rnn", "python", "numpy", "scipy"} <= config["versions"].keys()
    with np.load(stored / "final.npz", allow_pickle=False) as file:
        assert sorted(file.files) == sorted(Params._fields)
    header = (stored / "history.csv").read_text().splitlines()[0].split(",")
    assert header[:4] == ["step", "train_loss", "loss", "accuracy"]
    metrics = json.loads((stored / "metrics.json").read_text())
    files = metrics.pop("files")
    assert metrics == json.loads(json_bytes(result.metrics))
    for path in stored.iterdir():
        if path.name != "metrics.json":
            content = path.read_bytes()
            assert files[path.name] == {"bytes": len(content), "sha256": sha256(content)}


def test_metrics_may_be_laid_out_anew(folder):
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert load_run(folder).config == TINY


WRONG = [
    ("metrics.json: seconds", lambda r: {"metrics": {**r.metrics, "seconds": float("nan")}}),
    ("metrics.json: loss", lambda r: {"metrics": {**r.metrics, "loss": None}}),
    ("metrics.json: accuracy", lambda r: {"metrics": {**r.metrics, "accuracy": "good"}}),
    ("metrics.json: accuracy", lambda r: {"metrics": {**r.metrics, "accuracy": [0.5]}}),
    ("metrics.json: reached", lambda r: {"metrics": {**r.metrics, "reached": True}}),
    ("the steps and the loss", lambda r: {"metrics": {**r.metrics, "steps": 9}}),
    ("the steps and the loss", lambda r: {"metrics": {**r.metrics, "loss": 0.0}}),
    ("history.csv", lambda r: {"history": r.history[:-1]}),
    ("history.csv", lambda r: {"history": r.history[::-1]}),
    ("history.csv", lambda r: {"history": []}),
    ("history.csv: lacks grad_norm",
     lambda r: {"history": [{k: v for k, v in row.items() if k != "grad_norm"}
                            for row in r.history]}),
    ("history.csv: loss", lambda r: {"history": [{**row, "loss": np.inf} for row in r.history]}),
    ("units.npz: weight_change", lambda r: {"units": {**r.units, "weight_change": np.zeros(3)}}),
    ("units.npz: flags", lambda r: {"units": {**r.units, "flags": np.zeros(8, bool)}}),
    ("final.npz: not the shapes",
     lambda r: {"final": r.final._replace(W_in=np.zeros((8, 9), np.float32))}),
    ("W_out and b_out", lambda r: {"final": r.final._replace(b_out=np.zeros(9, np.float32))}),
    ("tau", lambda r: {"initial": r.initial._replace(tau=-r.initial.tau)}),
    *((f"{field}: must be float32", lambda r, field=field: {
        "initial": r.initial._replace(**{field: getattr(r.initial, field).astype(float)})})
      for field in Params._fields),
    *((f"{field}: every value must be finite", lambda r, field=field: {
        "final": r.final._replace(**{field: getattr(r.final, field) * np.nan})})
      for field in Params._fields),
    *((f"{field}: must have shape", lambda r, field=field: {
        "final": r.final._replace(**{field: getattr(r.final, field)[:0]})})
      for field in Params._fields),
]  # fmt: skip


@pytest.mark.parametrize("message, change", WRONG, ids=[m for m, _ in WRONG])
def test_what_is_no_result_of_its_configuration_is_neither_written_nor_read(
    made, folder, tmp_path, monkeypatch, message, change
):
    wrong = made[2]._replace(**change(made[2]))
    with pytest.raises(ValueError, match=message):
        save_run(tmp_path / "wrong", wrong)
    assert not (tmp_path / "wrong").exists()
    # Nor is it read where its digests are right.
    with monkeypatch.context() as patched:
        patched.setattr(store, "_check", lambda result: None)
        try:
            store.write_run(folder, wrong)
        except IndexError:  # a history of no rows cannot be written at all
            return
    with pytest.raises(StoreError, match=message):
        load_run(folder)


# --- names ---------------------------------------------------------------------------------------


def test_a_run_is_found_by_its_key_under_either_name(made, tmp_path):
    plain, keyed = store.places(tmp_path, TINY)
    assert plain == tmp_path / "multi_timescale-normal-seed0"
    assert keyed == tmp_path / f"multi_timescale-normal-seed0-{TINY.key}"
    assert store.find(tmp_path, TINY) is None
    shutil.copytree(made[0], keyed)
    assert store.find(tmp_path, TINY) == keyed
    shutil.copytree(made[0], plain)
    assert store.find(tmp_path, TINY) == plain
    assert store.find(tmp_path, TINY.replace(lr=0.5)) is None


def test_the_longest_of_the_runs_with_fewer_steps_is_found(made, tmp_path):
    content = json.loads((made[0] / "config.json").read_text())

    def put(name, **change):
        config = TINY.replace(**change)
        (tmp_path / name).mkdir()
        settings = {"key": config.key, "settings": config.to_json()}
        write_json(tmp_path / name / "config.json", {**content, **settings})

    put("as long")
    put("longer", steps=TINY.steps + 1)
    put("other", steps=9, seed=1)
    put("run.damaged-1", steps=9)
    assert store.shorter_run(tmp_path, TINY) is None
    put("b", steps=4)
    put("a", steps=8)
    assert store.shorter_run(tmp_path, TINY) == (tmp_path / "a", 8)


@pytest.mark.parametrize(("last", "length"), [("0.125", 40), ("0.1875", 41)])
def test_a_name_of_forty_characters_is_kept_whole(last, length):
    config = TINY.replace(dist=f"values:{7 * '0.5,'}{last}", units=8)
    assert len(config.dist) == length
    assert (config.dist.replace(":", "_") in store.run_name(config)) == (length == 40)


@pytest.mark.parametrize("dist", ["normal:mean=1,sd=0.3", "values:" + ",".join(["0.5"] * 50)])
def test_names_of_runs_suit_file_systems(dist):
    name = store.run_name(TINY.replace(dist=dist, units=50, seed=2**63 - 1))
    assert len(name) < 120 and not set(name) & set('<>:"/\\|?* ')
    assert name.startswith("multi_timescale-") and f"-seed{2**63 - 1}" in name


# --- damage --------------------------------------------------------------------------------------


def flip(content: bytes, k: int) -> bytes:
    """One byte is changed, anywhere."""
    rng = np.random.default_rng([k, len(content)])
    place, bit = rng.integers(len(content)), rng.integers(1, 256)
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


def npz_with_header(shape: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(118) + "\n"
        member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
        for name in Params._fields:
            archive.writestr(f"{name}.npy", member + bytes(8))
    return file.getvalue()


@cache  # it takes half a second to make
def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W.npy", bytes(2**27))
    return file.getvalue()


class Trap:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


#: name -> what becomes of the bytes of a file
BYTES = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "a byte less": lambda data: data[:-1],
    "a byte more": lambda data: data + b"\n",
    "twice": lambda data: data * 2,
    "zeros": lambda data: bytes(len(data)),
    "noise": lambda data: np.random.default_rng(0).bytes(len(data)),
    **{f"flip {k}": (lambda data, k=k: flip(data, k)) for k in range(8)},
    "[1, 2]": lambda data: b"[1, 2]\n",
    "deep": lambda data: b"[" * 100_000,
    "long number": lambda data: b'{"files": ' + b"9" * 5000 + b"}",
    "nan": lambda data: b'{"files": NaN, "loss": NaN}',
    "texts": lambda data: array_bytes(dict.fromkeys(Params._fields, np.array("text"))),
    "huge header": lambda data: npz_with_header("(10000000, 10000000)"),
    "negative header": lambda data: npz_with_header("(-1, -1)"),
    "bomb": lambda data: bomb(),
    "pickle": lambda data: array_bytes({"W": np.array([Trap()], object)}),
}


def link_loop(path):
    path.unlink()
    path.symlink_to(path.name)


def link_elsewhere(path):
    other = path.parent.with_name("elsewhere")
    other.mkdir()
    path.rename(other / path.name)
    path.symlink_to(other / path.name)


def link_to_device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def folder_there(path):
    path.unlink()
    path.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def huge(path):
    with open(path, "r+b") as file:
        file.truncate(2**40)


KINDS = [os.unlink, folder_there]
if os.name == "posix":
    KINDS += [link_loop, link_elsewhere, link_to_device, pipe, huge]
FILES = ("config.json", "metrics.json", "history.csv", "initial.npz", "final.npz", "units.npz",
         "state.npz")  # fmt: skip
ELSE = [("other run", None), *((f"as {name}", name) for name in FILES)]


def check_refused(folder, name, result):
    """The run is refused by the name of the file, or comes back as it was written."""
    try:
        back = load_run(folder)
    except StoreError as error:
        assert str(error).startswith(str(folder)) and len(str(error)) < 700
        assert name in str(error) or "metrics.json" in str(error)
        return True
    assert same(back, result) and back.metrics == result.metrics
    return False


#: One of each kind by default: the other two are arrays as those of final.npz are.
ALIKE = ("initial.npz", "units.npz")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ALIKE else ()) for n in FILES]
)
def test_a_file_of_a_finished_run_that_is_damaged_is_refused_by_name(
    made, tmp_path, name, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    stored, other, result = made
    whole = (stored / name).read_bytes()
    damages = 0
    folder = tmp_path / "run"
    shutil.copytree(stored, folder)

    def check(what, harmless=False):
        nonlocal damages
        damages += 1
        refused = check_refused(folder, name, result)
        assert refused or harmless, what
        if (tmp_path / "elsewhere").exists():
            shutil.rmtree(tmp_path / "elsewhere")
        if (folder / name).is_dir():
            (folder / name).rmdir()
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(whole)

    for what, change in BYTES.items():
        (folder / name).write_bytes(change(whole))
        # White space in metrics.json has no meaning, and it may be what is changed.
        check(what, harmless=name == "metrics.json" and what.startswith(("flip", "a byte")))
    for kind in KINDS:
        kind(folder / name)
        check(kind.__name__)
    for what, content in ELSE:
        if content != name:
            source = stored / content if content else other / name
            (folder / name).write_bytes(source.read_bytes())
            check(what)
    assert damages >= 30
    assert check_refused(folder, name, result) is False and not (tmp_path / "sprung").exists()


def test_settings_edited_under_the_old_key_are_refused(folder):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["settings"]["gain"] = 0.9
    write_json(path, content)
    with pytest.raises(StoreError, match=r"config\.json: the settings are not those of its key"):
        load_run(folder)
    content = {**content, "key": RunConfig.from_json(content["settings"]).key}
    write_json(path, content)
    with pytest.raises(StoreError, match=r"config\.json: not as it was written"):
        load_run(folder)


def test_numbers_edited_by_hand_are_refused(folder):
    for name, old, new in (
        ("metrics.json", '"accuracy": 0', '"accuracy": 1'),
        ("metrics.json", '"seconds": ', '"seconds": null, "was": '),
        ("history.csv", "\n4,", "\n5,"),
        ("history.csv", "loss", "lost"),
    ):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(StoreError, match=rf"{name}: not as it was written"):
            load_run(folder)
        path.write_text(text)
    assert load_run(folder).config == TINY


def revouch(folder):
    """Let metrics.json vouch for the files as they are now."""
    metrics = json.loads((folder / "metrics.json").read_text())
    files = metrics.pop("files")
    for name in files:
        if name != "metrics.json":
            content = (folder / name).read_bytes()
            files[name] = {"bytes": len(content), "sha256": sha256(content)}
    files["metrics.json"] = {"sha256": store._own_digest(metrics, files)}
    write_json(folder / "metrics.json", {**metrics, "files": files})


def test_a_configuration_of_another_version_is_named(folder):
    content = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"format_version": 1}, r"config\.json: format version 1, .* 2; compute the run again"),
        ({"experiment_version": 0}, r"config\.json: version of the experiment 0"),
        ({"format": "x"}, r"config\.json: not the configuration of a run"),
        ({"settings": {"unit": 3}}, "unknown field 'unit'"),
        ({"settings": {"units": 0}}, "units"),
        ({"settings": 3}, r"config\.json"),
        ({"settings": {**content["settings"], "seed": 1}}, "not those of its key"),
        ({"settings": {**content["settings"], "lr": "0.02"}}, "not those of its key"),
    ):
        write_json(folder / "config.json", {**content, **change})
        revouch(folder)
        with pytest.raises(StoreError, match=message):
            load_run(folder)


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("text", ["file:{}", " FILE : {}", "file:{}.npy"])
def test_reading_a_result_opens_nothing_but_the_result(folder, tmp_path, text):
    pipe = tmp_path / ("taus.npy" if text.endswith("npy") else "taus")
    os.mkfifo(pipe)  # opening it would block for ever
    content = json.loads((folder / "config.json").read_text())
    content["settings"]["dist"] = text.format(tmp_path / "taus")
    write_json(folder / "config.json", content)
    revouch(folder)
    with pytest.raises(StoreError, match=r"dist: .*values"):
        load_run(folder)
    with pytest.raises(ValueError, match=r"dist: .*values"):
        RunConfig.from_json(content["settings"])


def test_metrics_that_vouch_for_other_files_are_refused(folder):
    whole = json.loads((folder / "metrics.json").read_text())
    good = {k: v for k, v in whole["files"].items() if k != "metrics.json"}
    metrics = {k: v for k, v in whole.items() if k != "files"}
    for files in (
        {}, {**good, "../../etc/passwd": good["units.npz"]},
        {k: v for k, v in good.items() if k != "final.npz"},
        {**good, "units.npz": {}}, {**good, "units.npz": {"bytes": [], "sha256": 3}},
        {**good, "units.npz": 3},
    ):  # fmt: skip
        own = {"sha256": store._own_digest(metrics, files)}
        write_json(folder / "metrics.json", {**metrics, "files": {**files, "metrics.json": own}})
        with pytest.raises(StoreError, match=r"metrics\.json: "):
            load_run(folder)
    for other in ([], 3, None, {"files": 3}, metrics, {**metrics, "files": good}):
        write_json(folder / "metrics.json", other)
        with pytest.raises(StoreError, match=r"metrics\.json: not the metrics of a run"):
            load_run(folder)


def test_more_than_the_seven_fields_are_refused(folder, made):
    arrays = read_arrays(folder / "final.npz")
    (folder / "final.npz").write_bytes(array_bytes({**arrays, "more": arrays["b"]}))
    revouch(folder)
    with pytest.raises(StoreError, match=r"final\.npz: holds more than the fields"):
        load_run(folder)


def test_what_is_missing_is_named(folder):
    (folder / "units.npz").unlink()
    with pytest.raises(StoreError, match=r"the stored run is not whole \(units.npz is missing\)"):
        load_run(folder)
    (folder / "config.json").unlink()
    with pytest.raises(StoreError, match=r"no run is stored here \(config.json is missing\)"):
        load_run(folder)


@pytest.mark.parametrize("path", ["", "none", "no\0name", "x" * 300, "/dev/null", 3, None])
def test_where_there_is_no_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError):
        load_run(path)


@pytest.mark.parametrize("name", FILES)
def test_a_sweep_sets_a_damaged_run_aside_and_goes_on(tmp_path, name, made):
    result = made[2]
    configs = [TINY, TINY.replace(seed=1)]
    place = store.places(tmp_path, TINY)[1]
    shutil.copytree(made[0], place)
    shutil.copytree(made[1], store.places(tmp_path, configs[1])[1])
    (place / name).write_bytes(b"{}")
    before = contents(place)
    done = sweep(configs, store=tmp_path)
    assert (done.computed, done.reused) == (1, 1)
    assert [contents(p) for p in done.set_aside] == [before]
    again = done.load()[0]
    assert again.final.W.tobytes() == result.final.W.tobytes()


def test_a_file_that_cannot_be_read_is_named(folder, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(StoreError, match=r"config\.json: cannot be read \(Permission denied\)"):
        load_run(folder)


def test_files_have_the_permissions_of_any_other(folder):
    mask = os.umask(0)
    os.umask(mask)
    if os.name == "posix":
        assert stat.S_IMODE((folder / "metrics.json").stat().st_mode) == 0o666 & ~mask
