"""`pbitstream flash` against every fate of the tool that loads, played by a stand-in on PATH."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from board_model import ModelTransport
from loading import IMAGE, WRONG, Done, Place, bitstream
from pbitstream.cli import flash
from pbitstream.devices import registry
from pbitstream.devices.board import Board
from pbitstream.errors import DeviceError
from pbitstream.programmer import same_device
from pbitstream.spec.image import Image

Run = Callable[..., Done]
Stub = Callable[[str], Path]

LOAD = "--board ulx3s bitstreams/ulx3s.bit"


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let a URL open a board of an image, after some attempts; returns the URLs opened."""

    def behind(image: Image = IMAGE, late: int = 0) -> list[str]:
        opened: list[str] = []

        def open_device(url: str) -> Board:
            opened.append(url)
            if len(opened) <= late:
                raise DeviceError("sent the beginning of a session; no board answered")
            return Board(ModelTransport(image))

        monkeypatch.setattr(registry, "open_device", open_device)
        monkeypatch.setattr(registry, "device_schemes", lambda: {"emulator": 0, "model": 0})
        monkeypatch.setattr(flash, "RETRY_SECONDS", 0.01)
        monkeypatch.setattr(flash, "ANSWER_SECONDS", 0.2)
        return opened

    return behind


@pytest.fixture(autouse=True)
def _no_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "LINES", tmp_path / "by-id")


