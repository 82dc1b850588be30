"""No transfer is left to the C library, which may move a word in pieces, or twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pbitstream_sim.toolchain import require_programs

#: Stands before the C library's copies, and counts those that touch a range of addresses.
SPY = r"""
#include <cstddef>
#include <cstdint>
static volatile uintptr_t first, end;
static volatile long calls;
static bool inside(const void *p) { return (uintptr_t)p >= first && (uintptr_t)p < end; }
static void *copy(void *to, const void *from, size_t count) {
    if (inside(to) || inside(from)) calls = calls + 1;
    volatile char *t = (char *)to;
    const volatile char *f = (const char *)from;
    if (t < f) for (size_t i = 0; i < count; i++) t[i] = f[i];
    else for (size_t i = count; i--;) t[i] = f[i];
    return to;
}
extern "C" {
void *memcpy(void *to, const void *from, size_t count) { return copy(to, from, count); }
void *memmove(void *to, const void *from, size_t count) { return copy(to, from, count); }
void watch(uintptr_t from, uintptr_t to) { first = from; end = to; calls = 0; }
long counted() { return calls; }
}
"""
PROGRAM = """
import ctypes, mmap, sys
import numpy as np
from pbitstream.devices.zynq.memory import MemoryTransport
spy = ctypes.CDLL(sys.argv[1])
spy.watch.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
spy.counted.restype = ctypes.c_long
words = np.frombuffer(mmap.mmap(-1, 1 << 20), np.uint32)
transport = MemoryTransport(words)
def calls(function):
    spy.watch(words.ctypes.data, words.ctypes.data + words.nbytes)
    function()
    return spy.counted()
for count in (1, 2, 3, 17, 100_000):
    data = np.arange(count, dtype=np.uint32)
    print(calls(lambda: transport.write(20, data.tobytes())),
          calls(lambda: transport.read(20, 4 * count)))
    assert np.array_equal(words[5 : 5 + count], data)
def plain():
    words[5:22] = np.arange(17, dtype=np.uint32)
print(calls(plain))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs LD_PRELOAD, as boards have it")
def test_no_copy_is_the_c_librarys(tmp_path: Path) -> None:
    require_programs("g++")
    source, spy = tmp_path / "spy.cpp", tmp_path / "spy.so"
    source.write_text(SPY)
    subprocess.run(["g++", "-O1", "-fno-builtin", "-shared", "-fPIC", "-o", spy, source],
                   check=True)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(spy)], check=True, text=True,
                          capture_output=True, env={**os.environ, "LD_PRELOAD": str(spy)})
    *ours, plain = done.stdout.split()
    assert ours == 10 * ["0"]
    # And the spy does see what NumPy leaves to it.
    assert plain == "1"
