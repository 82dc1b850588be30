"""Large layers, and the figures of the digits program on its test images: minutes each."""

import subprocess
import sys

import pytest

from pbitstream import Emulator
from pbitstream.cli.measure_compile import measure_compile
from pbitstream.compiler.activations import Skip
from pbitstream.compiler.evaluation import evaluate
from pbitstream.compiler.pipeline import compile_unet
from pbitstream.compiler.sources import DigitsSource
from pbitstream.diffusion.digits import held_out_digits, training_digits
from pbitstream.model import Model, shipped

LARGE = """
import sys
from pbitstream.cli.measure import peak_bytes
from pbitstream.compiler.pipeline import compile_unet
from pbitstream.compiler.synthetic import SyntheticSource
source = SyntheticSource(1280, pairs=3, rows=50_000)
compiled = compile_unet(source, source.skips, method=sys.argv[1])
print(min(curve[15] for curve in compiled.curves.values()), peak_bytes())
"""


@pytest.mark.long
@pytest.mark.parametrize("method", ["hbc", "sketch"])
def test_three_levels_of_1280_units_stay_below_4_gigabytes(method):
    done = subprocess.run([sys.executable, "-c", LARGE, method], capture_output=True, text=True,
                          check=True)
    r2, peak = map(float, done.stdout.split())
    assert r2 > 0.9
    assert peak < 4e9


@pytest.mark.long
@pytest.mark.parametrize(("rank", "band", "interface", "plain", "centred", "r2"), [
    (16, False, "none", 0.979, 0.75, 0.61),
    (64, False, "quad", 0.988, 0.893, 0.80),
    (16, True, "none", 0.979, 0.75, 0.72),
])
def test_the_digits_program_on_the_test_images(rank, band, interface, plain, centred, r2):
    source = DigitsSource(Model.open(shipped("digits-k16")), training_digits()[0],
                          held_out_digits()[0])
    compiled = compile_unet(source, [Skip("e1", "d1")], rank=rank, band=band, interface=interface)
    with Emulator() as device:
        judged = evaluate(compiled.lowered, source, device)
    assert judged.rows == 7200
    found = judged.layers["d1"]
    assert found["substrate"].plain_cosine >= plain
    assert found["substrate"].centred_cosine >= centred
    assert found["substrate"].r2 >= r2
    assert found["substrate"].r2 == pytest.approx(found["equilibrium"].r2, rel=0.02)
    assert found["shuffled"].r2 < 0
    assert abs(found["constant"].r2) < 0.01


def test_time_over_units_is_a_table(monkeypatch):
    from pbitstream.cli import measure_compile as module

    monkeypatch.setattr(module, "DIMS", {"sketch": (40, 64), "hbc": (32, 40)})
    data = measure_compile(1)
    assert [list(row["seconds"]) for row in data["rows"]] == [["40", "64"], ["32", "40"]]
    assert module.compile_table(data).row_count == 2
