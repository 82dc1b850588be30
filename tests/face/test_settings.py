"""`pbitstream config` and `devices`: option > environment > project > user > default."""

import importlib.metadata
import json

import pytest

from pbitstream.cli.settings import user_file
from pbitstream.devices import registry


def shown(done):
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)["settings"]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_each_origin_beats_the_next(run, tmp_path, monkeypatch):
    def seed(*words):
        setting = shown(run("config", "show", "--json", *words))["seed"]
        return setting["value"], setting["origin"], setting["where"]

    assert seed() == (0, "default", None)
    user = write(user_file(), "seed = 1\nquiet = true\n")
    assert seed() == (1, "user file", str(user))
    project = write(tmp_path / "pbitstream.toml", "seed = 2\n")
    assert seed() == (2, "project file", str(project))
    monkeypatch.setenv("PBITSTREAM_SEED", "3")
    assert seed() == (3, "environment", "PBITSTREAM_SEED")
    assert seed("--seed", "0") == (0, "option", "--seed")
    settings = shown(run("config", "show", "--json"))
    assert settings["quiet"]["value"] is True
    assert shown(run("config", "show", "--json", "--no-quiet"))["quiet"]["value"] is False
    screen = run("config", "show").out
    assert run("config") == run("config", "show")
    for word in ("device", "emulator:", "default", "PBITSTREAM_SEED", "project file:", "user fil"):
        assert word in screen


def test_nearest_project_file_counts(run, tmp_path):
    write(tmp_path / "pbitstream.toml", "seed = 8\n")
    write(tmp_path / "work" / "pbitstream.toml", "seed = 9\n")
    assert shown(run("config", "show", "--json"))["seed"]["value"] == 9


def test_settings_reach_other_commands(run, small, tmp_path, monkeypatch):
    write(tmp_path / "work" / "pbitstream.toml", 'device = "emulator:?engine=numpy"\nseed = 4\n')
    data = json.loads(run("infer", "--json", "--noise", "0.4", *small).out)
    assert (data["device"], data["seed"]) == ("emulator:?engine=numpy", 4)
    monkeypatch.setenv("PBITSTREAM_DEVICE", "nowhere:")
    assert run("infer", "--json", *small).code == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('devise = "emulator:"', "unknown key 'devise'; known keys are device, seed, quiet"),
        ("seed = -1", "seed must be a whole number between 0 and 2**64 - 1, not -1"),
        ("seed = true", "seed must be a whole number between 0 and 2**64 - 1, not True"),
        ("quiet = 1", "quiet must be true or false, not 1"),
        ('device = ""', "device must be a device URL such as \"emulator:\", not ''"),
    ],
)
def test_bad_files(refused, tmp_path, text, reason):
    path = write(tmp_path / "work" / "pbitstream.toml", text)
    refused(5, f"{path}: {reason}", "config", "show")


def test_a_file_that_is_not_toml(run, tmp_path):
    path = write(tmp_path / "work" / "pbitstream.toml", "seed : 3")
    done = run("devices")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith(f"pbitstream: error: {path}: not TOML: ")


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("SEED", "many", "a whole number between 0 and 2**64 - 1"),
        ("QUIET", "perhaps", "true or false"),
    ],
)
def test_bad_environment(refused, monkeypatch, name, text, rule):
    monkeypatch.setenv(f"PBITSTREAM_{name}", text)
    refused(2, f"PBITSTREAM_{name} must be {rule}, not '{text}'", "config", "show")


def test_devices(run, monkeypatch):
    data = json.loads(run("devices", "--json").out)
    emulator = next(d for d in data["devices"] if d["scheme"] == "emulator")
    assert emulator["installed"]
    assert emulator["what"]
    assert data["default"] == "emulator:"
    screen = run("devices").out
    assert "emulator:" in screen
    assert "used without -d: emulator: (default)" in screen
    points = [importlib.metadata.EntryPoint("ghost", "no_such_module:open", registry.GROUP),
              importlib.metadata.EntryPoint("shell", "pbitstream:no_such_name", registry.GROUP)]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    ghost, shell = json.loads(run("devices", "--json").out)["devices"]
    assert (ghost["installed"], ghost["reason"]) == (False, "no_such_module is missing")
    assert not shell["installed"]
    assert run("infer", "-d", "ghost:").code == 3
