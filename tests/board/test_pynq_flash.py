"""`pbitstream flash pynq-z2`: over JTAG from elsewhere, by the kernel on the board itself."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loading import Done, Place
from pbitstream.devices.zynq import manager
from pbitstream.errors import FileFormatError
from pbitstream.programmer import same_device
from pbitstream.spec.bitfile import BitFile
from pbitstream.spec.manifest import Clock, Manifest, Programmer
from zynq_stand_in import CHIP, IMAGE, OTHER_CHIP, OTHER_IMAGE, Zynq, bit_file

Run = Callable[..., Done]

#: An openFPGALoader before a Zynq, whose chain holds the processor's debug port too.
STUB = f"""#!{sys.executable}
import sys
words = sys.argv[1:]
if words == ["--Version"]:
    print("openFPGALoader v0.12.1")
elif "--detect" in words:
    print("index 0:\\n\\tidcode 0x4ba00477\\n\\ttype   ARM cortex A9\\n\\tirlength 4\\n"
          "index 1:\\n\\tidcode   0x23727093\\n\\tmanufacturer xilinx\\n\\tfamily zynq\\n"
          "\\tmodel  xc7z020\\n\\tirlength 6")
else:
    assert words == ["--board", "pynq_z2", "bitstreams/pynq-z2.bit"]
    print("Load SRAM: [====] 100.00%\\nDone")
"""
LOAD = "openFPGALoader --board pynq_z2 bitstreams/pynq-z2.bit"


@pytest.fixture
def zynq_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Manifest]:
    """Write a bitstream for a Zynq with its manifest; and let no board and no tool be here."""
    monkeypatch.setattr(manager, "MANAGER", Path("/nonexistent/fpga0"))
    monkeypatch.setitem(sys.modules, "pynq", None)  # type: ignore[arg-type]

    def write(idcode: int = CHIP, data: bytes | None = None, **changes: Any) -> Manifest:
        folder = tmp_path / "work" / "bitstreams"
        return Place(folder / "pynq-z2.json", folder / "pynq-z2.bit").write(
            bit_file(idcode) if data is None else data,
            **{"board": "pynq-z2", "part": "xc7z020clg400-1", "idcode": idcode, "image": IMAGE,
               "clock": Clock(125.0, 127.0), "programmer": Programmer("openFPGALoader", "pynq_z2"),
               "line": "", **changes})

    return write


def jtag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "openFPGALoader"
    program.parent.mkdir()
    program.write_text(STUB)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def test_over_jtag(run: Run, zynq_place: Callable[..., Manifest], tmp_path: Path,
                   monkeypatch: pytest.MonkeyPatch) -> None:
    zynq_place()
    jtag(tmp_path, monkeypatch)
    done = run("flash", "pynq-z2", "--json")
    found = json.loads(done.out)
    assert (done.code, found["loaded"], found["read_back"]) == (0, True, None)
    assert found["commands"] == ["openFPGALoader --board pynq_z2 --detect", LOAD]
    assert found["idcode"] == "0x03727093"
    assert "its own Linux loads and reads back, if this command runs there" in done.err
    zynq_place(OTHER_CHIP)
    done = run("flash", "pynq-z2", "--quiet")
    assert (done.code, done.out) == (4, "")
    assert "0x4ba00477, 0x23727093 xc7z020, the image is for 0x03722093" in done.err


def test_revisions_of_a_chip() -> None:
    assert same_device(0x23727093, CHIP)
    assert not same_device(0x4BA00477, CHIP)


def test_on_the_board(run: Run, zynq_place: Callable[..., Manifest], tmp_path: Path,
                      monkeypatch: pytest.MonkeyPatch) -> None:
    made = zynq_place()
    zynq = Zynq.make(tmp_path / "zynq", monkeypatch)
    loaded = zynq.obey(monkeypatch)

    done = run("flash", "pynq-z2", "--dry-run", "--json")
    found = json.loads(done.out)
    assert (done.code, found["clock_mhz"], found["loaded"]) == (0, 125.0, False)
    convert, *commands = found["commands"]
    assert commands == [f"echo 0 > {zynq.sysfs}/flags",
                        f"echo pbitstream.bin > {zynq.sysfs}/firmware"]
    assert (loaded, zynq.loaded) == ([], "")

    done = run("flash", "pynq-z2", "--json")
    found = json.loads(done.out)
    assert done.code == 0, done.err
    assert found["tool"].startswith("fpga_manager of Linux ")
    assert found["read_back"] == {"port": "pynq:", "spec_digest": made.spec_digest,
                                  "image": made.to_dict()["image"]}
    assert loaded == [BitFile.parse(bit_file()).firmware()]
    # FCLK0 = 1,000 MHz / (4 * 2), or however 8 is written.
    value = zynq.word(0xF800_0170)
    assert (value >> 8 & 63) * (value >> 20 & 63) == 8

    # What is shown does what is done.
    subprocess.run(["sh", "-c", convert.replace("python3", sys.executable, 1)], check=True)
    assert (zynq.firmware / "pbitstream.bin").read_bytes() == loaded[0]


@pytest.mark.parametrize(("change", "message"), [
    (lambda zynq: zynq.show(OTHER_IMAGE), "the board at pynq: holds another one"),
    (lambda zynq: None, "the image was loaded, but pynq: does not show it"),
])
def test_a_load_that_the_kernel_ignores(run: Run, zynq_place: Callable[..., Manifest],
                                        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        change: Callable[[Zynq], None], message: str) -> None:
    zynq_place()
    zynq = Zynq.make(tmp_path / "zynq", monkeypatch)
    zynq.obey(monkeypatch, lambda: change(zynq))
    monkeypatch.setattr("pbitstream.cli.flash.ANSWER_SECONDS", 0.1)
    done = run("flash", "pynq-z2", "--quiet")
    assert (done.code, done.out) == (4, "")
    assert message in done.err


def test_on_a_board_with_another_chip(run: Run, zynq_place: Callable[..., Manifest],
                                      tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zynq_place(OTHER_CHIP)
    zynq = Zynq.make(tmp_path / "zynq", monkeypatch)
    done = run("flash", "pynq-z2", "--quiet")
    assert (done.code, done.out) == (4, "")
    assert "the board's chip is 0x23727093, the image is for 0x03722093" in done.err
    assert "nothing was written" in done.err
    assert zynq.loaded == ""


@pytest.mark.parametrize(("changes", "message"), [
    ({"sha256": "1" * 64}, "damaged"),
    ({"idcode": OTHER_CHIP, "data": bit_file(CHIP)}, "holds device id 0x03727093, and not 0x0372"),
    ({"data": bit_file()[:-4]}, "holds no device id"),
    ({"spec_digest": "f" * 64}, "built for spec ffffffffffffffff"),
])
def test_a_bad_image_is_never_loaded(run: Run, zynq_place: Callable[..., Manifest],
                                     tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     changes: dict[str, Any], message: str) -> None:
    zynq_place(**changes)
    zynq = Zynq.make(tmp_path / "zynq", monkeypatch)
    done = run("flash", "pynq-z2", "--quiet")
    assert (done.code, done.out, zynq.loaded) == (5, "", "")
    assert message in done.err


def test_an_image_for_another_board_is_not_the_kernels(run: Run, place: Place, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    place.write()
    Zynq.make(tmp_path / "zynq", monkeypatch)
    assert "openFPGALoader --board ulx3s" in run("flash", "ulx3s", "--dry-run").out
    with pytest.raises(FileFormatError):
        BitFile.parse(place.bitstream.read_bytes())
