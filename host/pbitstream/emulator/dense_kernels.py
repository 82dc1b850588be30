"""The compiled relaxation of p-bits with dense banks: only what flips is added.

A chain keeps, for every dense coupling from free p-bits, the sum of the weights of the spins that
are up, less the lowest it can be::

    g_i = sum_{j up} W_ij + sum_j max(-W_ij, 0)        f_i += 8192 g_i - 4096 sum_j |W_ij|

The loader's bound on a field keeps sum |W| below 2^16, so g fits uint16 and its arithmetic wraps
without harm: 32 additions an instruction, and none for a spin that stays. Everything else is the
twin of `pbitstream.emulator.kernels`, whose tables and rules hold here; beside them::

    ends      int64   rows of END_WORDS, one per module: its places in couplings
    couplings int64   rows of COUPLING_WORDS, one per direction: by source, then again by target
    weights   uint16  tiles of W^T: [rows/128][columns][128], zero-padded
    low       int32   4096 sum |W| of every unit of every coupling, as the sums lie

Of each chain: seen int8[U], the spins that g holds, and sums uint16, g of all couplings. Scratch of
a thread: ups and downs int32[largest module].
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pbitstream.emulator import kernels as k
from pbitstream.emulator.dense import ROWS
from pbitstream.emulator.vectors import view
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.words import EXPOSED

__all__ = ["relax_dense"]

PUSH_FIRST, PUSH_END, PULL_FIRST, PULL_END, END_WORDS = range(5)
COUPLING_SUMS, COUPLING_ROWS, COUPLING_TILES, COUPLING_COLUMNS, COUPLING_WORDS = range(5)
#: The units of a tile, as vectors that stay in registers.
LANES, VECTORS = 32, ROWS // 32

i32, i64, u64 = np.int32, np.int64, np.uint64
#: A spin that turns up adds 2 * 4096 w.
TURN = i32(EXPOSED.fraction + 1)


@intrinsic
def add_columns(typing, g, g_at, rows, w, w_at, columns, ups, up, downs, down):
    """``g[g_at : g_at + rows] +=`` columns ``ups[:up]`` of W ``-`` columns ``downs[:down]``.

    W in tiles at ``w[w_at:]``, `rows` a multiple of 128: so many sums stay in registers while the
    columns pass by.
    """
    signature = types.void(g, g_at, rows, w, w_at, columns, ups, up, downs, down)

    def generate(context, b, signature, args):
        vector = ir.VectorType(ir.IntType(16), LANES)
        g_at, rows, w_at, columns, up, down = (args[n] for n in (1, 2, 4, 5, 7, 9))
        index = g_at.type

        def data(argument):
            array = signature.args[argument]
            return context.make_array(array)(context, b, args[argument]).data

        def lanes(pointer, n):
            return b.bitcast(b.gep(pointer, [index(n * LANES)]), vector.as_pointer())

        sums = [cgutils.alloca_once(b, vector) for _ in range(VECTORS)]
        with cgutils.for_range_slice(b, index(0), rows, index(ROWS), inc=True) as (row, _):
            own = b.gep(data(0), [b.add(g_at, row)])
            tile = b.gep(data(3), [b.add(w_at, b.mul(row, columns))])
            for n in range(VECTORS):
                b.store(b.load(lanes(own, n), align=2), sums[n])
            for flips, count, combine in ((data(6), up, b.add), (data(8), down, b.sub)):
                with cgutils.for_range(b, count) as loop:
                    column = b.zext(b.load(b.gep(flips, [loop.index])), index)
                    weights = b.gep(tile, [b.mul(column, index(ROWS))])
                    for n in range(VECTORS):
                        more = b.load(lanes(weights, n), align=2)
                        b.store(combine(b.load(sums[n]), more), sums[n])
            for n in range(VECTORS):
                b.store(b.load(sums[n]), lanes(own, n), align=2)
        return context.get_dummy_value()

    return signature, generate


@k.inner
def field(module, group, terms, pool, index, gains, places, start, x, f, u, clips, count):
    """``f = start +`` one group of terms of a module, of one chain (numerics 2 to 4)."""
    one = i64(1)
    k.begin(module, start, f, one, count)
    # Most modules have but the couplings whose sums are kept.
    if module[group + k.GROUP_FIRST] < module[group + k.GROUP_END]:
        k.gather(module, group, terms, pool, index, gains, places, x, f, u, clips, one, count)
        k.unfold(module, group, pool, f, u, one, count)


@k.inner
def push(module, end, m, known, couplings, weights, g, ups, downs):
    """Tell the sums that a module's spins go into which of them turned since the last time."""
    if end[PUSH_FIRST] == end[PUSH_END]:
        return
    base, dim = module[k.MODULE_BASE], module[k.MODULE_DIM]
    spins, before = view(m, base, dim), view(known, base, dim)
    turned = up = down = u64(0)
    # A branch would be guessed wrong as often as spins turn: write every unit, count those.
    for i in range(dim):
        downs[turned] = i
        turned += u64(spins[i] != before[i])
    for n in range(turned):
        i = u64(downs[n])
        now = spins[i]
        ups[up] = downs[down] = i
        up += u64(now)
        down += u64(1 - now)
        before[i] = now
    for n in range(end[PUSH_FIRST], end[PUSH_END]):
        coupling = view(couplings, n * COUPLING_WORDS, COUPLING_WORDS)
        add_columns(g, coupling[COUPLING_SUMS], coupling[COUPLING_ROWS], weights,
                    coupling[COUPLING_TILES], coupling[COUPLING_COLUMNS], ups, i64(up), downs,
                    i64(down))


