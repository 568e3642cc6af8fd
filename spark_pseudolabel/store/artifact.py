"""Models to bytes and back, in skops' format: nothing from storage is ever unpickled.

Loading a model is not harmless even without pickle: skops constructs objects of the types a file
names, and the index arrays of a crafted tree are followed without checks. Hence, in this order:
the sha256 that our own manifest holds, caps on what the archive may expand to, a pinned list of
types, and a look at every index that compiled code would follow (`soundness.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spark_pseudolabel.errors import InputError, StoredStateError
from spark_pseudolabel.store.soundness import problem_of_model, problem_of_text

# 200 trees on 50,000 rows (205 MB): 3.6 s and 47 MB; level 6 takes 6.8 s for 38 MB.
COMPRESS_LEVEL = 1

MAX_BYTES = 2 * 2**30
MAX_MEMBERS = 200_000
MAX_EXPANDED = 8 * 2**30
# Deflate reaches 1000:1 on constant bytes, models stay below 60:1; small files may be anything.
MAX_RATIO = 200
ALWAYS_EXPANDED = 128 * 2**20

# Types beyond skops' own list that the estimators of the registry and their preprocessing need.
# Found by dumping each of them fitted; what compiled code follows in them is looked at once loaded.
PINNED_TYPES = frozenset(
    {
        "collections.OrderedDict",
        "functools.partial",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "numpy.dtype",
        "scipy.sparse._csr.csr_array",
        "scipy.sparse._csr.csr_matrix",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        # Of scikit-learn before 1.9.
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.ChebyshevDistance64",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils.validation.check_array",
        # Our own: such a model needs this package to be loaded.
        "spark_pseudolabel.core.teachers.anchor_model.AnchorClassifier",
        "spark_pseudolabel.core.teachers.anchor_model.AnchorRegressor",
        "spark_pseudolabel.core.teachers.anchor_model.AnchorWeights",
        "spark_pseudolabel.core.teachers.label_model.RuleModel",
        "spark_pseudolabel.core.teachers.node_numbers.NodeNumbers",
        "spark_pseudolabel.core.teachers.node_scores.NodeScores",
        "spark_pseudolabel.core.teachers.number_model.NumberModel",
        "spark_pseudolabel.core.teachers.partial_vote.PartialVote",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
    }
)


@dataclass(frozen=True)
class ModelBytes:
    """A model as it is stored.

    Parameters
    ----------
    data
        The skops archive.
    sha256
        Of `data`; the model's identity, since two dumps of one model differ.
    trusted_types
        What loading it needs beyond the types that skops trusts by itself.
    estimator
        Import path of the model's class.
    """

    data: bytes
    sha256: str
    trusted_types: tuple[str, ...]
    estimator: str


def dump_model(model: Any, trusted: Sequence[str] = ()) -> ModelBytes:
    """Turn a model into bytes that `load_model` will accept.

    Parameters
    ----------
    model
        A scikit-learn estimator, fitted or not.
    trusted
        Import paths of further types the caller vouches for.

    Raises
    ------
    InputError
        If the model holds an object that skops cannot store, a type that is neither pinned nor in
        `trusted`, or more bytes than will be loaded again.
    """
    from skops.io import dumps, get_untrusted_types

    name = f"{type(model).__module__}.{type(model).__qualname__}"
    try:
        data = dumps(model, compression=zipfile.ZIP_DEFLATED, compresslevel=COMPRESS_LEVEL)
        if _too_large(data):
            # Nearly empty coefficients shrink so well that they look like a bomb.
            data = dumps(model)
        needed = tuple(get_untrusted_types(data=data))
    except Exception as error:
        raise _not_storable(name, f"skops cannot store it ({error})") from error
    refused = sorted(set(needed) - PINNED_TYPES - set(trusted))
    if refused:
        raise _not_storable(name, f"it holds types that are not trusted: {refused}")
    problem = _too_large(data)
    if problem:
        raise _not_storable(name, problem)
    return ModelBytes(data, hashlib.sha256(data).hexdigest(), needed, name)


def load_model(
    data: bytes,
    sha256: str,
    trusted_types: Iterable[str],
    trusted: Sequence[str] = (),
    where: str = "the model",
) -> Any:
    """Turn bytes from storage into a model.

    Parameters
    ----------
    data
        Content of the stored file.
    sha256
        What the manifest says it is.
    trusted_types
        The types that the manifest says it needs; each must be pinned or in `trusted`.
    trusted
        Import paths of further types the caller vouches for.
    where
        The file, for messages.

    Raises
    ------
    StoredStateError
        If the bytes are others than were committed, expand beyond the caps, name other types, or
        hold an index outside of its array.
    InputError
        If the file is whole but needs a type the caller did not vouch for, or a library that is
        not installed.
    """
    _check_sha256(data, sha256, where)
    problem = _too_large(data)
    if problem:
        raise _damaged(where, problem)
    needed = sorted(set(trusted_types))
    refused = sorted(set(needed) - PINNED_TYPES - set(trusted))
    if refused:
        raise InputError(
            f"{where} needs types that are not trusted: {refused}. If you know where the model "
            f"comes from, pass trusted={refused!r}.",
            code="untrusted_model",
            where=where,
        )
    return _construct(data, needed, where)


def check_storable(
    model: Any, trusted: Sequence[str] = (), sample: tuple[Any, Any] | None = None
) -> None:
    """Refuse, before the first real fit, a model that could not be stored afterwards.

    Parameters
    ----------
    model
        A scikit-learn estimator; it is left as it is, a clone is tried.
    trusted
        Import paths of further types the caller vouches for.
    sample
        Some rows ``(X, y)`` with every class: the clone is fitted on them, since many estimators
        hold their own types only then. Without it, only the unfitted clone is tried.

    Raises
    ------
    InputError
        As `dump_model`.
    """
    from sklearn.base import clone

    tried = clone(model)
    dump_model(tried, trusted)
    if sample is not None:
        # A sample that is too small to fit says nothing about storing.
        with contextlib.suppress(ValueError, TypeError):
            dump_model(tried.fit(*sample), trusted)


def _construct(data: bytes, needed: list[str], where: str) -> Any:
    from skops.io import loads
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            problem = problem_of_text(json.loads(archive.read("schema.json")))
        if problem is None:
            model = loads(data, trusted=needed)
            problem = problem_of_model(model)
    except UntrustedTypesFoundException as error:
        raise _damaged(where, f"names types that its manifest does not: {error}") from error
    except (ImportError, OSError) as error:  # a shared library that is missing is the latter
        raise InputError(
            f"{where} needs a library that is not installed: {error}. Install it and run again.",
            code="missing_library",
            where=where,
        ) from error
    except (Exception, RecursionError) as error:
        raise _damaged(where, f"cannot be loaded: {type(error).__name__}: {error}") from error
    if problem is not None:
        raise _damaged(where, f"is not whole: {problem}")
    return model


def _check_sha256(data: bytes, expected: str, where: str) -> None:
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise _damaged(
            where,
            f"is not the model that was committed: sha256 must be {expected}, is {digest}",
        )


def _too_large(data: bytes) -> str | None:
    """Say what is wrong with an archive before anything in it is expanded."""
    if len(data) > MAX_BYTES:
        return f"must have at most {MAX_BYTES:,} bytes, has {len(data):,}"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        return f"is not a skops archive: {error}"
    kinds = {member.compress_type for member in members}
    if kinds - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "must be stored or deflated, is compressed in another way"
    if len(members) > MAX_MEMBERS:
        return f"must have at most {MAX_MEMBERS:,} members, has {len(members):,}"
    expanded = sum(member.file_size for member in members)
    cap = min(MAX_EXPANDED, max(ALWAYS_EXPANDED, MAX_RATIO * len(data)))
    if expanded > cap:
        return f"must expand to at most {cap:,} bytes, expands to {expanded:,}"
    return None


def _not_storable(name: str, reason: str) -> InputError:
    return InputError(
        f"A model must be storable without pickle. {name} is not: {reason}. Use an estimator of "
        "the registry, or pass trusted=[...] from Python for types that you know.",
        code="model_not_storable",
        where=name,
    )


def _damaged(where: str, what: str) -> StoredStateError:
    return StoredStateError(
        f"{where} {what}. Restore the file, or start with a new output directory.",
        code="model_damaged",
        where=where,
    )
