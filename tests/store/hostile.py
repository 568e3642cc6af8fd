"""Hostile files, tried in a process of its own that watches what Python does meanwhile.

Run as a program it prints, as JSON, by name of the file: how it was refused, and every event of
Python's audit hooks that would mean that foreign code was looked up, compiled or run.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import pickle
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from spark_pseudolabel.config import load_config
from spark_pseudolabel.errors import PseudoLabelError, StoredStateError
from spark_pseudolabel.store import artifact
from spark_pseudolabel.store.artifact import ModelBytes, dump_model, load_model
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.manifest import canonical_json, sha256
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.verify import verify_output
from tests.torture.workload import IDENTITY, INPUTS, Ways, work

# Whatever the package's own code has no reason to do while it refuses something.
WATCHED = (
    "code.__new__",
    "compile",
    "ctypes.",
    "exec",
    "marshal.",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.remove",
    "os.rename",
    "os.symlink",
    "os.system",
    "pickle.find_class",
    "shutil.",
    "socket.",
    "subprocess.Popen",
    "webbrowser.",
)
EVIL = "evil_module_of_the_tests"
_LIE = 5 * 2**20

Try = Callable[[Path], object]


class Gadget:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('unpickled')",)


# Models whose sha256 and types a forged manifest calls right.


def _model(data: bytes, trusted: tuple[str, ...] = ()) -> Try:
    return lambda out: load_model(data, hashlib.sha256(data).hexdigest(), trusted)


def _archive(schema: Any, members: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        archive.writestr("schema.json", text)
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _node(loader: str, path: str, **fields: Any) -> dict[str, Any]:
    module, _, name = path.rpartition(".")
    return {
        "__class__": name,
        "__module__": module,
        "__loader__": loader,
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.16.0",
        **fields,
    }


def _function(path: str) -> dict[str, Any]:
    module, _, name = path.rpartition(".")
    return _node("FunctionNode", path, content={"module_path": module, "function": name})


def _object(path: str) -> dict[str, Any]:
    return _node("ObjectNode", path, content=None)


def _partial(path: str) -> dict[str, Any]:
    def empty(kind: str, number: int, **fields: Any) -> dict[str, Any]:
        loader = f"{kind.capitalize()}Node"
        return _node(loader, f"builtins.{kind}", **{"__id__": number, "content": [], **fields})

    keys = empty("list", 4)
    content = {
        "func": _function(path) | {"__id__": 2},
        "args": empty("tuple", 3),
        "kwds": empty("dict", 5, key_types=keys, content={}),
        "namespace": empty("dict", 6, key_types=keys, content={}),
    }
    return _node("PartialNode", "functools.partial", content=content)


def _pickled_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Gadget()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _joblib() -> bytes:
    buffer = io.BytesIO()
    joblib.dump({"model": Gadget()}, buffer)
    return buffer.getvalue()


def _with_array(stored: ModelBytes, content: bytes, name: str | None = None) -> bytes:
    """Put other bytes, or another member's name, behind the only array of a stored one."""
    with zipfile.ZipFile(io.BytesIO(stored.data)) as archive:
        schema = json.loads(archive.read("schema.json"))
    member = name or schema["file"]
    return _archive({**schema, "file": member}, {member: content})


def _lying_bomb() -> bytes:
    honest = _archive(" " * _LIE)
    return honest.replace(_LIE.to_bytes(4, "little"), (10).to_bytes(4, "little"))


def _swapped(out: Path) -> object:
    """Put a crafted tree in the place of a committed model."""
    store = RoundStore.open(LocalFiles(), str(out))
    path = out / store.models[0].artifact.path
    path.write_bytes(path.read_bytes().replace(b"model", b"crash"))
    return store.load_model(1)


# Manifests and other files of an output.


def _manifest(change: Callable[[dict[str, Any]], object]) -> Try:
    """Change the first round's manifest and give it a right checksum again."""

    def attempt(out: Path) -> object:
        (path,) = out.glob("_commits/*/round-0001.json")
        document = json.loads(path.read_bytes())
        change(document)
        document.pop("checksum", None)
        path.write_bytes(canonical_json({**document, "checksum": sha256(canonical_json(document))}))
        return _opened(out)

    return attempt


