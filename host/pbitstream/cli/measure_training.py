"""One training step of ``pbitstream train``, against a plain torch loop of the same relaxation.

Ours is a whole update: tables quantised, checked and loaded, one free and two nudged relaxations
of a minibatch in fixed point on the emulator, gradients, Adam. Torch's is the three relaxations
alone, in float32, with the same low-rank products: every bank at every step, as the energy is
written down; and again with the fields of clamped units formed once, which is less work.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pbitstream.cli.measure import Case, rates

if TYPE_CHECKING:
    from pbitstream.training.energy import Parameters
    from pbitstream.training.substrate import Batch
    from pbitstream.training.trainer import Recipe

__all__ = ["ABSENT", "TORCH", "measure_training", "torch_relaxations"]

#: Hidden units of a module, chains of a minibatch, and the phases of ``pbitstream train``.
HIDDEN, SAMPLES = 128, 128
FREE_STEPS, NUDGED_STEPS, NUDGE, DT_SHIFT = 60, 64, 0.1, 4
#: Torch's loops, and whether fields of clamped units are formed once.
TORCH = {"relaxations, every bank at every step": False, "relaxations, clamped fields once": True}
ABSENT = "torch is not installed: pip install 'pbitstream[train]'"


def measure_training(
    rounds: int, seconds: float, report: Callable[[str, int, int], None] | None = None
) -> dict[str, Any]:
    """Return the JSON document: seconds of each row, and ratios formed within a round.

    Torch runs on one thread from then on in this process; where it is absent, its figures are null
    and `note` says so.
    """
    import numpy as np

    from pbitstream.emulator.device import Emulator
    from pbitstream.training.denoising import Digits, denoiser
    from pbitstream.training.substrate import DeviceSubstrate
    from pbitstream.training.trainer import Recipe, Trainer

    images = np.sign(np.random.default_rng(0).standard_normal((512, 64)))
    data = Digits(images, SAMPLES)
    recipe = Recipe(updates=1 << 40, nudge=NUDGE, free_steps=FREE_STEPS, nudged_steps=NUDGED_STEPS)
    with Emulator(threads=1) as device:
        trainer = Trainer(denoiser(0, HIDDEN), DeviceSubstrate(device, DT_SHIFT), data, recipe)

        def ours(steps: int) -> None:
            trainer.run(until=trainer.adam.done + steps)

        units = trainer.parameters.units
        cases = [Case("training step", device.engine, units, SAMPLES, 1.0, ours)]
        if find_spec("torch"):
            for name, once in TORCH.items():
                relax = torch_relaxations(trainer.parameters, data(0), recipe, 2.0**-DT_SHIFT, once)
                cases.append(Case(name, "torch", units, SAMPLES, 1.0, repeat(relax)))
        found = rates(cases, rounds=rounds, seconds=seconds, report=report)
    rows = [{"name": rate.case.name, "engine": rate.case.engine, "seconds": 1 / rate.median,
             "step_over_it": found[0].over(rate)} for rate in found]
    if len(found) == 1:
        rows += [{"name": name, "engine": "torch", "seconds": None, "step_over_it": None}
                 for name in TORCH]
    return {"hidden": HIDDEN, "batch": SAMPLES, "free_steps": FREE_STEPS,
            "nudged_steps": NUDGED_STEPS, "rows": rows,
            "note": ABSENT if len(found) == 1 else "torch relaxes only, in float32"}


def repeat(once: Callable[[], Any]) -> Callable[[int], None]:
    """Return a function that calls `once` as often as it is told."""
    def run(steps: int) -> None:
        for _ in range(steps):
            once()

    return run


def torch_relaxations(
    parameters: "Parameters", batch: "Batch", recipe: "Recipe", dt: float, once: bool
) -> Callable[[], Any]:
    """Return a function that relaxes a minibatch free and nudged by both signs, to its states.

    Parameters
    ----------
    once
        Fields of clamped units are formed once per minibatch, not at every step.
    """
    import numpy as np

    from pbitstream.training.banks import LowRank

    torch = import_module("torch")
    torch.set_num_threads(1)
    p, free = parameters, parameters.free
    start = np.zeros((len(batch), p.units))
    start[:, ~free] = batch.clamp
    fixed = p.arrays["h"] + p.field(start, batch.mix, clamped=(True,)) * once

    def tensor(array: Any) -> Any:
        return torch.tensor(np.asarray(array), dtype=torch.float32)

    inside = [index for index, module in enumerate(p.modules) if not module.clamped]
    held = {m: tensor(start[:, p.part(m)]) for m in range(len(p.modules)) if m not in inside}
    banks = []
    for index, bank in enumerate(p.banks):
        assert isinstance(bank, LowRank)
        own = p.own(index)
        if bank.source in inside or not once:
            banks.append((bank.source, bank.target, tensor(own["a"]), tensor(own["b"]),
                          tensor(bank.gain(own, batch.mix))))
    target, out = tensor(batch.target), batch.output
    h = {m: tensor(fixed[:, p.part(m)]) for m in inside}
    k2, k4 = ({m: tensor(p.arrays[name][p.part(m)]) for m in inside} for name in ("k2", "k4"))

    def settle(x: dict[int, Any], nudge: float, steps: int) -> dict[int, Any]:
        bias, stiff = dict(h), dict(k2)
        bias[out], stiff[out] = h[out] + nudge * target, k2[out] + nudge
        for _ in range(steps):
            field = dict(bias)
            for s, t, a, b, gain in banks:
                field[t] = field[t] + (((x | held)[s] @ a) * gain) @ b.T
                if s in field:
                    field[s] = field[s] + ((x[t] @ b) * gain) @ a.T
            x = {m: x[m] + dt * (field[m] - (stiff[m] + k4[m] * x[m] * x[m]) * x[m])
                 for m in inside}
        return x

    def relax() -> list[dict[int, Any]]:
        with torch.no_grad():
            rest = settle({m: torch.zeros_like(h[m]) for m in inside}, 0.0, recipe.free_steps)
            b = recipe.nudge or NUDGE
            return [rest, *(settle(rest, sign * b, recipe.nudged_steps) for sign in (1, -1))]

    return relax
