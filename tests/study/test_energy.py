"""The inference ledger: counts are those of a device call, and no bare ratio is stated."""

from pbitstream.evidence import GRADES
from pbitstream.model import Model, shipped
from pbitstream.program import Program
from pbitstream.study.energy import inference_ledger, samples_for


def test_counts_and_factors() -> None:
    model, program = Model.open(shipped("digits-k16")), Program.open(shipped("digits-k16.program"))
    ledger = inference_ledger(model, program)
    terms = {entry["name"]: entry for entry in ledger["terms"]}
    steps = program.burn_in + program.steps
    assert terms["unit updates"]["value"] == steps * 128
    assert terms["multiplications in them"]["value"] == (
        steps * program.cost().multiplications_per_step)
    assert terms["writes"]["value"] == 64 + 128 + 16
    for factor in ledger["factors"]:
        known = all(entry["value"] is not None for entry in factor["entries"])
        assert (factor["factor"] is not None) <= known
        assert (factor["grade"] in GRADES) == (factor["factor"] is not None)
    # The claim is quoted, never stated.
    assert ledger["factors"][0]["factor"] is None
    assert ledger["factors"][1]["grade"] == "claimed"


def test_samples() -> None:
    """A mean of N samples has its deviation by sqrt(N) less."""
    assert samples_for(10, 2.0, 2.0) == 100
    assert samples_for(1, 3.0, 1.0) == 9
