"""`pynq:` on a board of files: what is loaded, set and asked, and all that is refused before."""

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pbitstream.devices.registry import open_device
from pbitstream.devices.zynq import driver, manager
from pbitstream.devices.zynq.access import mmio_transport
from pbitstream.devices.zynq.driver import Substrate
from pbitstream.devices.zynq.memory import Claim
from pbitstream.devices.zynq.slcr import SLCR_BASE
from pbitstream.errors import DeviceError, FileFormatError, SpecError
from pbitstream.spec import spec_digest, spec_register
from pbitstream.spec.handoff import BASE
from pbitstream.spec.registers import BOARD_BYTES
from zynq_stand_in import CHIP, IMAGE, OTHER_CHIP, OTHER_IMAGE, Log, Zynq, fake_pynq, make_image


@pytest.fixture
def zynq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zynq:
    monkeypatch.setitem(sys.modules, "pynq", None)  # type: ignore[arg-type]
    return Zynq.make(tmp_path / "zynq", monkeypatch)


def clock_of(zynq: Zynq) -> int:
    return zynq.word(SLCR_BASE + 0x170)


def mhz_of(zynq: Zynq) -> float:
    """Return FCLK0, which is 1,000 MHz over the product of its dividers."""
    value = clock_of(zynq)
    return 1000 / ((value >> 8 & 63) * (value >> 20 & 63))


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


@pytest.mark.parametrize(("before", "after", "during"), [
    (100, 125, 100), (125, 100, 100), (100, 100, 100)])
def test_no_image_is_overclocked_while_another_is_loaded(
        zynq: Zynq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        package: Callable[..., tuple[ModuleType, Log]], before: int, after: int,
        during: int) -> None:
    path = make_image(tmp_path / "made", clock=after * 1_000_000)
    seen: list[float] = []

    # By the kernel.
    def loaded() -> None:
        seen.append(mhz_of(zynq))
        zynq.show()

    zynq.place(SLCR_BASE + 0x170, 1 << 20 | 1000 // before << 8)
    with monkeypatch.context() as patch:
        zynq.obey(patch, loaded)
        with open_device(f"pynq:?image={path}") as device:
            assert device.info()["clock_mhz"] == after
    assert seen == [during]

    # By the package.
    def download(_: str) -> None:
        seen.append(made.Clocks.mhz)

    made, _ = package(download)
    made.Clocks.mhz = float(before)
    with open_device(f"pynq:?image={path}") as device:
        assert device.info()["clock_mhz"] == after
    assert seen == [during, during]


def test_the_clock_is_again_what_it_was_where_nothing_was_loaded(
        zynq: Zynq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_image(tmp_path / "made", clock=50_000_000)

    def refuse(attribute: str, value: str) -> None:
        raise OSError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(manager, "_tell", refuse)
        with pytest.raises(DeviceError, match="nothing was written"):
            open_device(f"pynq:?image={path}")
    assert mhz_of(zynq) == 100
    zynq.obey(monkeypatch, state="write error")
    with pytest.raises(DeviceError, match="its state is 'write error'"):
        open_device(f"pynq:?image={path}")
    # Who knows what is in the fabric now.
    assert mhz_of(zynq) == 50


def test_a_clock_that_stands_still_is_set_after_the_load(
        zynq: Zynq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        package: Callable[..., tuple[ModuleType, Log]]) -> None:
    path = make_image(tmp_path / "made")
    zynq.place(SLCR_BASE + 0x170, 0)
    zynq.obey(monkeypatch)
    with open_device(f"pynq:?image={path}") as device:
        assert device.info()["clock_mhz"] == 125.0

    class Still:
        made = 0.0

        @property
        def fclk0_mhz(self) -> float:
            return self.made or 1 / 0

        @fclk0_mhz.setter
        def fclk0_mhz(self, mhz: float) -> None:
            self.made = mhz

    made, _ = package(lambda path: None)
    made.__dict__["Clocks"] = Still()
    with pytest.raises(DeviceError, match=r"asked pynq 9\.9 for FCLK0; a divider of 0 came back"):
        open_device("pynq:")
    with open_device(f"pynq:?image={path}") as device:
        assert device.info()["clock_mhz"] == 125.0


@pytest.mark.parametrize(("before", "loads", "message"), [
    (100.0, 1, "the image was loaded, and FCLK0 is 100 MHz again"),
    (200.0, 0, "nothing was loaded, and FCLK0 is 200 MHz again"),
])
def test_a_clock_that_the_package_makes_too_fast(
        zynq: Zynq, tmp_path: Path, package: Callable[..., tuple[ModuleType, Log]], before: float,
        loads: int, message: str) -> None:
    class Coarse:
        made = before

        @property
        def fclk0_mhz(self) -> float:
            return self.made

        @fclk0_mhz.setter
        def fclk0_mhz(self, mhz: float) -> None:
            self.made = 142.857 if mhz == 125 else mhz

    made, log = package(lambda path: None)
    made.__dict__["Clocks"] = Coarse()
    with pytest.raises(DeviceError, match=r"^sent 125 MHz to FCLK0; 142\.857 MHz came back; "
                                          f"{message}; build the image for a clock"):
        open_device(f"pynq:?image={make_image(tmp_path / 'made')}")
    assert made.Clocks.made == before
    assert len(log.downloads) == loads
    Claim().close()


def test_an_overlay_keeps_the_board_from_others(
        zynq: Zynq, package: Callable[..., tuple[ModuleType, Log]]) -> None:
    made, _ = package(lambda path: None)
    made.__dict__["DefaultIP"] = type("DefaultIP", (), {})
    zynq.show()
    (zynq.sysfs / "state").write_text("operating\n")
    substrate = driver._driver()()
    substrate.mmio = made.MMIO(BASE, BOARD_BYTES)
    with substrate.open() as device:
        assert device.info()["access"] == "pynq overlay"
        for other in (substrate.open, lambda: open_device("pynq:")):
            with pytest.raises(DeviceError, match="another program of pbitstream uses the board"):
                other()
    open_device("pynq:").close()
    # Nor does one that cannot be opened keep it.
    zynq.place(BASE, 0)
    with pytest.raises(DeviceError, match="0x00000000 came back"):
        substrate.open()
    Claim().close()


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
