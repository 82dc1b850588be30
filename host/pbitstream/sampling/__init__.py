"""Sampling Ising problems on a device: annealing, Gibbs sampling, parallel tempering."""

from pbitstream.sampling.annealing import Annealed, anneal
from pbitstream.sampling.clamping import Clamped, clamp
from pbitstream.sampling.gibbs import Draws, gibbs
from pbitstream.sampling.sampler import IsingSampler
from pbitstream.sampling.schedules import beta_range, ladder, per_sweep
from pbitstream.sampling.tempering import Tempered, temper

__all__ = ["Annealed", "Clamped", "Draws", "IsingSampler", "Tempered", "anneal", "beta_range",
           "clamp", "gibbs", "ladder", "per_sweep", "temper"]
