// A Verilated FrameReceiver that is fed bytes and never held up, for ctypes.

#include <cstdint>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

struct Receiver {
    VerilatedContext context;
    Vtop top{&context, "top"};
    // Words that came out, a last one with bit 32 set.
    std::vector<uint64_t> words;
    uint64_t dropped = 0;

    void cycle() {
        top.clk = 0;
        top.eval();
        if (top.o___05Fvalid) words.push_back(top.o___05Fdata | uint64_t(top.o___05Flast) << 32);
        dropped += top.dropped;
        top.clk = 1;
        top.eval();
    }
};

}  // namespace

extern "C" {

Receiver* receiver_create() {
    auto* made = new Receiver;
    made->top.o___05Fready = 1;
    made->top.rst = 1;
    made->cycle();
    made->top.rst = 0;
    return made;
}

void receiver_destroy(Receiver* receiver) {
    receiver->top.final();
    delete receiver;
}

// Feeds bytes, after each so many idle cycles.
void receiver_feed(Receiver* receiver, const uint8_t* bytes, uint32_t count, uint32_t idle) {
    for (uint32_t n = 0; n < count; ++n) {
        receiver->top.valid = 1;
        receiver->top.data = bytes[n];
        receiver->cycle();
        receiver->top.valid = 0;
        for (uint32_t cycle = 0; cycle < idle; ++cycle) receiver->cycle();
    }
}

void receiver_wait(Receiver* receiver, uint32_t cycles) {
    for (uint32_t cycle = 0; cycle < cycles; ++cycle) receiver->cycle();
}

uint32_t receiver_count(Receiver* receiver) { return receiver->words.size(); }

// Takes all words.
void receiver_words(Receiver* receiver, uint64_t* words) {
    for (uint64_t word : receiver->words) *words++ = word;
    receiver->words.clear();
}

uint64_t receiver_dropped(Receiver* receiver) { return receiver->dropped; }

}  // extern "C"
