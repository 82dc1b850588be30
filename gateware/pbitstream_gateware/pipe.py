"""The update pipe: what makes a unit's next state of its field, and keeps its memories."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.image import Image
from pbitstream.spec.noise import FIELD_BITS, FIELDS, STREAMS
from pbitstream.spec.timing import FIELD_STAGE, UNIT_STAGES, WORD_STAGE
from pbitstream.spec.words import BIAS, EXPOSED, K2, SPIN, STATE
from pbitstream_gateware.accumulators import WindowAccumulators
from pbitstream_gateware.fixed import exposed
from pbitstream_gateware.lane import ACCUMULATOR_BITS
from pbitstream_gateware.langevin import LangevinUnit
from pbitstream_gateware.memory import ReadoutMemory, WindowMemory
from pbitstream_gateware.noise import NoiseStreams
from pbitstream_gateware.noise_window import NoiseWindow
from pbitstream_gateware.pbit import PbitUnit
from pbitstream_gateware.pipeline import delayed
from pbitstream_gateware.ports import WindowPort, broadcast
from pbitstream_gateware.updater import SPIN_ROW_BITS, UnitUpdate

__all__ = ["CLIPS", "UpdatePipe"]

#: Counters of a pipe, in this order.
CLIPS = ("stiffness", "state", "field")
#: Bits of a row of 128 p-bits that choose the field of a noise word.
FIELD_SELECT = ceil_log2(FIELDS)


class UpdatePipe(wiring.Component):
    """States, stiffness, biases, window sums and noise of one pipe's lanes, and their update.

    Members
    -------
    valid, unit
        A unit's address.
    field
        Its field, two cycles later.
    keep, moments
        Options of the relaxation: the prologue keeps the states; squares are summed.
    table_page, input_page, readout_page, idle, host
        The windows on states, stiffness, biases, sums, squares and noise.
    expose, expose_row, expose_lane, expose_data
        Its new exposed state, for the lanes.
    seed_write, seed_stream, seed_word, spin_write, spin_row, spin
        From the seeder: first words of the pipe's streams, and reset spins of stream `seed_stream`.
    clips
        A pulse per clip, in the order of `CLIPS`.

    Timing
    ------
    One unit per cycle; its state is stored FIELD_STAGE + UNIT_STAGES + 1 cycles after its address,
    the exposed state leaves a cycle later, and the sums follow.

    Numerics
    --------
    Sections 5 to 8 of numerics. The first state of a unit, in the prologue, is its clamp, what the
    host stored, its reset spin, or 0.
    """

    def __init__(self, image: Image, part: int) -> None:
        self.image, self.part = image, part
        rows, lanes = ceil_log2(image.rows), ceil_log2(image.lanes // image.pipes)
        super().__init__({
            "valid": In(1),
            "unit": In(UnitUpdate(image)),
            "field": In(signed(ACCUMULATOR_BITS)),
            "keep": In(1),
            "moments": In(1),
            "table_page": In(1),
            "input_page": In(1),
            "readout_page": In(1),
            "idle": In(1),
            "host": In(WindowPort()),
            "expose": Out(1),
            "expose_row": Out(rows + 1),
            "expose_lane": Out(lanes),
            "expose_data": Out(signed(EXPOSED.bits)),
            "seed_write": In(1),
            "seed_stream": In(ceil_log2(STREAMS // image.pipes)),
            "seed_word": In(FIELDS * FIELD_BITS),
            "spin_write": In(1),
            "spin_row": In(SPIN_ROW_BITS),
            "spin": In(1),
            "clips": Out(1).array(len(CLIPS)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        image = self.image
        part = {"part": self.part, "parts": image.pipes,
                "lane_bits": ceil_log2(image.lanes // image.pipes)}
        slots = image.max_units // image.pipes
        memories: dict[str, Any] = {
            "states": ReadoutMemory("states", signed(STATE.bits), slots, **part),
            "stiffness": WindowMemory("stiffness", unsigned(32), slots, pages=2, **part),
            "biases": WindowMemory("biases", unsigned(32), slots // 2, pages=2,
                                   **{**part, "lane_bits": part["lane_bits"] - 1}),
        }
        for name, of in memories.items():
            m.submodules[name] = of
            m.d.comb += of.idle.eq(self.idle)
        m.submodules.noise = noise = NoiseStreams(STREAMS // image.pipes)
        m.submodules.noise_window = window = NoiseWindow(image, self.part)
        m.d.comb += [
            memories["stiffness"].page.eq(self.table_page),
            memories["biases"].page.eq(self.input_page),
            memories["states"].page.eq(self.readout_page),
            noise.page.eq(self.readout_page),
            noise.seed_write.eq(self.seed_write),
            noise.seed_stream.eq(self.seed_stream),
            noise.seed_word.eq(self.seed_word),
            window.page.eq(self.readout_page),
            window.word.eq(noise.peek),
            noise.peek_page.eq(window.peek_page),
            noise.peek_stream.eq(window.stream),
            noise.poke.eq(window.store),
            noise.poke_word.eq(window.store_word),
        ]
        m.submodules.window = window_sums = WindowAccumulators(image, slots, part)
        broadcast(m, self.host, [window.host, window_sums.host,
                                 *(of.host for of in memories.values())])

        # Control travels with the unit.
        end = FIELD_STAGE + UNIT_STAGES
        units, valid = [self.unit], [self.valid]
        for stage in range(1, end + 3):
            units.append(Signal.like(self.unit, name=f"unit_{stage}", reset_less=True))
            valid.append(Signal(name=f"valid_{stage}"))
            m.d.sync += [units[-1].eq(units[-2]), valid[-1].eq(valid[-2])]

        def slot(stage: int) -> Any:
            return Cat(units[stage].lane, units[stage].row)

        # To stage FIELD_STAGE: what is known of the unit, and its field with the bias.
        m.d.comb += [
            memories["states"].address.eq(slot(0)),
            memories["stiffness"].address.eq(slot(0)),
            memories["biases"].address.eq(slot(0)[1:]),
        ]
        state = delayed(m, memories["states"].data, 2, "state")
        stiffness = delayed(m, memories["stiffness"].data, 2, "stiffness")
        pair = delayed(m, memories["biases"].data, 1, "pair")
        bias = pair.word_select(units[2].lane[0], BIAS.bits).as_signed()
        field = Signal(signed(ACCUMULATOR_BITS), reset_less=True)
        lifted = bias << (2 * units[2].constants.fraction) << 16 - BIAS.fraction
        m.d.sync += field.eq(self.field + lifted)
        bias_late = delayed(m, bias, 1, "bias")

        m.submodules.spins = spins = memory.Memory(
            shape=1, depth=STREAMS // image.pipes << SPIN_ROW_BITS, init=[])
        spin_read, spin_write = spins.read_port(), spins.write_port()
        m.d.comb += [
            spin_read.addr.eq(Cat(self.unit.stream, self.unit.spin_row)),
            spin_write.en.eq(self.spin_write),
            spin_write.addr.eq(Cat(self.seed_stream, self.spin_row)),
            spin_write.data.eq(self.spin),
        ]
        reset_spin = delayed(m, spin_read.data, 2, "reset_spin")
        of = units[FIELD_STAGE].constants
        first = Signal(signed(STATE.bits))
        with m.If(of.clamped):
            held = bias_late << STATE.fraction - EXPOSED.fraction
            m.d.comb += first.eq(Mux(of.pbit, bias_late > 0, held))
        with m.Elif(self.keep):
            m.d.comb += first.eq(state)
        with m.Elif(of.pbit):
            m.d.comb += first.eq(reset_spin)

        # Noise: decided in one cycle, drawn in the next, advanced in the third, a register then. A
        # stream is drawn from every third cycle at most, since rows are two cycles apart.
        at = FIELD_STAGE + WORD_STAGE
        drawer = units[at - 3]
        noisy = drawer.constants.pbit | (drawer.constants.noise_gain != 0)
        m.d.sync += [
            noise.stream.eq(drawer.stream),
            noise.draw.eq(valid[at - 3] & ~drawer.init & noisy),
            noise.advance.eq(~drawer.constants.pbit | (drawer.spin_row[:FIELD_SELECT] == 0)),
        ]
        word = delayed(m, noise.word, 1, "word")
        number = word.word_select(units[at].spin_row[:FIELD_SELECT], FIELD_BITS)

        # The two kinds of unit; one that the image lacks answers 0.
        after, clips = {"langevin": Const(0), "pbit": Const(0)}, [Const(0)] * len(CLIPS)
        if "langevin" in image.kinds:
            m.submodules.langevin = langevin = LangevinUnit()
            m.d.comb += [
                langevin.state.eq(state),
                langevin.field.eq(field),
                langevin.k2.eq(stiffness[: K2.bits]),
                langevin.k4.eq(stiffness[16:]),
                langevin.fraction.eq(of.fraction),
                langevin.dt_shift.eq(of.dt_shift),
                langevin.noise_gain.eq(of.noise_gain),
                langevin.noise_shift.eq(of.noise_shift),
                langevin.word.eq(word),
            ]
            after["langevin"] = langevin.after
            clips[:2] = langevin.stiffness_clip, langevin.state_clip
        if "pbit" in image.kinds:
            m.submodules.pbit = pbit = PbitUnit()
            m.d.comb += [
                pbit.field.eq(field),
                pbit.fraction.eq(of.fraction),
                pbit.beta.eq(of.beta),
                pbit.number.eq(number),
            ]
            after["pbit"], clips[2] = pbit.after, pbit.clip
        updated = units[end]
        is_pbit, live = updated.constants.pbit, valid[end] & ~updated.init
        m.d.sync += [
            self.clips[0].eq(live & ~is_pbit & clips[0]),
            self.clips[1].eq(live & ~is_pbit & clips[1]),
            self.clips[2].eq(live & is_pbit & clips[2]),
        ]

        # The new state, stored; then what the lanes and the window see of it.
        new = Signal(signed(STATE.bits), reset_less=True)
        m.d.sync += new.eq(Mux(updated.init, delayed(m, first, UNIT_STAGES, "first"),
                               Mux(is_pbit, after["pbit"], after["langevin"])))
        m.d.comb += [
            memories["states"].write.eq(valid[end + 1]),
            memories["states"].write_address.eq(slot(end + 1)),
            memories["states"].write_data.eq(new),
        ]
        stored = units[end + 1]
        shown = Signal(signed(EXPOSED.bits), reset_less=True)
        value = Signal(signed(EXPOSED.bits), reset_less=True)
        spin = Mux(new[0], 1, -1)
        m.d.sync += [
            shown.eq(Mux(stored.constants.pbit, Mux(new[0], SPIN, -SPIN), exposed(new))),
            value.eq(Mux(stored.constants.pbit, spin, exposed(new))),
        ]
        m.d.comb += [
            self.expose.eq(valid[end + 2]),
            self.expose_row.eq(Cat(units[end + 2].row, units[end + 2].copy)),
            self.expose_lane.eq(units[end + 2].lane),
            self.expose_data.eq(shown),
        ]
        m.d.comb += [
            window_sums.valid.eq(valid[end + 2]),
            window_sums.unit.eq(units[end + 2]),
            window_sums.value.eq(value),
            window_sums.moments.eq(self.moments),
            window_sums.idle.eq(self.idle),
            window_sums.page.eq(self.readout_page),
        ]
        return m
