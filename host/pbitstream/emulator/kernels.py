"""The compiled relaxation: one kernel, compiled once; a program is data, as on a board.

Read it top to bottom: the bank loops, the two unit updates, the window, `relax_chains`. A block
of chains is relaxed side by side, so that each tile is loaded once for several of them; see
`pbitstream.emulator.vectors`. Every array is one-dimensional, contiguous, writable and of exactly
the type below; another type would compile a second kernel. Nothing is checked here: the tables come
from `pbitstream.emulator.plan`, which builds them from a checked program.

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
int64 (squares may be empty), clips int64[5]. Scratch of a thread, of each chain of a block: f,
constant and kicks int32[U], u int16[inner sizes of all modules and a tile more], once int64[5],
places int64.
"""

import numpy as np
from numba import njit

from pbitstream.emulator.vectors import address, expand, move, project, right, view
from pbitstream.spec.noise import FIELD_BITS, FIELDS, NOISE_MEAN, STREAMS, XORSHIFT
from pbitstream.spec.sigmoid import THRESHOLD_STEP_BITS, THRESHOLDS
from pbitstream.spec.words import (
    BETA,
    EXPOSED,
    K2,
    PBIT_INPUT,
    SPIN,
    STATE,
)

__all__ = ["relax_chains"]

(MODULE_PBIT, MODULE_BASE, MODULE_DIM, MODULE_G, MODULE_Q, MODULE_BETA, MODULE_FREE, MODULE_DRAWS,
 MODULE_U, MODULE_ADDS, MODULE_CONSTANT, _, _, _, MODULE_VARYING, _, _, _,
 MODULE_WORDS) = range(19)
#: Terms of a module stand in two groups, from clamped and from free sources; columns of a group.
#: A module ADDS if f changes before u is expanded: one of the latter is not low-rank, or its units
#: are p-bits, which turn f into thresholds.
GROUP_FIRST, GROUP_END, GROUP_TILES, GROUP_INNER = range(4)
(TERM_KIND, TERM_LENGTH, TERM_SOURCE, TERM_TARGET, TERM_PLACE, TERM_INNER, TERM_GAIN, TERM_R1,
 TERM_R2, TERM_INDEX, TERM_WORDS) = range(11)
LOW_RANK, BAND, SPARSE, DENSE = range(4)
CLIP_PROJECTION, CLIP_GAIN, CLIP_STIFFNESS, CLIP_STATE, CLIP_FIELD = range(5)
CLIPS = 5
#: Chains that are relaxed side by side; their states and scratch stay near the processor.
BLOCK = 8

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
HIGH18, LOW18 = i32(PBIT_INPUT.highest), i32(PBIT_INPUT.lowest)
SPIN_SHIFT = EXPOSED.fraction
DRIFT_FRACTION = K2.fraction + STATE.fraction
STEP_FRACTION = K2.fraction
Y_FRACTION = PBIT_INPUT.fraction
STEP = i32(PBIT_INPUT.fraction + BETA.fraction - THRESHOLD_STEP_BITS)
STEP_HALF = i32(1 << (STEP - 1))
LAST_THRESHOLD = i32(THRESHOLDS - 1)
#: Thresholds of p from below zero to above it.
FOLDED = 2 * THRESHOLDS - 1


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
def begin(module, start, f, chains, count):
    """``f = start`` of a module's units, of so many chains, whose rows lie `count` words apart."""
    base, dim = module[MODULE_BASE], module[MODULE_DIM]
    for c in range(chains):
        copy(view(f, c * count + base, dim), view(start, c * count + base, dim))


