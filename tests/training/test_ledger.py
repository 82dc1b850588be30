"""The ledger states no factor with a term missing, and its counts are those of the device calls."""

from dataclasses import replace

import numpy as np
import pytest

from pbitstream import Emulator
from pbitstream.evidence import GRADES, Entry, Factor
from pbitstream.training import ledger as ledgers
from pbitstream.training.denoising import Digits, denoiser
from pbitstream.training.ledger import account, factors, terms
from pbitstream.training.rules import Rule, estimate_gradient
from pbitstream.training.substrate import DeviceSubstrate
from pbitstream.training.trainer import Recipe

RECIPE = Recipe(updates=1, free_steps=12, nudged_steps=8)


class Counting(Emulator):
    """An emulator that counts what goes through the protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = self.read = self.resumed = self.calls = 0

    def relax(self, h, **named):
        readout = super().relax(h, **named)
        self.calls += 1
        self.steps += named["burn_in"] + named["steps"]
        self.read += len(h)
        self.resumed += 0 if named.get("state") is None else len(h)
        return readout


@pytest.mark.parametrize("rule", ["symmetric", "one-sided-matched", "one-sided"])
@pytest.mark.parametrize(("start", "temperature"), [("warm", 0.0), ("cold", 0.0), ("warm", 0.01)])
def test_counts_are_those_of_the_device(rule: Rule, start: str, temperature: float) -> None:
    device = Counting()
    on, parameters = DeviceSubstrate(device, 4, temperature, 4), denoiser(0, 8)
    batch = Digits(np.ones((3, 64)), 5)(0)
    on.load(parameters)
    estimate_gradient(on, parameters, batch, nudge=0.1, free_steps=12, nudged_steps=8, rule=rule,
                      start=start)
    recipe = replace(RECIPE, rule=rule, start=start)
    counts = account(parameters, recipe, 5, on.segments)
    free = 8 + 8 + 64
    assert counts.relaxation_steps == device.steps
    assert counts.unit_updates == device.steps * 5 * free
    assert counts.words_read == device.read * free
    per_sample = parameters.units + sum(bank.rank for bank in parameters.banks)
    tables = counts.words_written - 5 * device.calls * per_sample - device.resumed * free
    assert 0 < tables < 2 * parameters.count


@pytest.mark.parametrize("rule", ["symmetric", "implicit"])
def test_every_factor_names_its_figures_and_none_is_stated_with_one_missing(rule: Rule) -> None:
    parameters, recipe = denoiser(0), replace(RECIPE, rule=rule)
    counts = account(parameters, recipe, 128)
    missing = {entry.name for entry in terms(counts) if entry.value is None}
    assert missing == {"energy of an update", "energy of a read", "energy of a write",
                       "standby power", "host: gradients, Adam, tables", "link"}
    rows = factors(parameters, recipe, 128, counts)
    assert len(rows) == (5 if rule == "symmetric" else 3)
    for row in rows:
        assert row.definition
        assert row.entries
        assert row.why
        whole = all(entry.value is not None for entry in row.entries)
        assert (row.value is not None) == whole
        assert (row.grade in GRADES) == whole
    assert not any(row.value for row in rows if "energy" in row.definition)
    if rule == "symmetric":
        net = rows[3]
        assert net.value == pytest.approx(3 * 128 * parameters.count / counts.multiplications)
        assert net.grade == "estimated", "the worst of counted and estimated"
    data = ledgers.ledger(parameters, recipe, 128, counts)
    assert data["factors"][0]["factor"] is None
    assert "2604.23806" in data["factors"][0]["entries"][0]["source"]


def test_a_factor_with_a_term_missing_cannot_be_made() -> None:
    missing = Entry("link", None, "J", None, "not metered")
    with pytest.raises(AssertionError):
        Factor("any", (missing,), 3.0, "")
