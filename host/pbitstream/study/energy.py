"""Energy of inference: the papers' factors by their definitions, ours beside them, all graded.

One denoised state costs on hardware::

    E = E_standby + N_update e_update + N_read e_read + N_write e_write + E_host + E_link

N are counted, e need hardware. What a thermal substrate must pay for, and a solved equilibrium
hides, is reading: the mean of N independent samples of a unit with thermal deviation s carries a
signal d with a signal-to-noise ratio of ``d sqrt(N) / s``.

References
----------
.. [1] "Thermodynamic diffusion inference", arXiv 2604.14332: kT = 1, J2 = .1, a factor of 10^7
   printed as a constant, 10,000 in the abstract.
"""

import math
from dataclasses import asdict
from typing import Any

from pbitstream.diffusion import unet
from pbitstream.evidence import P_BIT_FLIP, Entry, Factor
from pbitstream.model import Model
from pbitstream.program import Program

__all__ = ["inference_ledger", "samples_for"]

#: Of [1]_: thermal deviation of a unit, sqrt(kT / (2 J2)), and the part of its mean that the input
#: moves, as its reproduction script has it.
THERMAL, SIGNAL = math.sqrt(1 / 0.2), 0.03
WANTED = 10.0


def samples_for(ratio: float, thermal: float, signal: float) -> float:
    """Return the independent samples for a signal-to-noise ratio, (ratio thermal / signal)^2."""
    return (ratio * thermal / signal) ** 2


def inference_ledger(model: Model, program: Program) -> dict[str, Any]:
    """Return terms and factors of one denoised state, as plain data for JSON.

    Parameters
    ----------
    model, program
        Of a denoiser whose layer ``d1`` is relaxed, with the U-Net that it stands in for.
    """
    terms = _terms(program)
    by_name = {entry.name: entry for entry in terms}
    missing = tuple(entry for entry in terms if entry.value is None)
    baseline = Entry("GPU energy of a state", None, "J", None, "not metered here")
    samples = Entry(f"samples for a signal-to-noise ratio of {WANTED:g}",
                    samples_for(WANTED, THERMAL, SIGNAL), "samples", "estimated",
                    "thermal deviation 2.24, input-dependent part .03")
    printed = Entry("claimed", 1e7, "x", "claimed", "arXiv 2604.14332, a printed constant")
    abstract = Entry("claimed in the abstract", 1e4, "x", "claimed", "arXiv 2604.14332")
    flips = Entry("energy of a p-bit flip", P_BIT_FLIP, "J", "measured by its author",
                  "KV260, above idle: another kind of unit, no banks")
    work = by_name["multiplications in them"]
    net = by_name["multiplications of the conditioning net"]
    assert work.value is not None
    assert net.value is not None
    done = Entry("multiplications of relaxation and conditioning net", work.value + net.value,
                 "multiplications", "counted", "program")
    digital = Entry("multiplications of the U-Net's blocks", float(_block_work(model)),
                    "multiplications", "counted", "e1 to d1: no encoder runs beside the substrate")
    counted = tuple(by_name[name] for name in ("unit updates", "reads", "writes"))
    factors = [
        Factor("the paper's: energy of a GPU forward pass over that of one equilibrium",
               (printed, abstract, baseline), None,
               "two constants that differ by 1,000; what they were computed from is not at hand, "
               "so they are only quoted"),
        Factor("the paper's printed constant, per sample, over the samples that its own "
               "temperature asks for", (printed, samples), printed.over(samples),
               "what the larger claim would be worth once its result is read out; still claimed"),
        Factor("ours: metered energy of a state, every term, against a metered GPU at equal F-MSE",
               (*counted, *missing, baseline), None, f"{len(missing) + 1} terms are missing"),
        Factor("ours, updates only, as if each cost a p-bit flip",
               (by_name["unit updates"], flips, baseline), None,
               "one term of a sum, of another kind of unit, and no baseline"),
        Factor("multiplications: the U-Net's blocks, over relaxation and conditioning net in their "
               "place", (digital, done), digital.over(done),
               "at unequal quality, see F-MSE in pbitstream infer; at below 1 the substrate would "
               "do more"),
    ]
    return {"terms": [asdict(entry) for entry in terms],
            "factors": [factor.to_dict() for factor in factors]}


def _terms(program: Program) -> list[Entry]:
    topology, cost = program.topology, program.cost()
    steps = program.burn_in + program.steps
    free = sum(module.dim for module in topology.modules if not module.clamped)
    written = topology.units + (topology.max_rank * len(topology.banks) if program.gain_rows else 0)
    net = program.conditioning

    def counted(name: str, value: int, unit: str, source: str = "program") -> Entry:
        return Entry(name, value, unit, "counted", source)

    def absent(name: str, unit: str, source: str) -> Entry:
        return Entry(name, None, unit, None, source)

    return [
        counted("steps", steps, "steps"),
        counted("unit updates", steps * free, "updates"),
        counted("multiplications in them", steps * cost.multiplications_per_step,
                "multiplications"),
        counted("reads", free, "words", "one mean per free unit"),
        counted("writes", written, "words", "biases, clamps and gains"),
        counted("multiplications of the conditioning net", 0 if net is None else net.weights,
                "multiplications"),
        absent("energy of an update", "J", "no Langevin unit with banks has been metered"),
        absent("energy of a read", "J", "not metered"),
        absent("energy of a write", "J", "not metered"),
        absent("standby power", "W", "not metered"),
        absent("host: conditioning and decoding", "J", "not metered"),
        absent("link", "J", "not metered"),
    ]


def _block_work(model: Model) -> int:
    """Return the multiplications of the U-Net's five blocks for one state."""
    total = 0
    for name in unet.MODULES:
        pixels = math.prod(unet.MODULES[name][1:])
        for layer in ("in", "mid", "out"):
            total += pixels * math.prod(model[f"unet.{name}.{layer}.weight"].shape)
        total += math.prod(model[f"unet.{name}.film.weight"].shape)
    return total
