"""The reset state as a state that is given: the same bits as giving none."""

import numpy as np
import pytest

from engines import FAST_ENGINES, drawn
from pbitstream.devices.protocol import State
from pbitstream.devices.start import reset_state
from pbitstream.emulator.device import Emulator


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_starting_from_the_reset_state_is_starting_without(engine: str) -> None:
    tried = 0
    for seed in range(12):
        program, call = drawn((seed, 130))
        if call.get("state") is not None:
            continue
        chains = len(np.asarray(call["h"])) * call.get("chains", 1)
        state = reset_state(program, call["seed"], call.get("first_chain", 0), chains)
        with Emulator(engine=engine) as device:
            device.load(program, force=True)
            wanted = device.relax(**call)
            got = device.relax(**{**call, "state": state})
        np.testing.assert_array_equal(got.sums, wanted.sums, err_msg=f"seed {seed}")
        np.testing.assert_array_equal(got.state.units, wanted.state.units)
        np.testing.assert_array_equal(got.state.noise, wanted.state.noise)
        tried += 1
    assert tried >= 3


def test_its_arrays_may_be_changed() -> None:
    program, _ = drawn((3, 16))
    state = reset_state(program, 5, 7, 2)
    assert isinstance(state, State)
    assert state.units.shape == (2, program.topology.units)
    state.units[:] = 0
    state.noise[:] = 1
