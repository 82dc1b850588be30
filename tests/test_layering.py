"""Which package may import which, read from the source and tried with packages hidden."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOST, GATEWARE = ROOT / "host", ROOT / "gateware"
STANDARD = set(sys.stdlib_module_names)

#: What numba compiles.
KERNELS = {f"pbitstream.emulator.{name}" for name in (
    "bitsliced", "chain_words", "decisions", "dense_kernels", "dense_lookups", "dense_vectors",
    "kernels", "lanes", "planes", "sums", "vectors", "wide")}
CLI = "pbitstream.cli"
#: A class of dimod's, imported by whoever has dimod.
FACES = {"pbitstream.sampling.dimod_sampler"}
#: Modules that import the compiled kernels; the rest of the package imports those where used.
COMPILED = KERNELS | {f"pbitstream.emulator.{name}" for name in (
    "compiled", "dense_engine", "dense_groups", "grouped", "inputs", "levels", "plan",
    "sliced_groups")}


def under(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def extras(module: str) -> set[str]:
    """Return the packages besides NumPy that a module may import when it is imported itself."""
    if module in KERNELS:
        return {"numba", "llvmlite"}
    if module in FACES:
        return {"dimod"}
    return {"rich"} if under(module, CLI) else set()


def sources(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*.py") if "__pycache__" not in p.parts)


def name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, root: Path, *, everywhere: bool) -> Iterator[tuple[str, int]]:
    """Yield the modules that a file imports; of functions too if `everywhere`."""
    stack: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not everywhere:
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not everywhere:
            stack += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = name_of(path, root).split(".")
                if path.name != "__init__.py":
                    package = package[:-1]
                base = package[: len(package) - node.level + 1]
                module = ".".join([*base, module]).strip(".")
            yield module, node.lineno
            # `from package import module` imports that module.
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names
                        if ((root / module.replace(".", "/") / alias.name).with_suffix(".py")
                            .exists()))
        stack += list(ast.iter_child_nodes(node))


def test_the_scanner_sees_imports(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "sub.py").write_text("")
    path = tmp_path / "pkg" / "mod.py"
    path.write_text("import a.b\nfrom c import d\nfrom . import sub\nfrom pkg import sub\n"
                    "if X:\n    import e\ndef f():\n    import g\nclass C:\n    import h\n")
    top = {name for name, _ in imports(path, tmp_path, everywhere=False)}
    assert top == {"a.b", "c", "pkg", "pkg.sub", "e", "h"}
    assert {name for name, _ in imports(path, tmp_path, everywhere=True)} == top | {"g"}


@pytest.mark.parametrize("path", sources(HOST / "pbitstream" / "spec"), ids=lambda p: p.stem)
def test_spec_imports_the_standard_library_and_errors(path: Path) -> None:
    for name, line in imports(path, HOST, everywhere=True):
        allowed = name.split(".")[0] in STANDARD or under(name, "pbitstream.spec",
                                                          "pbitstream.errors")
        assert allowed, f"{path}:{line} imports {name}"


def test_errors_imports_the_standard_library() -> None:
    for name, line in imports(HOST / "pbitstream" / "errors.py", HOST, everywhere=True):
        assert name.split(".")[0] in STANDARD, f"errors.py:{line} imports {name}"


def test_host_never_imports_gateware_or_sim() -> None:
    for path in sources(HOST):
        for name, line in imports(path, HOST, everywhere=True):
            assert not under(name, "pbitstream_gateware", "pbitstream_sim", "amaranth", "cocotb"), (
                f"{path}:{line} imports {name}"
            )


def test_gateware_imports_spec_and_errors_of_the_host() -> None:
    for path in sources(GATEWARE):
        for name, line in imports(path, GATEWARE, everywhere=True):
            assert not under(name, "pbitstream_sim", "numpy"), f"{path}:{line} imports {name}"
            allowed = not under(name, "pbitstream") or under(
                name, "pbitstream.spec", "pbitstream.errors"
            )
            assert allowed, f"{path}:{line} imports {name}"


def test_host_modules_import_numpy_and_the_standard_library_only() -> None:
    for path in sources(HOST):
        module = name_of(path, HOST)
        for name, line in imports(path, HOST, everywhere=False):
            allowed = STANDARD | {"pbitstream", "numpy"} | extras(module)
            assert name.split(".")[0] in allowed, (
                f"{path}:{line} imports {name} when it is imported; import it where it is used"
            )
            for heavy in (COMPILED, {CLI}):
                if under(name, *heavy):
                    assert under(module, *heavy), f"{path}:{line} imports {name}"


def test_no_module_has_the_name_of_another_package() -> None:
    taken = {"serial", "numpy", "numba", "rich", "torch", "amaranth", "cocotb", "safetensors"}
    for root in (HOST, GATEWARE, ROOT / "sim"):
        for path in sources(root):
            assert path.stem not in taken, path
            assert path.parent != root, f"{path} lies loose in {root.name}/"


def python(code: str) -> str:
    """Run code in an interpreter of its own and return what it printed."""
    code = f"import sys; sys.path.insert(0, {str(HOST)!r})\n{code}"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


#: Makes every package but NumPy and ours look as if it were not installed.
HIDE = """
class Gate:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "pbitstream"):
            if not top.startswith(("_sysconfigdata", "__editable__", "sitecustomize")):
                return None
        return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
