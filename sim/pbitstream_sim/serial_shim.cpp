// A Verilated top with a serial line and, at its other end, a UART of the host, for ctypes.
//
// A cycle ends with a rising edge of clk. The host's UART lives in the same cycles: its bit time is
// a fraction of the clock, as the board's is. A top may have streams of bytes instead of the two
// wires; a byte takes two cycles then.

#include <cstdint>
#include <deque>

#include "Vtop.h"
#include "verilated.h"

namespace {

// Bits of a fraction of a bit time.
constexpr uint32_t kOne = 1u << 20;
constexpr uint32_t kByteCycles = 2;

// Advances a fraction by a cycle; true at the end of each bit.
bool tick(uint32_t& phase, uint32_t rate) {
    phase += rate;
    if (phase < kOne) return false;
    phase -= kOne;
    return true;
}

struct Line {
    uint32_t rate = kOne / 4;
    // To the board: bytes that wait, and the bits of the one on the line, the next in the low bit.
    std::deque<uint8_t> waiting;
    uint32_t sending = 0, bits_left = 0, send_phase = 0;
    // From the board.
    std::deque<uint8_t> arrived;
    uint32_t receiving = 0, bits_to_come = 0, receive_phase = 0;
    bool before = true;
    uint64_t broken = 0;

    bool empty() const { return waiting.empty() && bits_left == 0; }

    void clear() {
        waiting.clear();
        arrived.clear();
        bits_left = bits_to_come = 0;
    }

    // Inputs of the board in this cycle.
    template <class Top>
    auto drive(Top& top) -> decltype(top.rx, void()) {
        if (bits_left == 0) {
            if (waiting.empty()) {
                top.rx = 1;
                // A bit that follows an idle line is a whole one.
                send_phase = 0;
                return;
            }
            // Start bit, eight bits, stop bit.
            sending = (waiting.front() << 1) | 0x200;
            waiting.pop_front();
            bits_left = 10;
        }
        top.rx = sending & 1;
        if (tick(send_phase, rate)) {
            sending >>= 1;
            --bits_left;
        }
    }

    template <class Top>
    auto drive(Top& top) -> decltype(top.valid, void()) {
        if (bits_left == 0 && !waiting.empty()) bits_left = kByteCycles;
        top.valid = bits_left == 1;
        if (bits_left == 0) return;
        if (--bits_left == 0) {
            top.data = waiting.front();
            waiting.pop_front();
        }
    }

    // Outputs of the board in this cycle; returns true if a byte has come.
    template <class Top>
    auto sample(Top& top) -> decltype(top.tx, bool()) {
        bool line = top.tx;
        bool fell = before && !line;
        before = line;
        if (bits_to_come == 0) {
            if (!fell) return false;
            bits_to_come = 10;
            receive_phase = kOne / 2;
        }
        if (!tick(receive_phase, rate)) return false;
        --bits_to_come;
        if (bits_to_come == 9) {
            if (line) bits_to_come = 0;
        } else if (bits_to_come > 0) {
            receiving = (receiving >> 1) | (line ? 0x80 : 0);
        } else if (line) {
            arrived.push_back(receiving);
            return true;
        } else {
            ++broken;
        }
        return false;
    }

    // Verilator writes two underscores in a row as ___05F.
    template <class Top>
    auto sample(Top& top) -> decltype(top.o___05Fvalid, bool()) {
        if (!(top.o___05Fvalid && top.o___05Fready)) return false;
        arrived.push_back(top.o___05Fdata);
        return true;
    }

    template <class Top>
    auto prepare(Top& top) -> decltype(top.tx, void()) {}

    template <class Top>
    auto prepare(Top& top) -> decltype(top.o___05Fvalid, void()) {
        top.o___05Fready = 1;
    }
};

struct Simulation {
    VerilatedContext context;
    Vtop top{&context, "top"};
    uint64_t cycles = 0;
    Line line;

    // A cycle; returns true if a byte has come.
    bool cycle() {
        line.prepare(top);
        line.drive(top);
        top.clk = 0;
        top.eval();
        bool come = line.sample(top);
        top.clk = 1;
        top.eval();
        ++cycles;
        return come;
    }
};

}  // namespace

extern "C" {

Simulation* sim_create() { return new Simulation; }

void sim_destroy(Simulation* sim) {
    sim->top.final();
    delete sim;
}

// Holds the reset for two cycles; what was on the line is lost.
void sim_reset(Simulation* sim) {
    sim->line.clear();
    sim->top.rst = 1;
    for (int n = 0; n < 2; ++n) sim->cycle();
    sim->top.rst = 0;
}

// Sets the rate of the host's UART, in bits per 2^20 cycles.
void sim_rate(Simulation* sim, uint32_t rate) { sim->line.rate = rate; }

void sim_push(Simulation* sim, const uint8_t* bytes, uint32_t count) {
    sim->line.waiting.insert(sim->line.waiting.end(), bytes, bytes + count);
}

// Takes bytes that have come; returns how many.
uint32_t sim_pull(Simulation* sim, uint8_t* bytes, uint32_t limit) {
    uint32_t count = 0;
    while (count < limit && !sim->line.arrived.empty()) {
        bytes[count++] = sim->line.arrived.front();
        sim->line.arrived.pop_front();
    }
    return count;
}

// Forgets what is on the line in both directions, as a plug that is pulled does.
void sim_cut(Simulation* sim) { sim->line.clear(); }

int sim_empty(Simulation* sim) { return sim->line.empty(); }

// Runs until a zero byte comes, `cycles` have passed, or nothing more can come: the design is idle,
// all bytes have reached it, and for `quiet` cycles it has sent none. Returns the cycles.
uint64_t sim_run(Simulation* sim, uint64_t cycles, uint64_t quiet) {
    uint64_t silent = 0;
    for (uint64_t done = 0; done < cycles; ++done) {
        if (sim->cycle()) {
            if (sim->line.arrived.back() == 0) return done + 1;
            silent = 0;
        } else if (sim->top.busy || !sim->line.empty()) {
            silent = 0;
        } else if (++silent >= quiet) {
            return done + 1;
        }
    }
    return cycles;
}

int sim_busy(Simulation* sim) { return sim->top.busy; }

uint64_t sim_cycles(Simulation* sim) { return sim->cycles; }

// Bytes from the board without a stop bit, so far.
uint64_t sim_broken(Simulation* sim) { return sim->line.broken; }

}  // extern "C"
