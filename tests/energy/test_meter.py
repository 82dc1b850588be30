"""Meters: energies in closed form, logs in many spellings, sensors of a made-up computer."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pbitstream.energy import csv_log
from pbitstream.energy.csv_log import CsvLog, read_csv
from pbitstream.energy.hwmon import Sensors, find_rails, now
from pbitstream.energy.trace import Trace, read_meter
from pbitstream.errors import DeviceError, FileFormatError, SpecError

START = 1.7e9


def test_power_that_is_a_line_is_exact_between_any_moments() -> None:
    """P = 2 + 3 t over uneven samples: E = 2 t + 3/2 t^2."""
    rng = np.random.default_rng(1)
    times = np.concatenate([[0.0], np.sort(rng.uniform(0, 10, 30)), [10.0]])
    trace = Trace(times, power=2 + 3 * times)

    def until(t: float) -> float:
        return 2 * t + 1.5 * t * t

    for a, b in rng.uniform(0, 10, (50, 2)):
        a, b = min(a, b), max(a, b)
        assert trace.energy(a, b) == pytest.approx(until(b) - until(a), rel=1e-9, abs=1e-9)
    assert trace.energy(0, 10) == pytest.approx(until(10))
    assert trace.energy(4, 4) == 0


def test_a_sine_is_met_within_the_error_of_trapezoids() -> None:
    """Of step s over length L: at most L s^2 max|P''| / 12."""
    s = 0.05
    times = START + np.arange(0, 20 + s / 2, s)
    trace = Trace(times, power=5 + np.sin(times - START))
    began, ended = START + 0.33, START + 17.77
    exact = 5 * (ended - began) + np.cos(0.33) - np.cos(17.77)
    # Times of 1.7e9 have steps of 2.4e-7.
    assert abs(trace.energy(began, ended) - exact) <= 18 * s**2 / 12 + 1e-5


def test_a_counter_of_energy() -> None:
    trace = Trace([0, 1, 3], energy=[5, 7, 13])
    assert trace.energy(0, 3) == 8
    assert trace.energy(0.5, 2) == pytest.approx(1 + 3)
    with pytest.raises(SpecError, match="must not fall; it has wrapped or was reset"):
        Trace([0, 1, 2], energy=[5, 7, 6])


def test_moments_outside_are_refused() -> None:
    trace = Trace([0, 1], power=[1, 1])
    for began, ended in ((-0.1, 0.5), (0.5, 1.1)):
        with pytest.raises(SpecError, match="the meter must run before it and on after it"):
            trace.energy(began, ended)
    for times in ([0.0], [0, 0], [1, 0]):
        with pytest.raises(SpecError, match="meter"):
            Trace(times, power=np.ones(len(times)))


def test_a_reading_with_its_baseline() -> None:
    """1 W idle, then a run of 4 s at 3 W, on two rails; everything in closed form."""
    times = np.array([0, 5, 5.001, 20])
    traces = {"a": Trace(times, power=[1, 1, 3, 3]), "b": Trace([0, 20], energy=[0, 10])}
    reading = read_meter(traces, (10, 14), (1, 4), ("x",))
    assert reading.energy == pytest.approx(12 + 2)
    assert reading.idle_energy == pytest.approx(3 + 1.5)
    assert reading.idle_share == pytest.approx(1.5 * 4)
    assert reading.above_idle == pytest.approx(14 - 6)
    assert (reading.samples, reading.longest_gap) == (0, 4)
    bare = read_meter(traces, (10, 14), None, ("x",))
    assert (bare.idle_share, bare.above_idle) == (None, None)


def test_what_a_sample_of_shift_changes() -> None:
    """P rises by 1 W a second: a second later the run takes its length in joules more."""
    times = np.arange(21.0)
    reading = read_meter({"a": Trace(times, power=times)}, (5, 9), None, ())
    assert reading.shift == pytest.approx(4)
    assert read_meter({"a": Trace(times, power=times)}, (0, 9), None, ()).shift is None


@pytest.mark.parametrize(("header", "row"), [
    ("time_s,watts", "{t},{p}"),
    ("time_s,volts,amperes", "{t},2,{half}"),
    ("Time (ms);Note;Power [mW]", "{ms};hi;{mw}"),
    ("timestamp_us\tvoltage (mV)\tcurrent_A", "{us}\t2000\t{half}"),
    ("t_s,v_v,i_ma,temperature_c", "{t},2,{halfm},40"),
    # Power is taken where it is there.
    ("time_s,volts,amperes,watts", "{t},9,9,{p}"),
])
def test_spellings_of_a_log(header: str, row: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    lines = []
    for n in range(11):
        t, p = START + n, 1 + n / 2
        lines.append(row.format(t=t, p=p, ms=1e3 * t, us=1e6 * t, mw=1e3 * p, half=p / 2,
                                halfm=500 * p))
    path.write_text("\ufeff# a meter\n\n" + header + "\n" + "\n".join(lines) + "\n# end\n",
                    encoding="utf-8")
    trace = read_csv(path)
    assert trace.energy(START, START + 10) == pytest.approx(10 + 25)
    assert trace.energy(START + 2.5, START + 3) == pytest.approx(0.5 + (9 - 6.25) / 4)


@pytest.mark.parametrize(("text", "message"), [
    ("", ": must have a column time_s and one of watts, or volts and amperes, not nothing"),
    ("time_s,volts\n", ": must have a column time_s and one of watts, or volts and amperes, not "),
    ("time,watts\n", ": column 'time' must name its unit, one of s, ms, us, µs, as in time_s"),
    ("time_s,power\n", ": column 'power' must name its unit, one of kw, w, mw, uw, µw, as in p"),
    ("time_s,power_v\n", ": column 'power_v' must name its unit, one of kw, "),
    ("time_s,watts,power_w\n", ": more than one column of power; keep one"),
    ("time_s,watts\n1,2\n", ": must have at least 2 rows of samples below line 1, not 1"),
    ("time_s,watts\n1,2\n2,nan\n", ":3: power must be a finite number, not 'nan'"),
    ("time_s,watts\n1,2\n2,inf\n", ":3: power must be a finite number, not 'inf'"),
    ("time_s,watts\n1,2\n\n2\n", ":4: power must be a finite number, not ''"),
    ("time_s;watts\n1;2,5\n", ":2: power must be a finite number, not '2,5'"),
    ("time_s,watts\n1,2\n1,2\n", ":3: time must increase from row to row, not go from 1.000000 to"),
    ("# x\ntime_s,watts\n2,2\n1,2\n", ":4: time must increase from row to row, not go from 2.00"),
])
def test_logs_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match=rf"^{re.escape(f'{path}{message}')}"):
        read_csv(path)


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("time_s,watts\n1,2\n2,2\n3,", encoding="utf-8")
    assert list(read_csv(path).times) == [1, 2]


def test_a_log_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"
    began = now()
    path.write_text(f"time_s,watts\n{began - 2},4\n{began - 1},4\n", encoding="utf-8")

    def append(_: float) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{began + 5},4\n")

    monkeypatch.setattr(csv_log.time, "sleep", append)
    (trace,) = CsvLog(path).traces(began, began + 3).values()
    assert trace.energy(began, began + 3) == pytest.approx(12, rel=1e-6)


def test_a_log_that_ends_too_soon_or_begins_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"time_s,watts\n{START},4\n{START + 2},4\n", encoding="utf-8")
    monkeypatch.setattr(csv_log, "WAIT", 0.0)
    with pytest.raises(FileFormatError, match=r"log\.csv: ends 7\.0 s before the run did; let "):
        CsvLog(path).traces(START, START + 9)
    with pytest.raises(FileFormatError, match=r"log\.csv: begins 3\.0 s after the baseline or the"):
        CsvLog(path).traces(START - 3, START + 1)
    path.write_text("time_s,watts\n0,4\n2,4\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"times must be Unix seconds, .* and begin at 0; a"):
        CsvLog(path)


@pytest.fixture
def chip(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that adds a chip to a tree such as /sys/class/hwmon; returns the tree."""
    root = tmp_path / "hwmon"
    root.mkdir()

    def add(name: str, **files: object) -> Path:
        folder = root / f"hwmon{len(list(root.iterdir()))}"
        folder.mkdir()
        for file, content in {"name": name, **files}.items():
            (folder / file).write_text(f"{content}\n")
        return root

    return add