@k.inner
def pull(end, f, couplings, g, low):
    """``f += 8192 g - low`` of every coupling into a module."""
    for n in range(end[PULL_FIRST], end[PULL_END]):
        coupling = view(couplings, n * COUPLING_WORDS, COUPLING_WORDS)
        own, lowest = view(g, coupling[COUPLING_SUMS], len(f)), view(low, coupling[COUPLING_SUMS],
                                                                     len(f))
        for i in range(len(f)):
            f[i] = i32(f[i] + i32(i32(i32(own[i]) << TURN) - lowest[i]))


@k.outer
def relax_dense(
    ends, couplings, weights, low, seen, sums, header, modules, terms, phases, pool, index, stiff,
    gains, h, burn_in, steps, first, end, units, words, totals, squares, clips, exposed, f,
    constant, u, z, once, places, ups, downs,
):
    """Relax chains `first` to `end` - 1 by burn_in + steps steps (numerics 8); p-bits only."""
    fraction, count = header[0], len(stiff) // 2
    size = len(sums) // (len(seen) // count)
    table = view(index, 0, k.FOLDED)
    for chain in range(first, end):
        number = chain // header[4]
        own_h, places[0] = view(h, number * count, count), number * header[5]
        x, streams = view(exposed, chain * count, count), view(words, chain * STREAMS, STREAMS)
        m, known = view(units, chain * count, count), view(seen, chain * count, count)
        g, counts = view(sums, chain * size, size), view(clips, chain * k.CLIPS, k.CLIPS)
        for n in range(k.CLIPS):
            once[n] = 0
        for n in range(header[3]):
            module = view(modules, n * k.MODULE_WORDS, k.MODULE_WORDS)
            if module[k.MODULE_FREE]:
                field(module, i64(k.MODULE_CONSTANT), terms, pool, index, gains, places, own_h, x,
                      constant, u, once, count)
        for n in range(k.CLIPS):
            counts[n] += once[n] * (burn_in + steps)
        # Spins that the sums do not know of yet: every one that is up, in the first call.
        for n in range(header[3]):
            push(view(modules, n * k.MODULE_WORDS, k.MODULE_WORDS),
                 view(ends, n * END_WORDS, END_WORDS), m, known, couplings, weights, g, ups, downs)
        for step in range(burn_in + steps):
            at = 0
            for _ in range(header[2]):
                start, at = at + 1, at + 1 + phases[at]
                for n in range(start, at):
                    module = view(modules, phases[n] * k.MODULE_WORDS, k.MODULE_WORDS)
                    field(module, i64(k.MODULE_VARYING), terms, pool, index, gains, places,
                          constant, x, f, u, counts, count)
                    base, dim = module[k.MODULE_BASE], module[k.MODULE_DIM]
                    pull(view(ends, phases[n] * END_WORDS, END_WORDS), view(f, base, dim),
                         couplings, g, low)
                for n in range(start, at):
                    module = view(modules, phases[n] * k.MODULE_WORDS, k.MODULE_WORDS)
                    k.flip(module, i64(0), m, x, f, streams, fraction, table, counts)
                    push(module, view(ends, phases[n] * END_WORDS, END_WORDS), m, known, couplings,
                         weights, g, ups, downs)
            if step >= burn_in:
                for n in range(header[3]):
                    module = view(modules, n * k.MODULE_WORDS, k.MODULE_WORDS)
                    if module[k.MODULE_FREE]:
                        base, dim = module[k.MODULE_BASE], module[k.MODULE_DIM]
                        place = chain * count + base
                        k.window(view(x, base, dim), k.SPIN_SHIFT, view(totals, place, dim),
                                 view(squares, place, dim if len(squares) else 0))
