"""A dimod sampler: simulated annealing of any binary quadratic model on a device.

Needs dimod, ``pip install 'pbitstream[ising]'``; nothing else of pbitstream imports this module.
"""

# Keeps ArrayLike short in help().
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.devices.protocol import Device
from pbitstream.errors import MissingExtraError, SpecError
from pbitstream.ising.problem import Problem
from pbitstream.sampling.annealing import anneal
from pbitstream.sampling.sampler import IsingSampler
from pbitstream.sampling.schedules import SHAPES, beta_range, ladder, per_sweep

try:
    import dimod
except ImportError as error:
    raise MissingExtraError("the dimod sampler needs dimod, which is missing; "
                            "pip install 'pbitstream[ising]'") from error

__all__ = ["PbitSampler"]

#: Defaults, as users of dwave-samplers know them, and how betas may be given.
READS, SWEEPS = 1, 1000
SCHEDULES = (*SHAPES, "custom")
GENERATORS = ("none", "tile", "random")


class PbitSampler(dimod.Sampler, dimod.Initialized):
    """Simulated annealing by p-bits, behind dimod's interface.

    Parameters are named as in dwave-samplers. Betas are for the energies of the model as given.

    Parameters
    ----------
    device
        What relaxes the p-bits; an emulator by default.

    Examples
    --------
    >>> from pbitstream.sampling.dimod_sampler import PbitSampler
    >>> PbitSampler().sample_ising({}, {("a", "b"): -1}, num_reads=4, seed=1).first.energy
    -1.0
    """

    def __init__(self, device: Device | None = None) -> None:
        self._device = device

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Names of the keyword arguments of `sample`, and the properties that limit them."""
        return {name: [] for name in (
            "num_reads", "num_sweeps", "beta_range", "beta_schedule_type", "beta_schedule", "seed",
            "initial_states", "initial_states_generator")}

    @property
    def properties(self) -> dict[str, Any]:
        """The allowed schedules and generators of initial states."""
        return {"beta_schedule_options": SCHEDULES,
                "initial_states_generators": GENERATORS}

    def sample(
        self,
        bqm: Any,
        *,
        num_reads: int | None = None,
        num_sweeps: int = SWEEPS,
        beta_range: tuple[float, float] | None = None,
        beta_schedule_type: str = "geometric",
        beta_schedule: ArrayLike | None = None,
        seed: int | None = None,
        initial_states: Any = None,
        initial_states_generator: str = "random",
    ) -> Any:
        """Anneal a binary quadratic model and return a `dimod.SampleSet`.

        Parameters
        ----------
        bqm
            Any model of dimod, SPIN or BINARY.
        num_reads
            Independent chains; by default as many as there are initial states, or 1.
        num_sweeps
            Updates of every variable in each read.
        beta_range
            Hot and cold beta; by default those of `pbitstream.sampling.schedules.beta_range`.
        beta_schedule_type, beta_schedule
            ``geometric`` or ``linear`` between them, or ``custom`` with a table of betas.
        seed
            0 to 2**64 - 1; by default a random one, which ``info`` names.
        initial_states, initial_states_generator
            First states in any form dimod takes; ``tile`` repeats and ``random`` adds random ones
            where there are fewer than reads, ``none`` refuses that.

        Raises
        ------
        SpecError
            If an argument is out of range or the model does not fit the number formats.
        """
        if num_sweeps < 1:
            raise SpecError(f"num_sweeps must be at least 1, not {num_sweeps}")
        if seed is None:
            seed = int(np.random.default_rng().integers(0, 1 << 63))
        # parse_initial_states has seeds of 32 bits.
        parsed = self.parse_initial_states(
            bqm.change_vartype("SPIN", inplace=False), initial_states=initial_states,
            initial_states_generator=initial_states_generator, num_reads=num_reads,
            seed=seed % (1 << 32))
        reads = parsed.num_reads
        if bqm.num_variables == 0:
            return dimod.SampleSet.from_samples_bqm(np.empty((reads, 0), np.int8), bqm)
        problem = Problem.from_bqm(bqm)
        labels = list(bqm.variables)
        given = parsed.initial_states.record.sample
        columns = [list(parsed.initial_states.variables).index(label) for label in labels]
        with IsingSampler(problem, device=self._device) as sampler:
            betas = _betas(sampler, num_sweeps, beta_range, beta_schedule_type, beta_schedule)
            done = anneal(sampler, betas, sweeps=num_sweeps, chains=reads, seed=seed,
                          spins=None if initial_states is None else given[:, columns])
        found = dimod.SampleSet.from_samples_bqm((done.spins, labels),
                                                 bqm.change_vartype("SPIN", inplace=False))
        found.info.update(seed=seed, beta_range=(float(done.betas[0]), float(done.betas[-1])),
                          loss=sampler.lowered.loss.relative)
        return found.change_vartype(bqm.vartype, inplace=False)


def _betas(
    sampler: IsingSampler,
    sweeps: int,
    limits: tuple[float, float] | None,
    shape: str,
    table: ArrayLike | None,
) -> NDArray[np.float64]:
    if shape not in SCHEDULES:
        raise SpecError(f"beta_schedule_type must be one of {', '.join(SCHEDULES)}, not {shape}")
    if (table is None) == (shape == "custom"):
        raise SpecError("beta_schedule must be given if and only if beta_schedule_type is custom")
    if table is not None:
        if limits is not None:
            raise SpecError("beta_range must be absent beside a beta_schedule")
        return per_sweep(table, sweeps)
    hot, cold = beta_range(sampler.problem) if limits is None else limits
    return ladder(hot, min(cold, sampler.lowered.beta_max) if limits is None else cold,
                  min(sweeps, 1000), shape)

