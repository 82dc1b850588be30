"""The state a relaxation starts from when none is given, as a state that can be changed and given.

``relax(h, seed=s, first_chain=n)`` equals ``relax(h, seed=s, state=reset_state(program, s, n,
chains))`` in every bit; so a start from chosen units with fresh noise is this state with those
units in it.
"""

import numpy as np

from pbitstream.devices.protocol import State
from pbitstream.emulator.noise import reset_spins, seed_streams
from pbitstream.program import Program

__all__ = ["reset_state"]


def reset_state(program: Program, seed: int, first_chain: int, chains: int) -> State:
    """Return the reset state of some consecutive chains.

    Parameters
    ----------
    seed, first_chain
        As for `Device.relax`: 0 to 2^64 - 1, and the global index of the first chain.
    chains
        Number of chains, over all inputs.

    Returns
    -------
    State
        Streams from the seed, x = 0, spins from the streams, and anything in clamped units, which a
        relaxation sets. Its arrays may be changed.
    """
    topology = program.topology
    noise = seed_streams(seed, first_chain, chains)
    units = np.zeros((chains, topology.units), np.int32)
    for index, module in enumerate(topology.modules):
        if module.kind == "pbit":
            units[:, topology.units_of(index)] = reset_spins(noise, module.dim)
    return State(units, noise)
