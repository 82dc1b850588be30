"""The ledger of a training step: what it takes, how each figure is known, and what may be claimed.

The energy of a step on hardware is::

    E = E_standby + N_update e_update + N_read e_read + N_write e_write + E_host + E_link

Counts are exact; energies need hardware. Grades and factors are those of `pbitstream.evidence`.

References
----------
.. [1] "Symmetric equilibrium propagation", arXiv 2604.23806: "end-to-end physical-unit accounting
   projects a 10^3-10^4x energy advantage per training step over a matched GPU baseline".
"""

from dataclasses import asdict, dataclass
from typing import Any

from pbitstream.evidence import P_BIT_FLIP, Entry, Factor
from pbitstream.training.energy import Parameters
from pbitstream.training.substrate import to_program
from pbitstream.training.trainer import Recipe

__all__ = ["Accounting", "account", "factors", "ledger", "terms"]

@dataclass(frozen=True)
class Accounting:
    """What an update costs on a substrate, counted per update of the whole minibatch.

    Attributes
    ----------
    relaxation_steps
        Steps of one sample, all phases.
    unit_updates
        Updates of single units, all phases and samples.
    multiplications
        Multiplications of those, in banks and units.
    words_written
        Table words, biases, clamps, gains, and the states that phases go on from.
    words_read
        State words read back.
    """

    relaxation_steps: int
    unit_updates: int
    multiplications: int
    words_written: int
    words_read: int


def account(parameters: Parameters, recipe: Recipe, batch: int, segments: int = 1) -> Accounting:
    """Return the cost of one update, terms of clamped modules counted at every step.

    Parameters
    ----------
    segments
        Relaxations that a phase is cut into, 1 at T = 0; each is started and read.
    """
    program, _ = to_program(parameters, 4, 0.0)
    nudged = {"symmetric": 2, "one-sided-matched": 2, "one-sided": 1, "implicit": 0}[recipe.rule]
    steps = recipe.free_steps + nudged * recipe.nudged_steps
    free = int(parameters.free.sum())
    cost = program.cost()
    per_sample = parameters.units + sum(getattr(b, "rank", 0) for b in parameters.banks)
    calls = (1 + nudged) * segments
    resumed = calls - (1 if recipe.start == "warm" else 1 + nudged)
    return Accounting(
        relaxation_steps=steps,
        unit_updates=batch * steps * free,
        multiplications=batch * steps * cost.multiplications_per_step,
        words_written=cost.words + batch * (calls * per_sample + resumed * free),
        words_read=batch * calls * free,
    )


def terms(counts: Accounting) -> list[Entry]:
    """Return the terms of E for one update: counts, and the energies that hardware must supply."""
    def counted(name: str, value: int, unit: str) -> Entry:
        return Entry(name, value, unit, "counted", "program and recipe")

    def absent(name: str, unit: str, source: str) -> Entry:
        return Entry(name, None, unit, None, source)

    return [
        counted("relaxation steps of a sample", counts.relaxation_steps, "steps"),
        counted("unit updates", counts.unit_updates, "updates"),
        counted("multiplications in them", counts.multiplications, "multiplications"),
        counted("reads", counts.words_read, "words"),
        counted("writes", counts.words_written, "words"),
        absent("energy of an update", "J", "no Langevin unit with banks has been metered"),
        absent("energy of a read", "J", "not metered"),
        absent("energy of a write", "J", "not metered"),
        absent("standby power", "W", "not metered"),
        absent("host: gradients, Adam, tables", "J", "not metered"),
        absent("link", "J", "not metered"),
    ]


def factors(parameters: Parameters, recipe: Recipe, batch: int, counts: Accounting) -> list[Factor]:
    """Return the paper's 10^3 to 10^4 by its definition and by ours, one row a definition.

    Operation counts compare with a digital net of as many trained numbers, 3 multiplications of
    each per sample (forward, backward, gradient), and with implicit differentiation on the same
    substrate, n^3 / 3 + n^2 multiplications per sample for n free units after the free phase; for
    the rule ``implicit``, whose digital work is not in the counts, there are no such rows.
    """
    by_name = {entry.name: entry for entry in terms(counts)}
    work = by_name["multiplications in them"]
    missing = tuple(entry for entry in by_name.values() if entry.value is None)
    counted = tuple(by_name[name] for name in ("unit updates", "reads", "writes"))
    baseline = Entry("GPU energy of a step", None, "J", None, "not metered here")
    n = int(parameters.free.sum())
    per_step = counts.multiplications / counts.relaxation_steps
    net = Entry("of a net of as many numbers", 3.0 * batch * parameters.count, "multiplications",
                "estimated", "3 per trained number and sample")
    solved = Entry("of implicit differentiation",
                   recipe.free_steps * per_step + batch * (n**3 / 3 + n**2), "multiplications",
                   "estimated", "free phase, then n^3/3 + n^2 per sample")
    claim = (Entry("claimed, from", 1e3, "x", "claimed", "arXiv 2604.23806, abstract"),
             Entry("claimed, to", 1e4, "x", "claimed", "arXiv 2604.23806, abstract"))
    flips = Entry("energy of a p-bit flip", P_BIT_FLIP, "J", "measured by its author",
                  "KV260, above idle: another kind of unit, no banks of rank 64")
    made = [
        Factor("the paper's: projected energy of an analog substrate against a matched GPU, per "
               "training step", (*claim, baseline), None,
               "a projection; what it was computed from is not at hand, so it is only quoted"),
        Factor("ours: metered energy of this step, every term, against a metered GPU at equal "
               "F-MSE", (*counted, *missing, baseline), None,
               f"{len(missing) + 1} terms are missing"),
        Factor("ours, updates only, as if each cost a p-bit flip", (by_name["unit updates"], flips,
               baseline), None, "one term of a sum, of another kind of unit, and no baseline"),
    ]
    if recipe.rule != "implicit":
        made += [
            Factor("multiplications: a digital net of as many trained numbers, over this step",
                   (net, work), net.over(work),
                   "below 1 the substrate does more; its energy per multiplication must be lower "
                   "by the inverse before any advantage begins"),
            Factor("multiplications: implicit differentiation of this substrate, over this step",
                   (solved, work), solved.over(work),
                   "what reading gradients saves of computing them"),
        ]
    return made


def ledger(
    parameters: Parameters, recipe: Recipe, batch: int, counts: Accounting
) -> dict[str, Any]:
    """Return terms and factors as plain data for JSON."""
    return {"terms": [asdict(entry) for entry in terms(counts)],
            "factors": [f.to_dict() for f in factors(parameters, recipe, batch, counts)]}
