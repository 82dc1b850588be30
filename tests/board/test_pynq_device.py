"""`pynq:` on a board of files: what is loaded, set and asked, and all that is refused before."""

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pbitstream.devices.registry import open_device
from pbitstream.devices.zynq import manager
from pbitstream.devices.zynq.access import mmio_transport
from pbitstream.devices.zynq.driver import Substrate
from pbitstream.devices.zynq.memory import Claim
from pbitstream.devices.zynq.slcr import SLCR_BASE
from pbitstream.errors import DeviceError, FileFormatError, SpecError
from pbitstream.spec import spec_digest, spec_register
from zynq_stand_in import CHIP, IMAGE, OTHER_CHIP, OTHER_IMAGE, Log, Zynq, fake_pynq, make_image


@pytest.fixture
def zynq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zynq:
    monkeypatch.setitem(sys.modules, "pynq", None)  # type: ignore[arg-type]
    return Zynq.make(tmp_path / "zynq", monkeypatch)


def clock_of(zynq: Zynq) -> int:
    return zynq.word(SLCR_BASE + 0x170)


def test_a_fabric_that_has_an_image_is_asked_what_it_is(zynq: Zynq) -> None:
    zynq.show()
    (zynq.sysfs / "state").write_text("operating\n")
    with open_device("pynq:") as device:
        info = device.info()
        with pytest.raises(DeviceError, match="another program of pbitstream uses the board"):
            open_device("pynq:")
    assert (info["device"], info["access"], info["clock_mhz"]) == ("pynq", "/dev/mem", 100.0)
    assert info["spec_digest"] == spec_digest()
    assert info["image"]["lanes"] == IMAGE.lanes
    assert zynq.loaded == ""
    open_device("pynq:").close()