@inner
def gather(module, group, terms, pool, index, gains, places, x, f, u, clips, chains, count):
    """Add a group of terms of a module to f, but what u, formed as well, expands to.

    Of so many chains, whose rows of `x` and `f` lie `count` words apart, and whose gains begin at
    `places`.
    """
    room = i64(len(u) // BLOCK)
    for k in range(module[group + GROUP_FIRST], module[group + GROUP_END]):
        term = view(terms, k * TERM_WORDS, TERM_WORDS)
        n, source, target = term[TERM_LENGTH], term[TERM_SOURCE], term[TERM_TARGET]
        place = term[TERM_PLACE]
        if term[TERM_KIND] == LOW_RANK:
            project(address(u, module[MODULE_U] + target), room, address(pool, place), n,
                    address(x, source), count, term[TERM_INNER], chains,
                    address(gains, term[TERM_GAIN]), address(places, 0), term[TERM_R1],
                    term[TERM_R2], address(clips, CLIP_PROJECTION), i64(CLIPS))
        elif term[TERM_KIND] == BAND:
            for c in range(chains):
                band(view(f, c * count + target, n), view(pool, place, n),
                     view(x, c * count + source, n))
        elif term[TERM_KIND] == DENSE:
            expand(address(f, target), count, address(pool, place), n, address(x, source), count,
                   term[TERM_INNER], chains)
        else:
            at = term[TERM_INDEX]
            for c in range(chains):
                sparse(view(f, c * count + target, 0), view(index, at, n),
                       view(index, at + n, n + 1), view(index, at + 2 * n + 1, 0),
                       view(pool, place, 0), view(x, c * count, 0))


@inner
def unfold(module, group, pool, f, u, chains, count):
    """Add to f what u expands to: the low-rank terms of a group of a module's."""
    expand(address(f, module[MODULE_BASE]), count, address(pool, module[group + GROUP_TILES]),
           module[MODULE_DIM], address(u, module[MODULE_U]), i64(len(u) // BLOCK),
           module[group + GROUP_INNER], chains)


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
def kick(module, words, kicks, chains, count):
    """Advance streams by one word each and keep ``rhu(n G, q)`` (numerics 5 and 7).

    Without noise all chains share the first row, zeros.
    """
    base, dim = module[MODULE_BASE], module[MODULE_DIM]
    if not module[MODULE_DRAWS]:
        for i in range(base, base + dim):
            kicks[i] = 0
        return
    g, q = i32(module[MODULE_G]), i32(module[MODULE_Q])
    half = i32(i64(1) << (module[MODULE_Q] - 1))
    for c in range(chains):
        for first in range(0, dim, STREAMS):
            n = dim - first
            n = i64(STREAMS) if n > STREAMS else n
            streams, kept = view(words, c * STREAMS, n), view(kicks, c * count + base + first, n)
            for i in range(len(streams)):
                w = streams[i]
                w ^= w << LEFT
                w ^= w >> RIGHT
                w ^= w << LEFT_AGAIN
                streams[i] = w
                total = ((w & FIELD_MASK) + ((w >> FIELD_1) & FIELD_MASK)
                         + ((w >> FIELD_2) & FIELD_MASK) + (w >> FIELD_3))
                kept[i] = right(i32(i32(i32(i32(total) - NOISE_OFFSET) * g) + half), q)


@inner
def shifts(fraction, s):
    """Return the shifts of `move`: align, fall, down and up."""
    align, fall = i64(DRIFT_FRACTION - fraction), i64(STEP_FRACTION + s)
    return align, fall, max(fall - align, i64(0)), max(align - fall, i64(0))


@inner
def flip(module, start, units, exposed, fields, streams, fraction, table, clips):
    """Draw the p-bits of a module (numerics 6); the chain's first unit is at `start`.

    Row by row, up to 128 units whose words are one field of their streams. Three loops, so that all
    but the look-up become vectors; `fields` holds the thresholds in between.
    """
    shift, beta = i32(fraction - Y_FRACTION), module[MODULE_BETA]
    below = i32(shift - i32(1))
    # From this |y| on the last threshold holds; up to it beta y fits int32.
    enough = ((LAST_THRESHOLD << STEP) + beta - 1) // beta if beta else i64(HIGH18 + 1)
    most, factor = i32(HIGH18 + 1 if enough > HIGH18 else enough), i32(beta)
    clipped = i32(0)
    for row in range((module[MODULE_DIM] + STREAMS - 1) // STREAMS):
        place = start + module[MODULE_BASE] + row * STREAMS
        n = module[MODULE_DIM] - row * STREAMS
        n = i64(STREAMS) if n > STREAMS else n
        words, f = view(streams, 0, n), view(fields, place, n)
        m, x = view(units, place, n), view(exposed, place, n)
        if row % FIELDS == 0:
            draw(words)
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
        for i in range(len(f)):
            f[i] = table[u64(f[i])]
        field_shift = u64(row % FIELDS * FIELD_BITS)
        for i in range(len(f)):
            up = i32((words[i] >> field_shift) & FIELD_MASK) < f[i]
            m[i] = up
            x[i] = SPIN if up else -SPIN
    clips[CLIP_FIELD] += clipped


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
    units, words, totals, squares, clips, exposed, f, constant, u, kicks, once, places,
):
    """Relax chains `first` to `end` - 1 by burn_in + steps steps (numerics 8)."""
    fraction, s, count = header[0], header[1], len(stiff) // 2
    align, fall, down, up = shifts(fraction, s)
    table = view(index, 0, FOLDED)
    k2, k4 = view(stiff, 0, count), view(stiff, count, count)
    for chain in range(first, end, BLOCK):
        chains = end - chain if end - chain < BLOCK else i64(BLOCK)
        x, m = view(exposed, chain * count, 0), view(units, chain * count, 0)
        streams = view(words, chain * STREAMS, 0)
        counts = view(clips, chain * CLIPS, 0)
        for k in range(chains * CLIPS):
            once[k] = 0
        for c in range(chains):
            number = (chain + c) // header[4]
            places[c] = number * header[5]
            copy(view(f, c * count, count), view(h, number * count, count))
        for k in range(header[3]):
            module = view(modules, k * MODULE_WORDS, MODULE_WORDS)
            if module[MODULE_FREE]:
                begin(module, f, constant, chains, count)
                gather(module, i64(MODULE_CONSTANT), terms, pool, index, gains, places, x,
                       constant, u, once, chains, count)
                unfold(module, i64(MODULE_CONSTANT), pool, constant, u, chains, count)
        for k in range(chains * CLIPS):
            counts[k] += once[k] * (burn_in + steps)
        for step in range(burn_in + steps):
            at = 0
            for _ in range(header[2]):
                start, at = at + 1, at + 1 + phases[at]
                for k in range(start, at):
                    module = view(modules, phases[k] * MODULE_WORDS, MODULE_WORDS)
                    if module[MODULE_ADDS]:
                        begin(module, constant, f, chains, count)
                    gather(module, i64(MODULE_VARYING), terms, pool, index, gains, places, x, f, u,
                           counts, chains, count)
                    if module[MODULE_PBIT]:
                        # No other module of the phase sees them.
                        unfold(module, i64(MODULE_VARYING), pool, f, u, chains, count)
                        for c in range(chains):
                            flip(module, c * count, m, x, f, view(streams, c * STREAMS, STREAMS),
                                 fraction, table, view(counts, c * CLIPS, CLIPS))
                    else:
                        kick(module, streams, kicks, chains, count)
                for k in range(start, at):
                    module = view(modules, phases[k] * MODULE_WORDS, MODULE_WORDS)
                    if not module[MODULE_PBIT]:
                        base, tiles = module[MODULE_BASE], module[MODULE_VARYING + GROUP_TILES]
                        sums = f if module[MODULE_ADDS] else constant
                        move(address(m, base), address(x, base), address(sums, base), count,
                             address(k2, base), address(k4, base), address(kicks, base),
                             count * module[MODULE_DRAWS], address(pool, tiles),
                             module[MODULE_DIM], address(u, module[MODULE_U]),
                             i64(len(u) // BLOCK), module[MODULE_VARYING + GROUP_INNER], chains,
                             align, fall, down, up, address(counts, CLIP_STIFFNESS), i64(CLIPS))
            if step >= burn_in:
                for k in range(header[3]):
                    module = view(modules, k * MODULE_WORDS, MODULE_WORDS)
                    if module[MODULE_FREE]:
                        for c in range(chains):
                            low, n = c * count + module[MODULE_BASE], module[MODULE_DIM]
                            place = chain * count + low
                            window(view(x, low, n), SPIN_SHIFT * module[MODULE_PBIT],
                                   view(totals, place, n),
                                   view(squares, place, n if len(squares) else 0))
