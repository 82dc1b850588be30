// A Verilated top with the host bus as a handful of C functions, for ctypes.
//
// A cycle ends with a rising edge of clk. Outputs are sampled before the edge, with the inputs of
// the cycle: a request whose ack is high in a cycle ends with that cycle.

#include <cstdint>

#include "Vtop.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

// Verilator writes two underscores in a row as ___05F.
#define BUS(member) bus___05F##member

namespace {

// A context must know of traces before it has a model.
VerilatedContext* traceable(VerilatedContext& context) {
    context.traceEverOn(VM_TRACE);
    return &context;
}

struct Simulation {
    VerilatedContext context;
    Vtop top{traceable(context), "top"};
    uint64_t cycles = 0;
#if VM_TRACE
    VerilatedVcdC* trace = nullptr;
#endif

    void dump() {
#if VM_TRACE
        if (trace) trace->dump(context.time());
#endif
        context.timeInc(1);
    }

    // First half of a cycle: its inputs are set, its outputs settle.
    void settle() {
        top.clk = 0;
        top.eval();
        dump();
    }

    void edge() {
        top.clk = 1;
        top.eval();
        dump();
        ++cycles;
    }

    // One request; false if `limit` cycles pass without an answer.
    bool transfer(bool write, uint32_t address, uint32_t& word, uint32_t limit) {
        top.BUS(valid) = 1;
        top.BUS(write) = write;
        top.BUS(address) = address;
        top.BUS(data) = write ? word : 0;
        bool done = false;
        for (uint32_t cycle = 0; cycle < limit && !done; ++cycle) {
            settle();
            done = top.BUS(ack);
            if (done && !write) word = top.BUS(read);
            edge();
        }
        top.BUS(valid) = 0;
        return done;
    }
};

}  // namespace

extern "C" {

Simulation* sim_create() { return new Simulation; }

void sim_destroy(Simulation* sim) {
#if VM_TRACE
    if (sim->trace) {
        sim->trace->close();
        delete sim->trace;
    }
#endif
    sim->top.final();
    delete sim;
}

void sim_reset(Simulation* sim) {
    sim->top.rst = 1;
    sim->top.BUS(valid) = 0;
    for (int cycle = 0; cycle < 2; ++cycle) {
        sim->settle();
        sim->edge();
    }
    sim->top.rst = 0;
    sim->settle();
}

// Transfers words at consecutive addresses; returns how many were answered within `limit` cycles.
uint32_t sim_transfer(Simulation* sim, int write, uint32_t address, uint32_t count, uint32_t* words,
                      uint32_t limit) {
    for (uint32_t done = 0; done < count; ++done) {
        if (!sim->transfer(write, address + done, words[done], limit)) return done;
    }
    return count;
}

// Runs up to `cycles` cycles, fewer if `until_idle` and the design becomes idle; returns how many.
uint64_t sim_run(Simulation* sim, uint64_t cycles, int until_idle) {
    for (uint64_t done = 0; done < cycles; ++done) {
        sim->settle();
        if (until_idle && !sim->top.busy) return done;
        sim->edge();
    }
    return cycles;
}

int sim_busy(Simulation* sim) {
    sim->top.eval();
    return sim->top.busy;
}

uint64_t sim_cycles(Simulation* sim) { return sim->cycles; }

// Records all signals from now on; false if the library was built without that.
int sim_trace(Simulation* sim, const char* path) {
#if VM_TRACE
    sim->trace = new VerilatedVcdC;
    sim->top.trace(sim->trace, 99);
    sim->trace->open(path);
    return sim->trace->isOpen();
#else
    return 0;
#endif
}

}  // extern "C"