def _tries_elsewhere(number: str) -> Try:
    """Let a manifest say that it was written by a try in a directory of somebody else."""
    return _manifest(lambda document: document.update(attempt_id=number))


def _forged_tree(child: int) -> Try:
    tree = DecisionTreeClassifier().fit([[0], [1]], [0, 1])
    state = tree.tree_.__getstate__()
    state["nodes"]["left_child"][0] = child
    tree.tree_.__setstate__(state)
    stored = dump_model(tree)
    return _model(stored.data, stored.trusted_types)


def _names_file(path: str) -> Try:
    entry = {"path": path, "bytes": 1, "rows": 1}
    return _manifest(lambda document: document.update(accepted=[entry]))


def _text(name: str, text: str) -> Try:
    def attempt(out: Path) -> object:
        (path,) = out.glob(name)
        path.write_text(text)
        return _opened(out)

    return attempt


def _layout(**changes: Any) -> Try:
    def attempt(out: Path) -> object:
        path = out / "_layout.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return _opened(out)

    return attempt


def _marker(out: Path) -> object:
    """Let a view say that a file of somebody else is one of its own."""
    path = out / "labels/_view.json"
    marker = json.loads(path.read_text())
    secret = Path("/etc/hostname")
    marker["files"].append({"path": "../../../../etc/hostname", "bytes": secret.stat().st_size})
    path.write_text(json.dumps(marker))
    result = verify_output(LocalFiles(), str(out), deep=True)
    if not result.ok:
        raise StoredStateError(result.problems[0].problem)
    return result


def _opened(out: Path) -> object:
    return RoundStore.begin(LocalFiles(), str(out), IDENTITY, INPUTS, "0")


# Configurations.

_SECTIONS = "labeled: {path: a, label: y}\nunlabeled: {path: b}\noutput: {path: out}\nid: i\n"


def _config(text: str, *allow_import: str) -> Try:
    def attempt(out: Path) -> object:
        file = out / "conf.yaml"
        file.write_text(_SECTIONS + text)
        return load_config(file, (), allow_import)

    return attempt


def _laughs() -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return "\n".join(lines)


_TAG = "tag:yaml.org,2002:python"


def _hostile() -> dict[str, Try]:
    """Build them all: too much work for whoever only imports this."""
    array = dump_model(np.zeros(1))
    return {
        "pickle": _model(pickle.dumps(Gadget())),
        "compressed pickle": _model(gzip.compress(pickle.dumps(Gadget()))),
        "joblib": _model(_joblib()),
        "pickle as a member": _model(_archive("{}", {"model.pkl": pickle.dumps(Gadget())})),
        "pickle as the schema": _model(_archive(pickle.dumps(Gadget(), protocol=0).decode())),
        "pickle in an array": _model(_with_array(array, _pickled_array())),
        "os.system": _model(_archive(_function("os.system"))),
        "builtins.eval": _model(_archive(_function("builtins.eval"))),
        "operator.methodcaller": _model(_archive(_object("operator.methodcaller"))),
        "subprocess.Popen": _model(_archive(_object("subprocess.Popen"))),
        "partial of os.system": _model(_archive(_partial("os.system")), ("functools.partial",)),
        "module of the attacker": _model(_archive(_object(f"{EVIL}.Gadget"))),
        "module that the manifest trusts": _model(
            _archive(_object(f"{EVIL}.Gadget")), (f"{EVIL}.Gadget",)
        ),
        "function that the manifest trusts": _model(
            _archive(_function("os.system")), ("os.system",)
        ),
        "unknown loader": _model(_archive(_node("EvilNode", "builtins.int"))),
        "zip bomb": _model(_archive("{}", {"zeros": bytes(artifact.ALWAYS_EXPANDED + 1)})),
        "zip bomb that lies": _model(_lying_bomb()),
        "too many members": _model(_archive("{}", dict.fromkeys(map(str, range(2_001)), b""))),
        "member outside": _model(_with_array(array, b"x", "../../../../../../etc/hostname")),
        "absolute member": _model(_with_array(array, b"x", "/etc/hostname")),
        "nested schema": _model(_archive("[" * 100_000)),
        "tree in the place of a model": _swapped,
        "tree that leads outside of its nodes": _forged_tree(10**6),
        "tree that never ends": _forged_tree(0),
        "manifest of a try outside": _tries_elsewhere("../../../../../../tmp"),
        "manifest of a try in the root": _tries_elsewhere("/etc"),
        "manifest of a try without a name": _tries_elsewhere(""),
        "manifest names a file outside": _names_file("_attempts/../../../etc/hostname"),
        "manifest names an absolute file": _names_file("/etc/hostname"),
        "manifest with backslashes": _names_file("_attempts\\..\\..\\x"),
        "manifest with a zero byte": _names_file("_attempts/x\0y"),
        "manifest with an unknown key": _manifest(
            lambda document: document.update(_target_="os.kill")
        ),
        "manifest nested without end": _text("_commits/*/round-0001.json", "[" * 100_000),
        "manifest with NaN": _text("_commits/*/round-0001.json", '{"layout": NaN}'),
        "run elsewhere": _layout(run_id="../../../../tmp"),
        "layout of another time": _layout(layout=99),
        "view names a file outside": _marker,
        "YAML that calls": _config(f"mode: !<{_TAG}/object/apply:os.system> ['true']"),
        "YAML that makes an object": _config(f"mode: !<{_TAG}/object/new:{EVIL}.Gadget> []"),
        "YAML that names a function": _config("mode: !!python/name:os.system"),
        "YAML that imports": _config(f"mode: !!python/module:{EVIL}"),
        "YAML that expands without end": _config(_laughs()),
        "YAML that holds itself": _config("features: &a {include: [*a]}"),
        "estimator by import path": _config(f"model: {{estimator: {EVIL}.Gadget}}"),
        "estimator os.system": _config("model: {estimator: os.system}"),
        "estimator with a prefix of what is allowed": _config(
            f"model: {{estimator: {EVIL}.Gadget}}", "evil_module"
        ),
        "estimator that hides in a parameter": _config(
            f"model: {{estimator: BaggingClassifier, params: {{estimator: {EVIL}.Gadget}}}}"
        ),
        "estimator with Hydra's key": _config(f"model: {{_target_: {EVIL}.Gadget}}"),
    }


