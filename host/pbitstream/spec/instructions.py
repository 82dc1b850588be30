"""What a board executes: the schedule of a step as instructions, and the constants of modules.

Units live in *slots*: unit i of a module stands in lane i mod lanes of the module's row i // lanes,
and slot = row * lanes + lane. Every lane has a multiplier, an int32 accumulator, a table of factor
and weight words, and the exposed states of its slots in two copies that swap roles each step.

A board runs its instructions from address 0: first the prologue, ``update`` instructions with
`init` that give every module its first state, clear its sums and end at the first one with `last`;
then the step, which runs again and again and also ends at an instruction with `last`. Four kinds:

=========  =====================================================================================
project    for c in 0..count, for r in 0..rows: every lane multiplies table[base + c rows + r] by
           X[row + r]; the sum over rows and lanes is z_c, and u_c goes to results[result + c]
expand     for c in 0..count: every lane adds table[base + t + c rows] * results[result + c], t
           being the row of the group at hand
band       every lane l adds table[base + t] * X of slot (row + t) lanes + rotate + l
update     hands row t of the accumulators to the update pipes, then runs the group again from
           instruction `group` for t + 1, until `rows` rows are done
=========  =====================================================================================

A group is a run of ``expand`` and ``band`` that ends with an ``update``. The accumulators hold its
sums, so no ``project`` stands within it; its first instruction has `clear` and begins them at 0.

An instruction waits until the row updates that it depends on have been written: the number of rows
updated since the step began, less those still under way, must reach `wait` (negative: rows of the
step before may be under way). An ``expand`` waits likewise until `wait_results` rank components of
this step have been projected. Every row of the prologue is written before the first step begins.
"""

from pbitstream.errors import SpecError

__all__ = [
    "COMMON",
    "COPIES",
    "COUNTED",
    "KINDS",
    "KIND_FIELDS",
    "MODULE",
    "SIGNED",
    "Decoded",
    "decode",
    "encode",
    "pack",
]

#: Kinds of instruction by code.
KINDS = {"project": 0, "expand": 1, "band": 2, "update": 3}
#: Which copy of the exposed states is read: of a clamped module, of one that this step has not yet
#: updated, of one that it has.
COPIES = {"fixed": 0, "old": 1, "new": 2}

#: Bits of the low 64, in order from bit 0; `rows` is stored less 1.
COMMON = {"kind": 2, "copy": 2, "clear": 1, "wait": 12, "table": 14, "row": 10, "rows": 10}
#: Bits from bit 64 on, by kind; `count` is stored less 1.
KIND_FIELDS = {
    "project": {"count": 6, "gain": 10, "result": 11, "shift_z": 5, "shift_u": 5},
    "expand": {"count": 6, "result": 11, "wait_results": 12},
    "band": {"rotate": 7},
    "update": {"module": 6, "dim": 13, "group": 11, "init": 1, "last": 1},
}
#: Fields in two's complement; the others are unsigned. `row` counts modulo the image's rows: a band
#: may reach beyond the memory where its weights are zero.
SIGNED = ("wait",)
#: Fields that are stored less 1.
COUNTED = ("rows", "count", "dim")

#: Constants of a module, from bit 0 of its 64: kind 1 for p-bits, F as (F - 16) / 2, dt = 2^-s,
#: noise shift q and gain G, beta.
MODULE = {"pbit": 1, "clamped": 1, "fraction": 2, "dt_shift": 4, "noise_shift": 5, "spare": 3,
          "noise_gain": 13, "spare_high": 3, "beta": 16}


def pack(fields: dict[str, int], **values: int) -> int:
    """Return values as one integer, fields in order from bit 0; SpecError if one does not fit."""
    unknown = sorted(values.keys() - fields.keys())
    if unknown:
        raise SpecError(f"field must be one of {', '.join(fields)}, not {unknown[0]}")
    word, position = 0, 0
    for name, bits in fields.items():
        less = name in COUNTED
        lowest = -(1 << bits - 1) if name in SIGNED else 0
        value = values.get(name, less)
        if not lowest <= value - less < lowest + (1 << bits):
            raise SpecError(f"{name} must be between {lowest + less} and "
                            f"{lowest + less + (1 << bits) - 1}, not {value}")
        word |= (value - less & (1 << bits) - 1) << position
        position += bits
    return word


def encode(kind: str, **values: int) -> int:
    """Return the 128-bit word of an instruction."""
    common = {name: values.pop(name) for name in COMMON if name in values}
    return pack(COMMON, kind=KINDS[kind], **common) | pack(KIND_FIELDS[kind], **values) << 64


class Decoded(dict[str, int]):
    """The fields of an instruction by name, and its kind."""

    kind: str


def decode(word: int) -> Decoded:
    """Return the fields of a 128-bit instruction; the inverse of `encode`."""
    codes = {code: name for name, code in KINDS.items()}
    decoded = Decoded(_unpack(COMMON, word))
    decoded.kind = codes[decoded.pop("kind")]
    decoded.update(_unpack(KIND_FIELDS[decoded.kind], word >> 64))
    return decoded


def _unpack(fields: dict[str, int], word: int) -> dict[str, int]:
    values, position = {}, 0
    for name, bits in fields.items():
        value = word >> position & ((1 << bits) - 1)
        if name in SIGNED and value >> (bits - 1):
            value -= 1 << bits
        values[name] = value + (name in COUNTED)
        position += bits
    return values
