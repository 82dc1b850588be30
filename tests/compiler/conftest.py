"""A digits source small enough for a test."""

import numpy as np
import pytest

from pbitstream.compiler import sources
from pbitstream.diffusion.digits import held_out_digits, training_digits
from pbitstream.model import Model, shipped


@pytest.fixture
def digits_source(monkeypatch):
    """40 images to fit, 10 held out, 5 to test, at all 20 times, once."""
    monkeypatch.setattr(sources, "HELD_OUT", 10)
    return sources.DigitsSource(Model.open(shipped("digits-k16")), training_digits()[0][:50],
                                np.asarray(held_out_digits()[0][:5]), draws=1)
