"""Test examples whose texts, word for word, are those of an example that the probe was fitted on."""

import numpy as np

from microtome.analysis.units import Units
from microtome.store import ActivationCache


def units_without_duplicates(
    train: ActivationCache, test: ActivationCache, test_units: Units
) -> np.ndarray | None:
    """The places of the test units whose example has other texts than every training example, int64; None
    where that is all of them or none, or where a cache does not say which texts are equal."""
    known, texts = train.example_data.texts, test.example_data.texts
    if known is None or texts is None or test.description.split != "test":
        return None
    new = np.flatnonzero(~np.isin(texts, known)[test_units.groups])
    return new if 0 < len(new) < len(test_units.y) else None