@dataclasses.dataclass
class Watch:
    """What Python did while something hostile was tried."""

    events: list[str] | None = None

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.events is None:
            return
        # numpy parses the header of an array, a literal, which makes a tree and runs nothing.
        parsed_only = event == "compile" and arguments[1] == "<unknown>"
        imported = event == "import" and EVIL in str(arguments[0])
        if imported or (event.startswith(WATCHED) and not parsed_only):
            self.events.append(f"{event} {str(arguments)[:200]}")


def main() -> None:
    """Try everything, something harmless of each kind first so that all libraries are imported."""
    # A real bomb of members takes seconds to build.
    artifact.MAX_MEMBERS = 2_000
    hostile = _hostile()
    watch = Watch()
    sys.addaudithook(watch.hear)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        work(str(whole), Ways())
        _try_harmless(whole)
        found = {
            name: _try(attempt, watch, whole)
            for name, attempt in {**hostile, "control": _control}.items()
        }
    print(json.dumps(found))  # noqa: T201


def _try(attempt: Try, watch: Watch, whole: Path) -> dict[str, Any]:
    out = Path(shutil.copytree(whole, whole.parent / "out"))
    watch.events = []
    try:
        attempt(out)
        found = {"refused": None, "message": "it was taken"}
    except PseudoLabelError as error:
        found = {"refused": error.exit_code, "message": error.message[:300]}
    except BaseException as error:  # noqa: BLE001  SystemExit, too: it would be the gadget's
        found = {"refused": None, "message": f"{type(error).__name__}: {error}"[:300]}
    events, watch.events = watch.events, None
    shutil.rmtree(out)
    return {**found, "events": events}


def _control(out: Path) -> object:
    """Do what a pickle could: the watch must see it."""
    return pickle.loads(pickle.dumps(Gadget()))


def _try_harmless(whole: Path) -> None:
    X, y = [[0], [1]], [0, 1]
    for model in (np.zeros(1), DecisionTreeClassifier().fit(X, y), LogisticRegression().fit(X, y)):
        stored = dump_model(model)
        load_model(stored.data, stored.sha256, stored.trusted_types)
    verify_output(LocalFiles(), str(whole), deep=True)
    _config("model: {estimator: BaggingClassifier}")(whole)
    (whole / "conf.yaml").unlink()


if __name__ == "__main__":
    main()
