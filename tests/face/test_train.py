"""``pbitstream train`` on a very small run: files, figures, refusals, and going on."""

import json
from pathlib import Path

import pytest

from pbitstream.cli import main

SMALL = ["train", "--updates", "3", "--batch", "8", "--hidden", "8", "--free-steps", "12",
         "--nudged-steps", "8", "--no-samples", "--quiet"]


@pytest.mark.parametrize("mode", [[], ["--float"], ["--float", "--rule", "implicit"]])
def test_a_run_leaves_its_files(mode: list[str], tmp_path: Path,
                                capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main([*SMALL, *mode, "--json", "--folder", str(folder)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["updates"] == 3
    assert document["f_mse"] > 0
    assert document["accounting"]["unit_updates"] > 0
    assert {row["grade"] for row in document["ledger"]["terms"]} == {"counted", None}
    assert document["ledger"]["factors"][0]["factor"] is None
    names = {path.name for path in folder.iterdir()}
    assert names >= {"checkpoint.safetensors", "history.csv", "model.safetensors",
                     "program.safetensors", "curve.png"}
    # A second call finds the run finished and measures it again.
    assert main([*SMALL, *mode, "--folder", str(folder)]) == 0
    shown = capsys.readouterr().out
    for words in ("F-MSE of 360 test digits", "One training step", "missing",
                  "no sum is formed", "Advantage, by definition", "cannot be stated"):
        assert words in shown, words


def test_another_recipe_in_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--float", "--folder", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main([*SMALL, "--float", "--nudge", "0.2", "--folder", str(tmp_path)]) == 5
    assert "made with nudge = 0.1, not 0.2" in capsys.readouterr().err


def test_a_nudge_can_be_chosen_from_probes(tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "--nudge", "auto", "--folder", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["recipe"]["nudge"] is None
    chosen = document["chosen_nudge"]
    assert 0 < chosen["lowest"] <= chosen["nudge"] <= chosen["highest"] <= 0.25
    assert main(arguments) == 0
    assert "nudge, chosen from probes" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "message"), [
    (["--nudge", "none"], "--nudge"),
    (["--nudge", "-1"], "nudge must be positive, not -1"),
    (["--hidden", "129"], "hidden must be between 1 and 128, not 129"),
    (["--updates", "0"], "must be at least 1, not 0"),
    (["--rule", "backprop"], "invalid choice"),
])
def test_bad_options_are_one_line(option: list[str], message: str, tmp_path: Path,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *option, "--folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