def test_an_image_is_loaded_and_read_back(zynq: Zynq, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_image(tmp_path / "made")
    loaded = zynq.obey(monkeypatch)
    with open_device(f"pynq:?image={path}") as device:
        assert device.info()["clock_mhz"] == 125.0
    (firmware,) = loaded
    assert firmware[32:44] == bytes.fromhex("bb000000 44002211 ffffffff")
    assert (zynq.loaded, (zynq.sysfs / "flags").read_text()) == ("pbitstream.bin", "0")
    # Nothing is left behind.
    assert list(zynq.firmware.iterdir()) == []


@pytest.mark.parametrize(("change", "message"), [
    (lambda zynq: zynq.show(OTHER_IMAGE), "the fabric holds another image: Image.lanes=16"),
    (lambda zynq: zynq.show(digest=spec_register() ^ 1), "image was built for spec"),
    (lambda zynq: None, "0x00000000 came back and not 0x54494250"),
])
def test_a_load_that_the_kernel_ignores_is_noticed(
        zynq: Zynq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        change: Callable[[Zynq], None], message: str) -> None:
    zynq.obey(monkeypatch, lambda: change(zynq))
    with pytest.raises(DeviceError, match=message):
        open_device(f"pynq:?image={make_image(tmp_path / 'made')}")
    # And the board is free again.
    Claim().close()


def test_a_load_that_fails_says_so(zynq: Zynq, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_image(tmp_path / "made")
    zynq.obey(monkeypatch, state="write error")
    with pytest.raises(DeviceError, match="its state is 'write error' and not 'operating'"):
        open_device(f"pynq:?image={path}")

    def refuse(number: int, text: str) -> Callable[[str, str], None]:
        def tell(attribute: str, value: str) -> None:
            if attribute == "firmware":
                raise OSError(number, text)
        return tell

    monkeypatch.setattr(manager, "_tell", refuse(22, "Invalid argument"))
    with pytest.raises(DeviceError, match=r"Invalid argument; its state is .*; dmesg says why"):
        open_device(f"pynq:?image={path}")
    monkeypatch.setattr(manager, "_tell", refuse(13, "Permission denied"))
    with pytest.raises(DeviceError, match="firmware may not be written by this user; run it with "
                                          "sudo; nothing was written"):
        open_device(f"pynq:?image={path}")
    zynq.firmware.rmdir()
    with pytest.raises(DeviceError, match="No such file or directory; nothing was written"):
        open_device(f"pynq:?image={path}")
    Claim().close()


def test_another_chip_is_refused_before_anything_is_written(
        zynq: Zynq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, clock = zynq.obey(monkeypatch), clock_of(zynq)
    for change in ({"idcode": OTHER_CHIP}, {"part": "7z010clg400"}, {"payload": b"\0"}):
        path = make_image(tmp_path / "made", **change)
        with pytest.raises((DeviceError, FileFormatError)) as found:
            open_device(f"pynq:?image={path}")
        if "idcode" in change:
            assert str(found.value).startswith(
                f"this board's chip is 0x{0x20000000 | CHIP:08x}, {path} is for {OTHER_CHIP:#010x}")
            assert "nothing was written" in str(found.value)
    assert (loaded, zynq.loaded, clock_of(zynq)) == ([], "", clock)


def test_a_fabric_without_an_image_is_not_read(zynq: Zynq) -> None:
    zynq.show()
    with pytest.raises(DeviceError, match="the fabric holds no image, the kernel says 'unknown'"):
        open_device("pynq:")
    Claim().close()


def test_a_computer_that_is_no_board(zynq: Zynq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "MANAGER", Path("/nonexistent/fpga0"))
    with pytest.raises(DeviceError, match="this computer is no Zynq board: it has no /nonexistent"):
        open_device("pynq:")


@pytest.mark.parametrize(("url", "message"), [
    ("pynq:here", "pynq: takes no address, not 'here'; a board elsewhere is tcp:HOST:7248"),
    ("pynq:?base=0", "pynq: takes the option image, not base"),
    ("pynq:?image=nix.bit", "image must be a .bit file, and there is no nix.bit"),
])
def test_wrong_urls(url: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}".replace("?", r"\?")):
        open_device(url)


# By the package.

@pytest.fixture
def package(zynq: Zynq, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[ModuleType, Log]]:
    def install(download: Callable[[str], None]) -> tuple[ModuleType, Log]:
        made, log = fake_pynq(zynq, download)
        monkeypatch.setitem(sys.modules, "pynq", made)
        return made, log

    return install


def test_the_package_loads_and_sets_the_clock(
        zynq: Zynq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        package: Callable[..., tuple[ModuleType, Log]]) -> None:
    def download(path: str) -> None:
        (zynq.sysfs / "state").write_text("operating\n")
        zynq.show()

    _, log = package(download)
    make_image(tmp_path / "made")
    monkeypatch.chdir(tmp_path / "made")
    with open_device("pynq:?image=pynq-z2.bit") as device:
        info = device.info()
    assert (info["access"], info["clock_mhz"]) == ("pynq 9.9", 125.0)
    assert (log.downloads, log.clocks) == ([str(tmp_path / "made" / "pynq-z2.bit")], [125.0])
    # The kernel's way has not been taken as well.
    assert zynq.loaded == ""


def test_what_the_package_says_is_told(zynq: Zynq, tmp_path: Path,
                                       package: Callable[..., tuple[ModuleType, Log]]) -> None:
    def download(path: str) -> None:
        raise RuntimeError("XRT is not sourced")

    made, log = package(download)
    path = make_image(tmp_path / "made")
    with pytest.raises(DeviceError, match=r"to pynq 9\.9; it said: XRT is not sourced; run it as"):
        open_device(f"pynq:?image={path}")

    class Fast:
        @property
        def fclk0_mhz(self) -> float:
            return 142.857

        @fclk0_mhz.setter
        def fclk0_mhz(self, mhz: float) -> None:
            pass

    made.__dict__["Clocks"] = Fast()
    with pytest.raises(DeviceError, match=r"sent 125 MHz to FCLK0; 142\.857 MHz came back; nothing "
                                          "was loaded"):
        open_device(f"pynq:?image={path}")
    assert len(log.downloads) == 1
    # Where the package finds no board, the kernel is asked.
    made.__dict__["Device"].devices = []
    with pytest.raises(DeviceError, match="the fabric holds no image"):
        open_device("pynq:")
    Claim().close()


def test_registers_without_memory(zynq: Zynq) -> None:
    stored: dict[int, int] = {}

    class Remote:
        array = ()

        def read(self, offset: int) -> int:
            return stored.get(offset, 0)

        def write(self, offset: int, data: bytes) -> None:
            stored.update({offset + at: int.from_bytes(data[at : at + 4], "little")
                           for at in range(0, len(data), 4)})

    transport = mmio_transport(Remote(), Claim())
    transport.write(8, bytes(range(8)))
    assert transport.read(4, 12) == bytes(4) + bytes(range(8))
    transport.close()
    Claim().close()


@pytest.mark.parametrize("group", ["pynq.lib", "pynq.overlays", "pynq.notebooks"])
def test_what_pynq_looks_for_is_there(group: str) -> None:
    (point,) = [p for p in entry_points(group=group) if p.name == "pbitstream"]
    module: Any = point.load()
    assert (Path(module.__file__).name == "__init__.py") == (group != "pynq.lib")
    if group == "pynq.notebooks":
        assert list(Path(module.__file__).parent.glob("*.ipynb"))
    if group == "pynq.lib":
        # Made where pynq is.
        assert module.Substrate is Substrate
