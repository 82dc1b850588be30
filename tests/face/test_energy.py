"""`--energy` of infer and generate: counts, grades, meters, refusals."""

import json
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pbitstream.diffusion import evaluation
from pbitstream.energy import csv_log, hwmon
from pbitstream.model import shipped
from pbitstream.program import Program

INFER = ("infer", "--count", "1", "--noise", "0.4", "--steps", "32")
GENERATE = ("generate", "--model", "digits-pbit", "--count", "3", "--no-judge")
WHOLE = """
device = "emulator:"
[standby]
value = 2
unit = "mJ/step"
grade = "assumed"
source = "a guess"
[langevin_update]
value = 3
unit = "nJ/update"
grade = "estimated"
source = "a data sheet"
[conditioning]
value = 5
unit = "pJ/multiplication"
grade = "metered"
source = "here"
[link]
value = 7
unit = "uJ/value"
grade = "metered"
source = "here"
"""


def energy_of(done):
    assert (done.code, done.err) == (0, "")
    energy = json.loads(done.out)["energy"]
    assert energy["ended"] - energy["began"] == energy["counts"]["seconds"]
    assert 0 <= time.time() - energy["ended"] < 600
    return energy


def meter_log(path, watts):
    """Write a log that has begun and reaches far beyond any run, at constant power."""
    path.write_text(f"time_s,watts\n{time.time() - 100},{watts}\n{time.time() + 1000},{watts}\n")


def test_infer_counts(run):
    energy = energy_of(run(*INFER, "--json", "--energy"))
    program = Program.open(shipped("digits-k16.program"))
    steps, counts = program.burn_in + 32, energy["counts"]
    assert counts["steps"] == steps
    assert counts["langevin_updates"] == steps * 128
    assert counts["multiplications"] == steps * program.cost().multiplications_per_step
    assert counts["conditioning"] == program.conditioning.weights
    assert counts["cycles"] is counts["link"] is energy["meter"] is None
    assert 0 < counts["seconds"] < 60
    assert (energy["device"], energy["note"]) == (
        "emulator:", "an emulator's counts; no joule of a chip")
    assert energy["total"]["value"] is None
    assert len(energy["missing"]) == 6, "all but the p-bits that it has none of"


def test_without_the_option_nothing_is_said(run):
    assert "energy" not in json.loads(run(*INFER, "--json").out)


def test_generate_counts(run):
    done = run(*GENERATE, "--json", "--energy", "kv260", "--repeats", "2")
    energy, updates = energy_of(done), json.loads(done.out)["updates"]
    assert energy["counts"]["pbit_updates"] == updates
    assert energy["counts"]["langevin_updates"] == 0
    (line,) = (x for x in energy["terms"] if x["name"] == "pbit_update")
    assert line["energy"]["value"] == pytest.approx(updates * 10.85e-12)
    assert line["energy"]["grade"] == "assumed"
    assert [why.partition(":")[0] for why in energy["missing"]] == ["standby", "host", "link"]


def test_a_total_from_two_files(run):
    """Every term has a price; those of the other board are assumed, and so is the total."""
    Path("prices.toml").write_text(WHOLE)
    words = (*INFER, "--energy", "prices.toml", "--energy", "kv260")
    energy = energy_of(run(*words, "--json"))
    counts = energy["counts"]
    values = counts["reads"] + counts["writes"]
    by_hand = (2e-3 * counts["steps"] + 3e-9 * counts["langevin_updates"]
               + 581e-12 * counts["reads"] + 44e-9 * counts["writes"]
               + 5e-12 * counts["conditioning"] + 7e-6 * values)
    assert energy["total"]["value"] == pytest.approx(by_hand)
    assert (energy["total"]["grade"], energy["missing"]) == ("assumed", [])
    grades = {line["name"]: line["energy"]["grade"] for line in energy["terms"]}
    assert grades == {"standby": "assumed", "langevin_update": "estimated",
                      "pbit_update": "counted", "read": "assumed", "write": "assumed",
                      "conditioning": "metered", "link": "metered"}
    screen = run(*words).out
    assert "refused" not in screen
    assert "an emulator's counts; no joule of a chip" in screen


def test_the_screen_of_a_refusal(run):
    screen = run(*INFER, "--energy", "kv260").out
    for text in ("Langevin updates", "assumed", "missing", "refused",
                 "no total, as these are missing:", "add [langevin_update] in J/update"):
        assert text in screen


def test_a_meter_and_its_baseline(run):
    meter_log(Path("meter.csv"), 2.5)
    done = run(*INFER, "--json", "--energy", "meter.csv", "--idle", "0.2")
    energy = energy_of(done)
    meter, seconds = energy["meter"], energy["counts"]["seconds"]
    assert meter["energy"] == pytest.approx(2.5 * seconds)
    assert meter["idle_seconds"] >= 0.2
    assert meter["idle_share"] == pytest.approx(2.5 * seconds)
    assert meter["above_idle"] == pytest.approx(0, abs=1e-3)
    assert (meter["grade"], meter["sources"]) == ("metered", ["meter.csv"])
    # What a meter says is no sum of terms: those stay missing.
    assert energy["total"]["value"] is None
    # The run is the substrate's path, without the references that follow.
    timing = json.loads(done.out)["timing"]
    assert timing["total"] <= seconds <= timing["total"] + timing["reference"] + 1
    screen = run(*INFER, "--energy", "meter.csv", "--idle", "0").out
    assert "no baseline" in screen
    assert "Unix times of the meter" in screen