for top in {m.split(".")[0] for m in sys.modules}:
    assert top not in ("numba", "rich", "numpy"), top
sys.meta_path[:] = [Gate(finder) for finder in sys.meta_path]
"""


@pytest.mark.parametrize("module", ["pbitstream", "pbitstream.spec", "pbitstream.spec.digest",
                                    "pbitstream.spec.topology", "pbitstream.errors"])
def test_spec_loads_neither_numpy_nor_a_device(module: str) -> None:
    loaded = python(f"import {module}\nprint(*sorted(sys.modules))").split()
    tops = {name.split(".")[0] for name in loaded}
    assert not tops & {"numpy", "numba", "rich"}
    assert not [name for name in loaded if under(name, "pbitstream.devices", "pbitstream.emulator")]


def test_public_names_load_on_first_use() -> None:
    assert python(
        "import pbitstream\n"
        "assert 'numpy' not in sys.modules\n"
        "for name in pbitstream.__all__:\n"
        "    assert getattr(pbitstream, name) is not None\n"
        "    assert name in dir(pbitstream)\n"
        "try:\n"
        "    pbitstream.nothing\n"
        "except AttributeError as error:\n"
        "    print(error)\n"
    ) == "module 'pbitstream' has no attribute 'nothing'"


def test_every_host_module_but_the_cli_imports_with_numpy_alone() -> None:
    names = [name_of(p, HOST) for p in sources(HOST) if p.stem != "__main__"]
    wanted = [name for name in names
              if name not in COMPILED | FACES and not under(name, CLI)]
    code = HIDE + (
        "import importlib\n"
        f"for name in {wanted!r}:\n"
        "    importlib.import_module(name)\n"
        "assert 'numba' not in sys.modules\n"
        "print('ok')\n"
    )
    assert python(code) == "ok"


def test_the_emulator_runs_with_numpy_alone() -> None:
    code = HIDE + (
        "import numpy as np\n"
        "from pbitstream import Emulator, ProgramBuilder\n"
        "builder = ProgramBuilder()\n"
        "builder.langevin('x', 3)\n"
        "with Emulator() as device:\n"
        "    device.load(builder.build())\n"
        "    readout = device.relax(np.ones((1, 3)), steps=2, seed=1)\n"
        "    print(device.info()['engine'], readout.mean.shape)\n"
    )
    assert python(code) == "numpy (1, 3)"


def test_importing_the_emulator_does_not_load_numba() -> None:
    assert python("import pbitstream.emulator.device, pbitstream.devices, pbitstream.program\n"
                  "print('numba' in sys.modules)") == "False"
