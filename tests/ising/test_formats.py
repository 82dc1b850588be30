"""Files of problems: every format read and recognised, every malformed line named."""

import io
import json
import re
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.io import mmread, mmwrite

from engines import seeded
from lattices import random_problem, random_spins
from pbitstream.errors import FileFormatError, MissingExtraError, SpecError
from pbitstream.ising import FORMATS, Problem, read_problem
from pbitstream.ising.formats import recognise
from pbitstream.ising.formats.lines import Text
from pbitstream.ising.formats.qubo import read_qubo
from physics_reference import spin_states

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def written(tmp_path):
    """Return a function that reads a problem from a text, in a file with a misleading name."""
    def read(text, **arguments):
        path = tmp_path / "graph.qubo"
        path.write_text(text, encoding="utf-8")
        return read_problem(path, **arguments)
    return read


def test_g81_is_a_torus_of_20000_p_bits():
    problem = read_problem(DATA / "G81.txt")
    assert (problem.n, problem.edges, problem.name) == (20_000, 40_000, "G81")
    assert problem.labels[:2] == (1, 2)
    assert set(problem.weight.tolist()) == {-1, 1}
    degree = np.bincount(np.concatenate([problem.first, problem.second]))
    assert (degree == 4).all()
    # Its first edge: 1 19901 1, of weight w = -J.
    at = (problem.first == 0) & (problem.second == 19_900)
    assert problem.weight[at].tolist() == [-1]
    everything = np.ones(20_000, np.int8)
    assert problem.energy(everything) == -problem.weight.sum()
    assert problem.is_max_cut
    assert problem.cut(everything) == 0


def test_a_gset_file_is_a_max_cut(written):
    problem = written("# a triangle\n3 3\n1 2 2\n2 3 -1.5  # bond\n\n3 1 4\n")
    assert problem.labels == (1, 2, 3)
    assert problem.matrix().tolist() == [[0, -2, -4], [-2, 0, 1.5], [-4, 1.5, 0]]
    assert problem.cut([1, -1, -1]) == 6
    unweighted = written("3 2\n1 2\n2 3\n")
    assert unweighted.weight.tolist() == [-1, -1]
    assert written("4 0\n", format="gset").n == 4


def test_an_edge_list_has_couplings_of_our_sign(written):
    problem = written("% i j J\n10, 20, 2\n20 30 -1.5 # last\n10 10 .5\n")
    assert problem.labels == (10, 20, 30)
    assert problem.h.tolist() == [0.5, 0, 0]
    assert problem.energy([1, 1, 1]) == -0.5 - 2 + 1.5
    plain = written("0 1\n1 2\n2 0\n")
    assert plain.labels is None
    assert plain.weight.tolist() == [1, 1, 1]
    # Three nodes and two edges, or three edges: the content says the first, the caller may differ.
    assert written("3 2\n1 3\n2 3\n").n == 3
    assert written("3 2\n1 3\n2 1\n", format="edges").edges == 3


@pytest.mark.parametrize("kind", [None, "edges", "gset"])
def test_matrix_market_files_are_refused_with_the_way_out(written, tmp_path, kind):
    matrix = sparse.coo_array(random_problem(np.random.default_rng(2), 6, bias=0).matrix())
    path = tmp_path / "j.mtx"
    mmwrite(path, matrix)
    text = path.read_text()
    assert text.startswith("%%MatrixMarket")
    with pytest.raises(FileFormatError, match=r"line 1: MatrixMarket files .* scipy\.io\.mmread"):
        written(text, format=kind)
    sparse.save_npz(tmp_path / "j.npz", sparse.coo_array(mmread(path)))
    assert np.array_equal(read_problem(tmp_path / "j.npz").matrix(), matrix.toarray())