def test_sensors(run, refused, tmp_path, monkeypatch):
    monkeypatch.setattr(hwmon, "HWMON", tmp_path / "hwmon")
    refused(4, f"no power sensor under {tmp_path}/hwmon; give the log of a meter, FILE.csv",
            *INFER, "--energy", "hwmon")
    for number, name in enumerate(("ina260_u14", "other")):
        folder = tmp_path / "hwmon" / f"hwmon{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "power1_input").write_text("4000000\n")
    refused(2, "hwmon must name the rails to add, as in hwmon:ina260_u14/power1; there are "
               "ina260_u14/power1, other/power1", *INFER, "--energy", "hwmon")
    refused(2, "rail must be one of ina260_u14/power1, other/power1, not 'u14'",
            *INFER, "--energy", "hwmon:u14")
    words = ("--energy", "hwmon:ina260_u14/power1", "--idle", "0.1")
    for command in (INFER, GENERATE):
        energy = energy_of(run(*command, "--json", *words))
        assert energy["meter"]["energy"] == pytest.approx(4 * energy["counts"]["seconds"])
        assert energy["meter"]["idle_energy"] == pytest.approx(
            4 * energy["meter"]["idle_seconds"])
    screen = run(*GENERATE, *words).out
    for text in ("Metered", "above idle", "4 W over 0.1 s", "ina260_u14/power1"):
        assert text in screen


def test_ctrl_c_leaves_no_thread(run, tmp_path, monkeypatch):
    folder = tmp_path / "hwmon" / "hwmon0"
    folder.mkdir(parents=True)
    (folder / "power1_input").write_text("1\n")
    monkeypatch.setattr(hwmon, "HWMON", tmp_path / "hwmon")
    seen = []

    def interrupted(*_, **__):
        seen.append([thread.name for thread in threading.enumerate()])
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate", interrupted)
    done = run(*INFER, "--energy", "hwmon", "--idle", "0")
    assert (done.code, done.out, done.err) == (130, "", "pbitstream: interrupted\n")
    assert "hwmon" in seen[0]
    assert "hwmon" not in [thread.name for thread in threading.enumerate()]


def test_refusals(refused):
    refused(2, "--energy takes FILE.toml, kv260, FILE.csv, hwmon or hwmon:RAIL,RAIL, not 'x.png'",
            *INFER, "--energy", "x.png")
    refused(2, "--idle needs --energy with a meter", *INFER, "--idle", "1")
    refused(2, "--idle needs --energy with a meter", *INFER, "--energy", "kv260", "--idle", "1")
    refused(2, "--idle must be 0 or more, not -1", *INFER, "--energy", "--idle", "-1")
    refused(5, "x.toml: No such file or directory", *INFER, "--energy", "x.toml")
    refused(5, "x.csv: No such file or directory", *INFER, "--energy", "x.csv")
    Path("bad.toml").write_text('device = "a"\n[reed]\n')
    refused(5, "bad.toml: unknown term [reed]; terms are standby, langevin_update, pbit_update, "
               "read, write, conditioning, link", *INFER, "--energy", "bad.toml")
    Path("bad.csv").write_text("time_s,watts\n1,nan\n")
    refused(5, "bad.csv:2: power must be a finite number, not 'nan'",
            *INFER, "--energy", "bad.csv")


def test_a_source_is_no_markup(run):
    source = "bench [/x] log [red] of 2 Aug"
    Path("prices.toml").write_text(
        f'device = "the [/b] board"\n[read]\nvalue = 1\nunit = "nJ/value"\ngrade = "metered"\n'
        f'source = "{source}"\n')
    for command in (INFER, GENERATE):
        done = run(*command, "--energy", "prices.toml")
        assert (done.code, done.err) == (0, "")
        assert f"reads: {source}; of the [/b] board, so assumed here" in " ".join(done.out.split())


@pytest.mark.parametrize("command", [INFER, GENERATE])
def test_a_log_that_ended_before_the_run(run, monkeypatch, command):
    """What was computed is kept, and the exit code tells of the meter."""
    monkeypatch.setattr(csv_log, "WAIT", 0.0)
    Path("old.csv").write_text("time_s,watts\n1700000000,1\n1700000100,1\n")
    words = (*command, "--energy", "old.csv", "--energy", "kv260", "--idle", "0", "--out",
             "made.npy")
    done = run(*words, "--json")
    why = r"old\.csv: ends [0-9.]+ s before the run did; let the meter write on until it is over"
    assert done.code == 5
    assert re.fullmatch(rf"pbitstream: error: {why}\n", done.err)
    energy = json.loads(done.out)["energy"]
    assert energy["meter"].keys() == {"error"}
    assert re.fullmatch(why, energy["meter"]["error"])
    assert energy["counts"]["steps"] > 0
    assert any(line["energy"]["value"] for line in energy["terms"])
    kept = np.load("made.npy")
    done = run(*words)
    assert done.code == 5
    assert re.fullmatch(rf"pbitstream: error: {why}\n", done.err)
    screen = " ".join(done.out.split())
    assert re.search(f"no reading of the meter: {why}", screen)
    assert re.search(r"the run went from \d+\.\d{3} to \d+\.\d{3} s, in Unix seconds", screen)
    assert "wrote made.npy" in screen
    assert np.array_equal(np.load("made.npy"), kept)


def test_a_log_that_goes_away_during_the_run(run, monkeypatch):
    meter_log(Path("meter.csv"), 1.0)
    evaluate = evaluation.evaluate

    def removed(*arguments, **options):
        Path("meter.csv").unlink()
        return evaluate(*arguments, **options)

    monkeypatch.setattr(evaluation, "evaluate", removed)
    done = run(*INFER, "--energy", "meter.csv", "--idle", "0", "--json")
    assert (done.code, done.err) == (
        5, "pbitstream: error: meter.csv: No such file or directory\n")
    assert json.loads(done.out)["energy"]["meter"] == {
        "error": "meter.csv: No such file or directory"}