def test_rails_and_their_names(chip: Callable[..., Path]) -> None:
    chip("ina226_u14", power1_input=2_500_000, in1_input=12)
    chip("tps53679", power1_input=1, power1_label="pin", power2_input=2, power2_label="pout1")
    chip("ina226", power1_input=1)
    chip("ina226", power1_input=1, energy1_input=9)
    root = chip("coretemp", temp1_input=40_000)
    assert list(find_rails(root)) == [
        "ina226_u14/power1", "tps53679/pin", "tps53679/pout1", "ina226.hwmon2/power1",
        "ina226.hwmon3/energy1", "ina226.hwmon3/power1"]
    with pytest.raises(SpecError, match=r"^hwmon must name the rails to add, as in hwmon:ina226_u14"
                                        r"/power1; there are ina226_u14/power1, tps53679/pin, "):
        Sensors(root=root)
    with pytest.raises(SpecError, match=r"^rail must be one of .*, not 'pin'$"):
        Sensors(["pin"], root)
    with pytest.raises(SpecError, match="given once each"):
        Sensors(["tps53679/pin", "tps53679/pin"], root)


def test_no_sensor(tmp_path: Path, chip: Callable[..., Path]) -> None:
    for root in (tmp_path / "nothing", chip("coretemp", temp1_input=1)):
        with pytest.raises(DeviceError, match=r"^no power sensor under .*; give the log of a "):
            Sensors(root=root)