@pytest.mark.parametrize(("text", "kind", "rival"), [
    ("3 2\n1 2\n2 3\n", "gset", "edges"), ("0 1\n1 2\n2 0\n", "edges", "gset"),
    ("3 2\n1 2 1\n2 3 1\n", "gset", ""), ("0 1 2\n", "edges", ""),
    ("p edge 2 1\ne 1 2\n", "dimacs", ""),
])
def test_what_a_file_was_taken_for_is_told(tmp_path, text, kind, rival):
    path = tmp_path / "file"
    path.write_text(text)
    read = recognise(path)
    assert (read.format, read.rival) == (kind, rival)
    told = recognise(path, format=kind)
    assert (told.format, told.rival) == (kind, "")
    assert np.array_equal(told.problem.matrix(), read_problem(path).matrix())


def test_a_dimacs_graph_is_a_max_cut(written):
    text = "c a path\np edge 4 2\ne 1 2\ne 3 2 5\n"
    for kind in ("edge", "col"):
        problem = written(text.replace("edge", kind))
        assert (problem.n, problem.labels) == (4, (1, 2, 3, 4))
        assert problem.weight.tolist() == [-1, -5]
    both = "p col 3 {}\ne 1 2\ne 2 1\ne 2 3\ne 3 2\n"
    for count in (2, 4):
        assert written(both.format(count)).edges == 2


@given(st.integers(0, 10_000), st.integers(1, 6))
@seeded(15)
def test_a_qubo_file_has_its_own_energies(seed, n):
    rng = np.random.default_rng(seed)
    q = np.triu(rng.integers(-5, 6, (n, n)) / 2)
    nodes = [f"{3 * i} {3 * i} {q[i, i]}" for i in range(n)]
    couplers = [f"{3 * i} {3 * j} {q[i, j]}" for i in range(n) for j in range(i + 1, n)]
    head = f"c QUBO\np qubo 0 {3 * n} {n} {len(couplers)}"
    text = "\n".join([head, *nodes, "c couplers", *couplers])
    problem = read_qubo(Text("q", text), "q")
    assert problem.labels == (tuple(3 * i for i in range(n)) if n > 1 else None)
    x = (spin_states(n) + 1) / 2
    assert np.array_equal(problem.energy(spin_states(n)), np.einsum("si,ij,sj->s", x, q, x))


def test_a_qubo_file_is_recognised(written):
    problem = written("p qubo unconstrained 4 1 1\n3 3 2\n1 3 -4\n")
    assert problem.labels == (1, 3)
    assert problem.energy([[1, 1], [-1, 1], [1, -1]]).tolist() == [-2, 2, 0]


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("form", [sparse.coo_array, sparse.coo_matrix])
def test_matrices_of_scipy(tmp_path, kind, form):
    problem = random_problem(np.random.default_rng(8), 12, whole=False, bias=0)
    path = tmp_path / "j.txt"
    with path.open("wb") as file:
        sparse.save_npz(file, form(problem.matrix()).asformat(kind))
    again = read_problem(path)
    assert np.array_equal(again.matrix(), problem.matrix())
    assert again.name == "j"


@pytest.mark.parametrize("form", ["bqm", "json"])
@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_models_of_dimod(tmp_path, form, vartype):
    dimod = pytest.importorskip("dimod")
    rng = np.random.default_rng(9)
    bqm = dimod.BinaryQuadraticModel({"a": 2, "b": -1}, {("a", "c"): 3, ("b", "c"): -2}, 5, vartype)
    path = tmp_path / "model"
    if form == "bqm":
        with bqm.to_file() as file:
            path.write_bytes(file.read())
    else:
        path.write_text(json.dumps(bqm.to_serializable()))
    problem = read_problem(path)
    m = random_spins(rng, 8, 3)
    values = m if vartype == "SPIN" else (m + 1) // 2
    assert np.array_equal(problem.energy(m), bqm.energies((values, problem.labels)))


def test_models_of_dimod_need_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dimod", None)
    path = tmp_path / "model.json"
    path.write_text("{}")
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'pbitstream[ising]'")):
        read_problem(path)
    with pytest.raises(MissingExtraError, match="need dimod"):
        Problem.from_edges([0], [1]).to_bqm()


