from __future__ import annotations

import numpy as np
import pandas as pd

from spark_pseudolabel.columns import NODE
from spark_pseudolabel.core.teachers.node_numbers import NodeNumbers
from spark_pseudolabel.store.artifact import dump_model, load_model


def test_nodes_are_looked_up_and_others_are_left_open_also_from_storage() -> None:
    ids = np.array([-5, 2, 9])
    model = NodeNumbers.of(
        ids, np.array([1.5, np.nan, 3.0]), np.array([0.1, 0.0, 0.3]), takes_nan=False
    )
    stored = dump_model(model)
    loaded = load_model(stored.data, stored.sha256, stored.trusted_types)
    X = pd.DataFrame({NODE: [9, 2, -5, 3, 99]})
    np.testing.assert_array_equal(loaded.predict(X), [3.0, np.nan, 1.5, np.nan, np.nan])
    np.testing.assert_array_equal(loaded.spread(X), [0.3, 0.0, 0.1, 0.0, 0.0])
    assert loaded.unreached(X).tolist() == [False, True, False, True, True]
    assert (loaded.transductive, loaded.takes_nan) == (True, False)
