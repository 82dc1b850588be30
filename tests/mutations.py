"""Ways to break the gateware: each is one line of a source file, and the emulator must notice."""

from dataclasses import dataclass

__all__ = ["MUTATIONS", "Mutation"]


@dataclass(frozen=True)
class Mutation:
    """Replace `old`, which stands once in a file of the gateware, by `new`."""

    name: str
    file: str
    old: str
    new: str


MUTATIONS = (
    Mutation("projections, results and noise round down", "pipeline.py",
             "summed.eq(value + half[: amounts[-1]])", "summed.eq(value)"),
    Mutation("the drift rounds down", "langevin.py",
             "register(m, push + half,", "register(m, push,"),
    Mutation("exposed states round down", "fixed.py",
             "return sat(rhu(state, STATE.fraction - EXPOSED.fraction), EXPOSED.bits)[0]",
             "return Value.cast(state)[STATE.fraction - EXPOSED.fraction :].as_signed()"),
    Mutation("x squared rounds down", "langevin.py",
             "rhu(square, 2 * EXPOSED.fraction - X2.fraction)",
             "square >> 2 * EXPOSED.fraction - X2.fraction"),
    Mutation("the cubic term rounds down", "langevin.py",
             "rhu(cubic, K4.fraction + X2.fraction - K2.fraction)",
             "(cubic >> K4.fraction + X2.fraction - K2.fraction)"),
    Mutation("the stiffness wraps", "langevin.py",
             "Mux(clipped, K2.highest, stiff)", "stiff"),
    Mutation("the state wraps", "langevin.py",
             "self.after.eq(narrow)", "self.after.eq(total)"),
    Mutation("the mean of the noise is off by one", "langevin.py",
             "- NOISE_MEAN", "- (NOISE_MEAN + 1)"),
    Mutation("projections wrap", "projection.py",
             "z.eq(narrow)", "z.eq(wide)"),
    Mutation("results wrap", "projection.py",
             "u.eq(narrow_u)", "u.eq(wide_u)"),
    Mutation("a p-bit's index rounds down", "pbit.py",
             "index = rhu(size, step)", "index = size >> step"),
    Mutation("a p-bit's comparison includes the threshold", "pbit.py",
             '"number") < threshold', '"number") <= threshold'),
    Mutation("a p-bit's table is not folded", "pbit.py",
             "Mux(lower, (1 << THRESHOLD_BITS) - entry, entry)", "entry"),
    Mutation("a p-bit's field wraps", "pbit.py",
             'register(m, narrow, "y"', 'register(m, rounded, "y"'),
    Mutation("modules without noise draw", "pipe.py",
             "drawer.constants.pbit | (drawer.constants.noise_gain != 0)", "1"),
    Mutation("every row of p-bits draws", "pipe.py",
             "~drawer.constants.pbit | (drawer.spin_row[:FIELD_SELECT] == 0)", "1"),
    Mutation("the second shift of the noise is off by one", "noise.py",
             "state[right:]", "state[right + 1 :]"),
    Mutation("a clamp is not aligned to the state", "pipe.py",
             "bias_late << STATE.fraction - EXPOSED.fraction",
             "bias_late << STATE.fraction - EXPOSED.fraction - 1"),
    Mutation("burn-in is averaged", "sequencer.py",
             "~prologue & (burning == 0)", "~prologue"),
    Mutation("sums go on from the last relaxation", "accumulators.py",
             "Mux(init, 0, held", "Mux(0, 0, held"),
    Mutation("the second phase reads old states", "sequencer.py",
             "Array([0, parity, ~parity, 0])", "Array([0, parity, parity, 0])"),
    Mutation("row updates are not waited for", "progress.py",
             "updated >= wait.updates", "wait.updates == wait.updates"),
    Mutation("results are not waited for", "progress.py",
             "results >= wait.results", "wait.results == wait.results"),
    Mutation("a band takes its row from one lane too many", "lane.py",
             "self.index < self.rotate", "self.index <= self.rotate"),
    Mutation("the first product of a field is added to the last field", "sequencer.py",
             "common.clear & fetch.fresh", "0"),
    Mutation("clips of states are not counted", "pipe.py",
             "clips[:2] = langevin.stiffness_clip, langevin.state_clip",
             "clips[0] = langevin.stiffness_clip"),
)
