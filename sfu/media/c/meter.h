/* Two meters that cost next to nothing: how long calls hold the event loop, in buckets of powers of two,
 * and in which stage the time of a call that reads goes, for one call in STAGE_EVERY. */
#ifndef ORCHARD_METER_H
#define ORCHARD_METER_H

#include <stdint.h>
#include <string.h>

/* Bucket i counts what took at most 2^i us, and longer than bucket i - 1; the last one all that is longer. */
enum { HOLD_BOUNDS = 21, HOLD_BUCKETS = HOLD_BOUNDS + 1 };

struct hold_meter {
    uint64_t count[HOLD_BUCKETS];
    uint64_t sum_ns;
};

enum { STAGE_RECEIVE, STAGE_UNPROTECT, STAGE_FORWARD, STAGE_SEND, STAGES };
enum { STAGE_EVERY = 64 };

struct stage_meter {
    uint64_t ns[STAGES];
    uint64_t calls, packets_in, packets_out; /* that were timed */
    uint32_t left;                             /* calls until the next one that is timed; 0: this one */
    int64_t since_ns;
    uint64_t pending_ns[STAGES];               /* of the call under way */
};

static inline void hold_add(struct hold_meter *m, int64_t ns) {
    uint64_t us = ns > 0 ? ((uint64_t)ns + 999) / 1000 : 0;
    uint32_t i = us <= 1 ? 0 : 64 - (uint32_t)__builtin_clzll(us - 1);
    m->count[i < HOLD_BOUNDS ? i : HOLD_BOUNDS]++;
    if (ns > 0) m->sum_ns += (uint64_t)ns;
}

/* A call that is timed begins: one that comes while `left` is 0. */
static inline void stage_begin(struct stage_meter *m, int64_t now_ns) {
    memset(m->pending_ns, 0, sizeof m->pending_ns);
    m->since_ns = now_ns;
}

/* Stage `stage` of a timed call has ended. */
static inline void stage_mark(struct stage_meter *m, int stage, int64_t now_ns) {
    m->pending_ns[stage] += (uint64_t)(now_ns - m->since_ns);
    m->since_ns = now_ns;
}

/* A call, timed or not, has ended with that many datagrams in and out; `send_ns` of what STAGE_FORWARD took
 * was sending. An empty one is no sample: the next is timed in its place. */
static inline void stage_end(struct stage_meter *m, uint32_t in, uint64_t out, uint64_t send_ns) {
    if (in == 0) return;
    if (m->left) {
        m->left--;
        return;
    }
    m->pending_ns[STAGE_FORWARD] -= send_ns;
    m->pending_ns[STAGE_SEND] += send_ns;
    for (int i = 0; i < STAGES; i++) m->ns[i] += m->pending_ns[i];
    m->calls++;
    m->packets_in += in;
    m->packets_out += out;
    m->left = STAGE_EVERY - 1;
}

#endif
