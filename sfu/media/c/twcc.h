/* Transport-wide feedback for a publisher: arrivals by transport-wide number, and the report of them
 * (draft-holmer-rmcat-transport-wide-cc-extensions-01 3.1). Fixed memory; one window of arrivals. */
#ifndef ORCHARD_TWCC_H
#define ORCHARD_TWCC_H

#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "seq.h"

enum {
    TWCC_WINDOW = 2048,
    TWCC_REPORT_MAX = 1000, /* packets told of in one feedback; also the largest jump that is loss */
    TWCC_TICK_US = 250,
    TWCC_REFERENCE_US = 64000,
};

struct twcc {
    uint32_t base;    /* first number that the next report tells of */
    uint32_t highest; /* newest number seen */
    uint32_t pending; /* arrivals since the last report; 0 before the first */
    uint8_t started;
    uint8_t count; /* feedback packet count */
    int64_t arrival_us[TWCC_WINDOW]; /* by number; 0 is "not arrived" */
};

static inline void twcc_reset(struct twcc *t) {
    memset(t->arrival_us, 0, sizeof t->arrival_us);
    t->started = 0;
    t->pending = 0;
}

/* A packet came. 0, or -1 for a number too old to tell of. */
static inline int twcc_record(struct twcc *t, uint16_t seq, int64_t now_us) {
    uint32_t e = t->started ? eseq_near(t->highest, seq) : 0x10000u + seq;
    int32_t ahead = t->started ? eseq_diff(e, t->highest) : 0;
    if (!t->started || ahead > TWCC_REPORT_MAX) { /* a jump like this is a new start, not loss */
        twcc_reset(t);
        t->started = 1;
        t->base = t->highest = e;
    } else if (ahead > 0) {
        for (uint32_t i = t->highest + 1; i != e; i++) t->arrival_us[i % TWCC_WINDOW] = 0;
        t->highest = e;
        if (eseq_diff(e, t->base) >= TWCC_WINDOW) t->base = e - TWCC_WINDOW + 1;
    } else if (ahead < -TWCC_REPORT_MAX) {
        return -1;
    }
    if (eseq_diff(e, t->base) < 0) t->base = e; /* late: tell again from here */
    t->arrival_us[e % TWCC_WINDOW] = now_us;
    t->pending++;
    return 0;
}

/* Chunks for `n` symbols (0 lost, 1 small delta, 2 large or negative delta). Returns bytes written. */
static inline uint32_t twcc_chunks(const uint8_t *symbols, uint32_t n, uint8_t *out) {
    uint32_t at = 0, i = 0;
    while (i < n) {
        uint32_t run = 1, narrow = 0;
        while (i + run < n && symbols[i + run] == symbols[i]) run++;
        while (narrow < 14 && i + narrow < n && symbols[i + narrow] < 2) narrow++;
        uint32_t chunk, used;
        if (run >= 14 || i + run == n) {
            used = run;
            chunk = ((uint32_t)symbols[i] << 13) | used;
        } else if (narrow == 14 || i + narrow == n) {
            used = narrow;
            chunk = 0x8000;
            for (uint32_t k = 0; k < used; k++) chunk |= (uint32_t)symbols[i + k] << (13 - k);
        } else {
            used = n - i < 7 ? n - i : 7;
            chunk = 0xc000;
            for (uint32_t k = 0; k < used; k++) chunk |= (uint32_t)symbols[i + k] << (12 - 2 * k);
        }
        store16(out + at, chunk);
        at += 2;
        i += used;
    }
    return at;
}

/* Write one feedback packet into `out` of `room` bytes (at least 64) and move on past what it tells.
 * Returns its size, or 0 when nothing has come. Call again while `pending` is not 0. */
static inline uint32_t twcc_report(struct twcc *t, uint32_t sender, uint32_t media, uint8_t *out, uint32_t room) {
    uint8_t symbols[TWCC_REPORT_MAX];
    int16_t deltas[TWCC_REPORT_MAX];
    uint32_t n = 0, delta_count = 0, delta_bytes = 0, told = 0;
    int64_t reference = -1, last_us = 0;
    if (t->pending == 0) return 0;
    while (n < TWCC_REPORT_MAX && eseq_diff(t->base + n, t->highest) <= 0) {
        if (20 + 2 * (n / 7 + 2) + delta_bytes + 2 + 3 > room) break;
        int64_t arrival = t->arrival_us[(t->base + n) % TWCC_WINDOW];
        uint8_t symbol = 0;
        if (arrival != 0) {
            if (reference < 0) {
                reference = arrival / TWCC_REFERENCE_US;
                last_us = reference * TWCC_REFERENCE_US;
            }
            int64_t gap = arrival - last_us;
            int64_t delta = (gap + (gap < 0 ? -TWCC_TICK_US / 2 : TWCC_TICK_US / 2)) / TWCC_TICK_US;
            if (delta < -32768 || delta > 32767) break; /* for the next report */
            last_us += delta * TWCC_TICK_US;
            symbol = delta >= 0 && delta <= 255 ? 1 : 2;
            deltas[delta_count++] = (int16_t)delta;
            delta_bytes += symbol;
            told++;
        }
        symbols[n++] = symbol;
    }
    uint32_t base = t->base;
    t->base += n;
    if (eseq_diff(t->base, t->highest) > 0) t->pending = 0;
    if (told == 0) return 0;
    out[0] = 0x8f; /* version 2, format 15 */
    out[1] = 205;
    store32(out + 4, sender);
    store32(out + 8, media);
    store16(out + 12, base);
    store16(out + 14, n);
    store24(out + 16, (uint32_t)reference & 0xffffff);
    out[19] = t->count++;
    uint32_t at = 20 + twcc_chunks(symbols, n, out + 20);
    for (uint32_t i = 0; i < delta_count; i++) {
        if (deltas[i] >= 0 && deltas[i] <= 255) {
            out[at++] = (uint8_t)deltas[i];
        } else {
            store16(out + at, (uint16_t)deltas[i]);
            at += 2;
        }
    }
    while (at % 4) out[at++] = 0;
    store16(out + 2, at / 4 - 1);
    return at;
}

#endif
