"""The program itself: help, unknown words, exit codes, one line per error."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
import types

import pytest

import pbitstream
from pbitstream.cli import entry
from pbitstream.errors import (
    DeviceError,
    DeviceTimeoutError,
    FileFormatError,
    MissingExtraError,
    PbitstreamError,
    SpecError,
    UnstableError,
)

COMMANDS = {"bench", "config", "devices", "infer", "info"}


def start(*words, **options):
    code = f"import sys; from pbitstream.cli import main; sys.exit(main({list(words)!r}))"
    return subprocess.Popen([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **options)


def test_every_command_is_installed_as_an_entry_point():
    assert set(entry.commands()) >= COMMANDS


def test_help_names_every_command_and_exit_code(run):
    done = run("--help")
    assert (done.code, done.err) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in done.out
    assert "4 device or link" in done.out
    assert run("-h").out == done.out
    assert "not usable" not in done.out


def test_without_a_command_the_help_goes_to_stderr(run):
    done = run()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: pbitstream COMMAND")


def test_help_loads_no_array_library():
    code = ("import sys; from pbitstream.cli import main; main(['--help']); "
            "sys.exit(bool({'numpy', 'rich', 'numba'} & sys.modules.keys()))")
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_a_command(run, name):
    done = run(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: pbitstream {name} ")
    assert "--json" in done.out


def test_version(run):
    done = run("--version")
    assert (done.code, done.out, done.err) == (0, f"pbitstream {pbitstream.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["infre"], "unknown command infre, did you mean infer?; see pbitstream --help"),
        (["zzz"], "unknown command zzz; see pbitstream --help"),
        (["--verson"], "unknown option --verson, did you mean --version?; see pbitstream --help"),
        (["infer", "--sed", "3"],
         "unknown option --sed, did you mean --seed?; see pbitstream infer --help"),
        (["infer", "--see=3"],
         "unknown option --see, did you mean --seed?; see pbitstream infer --help"),
        (["infer", "--seed"], "--seed: expected one argument; see pbitstream infer --help"),
        (["infer", "--seed", "x"],
         "--seed: must be a whole number, not 'x'; see pbitstream infer --help"),
        (["infer", "--seed", "-1"],
         "--seed: must be between 0 and 2**64 - 1, not -1; see pbitstream infer --help"),
        (["info", "a", "b"], "too many arguments: b; see pbitstream info --help"),
        (["infer", "--noi", "3"],
         "unknown option --noi, did you mean --noise?; see pbitstream infer --help"),
        (["infer", "--bogus"], "unknown option --bogus; see pbitstream infer --help"),
        (["bench", "--rounds", "0"],
         "--rounds: must be at least 1, not 0; see pbitstream bench --help"),
        (["bench", "--seconds", "0"], "--seconds must be above 0 and at most 60, not 0"),
    ],
)
def test_words_that_do_not_exist_are_usage_errors(refused, words, message):
    refused(2, message, *words)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UnstableError("no gap"), 1, "error: no gap"),
        (SpecError("rank must\nbe 1"), 2, "error: rank must be 1"),
        (MissingExtraError("needs x"), 3, "error: needs x"),
        (DeviceError("link"), 4, "error: link"),
        (DeviceTimeoutError("late"), 4, "error: late"),
        (FileFormatError("bad"), 5, "error: bad"),
        (FileNotFoundError(2, "No such file or directory", "a.npy"), 5,
         "error: a.npy: No such file or directory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (PbitstreamError("?"), 70, "error: ?"),
        (ValueError("boom"), 70, ("error: unexpected ValueError: boom; this is a defect of "
                                  "pbitstream, PBITSTREAM_DEBUG=1 shows where")),
    ],
)
def test_errors_become_one_line_and_a_code(run, monkeypatch, error, code, line):
    def fail(words):
        raise error

    monkeypatch.setattr(entry, "_dispatch", fail)
    done = run("infer")
    assert (done.code, done.out, done.err) == (code, "", f"pbitstream: {line}\n")
    monkeypatch.setenv("PBITSTREAM_DEBUG", "1")
    assert "Traceback" in run("infer").err


def test_a_command_of_another_package_is_found(run, monkeypatch):
    module = types.ModuleType("other")
    module.HELP = "do something else"
    module.add_arguments = lambda parser: parser.add_argument("--twice", action="store_true")
    module.run = lambda arguments: 1 + arguments.twice
    monkeypatch.setitem(sys.modules, "other_command", module)
    points = (
        importlib.metadata.EntryPoint("other", "other_command", entry.GROUP),
        importlib.metadata.EntryPoint("broken", "no_such_module", entry.GROUP),
    )
    monkeypatch.setattr(entry, "entry_points", lambda group: points)
    assert run("other").code == 1
    assert run("other", "--twice").code == 2
    assert run("broken").code == 3
    out = run("--help").out
    assert "other   do something else" in out
    assert "broken  (not usable: command broken needs no_such_module" in out


def test_interrupt_ends_with_130_and_leaves_no_file(tmp_path):
    # With the kernels compiled the child relaxes soon, and LLVM cannot swallow the interrupt.
    start("infer", "--count", "1", "--noise", "0.4", "--quiet").communicate(timeout=120)
    for left in (tmp_path / "work").iterdir():
        left.unlink()
    child = start("infer", "--steps", "1000000", "--quiet", "--out", "x.npy",
                  env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        time.sleep(4)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert (child.returncode, out, err) == (130, "", "pbitstream: interrupted\n")
    assert list((tmp_path / "work").iterdir()) == []


def test_interrupt_while_importing(tmp_path):
    """Wherever the interrupt falls, one line and 130: the module that is imported sends it."""
    for name in ("argparse", "numpy", "pbitstream.cli.infer", "pbitstream.stream"):
        code = ("import os, signal, sys\n"
                "class Finder:\n"
                "    def find_spec(self, name, path=None, target=None):\n"
                f"        if name == {name!r}: os.kill(os.getpid(), signal.SIGINT)\n"
                "sys.meta_path.insert(0, Finder())\n"
                "from pbitstream.cli import main\n"
                "sys.exit(main(['infer', '--noise', '0.4']))")
        done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (
            130, "", "pbitstream: interrupted\n"), name


def test_a_terminal_without_greek_letters():
    child = start("infer", "--count", "1", "--steps", "16", "--noise", "0.4", "--plot", "a.png",
                  env={**os.environ, "PYTHONIOENCODING": "ascii"})
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert "R?" in out
    assert "##" in out


def test_closed_pipe_is_quiet():
    child = start("info", "digits-k16")
    child.stdout.close()
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(timeout=60) == 141