def test_a_board_is_loaded_and_read_back(run: Run, place: Place, stub: Stub,
                                         board: Callable[..., list[str]]) -> None:
    made, log, opened = place.write(), stub("good"), board(late=2)
    done = run("flash", "ulx3s", "--port", "model:", "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert done.err == f"pbitstream: note: openFPGALoader {LOAD}\n"
    assert found["loaded"]
    assert found["tool"] == "openFPGALoader 0.12.1"
    assert found["read_back"] == {"port": "model:", "spec_digest": made.spec_digest,
                                  "image": made.to_dict()["image"]}
    assert opened == 3 * ["model:"]
    assert log.read_text().splitlines() == ["--Version", "--board ulx3s --detect", LOAD]


def test_a_tool_that_leaves_out_the_revision(run: Run, place: Place, stub: Stub) -> None:
    place.write()
    stub("short")
    assert run("flash", "ulx3s").code == 0
    assert same_device(0x41113043, 0x41113043)
    assert not same_device(0x41112043, 0x41113043)
    assert not same_device(0x1113043, 0x41112043)
    assert not same_device(0x21111043, 0x41111043)


def test_the_only_manifest_needs_no_name(run: Run, place: Place, stub: Stub) -> None:
    place.write()
    stub("good")
    done = run("flash")
    assert done.code == 0
    assert "not read back" in done.err
    assert f"openFPGALoader {LOAD}" in done.out
    (place.manifest.parent / "other.json").write_text("{}")
    done = run("flash")
    assert done.code == 2
    assert "bitstreams holds other, ulx3s" in done.err


def test_the_line_named_like_the_board_is_found(run: Run, place: Place, stub: Stub,
                                                board: Callable[..., list[str]],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    place.write()
    stub("good")
    opened = board()
    monkeypatch.setattr(registry, "device_schemes", lambda: {"serial": 0})
    monkeypatch.setattr(flash, "find_spec", lambda name: True)
    flash.LINES.mkdir()
    name = flash.LINES / "usb-FER-RADIONA-EMARD_ULX3S_FPGA_85K_v3.0.8_K00219-if00-port0"
    for other in (name, flash.LINES / "usb-Other_UART-if00-port0"):
        other.touch()
    assert run("flash", "ulx3s").code == 0
    assert opened == [f"serial:{name}"]
    # Two boards: nobody guesses which.
    (flash.LINES / "usb-Another_ULX3S-if00-port0").touch()
    assert "not read back" in run("flash", "ulx3s").err


def test_a_dry_run_touches_nothing(run: Run, place: Place, stub: Stub) -> None:
    place.write()
    log = stub("good")
    done = run("flash", str(place.manifest.relative_to(Path.cwd())), "--dry-run", "--json")
    assert done.code == 0
    assert json.loads(done.out)["commands"] == ["openFPGALoader --board ulx3s --detect",
                                                f"openFPGALoader {LOAD}"]
    assert not json.loads(done.out)["loaded"]
    assert log.read_text() == ""
    done = run("flash", "ulx3s", "--dry-run")
    assert f"openFPGALoader {LOAD}" in done.out


@pytest.mark.parametrize(("mode", "message"), [
    ("wrong", "the board's chip is 0x21111043 LFE5U-12, the image is for 0x41113043"),
    ("permission", "this user may not open the board's USB"),
    ("absent", "no board was found on USB"),
    ("silent", "it named no device id"),
    ("swapped", "nothing was written"),
    ("unplugged", "its flash was not touched: run this again, or switch the board off and on"),
    ("killed", "it was killed by signal 9: "),
])
def test_what_goes_wrong_is_one_line_with_the_way_out(run: Run, place: Place, stub: Stub,
                                                      mode: str, message: str) -> None:
    place.write()
    log = stub(mode)
    before = place.bitstream.read_bytes(), place.manifest.read_bytes()
    done = run("flash", "ulx3s", "--quiet")
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
    assert message in done.err
    assert (place.bitstream.read_bytes(), place.manifest.read_bytes()) == before
    written = LOAD in log.read_text()
    assert written == (mode in ("swapped", "unplugged", "killed"))


def test_without_the_tool(run: Run, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write()
    monkeypatch.setenv("PATH", "/nonexistent")
    done = run("flash", "ulx3s")
    assert done.code == 3
    assert "openFPGALoader is missing" in done.err
    assert "apt-get install openfpgaloader" in done.err
    assert run("flash", "ulx3s", "--dry-run").code == 0


def test_a_tool_that_says_nothing_is_stopped(run: Run, place: Place, stub: Stub,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    place.write()
    stub("slow")
    monkeypatch.setattr("pbitstream.programmer.PATIENCE", 2.0)
    began = time.monotonic()
    done = run("flash", "ulx3s", "--quiet")
    assert done.code == 4
    assert "it has said nothing for 2 s and was stopped" in done.err
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("changes", "message"), [
    ({"sha256": "1" * 64}, "damaged"),
    ({"spec_digest": "f" * 64}, "built for spec ffffffffffffffff"),
    ({"idcode": WRONG}, "holds device id 0x41113043"),
    ({"data": bitstream(WRONG)}, "holds device id 0x21111043"),
])
def test_a_bad_image_never_reaches_the_tool(run: Run, place: Place, stub: Stub,
                                            changes: dict[str, Any], message: str) -> None:
    place.write(**changes)
    log = stub("good")
    done = run("flash", "ulx3s")
    assert done.code == 5
    assert message in done.err
    assert log.read_text() == ""


@pytest.mark.parametrize(("words", "message"), [
    (["flash", "nix"], "there is no manifest bitstreams/nix.json"),
    (["flash", "other.json"], "there is no such manifest"),
    (["flash", "bitstreams/ulx3s.bit"], "is no manifest; give the .json beside it"),
    (["flash", "ulx3s", "--port", "emulator:"], "--port must be the URL of a board"),
    (["flash", "ulx3s", "--port", "/dev/ttyUSB0"], "--port must be the URL of a board"),
])
def test_wrong_arguments(run: Run, place: Place, stub: Stub, words: list[str],
                         message: str) -> None:
    place.write()
    log = stub("good")
    done = run(*words)
    assert done.code == 2
    assert message in done.err
    assert LOAD not in log.read_text()


def test_a_board_that_does_not_answer(run: Run, place: Place, stub: Stub,
                                      board: Callable[..., list[str]]) -> None:
    place.write()
    stub("good")
    opened = board(late=10_000)
    done = run("flash", "ulx3s", "--port", "model:", "--quiet")
    assert done.code == 4
    assert "the image was loaded, but model: does not show it: sent" in done.err
    assert len(opened) > 1


def test_a_board_with_another_image(run: Run, place: Place, stub: Stub,
                                    board: Callable[..., list[str]]) -> None:
    place.write()
    stub("good")
    board(image=Image(lanes=16, max_units=1024, max_rank_words=4096))
    done = run("flash", "ulx3s", "--port", "model:", "--quiet")
    assert done.code == 4
    assert "holds another one" in done.err


def test_ctrl_c_says_what_the_board_holds(place: Place, stub: Stub) -> None:
    place.write()
    log = stub("slow")
    code = "import sys; from pbitstream.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen([sys.executable, "-c", code, "flash", "ulx3s"], text=True,
                          stderr=subprocess.PIPE) as running:
        end = time.monotonic() + 30
        while LOAD not in log.read_text() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "its flash was not touched" in err
    assert err.endswith("pbitstream: interrupted\n")
