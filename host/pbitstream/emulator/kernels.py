"""The compiled relaxation: one kernel, compiled once; a program is data, as on a board.

Read it top to bottom: `project` (the only vector code) and the bank loops, `field`, the two unit
updates, the window, `relax_chains`. Every array is one-dimensional, contiguous, writable and of
exactly the type below; another type would compile a second kernel. Nothing is checked here: the
tables come from `pbitstream.emulator.plan`, which builds them from a checked program.

Tables of a program, U = sum of the modules' dims, each padded to a multiple of 16::

    header   int64   F, s, phases, modules, chains per input, gains per input (0: shared)
    modules  int64   rows of MODULE_WORDS, columns MODULE_*
    terms    int64   rows of TERM_WORDS, one per directed coupling, by target; columns TERM_*
      LOW_RANK  rank, first unit of s, place of u in u[], tiles of A^T, dim_s in 8s, S, r1, r2
      BAND      length, first unit read, first unit written, weights; one row per offset
      SPARSE    rows, -, first unit of t, weights, -, -, -, -, place of rows, pointers, columns
      DENSE     dim_t, first unit of s, first unit of t, tiles of J_ts, dim_s in 8s
    phases   int64   for each phase the number of its modules, then the modules
    pool     int16   tiles, band and sparse weights
    index    int32   thresholds of p from below 0 to above (2,047), then rows, pointers, columns
    stiff    int32   k2 of U units, then k4
    gains    int16   gains S of every input
    h        int32   h << (F - 12) of every input and unit

The backward direction is a term of its own with A and B exchanged. Tiles of a matrix M (rows in
16s, n in 8s, zero-padded) are int16 [rows/16][n/2][16][2], tile[o, p, l, e] = M[16 o + l, 2 p + e];
the expansion tiles of a group of terms hold, side by side, the factors at the module's own end of
its low-rank terms. Terms from clamped modules are constant: they are computed once per call, and
their clips counted once per step.

Of each chain: units int32 (x24, or m as 1/0), exposed int16, words uint64[128], totals and squares
int64 (squares may be empty), clips int64[5]. Scratch of a thread: f and constant int32[U], u
int16[largest inner size], z int32[MAX_RANK], once int64[5].
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from pbitstream.spec.noise import FIELD_BITS, FIELDS, NOISE_MEAN, STREAMS, XORSHIFT
from pbitstream.spec.sigmoid import THRESHOLD_STEP_BITS, THRESHOLDS
from pbitstream.spec.words import (
    BETA,
    EXPOSED,
    K2,
    K4,
    PBIT_INPUT,
    SPIN,
    STATE,
    X2,
)

__all__ = ["relax_chains"]

(MODULE_PBIT, MODULE_BASE, MODULE_DIM, MODULE_G, MODULE_Q, MODULE_BETA, MODULE_FREE, MODULE_DRAWS,
 MODULE_CONSTANT, _, _, _, MODULE_VARYING, _, _, _, MODULE_WORDS) = range(17)
#: Terms of a module stand in two groups, from clamped and from free sources; columns of a group.
GROUP_FIRST, GROUP_END, GROUP_TILES, GROUP_INNER = range(4)
(TERM_KIND, TERM_LENGTH, TERM_SOURCE, TERM_TARGET, TERM_PLACE, TERM_INNER, TERM_GAIN, TERM_R1,
 TERM_R2, TERM_INDEX, TERM_WORDS) = range(11)
LOW_RANK, BAND, SPARSE, DENSE = range(4)
CLIP_PROJECTION, CLIP_GAIN, CLIP_STIFFNESS, CLIP_STATE, CLIP_FIELD = range(5)
CLIPS = 5

# Without reference counts: every array is the caller's, and counting costs a third of the speed.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True,
            "_nrt": False}
outer = njit(**_OPTIONS)
inner = njit(**_OPTIONS, no_cpython_wrapper=True)

i32, i64, u64 = np.int32, np.int64, np.uint64
LEFT, RIGHT, LEFT_AGAIN = (u64(shift) for shift in XORSHIFT)
FIELD_1, FIELD_2, FIELD_3 = (u64(FIELD_BITS * n) for n in (1, 2, 3))
FIELD_MASK = u64((1 << FIELD_BITS) - 1)
NOISE_OFFSET = i32(NOISE_MEAN)
HIGH16, LOW16 = EXPOSED.highest, EXPOSED.lowest
HIGH24, LOW24 = STATE.highest, STATE.lowest
HIGH18, LOW18 = i32(PBIT_INPUT.highest), i32(PBIT_INPUT.lowest)
K_HIGH = K2.highest
SPIN_SHIFT = EXPOSED.fraction
EXPOSE = i32(STATE.fraction - EXPOSED.fraction)
EXPOSE_HALF = i32(1 << (EXPOSE - 1))
SQUARE = i32(2 * EXPOSED.fraction - X2.fraction)
SQUARE_HALF = i32(1 << (SQUARE - 1))
QUARTIC = i32(K4.fraction + X2.fraction - K2.fraction)
QUARTIC_HALF = i32(1 << (QUARTIC - 1))
DRIFT_FRACTION = K2.fraction + STATE.fraction
STEP_FRACTION = K2.fraction
Y_FRACTION = PBIT_INPUT.fraction
STEP = i32(PBIT_INPUT.fraction + BETA.fraction - THRESHOLD_STEP_BITS)
STEP_HALF = i32(1 << (STEP - 1))
LAST_THRESHOLD = i32(THRESHOLDS - 1)
#: Thresholds of p from below zero to above it.
FOLDED = 2 * THRESHOLDS - 1


@intrinsic
def view(typing, array, start, length):
    """``array[start : start + length]``, unchecked; far cheaper to compile than a slice."""
    signature = array(array, start, length)

    def generate(context, b, signature, args):
        source = context.make_array(array)(context, b, args[0])
        out = context.make_array(array)(context, b)
        context.populate_array(
            out, data=b.gep(source.data, [args[1]]), shape=cgutils.pack_array(b, [args[2]]),
            strides=source.strides, itemsize=source.itemsize, meminfo=None,
        )
        return out._getvalue()

    return signature, generate


@intrinsic
def project(typing, z, z_at, m, m_at, rows, v, v_at, n):
    """``z[z_at : z_at + rows] += M v[v_at : v_at + n]``, M in tiles at ``m[m_at:]``.

    `rows` is rounded up to 16s, n is a multiple of 8. Sixteen rows times one pair of inputs at a
    time, in LLVM's portable vectors: on x86 the multiply-and-add of even and odd lanes becomes
    vpmaddwd or vpdpwssd, three times as fast as what plain loops are compiled to. Four accumulators
    hide its latency.
    """
    signature = types.void(z, z_at, m, m_at, rows, v, v_at, n)

    def generate(context, b, signature, args):
        halves, words, wide = (
            ir.VectorType(ir.IntType(bits), count) for bits, count in ((16, 32), (32, 16), (32, 32))
        )
        z_at, m_at, rows, v_at, n = (args[k] for k in (1, 3, 4, 6, 7))
        index = n.type

        def pointer(argument, start, kind):
            array = signature.args[argument]
            data = context.make_array(array)(context, b, args[argument]).data
            return b.bitcast(b.gep(data, [start]), kind.as_pointer())

        def lanes(vector, picks):
            return b.shuffle_vector(vector, vector, ir.Constant(words, list(picks)))

        sums = [cgutils.alloca_once(b, words) for _ in range(4)]
        pairs_of_v = pointer(5, v_at, words.element)
        with cgutils.for_range_slice(b, index(0), rows, index(16), inc=True) as (row, _):
            z_row = pointer(0, b.add(z_at, row), words)
            tile = pointer(2, b.add(m_at, b.mul(row, n)), halves)
            for k in range(4):
                b.store(ir.Constant(words, None) if k else b.load(z_row, align=4), sums[k])
            last = b.ashr(n, index(1))
            with cgutils.for_range_slice(b, index(0), last, index(4), inc=True) as (p, _):
                for k in range(4):
                    q = b.add(p, index(k))
                    pair = b.load(b.gep(pairs_of_v, [q]), align=2)
                    first = ir.Constant(words, ir.Undefined)
                    spread = lanes(b.insert_element(first, pair, ir.IntType(32)(0)), [0] * 16)
                    left = b.sext(b.load(b.gep(tile, [q]), align=2), wide)
                    product = b.mul(left, b.sext(b.bitcast(spread, halves), wide))
                    even, odd = lanes(product, range(0, 32, 2)), lanes(product, range(1, 32, 2))
                    b.store(b.add(b.load(sums[k]), b.add(even, odd)), sums[k])
            total = b.load(sums[0])
            for k in range(1, 4):
                total = b.add(total, b.load(sums[k]))
            b.store(total, z_row, align=4)
        return context.get_dummy_value()

    return signature, generate


@inner
def gain(z, s, u, r1, r2, clips):
    """``u = sat16(rhu(S sat16(rhu(z, r1)), r2))``, clips counted; all of it fits int32."""
    half1, half2 = i32((1 << r1) >> 1), i32((1 << r2) >> 1)
    r1, r2 = i32(r1), i32(r2)
    clipped_z = clipped_u = i32(0)
    for c in range(len(u)):
        a = i32(z[c] + half1) >> r1
        z_c = i32(LOW16 if a < LOW16 else HIGH16 if a > HIGH16 else a)
        d = i32(i32(i32(s[c]) * z_c) + half2) >> r2
        u_c = i32(LOW16 if d < LOW16 else HIGH16 if d > HIGH16 else d)
        clipped_z += i32(a != z_c)
        clipped_u += i32(d != u_c)
        u[c] = u_c
    clips[CLIP_PROJECTION] += clipped_z
    clips[CLIP_GAIN] += clipped_u


@inner
def band(f, w, x):
    """``f[i] += w[i] x[i]``: one offset of a band."""
    for i in range(len(f)):
        f[i] = i32(f[i] + i32(w[i]) * i32(x[i]))


@inner
def sparse(f, rows, pointers, columns, w, x):
    """``f[rows[i]] += sum_e w[e] x[columns[e]]`` over the entries of row i.

    Rows of equal length stand together, which branch predictors learn; unsigned indices are not
    tested for being negative.
    """
    for i in range(len(rows)):
        total = i32(0)
        for e in range(u64(pointers[i]), u64(pointers[i + 1])):
            total = i32(total + i32(i32(w[e]) * i32(x[u64(columns[e])])))
        f[u64(rows[i])] += total


@inner
def copy(to, values):
    """``to[i] = values[i]``; with the bounds of a view, LLVM makes it vectors."""
    for i in range(len(to)):
        to[i] = values[i]


@inner
def field(module, group, terms, pool, index, gains, start, x, f, u, z, clips):
    """``f = start +`` one group of terms of a module, from exposed states (numerics 2 to 4)."""
    base, dim = module[MODULE_BASE], module[MODULE_DIM]
    copy(view(f, base, dim), view(start, base, dim))
    for k in range(module[group + GROUP_FIRST], module[group + GROUP_END]):
        term = view(terms, k * TERM_WORDS, TERM_WORDS)
        n, source, target = term[TERM_LENGTH], term[TERM_SOURCE], term[TERM_TARGET]
        place = term[TERM_PLACE]
        if term[TERM_KIND] == LOW_RANK:
            for c in range(len(z)):
                z[c] = 0
            project(z, 0, pool, place, n, x, source, term[TERM_INNER])
            gain(z, view(gains, term[TERM_GAIN], n), view(u, target, n), term[TERM_R1],
                 term[TERM_R2], clips)
        elif term[TERM_KIND] == BAND:
            band(view(f, target, n), view(pool, place, n), view(x, source, n))
        elif term[TERM_KIND] == DENSE:
            project(f, target, pool, place, n, x, source, term[TERM_INNER])
        else:
            at = term[TERM_INDEX]
            sparse(view(f, target, 0), view(index, at, n), view(index, at + n, n + 1),
                   view(index, at + 2 * n + 1, 0), view(pool, place, 0), x)
    project(f, base, pool, module[group + GROUP_TILES], dim, u, 0, module[group + GROUP_INNER])


@inner
def draw(words):
    """Advance streams by one word each (numerics 7)."""
    for i in range(len(words)):
        word = words[i]
        word ^= word << LEFT
        word ^= word >> RIGHT
        word ^= word << LEFT_AGAIN
        words[i] = word


@inner
def langevin(x24, x, f, k2, k4, words, g, q, fraction, s, clips):
    """One row, up to 128 Langevin units (numerics 5)."""
    align, step = DRIFT_FRACTION - fraction, STEP_FRACTION + s
    step_half, noise_half = (1 << step) >> 1, i32(1 << (q - 1))
    g, q = i32(g), i32(q)
    clipped_kappa = clipped_x = i32(0)
    for i in range(len(x24)):
        exposed = i32(x[i])
        x2 = i32(i32(exposed * exposed) + SQUARE_HALF) >> SQUARE
        stiffness = i32(k2[i] + (i32(i32(k4[i] * i32(x2)) + QUARTIC_HALF) >> QUARTIC))
        kappa = i32(K_HIGH if stiffness > K_HIGH else stiffness)
        state = i64(x24[i])
        drift = (i64(f[i]) << align) - i64(kappa) * state
        w = words[i]
        total = ((w & FIELD_MASK) + ((w >> FIELD_1) & FIELD_MASK)
                 + ((w >> FIELD_2) & FIELD_MASK) + (w >> FIELD_3))
        kick = i32(i32(i32(i32(total) - NOISE_OFFSET) * g) + noise_half) >> q
        after = state + ((drift + step_half) >> step) + kick
        kept = i32(LOW24 if after < LOW24 else HIGH24 if after > HIGH24 else after)
        clipped_kappa += i32(stiffness != kappa)
        clipped_x += i32(after != kept)
        x24[i] = kept
        rounded = i32(kept + EXPOSE_HALF) >> EXPOSE
        x[i] = HIGH16 if rounded > HIGH16 else rounded
    clips[CLIP_STIFFNESS] += clipped_kappa
    clips[CLIP_STATE] += clipped_x


@inner
def pbit(m, x, f, words, quarter, beta, fraction, table, clips):
    """One row, up to 128 p-bits; `quarter` is the field of their words (numerics 6).

    Three loops, so that all but the look-up become vectors; `f` holds the thresholds in between.
    """
    shift = i32(fraction - Y_FRACTION)
    below = i32(shift - i32(1))
    # From this |y| on the last threshold holds; up to it beta y fits int32.
    enough = ((LAST_THRESHOLD << STEP) + beta - 1) // beta if beta else i64(HIGH18 + 1)
    most, factor = i32(HIGH18 + 1 if enough > HIGH18 else enough), i32(beta)
    clipped = i32(0)
    for i in range(len(f)):
        # Half up without the addition that could overflow: the bit below the cut is the carry.
        rounded = i32(i32(f[i] >> shift) + i32(i32(f[i] >> below) & i32(1)))
        y = i32(LOW18 if rounded < LOW18 else HIGH18 if rounded > HIGH18 else rounded)
        clipped = i32(clipped + i32(rounded != y))
        size = i32(-y) if y < 0 else y
        size = most if size > most else size
        j = i32(i32(i32(factor * size) + STEP_HALF) >> STEP)
        j = LAST_THRESHOLD if j > LAST_THRESHOLD else j
        f[i] = i32(LAST_THRESHOLD - j) if y < 0 else i32(LAST_THRESHOLD + j)
    clips[CLIP_FIELD] += clipped
    for i in range(len(f)):
        f[i] = table[u64(f[i])]
    field_shift = u64(quarter * FIELD_BITS)
    for i in range(len(f)):
        up = i32((words[i] >> field_shift) & FIELD_MASK) < f[i]
        m[i] = up
        x[i] = SPIN if up else -SPIN


@inner
def window(x, shift, totals, squares):
    """Add exposed states, or spins (`shift` = 12), and their squares unless those are empty."""
    for i in range(len(x)):
        totals[i] += x[i] >> shift
    for i in range(len(squares)):
        value = i64(x[i] >> shift)
        squares[i] += value * value


@outer
def relax_chains(
    header, modules, terms, phases, pool, index, stiff, gains, h, burn_in, steps, first, end,
    units, words, totals, squares, clips, exposed, f, constant, u, z, once,
):
    """Relax chains `first` to `end` - 1 by burn_in + steps steps (numerics 8)."""
    fraction, s = header[0], header[1]
    count = len(f)
    table = view(index, 0, FOLDED)
    k2, k4 = view(stiff, 0, count), view(stiff, count, count)
    for chain in range(first, end):
        number = chain // header[4]
        own_h, own_gains = view(h, number * count, count), view(gains, number * header[5], 0)
        x, streams = view(exposed, chain * count, count), view(words, chain * STREAMS, STREAMS)
        counts = view(clips, chain * CLIPS, CLIPS)
        for k in range(CLIPS):
            once[k] = 0
        for k in range(header[3]):
            module = view(modules, k * MODULE_WORDS, MODULE_WORDS)
            if module[MODULE_FREE]:
                field(module, i64(MODULE_CONSTANT), terms, pool, index, own_gains, own_h, x,
                      constant, u, z, once)
        for k in range(CLIPS):
            counts[k] += once[k] * (burn_in + steps)
        for step in range(burn_in + steps):
            at = 0
            for _ in range(header[2]):
                start, at = at + 1, at + 1 + phases[at]
                for k in range(start, at):
                    module = view(modules, phases[k] * MODULE_WORDS, MODULE_WORDS)
                    field(module, i64(MODULE_VARYING), terms, pool, index, own_gains, constant, x,
                          f, u, z, counts)
                for k in range(start, at):
                    module = view(modules, phases[k] * MODULE_WORDS, MODULE_WORDS)
                    for row in range((module[MODULE_DIM] + STREAMS - 1) // STREAMS):
                        low, n = module[MODULE_BASE] + row * STREAMS, module[MODULE_DIM]
                        n -= row * STREAMS
                        if n > STREAMS:
                            n = STREAMS
                        row_units, row_x = view(units, chain * count + low, n), view(x, low, n)
                        # One word serves four rows of p-bits, or one row of Langevin units.
                        if module[MODULE_DRAWS] and (row % FIELDS == 0 or not module[MODULE_PBIT]):
                            draw(view(streams, 0, n))
                        if module[MODULE_PBIT]:
                            pbit(row_units, row_x, view(f, low, n), streams, row % FIELDS,
                                 module[MODULE_BETA], fraction, table, counts)
                        else:
                            langevin(row_units, row_x, view(f, low, n), view(k2, low, n),
                                     view(k4, low, n), streams, module[MODULE_G],
                                     module[MODULE_Q], fraction, s, counts)
            if step >= burn_in:
                for k in range(header[3]):
                    module = view(modules, k * MODULE_WORDS, MODULE_WORDS)
                    if module[MODULE_FREE]:
                        low, n = module[MODULE_BASE], module[MODULE_DIM]
                        place = chain * count + low
                        window(view(x, low, n), SPIN_SHIFT * module[MODULE_PBIT],
                               view(totals, place, n),
                               view(squares, place, n if len(squares) else 0))