def test_damaged_models_of_dimod(tmp_path):
    pytest.importorskip("dimod")
    for data in (b"DIMODBQM\x01\x00", b"{", b'{"type": "BinaryQuadraticModel"}'):
        path = tmp_path / "model"
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match="no binary quadratic model of dimod"):
            read_problem(path)


MALFORMED = [
    ("", "graph.qubo: it is empty"),
    ("# only\n\n", "graph.qubo: it is empty"),
    ("hello world\n", "line 1: neither an edge nor the head of a format that is known: hello"),
    ("\n# x\np cnf 3 2\n", "line 3: p must announce edge, edges, col or qubo, not cnf 3 2"),
    ("p\n", "line 1: p must announce edge, edges, col or qubo, not nothing"),
    ("3 2\n1 2 1\n2 4 1\n", "line 3: node must be between 1 and 3, not 4"),
    ("3 2\n1 2 1\n", "graph.qubo: 2 edges are announced, 1 found"),
    ("3 2\n1 2 1\n2 3\n", "line 3: an edge must be i j w, not 2 3"),
    ("3 2\n1 2 1\n\n2 1 5\n", "line 4: the edge of 2 and 1 stands on line 2 already"),
    ("3 1\n1 1 1\n", "line 2: an edge must join two nodes, not 1 to itself"),
    ("3 1\n1 2 x\n", "line 2: weight must be a finite number, not x"),
    ("3 1\n1 2 nan\n", "line 2: weight must be a finite number, not nan"),
    ("3 1\n1 2 1_0\n", "line 2: weight must be a finite number, not 1_0"),
    ("3 1\n1 2.5 1\n", "line 2: node must be a whole number, not 2.5"),
    ("99999999999 1\n1 2 1\n", "line 1: number of nodes must be between 1 and 67108864, not 9999"),
    ("3 1.5\n1 2 1\n", "line 1: number of edges must be a whole number, not 1.5"),
    ("1 2 3\n4 5\n", "line 2: every line must be i j J, or every line i j, not 4 5"),
    ("1 2 3 4\n", "line 1: every line must be i j J, or every line i j, not 1 2 3 4"),
    ("1 2 3\n2 1 3\n", "line 2: the edge of 2 and 1 stands on line 1 already"),
    ("1 1 3\n1 1 2\n", "line 2: the bias of 1 stands on a line before already"),
    ("7 8\n7 7\n", "line 2: an edge must join two nodes, not 7 to itself"),
    ("1 2 inf\n", "line 1: J must be a finite number, not inf"),
    ("p edge 3\n", "line 1: a DIMACS graph must begin with p edge NODES EDGES or p col NODES "),
    ("p edge 3 1\na 1 2\n", "line 2: a line must be e i j or e i j w, not a 1 2"),
    ("p edge 3 1\ne 1 2\ne 1 2\n", "line 3: the edge of 1 and 2 stands on line 2 already"),
    ("p edge 3 2\ne 1 2 4\ne 2 1 5\n", "line 3: the edge of 2 and 1 stands on line 2 already"),
    ("p edge 3 5\ne 1 2\ne 1 3\n", "graph.qubo: 5 edges are announced, 2 found"),
    ("p qubo 0 3 1\n", "line 1: a QUBO file must begin with p qubo TOPOLOGY MAXNODES NODES "),
    ("p qubo chimera 3 1 0\n", "line 1: topology must be 0 or unconstrained, not chimera"),
    ("p qubo 0 3 1 0\n3 3 1\n", "line 2: node must be between 0 and 2, not 3"),
    ("p qubo 0 3 1 1\n1 1 1\n2 1 1\n", "line 3: i must be at most j, not 2 above 1"),
    ("p qubo 0 3 2 0\n1 1 1\n1 1 1\n", "line 3: node 1 stands on a line before already"),
    ("p qubo 0 3 2 0\n1 1 1\n", "2 nodes and 0 couplers are announced, 1 and 0 found"),
    ("p qubo 0 3 1 0\n1 1\n", "line 2: a line must be i j Q, not 1 1"),
    ("p qubo 0 0 0 0\n", "graph.qubo: it holds no node"),
    ("1 2\0 3\n", "neither text nor a binary format that is known: it holds zero bytes"),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_files(written, text, message):
    with pytest.raises(FileFormatError, match=re.escape(message)):
        written(text)


def test_other_heads_when_the_format_is_given(written):
    for kind, message in (("gset", "begin with the numbers of nodes"), ("dimacs", "begin with p"),
                          ("qubo", "begin with p qubo"), ("npz", "no sparse matrix of SciPy"),
                          ("edges", "line 1: node must be a whole number, not x")):
        with pytest.raises(FileFormatError, match=message):
            written("x y z\n", format=kind)
    with pytest.raises(SpecError, match="format must be one of gset, edges, dimacs, qubo, npz, "):
        written("1 2 3\n", format="json")
    for kind in ("gset", "edges", "dimacs", "qubo"):
        with pytest.raises(FileFormatError):
            written("", format=kind)
    assert len(FORMATS) == 6


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


BROKEN = [
    (npz(a=np.zeros(2)), "format"),
    (npz(format="dia", shape=[2, 2], data=[1.0]), "stored as csr, csc or coo, not dia"),
    (npz(format="csr", shape=[2, 2], indptr=[0, 1], indices=[0], data=[1.0]), "pointers do not"),
    (npz(format="csr", shape=[2, 2], indptr=[0, 1, 1], indices=[2], data=[1.0]), "its indices"),
    (npz(format="coo", shape=[2, 2], row=[0], col=[1], data=[1.0, 2.0]), "differ in length"),
    (npz(format="coo", shape=[2, 2], row=[0], col=[1], data=[1.0]), "j must be symmetric"),
    (npz(format="coo", shape=[2, 2], row=[0], col=[0], data=[1.0]), "j must have a diagonal of 0"),
    (npz(format="coo", shape=[2, 3], row=[0], col=[1], data=[1.0]), "j must be a square matrix"),
    (npz(format="coo", shape=[1 << 40] * 2, row=[0], col=[1], data=[1.0]), "its sides must be"),
    (npz(format="coo", shape=[2, 2], row=[0], col=[1], data=[np.nan]), "j must be finite"),
    (npz(format="coo", shape=[2, 2], row=[0.5], col=[1], data=[1.0]), "whole numbers"),
    (npz(format="coo", shape=[2, 2], row=[0, 1], col=[1, 0], data=[1j, 1j]),
     "holds complex128, not real numbers"),
    (npz(format="coo", shape=[2, 2], row=[0], col=[1], data=["x"]), "holds <U1, not real numbers"),
    (npz(format="coo", shape=[2, 2, 2], row=[0], col=[1], data=[1.0]), "no sparse matrix of SciPy"),
    (npz(format="csr", shape=[2, 2], indptr=[[0, 1, 1]], indices=[0], data=[1.0]),
     "pointers do not"),
    (npz(format=np.array({}, object)), "no sparse matrix of SciPy"),
    (npz(format="coo", shape=[2, 2])[:60], "no sparse matrix of SciPy"),
    (b"PK\x03\x04", "no sparse matrix of SciPy"),
    (b"\xff\xfe\x00", "byte 0 is no UTF-8"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN, ids=range(len(BROKEN)))
def test_broken_binary_files(tmp_path, data, message):
    path = tmp_path / "file.npz"
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=message) as caught:
        read_problem(path)
    assert "file.npz" in str(caught.value)


@given(st.binary(max_size=80) | st.text("0123456789 -.epc\n#qubogedl", max_size=80).map(str.encode))
@seeded(300)
def test_any_bytes_are_a_problem_or_an_error_of_ours(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(data)
    with suppress(FileFormatError, MissingExtraError):
        assert read_problem(path).n >= 1


def test_a_file_that_is_missing():
    with pytest.raises(FileNotFoundError):
        read_problem("/nonexistent/problem")