def test_constant_power_of_two_rails(chip: Callable[..., Path]) -> None:
    """Every sample is the same, so the energy is power times time, whenever they were taken."""
    chip("a", power1_input=2_500_000)
    root = chip("b", power1_input=500_000)
    with Sensors(["a/power1", "b/power1"], root) as sensors:
        began = now()
        time.sleep(0.25)
        ended = now()
        reading = read_meter(sensors.traces(began, ended), (began, ended), None, (sensors.clock,))
    assert reading.energy == pytest.approx(3 * (ended - began), rel=1e-6)
    assert reading.samples >= 1
    assert reading.sources == ("a/power1", "b/power1")


def test_a_counter_of_microjoules(chip: Callable[..., Path]) -> None:
    """A counter that stands still but for the last sample: all its joules come after it."""
    root = chip("a", energy1_input=7_000_000_000_000)
    sensors = Sensors(root=root)
    with sensors:
        before = now()
        (root / "hwmon0" / "energy1_input").write_text("7000003000000\n")
        trace = sensors.traces(before, now())["a/energy1"]
    assert trace.energy(trace.times[0], trace.times[-1]) == pytest.approx(3.0)


def test_a_counter_that_wraps_and_a_sensor_that_goes(chip: Callable[..., Path]) -> None:
    root = chip("a", energy1_input=100)
    for spoil, message in ((lambda path: path.write_text("3\n"), "^rail a/energy1: a counter of "),
                           (lambda path: path.unlink(), "^a power sensor failed: .*No such file")):
        with Sensors(root=root) as sensors:
            spoil(root / "hwmon0" / "energy1_input")
            with pytest.raises(DeviceError, match=message):
                sensors.traces(now(), now())


def test_the_thread_stops_when_the_run_is_interrupted(chip: Callable[..., Path]) -> None:
    root = chip("a", power1_input=1)
    before = threading.active_count()

    def interrupted() -> None:
        with Sensors(root=root):
            assert threading.active_count() == before + 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before
