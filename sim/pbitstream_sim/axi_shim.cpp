// A Verilated top with an AXI port and, at its other end, a processor's AXI3 port, for ctypes.
//
// A cycle ends with a rising edge of clk. The master cuts a transfer into bursts of up to 16 beats
// that stay within 4 KiB, offers addresses and data independently of each other (data may be there
// first, addresses of several bursts at once one after another), and pauses on all five channels as
// its own random numbers say.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

// Verilator writes two underscores in a row as ___05F.
#define AXI(channel, member) axi___05F##channel##___05F##member

namespace {

constexpr uint32_t kLongest = 16;
constexpr uint32_t kBoundary = 4096;
constexpr uint32_t kWord = 4;

// Why a transfer ended early.
enum Fault : uint32_t { kNone, kSilent, kRefused, kIdentity, kLast };

struct Burst {
    uint32_t address, beats, id;
};

struct Simulation {
    VerilatedContext context;
    Vtop top{&context, "top"};
    uint64_t cycles = 0;
    // Xorshift; and pauses per 256 cycles.
    uint64_t random = 1;
    uint32_t pauses = 0;
    Fault fault = kNone;

    uint32_t draw() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return random >> 32;
    }

    bool pause() { return pauses && (draw() & 255) < pauses; }

    void settle() {
        top.clk = 0;
        top.eval();
    }

    void edge() {
        top.clk = 1;
        top.eval();
        ++cycles;
    }

    void rest() {
        top.AXI(aw, valid) = top.AXI(w, valid) = top.AXI(ar, valid) = 0;
        top.AXI(b, ready) = top.AXI(r, ready) = 0;
    }

    std::vector<Burst> cut(uint32_t address, uint32_t count) {
        std::vector<Burst> bursts;
        while (count) {
            uint32_t beats = pauses ? 1 + draw() % kLongest : kLongest;
            beats = std::min({beats, count, (kBoundary - address % kBoundary) / kWord});
            bursts.push_back({address, beats, draw() & 0xfff});
            address += beats * kWord;
            count -= beats;
        }
        return bursts;
    }

    // Returns how many words have moved and, for a write, been answered.
    uint32_t write(uint32_t address, uint32_t count, const uint32_t* words, uint32_t limit) {
        std::vector<Burst> bursts = cut(address, count);
        size_t asked = 0, sending = 0, answered = 0;
        uint32_t sent = 0, beat = 0, done = 0, silent = 0;
        bool aw = false, w = false;
        while (answered < bursts.size()) {
            aw = aw || (asked < bursts.size() && !pause());
            w = w || (sending < bursts.size() && !pause());
            top.AXI(aw, valid) = aw;
            if (aw) {
                top.AXI(aw, addr) = bursts[asked].address;
                top.AXI(aw, len) = bursts[asked].beats - 1;
                top.AXI(aw, id) = bursts[asked].id;
                top.AXI(aw, size) = 2;
                top.AXI(aw, burst) = 1;
            }
            top.AXI(w, valid) = w;
            if (w) {
                top.AXI(w, data) = words[sent];
                top.AXI(w, strb) = 0xf;
                top.AXI(w, last) = beat + 1 == bursts[sending].beats;
            }
            top.AXI(b, ready) = !pause();
            settle();
            ++silent;
            if (aw && top.AXI(aw, ready)) {
                ++asked;
                aw = false;
                silent = 0;
            }
            if (w && top.AXI(w, ready)) {
                ++sent;
                if (++beat == bursts[sending].beats) {
                    ++sending;
                    beat = 0;
                }
                w = false;
                silent = 0;
            }
            if (top.AXI(b, valid) && top.AXI(b, ready)) {
                if (answered >= sending) fault = kLast;
                if (top.AXI(b, id) != bursts[answered].id) fault = kIdentity;
                if (top.AXI(b, resp)) fault = kRefused;
                if (!fault) done += bursts[answered].beats;
                ++answered;
                silent = 0;
            }
            edge();
            if (silent >= limit) fault = kSilent;
            if (fault) break;
        }
        rest();
        return done;
    }

    uint32_t read(uint32_t address, uint32_t count, uint32_t* words, uint32_t limit) {
        std::vector<Burst> bursts = cut(address, count);
        size_t asked = 0, coming = 0;
        uint32_t done = 0, beat = 0, silent = 0;
        bool ar = false;
        while (coming < bursts.size()) {
            ar = ar || (asked < bursts.size() && !pause());
            top.AXI(ar, valid) = ar;
            if (ar) {
                top.AXI(ar, addr) = bursts[asked].address;
                top.AXI(ar, len) = bursts[asked].beats - 1;
                top.AXI(ar, id) = bursts[asked].id;
                top.AXI(ar, size) = 2;
                top.AXI(ar, burst) = 1;
            }
            top.AXI(r, ready) = !pause();
            settle();
            ++silent;
            if (ar && top.AXI(ar, ready)) {
                ++asked;
                ar = false;
                silent = 0;
            }
            if (top.AXI(r, valid) && top.AXI(r, ready)) {
                bool last = beat + 1 == bursts[coming].beats;
                if (coming >= asked || top.AXI(r, last) != last) fault = kLast;
                if (top.AXI(r, id) != bursts[coming].id) fault = kIdentity;
                if (top.AXI(r, resp)) fault = kRefused;
                if (!fault) words[done++] = top.AXI(r, data);
                beat = last ? 0 : beat + 1;
                coming += last;
                silent = 0;
            }
            edge();
            if (silent >= limit) fault = kSilent;
            if (fault) break;
        }
        rest();
        return done;
    }
};

}  // namespace

extern "C" {

Simulation* sim_create(uint64_t seed, uint32_t pauses) {
    Simulation* sim = new Simulation;
    sim->random = seed;
    sim->pauses = pauses;
    return sim;
}

void sim_destroy(Simulation* sim) {
    sim->top.final();
    delete sim;
}

void sim_reset(Simulation* sim) {
    sim->rest();
    sim->top.rst = 1;
    for (int cycle = 0; cycle < 2; ++cycle) {
        sim->settle();
        sim->edge();
    }
    sim->top.rst = 0;
    sim->settle();
}

// Transfers words at consecutive addresses; returns how many before a fault.
uint32_t sim_transfer(Simulation* sim, int write, uint32_t address, uint32_t count, uint32_t* words,
                      uint32_t limit) {
    sim->fault = kNone;
    return write ? sim->write(address, count, words, limit)
                 : sim->read(address, count, words, limit);
}

uint32_t sim_fault(Simulation* sim) { return sim->fault; }

// Runs up to `cycles` cycles, fewer if the design becomes idle; returns how many.
uint64_t sim_run(Simulation* sim, uint64_t cycles) {
    for (uint64_t done = 0; done < cycles; ++done) {
        sim->settle();
        if (!sim->top.busy) return done;
        sim->edge();
    }
    return cycles;
}

int sim_busy(Simulation* sim) {
    sim->top.eval();
    return sim->top.busy;
}

uint64_t sim_cycles(Simulation* sim) { return sim->cycles; }

}  // extern "C"
