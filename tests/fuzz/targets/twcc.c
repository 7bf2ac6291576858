/* Arrivals of any numbers at any times: each report fits its room, parses as the draft says and tells of
 * arrivals alone. */
#include "twcc.h"

#include "claim.h"

static int64_t arrived_us[1 << 16]; /* by number, the last time it was recorded */

/* A report by the text of the draft (3.1): each arrival that it tells of was recorded at that time. */
static void check(const uint8_t *p, uint32_t n) {
    uint8_t symbols[TWCC_REPORT_MAX + 14];
    CLAIM(n >= 24 && n % 4 == 0 && p[0] == 0x8f && p[1] == 205 && (load16(p + 2) + 1u) * 4 == n);
    uint32_t wanted = load16(p + 14), known = 0, at = 20, told = 0;
    CLAIM(wanted >= 1 && wanted <= TWCC_REPORT_MAX);
    while (known < wanted) {
        CLAIM(at + 2 <= n);
        uint32_t chunk = load16(p + at);
        at += 2;
        if (!(chunk & 0x8000)) {
            uint32_t run = chunk & 0x1fff;
            CLAIM(run >= 1 && run <= wanted - known);
            while (run-- > 0) symbols[known++] = (uint8_t)(chunk >> 13);
            continue;
        }
        uint32_t bits = chunk & 0x4000 ? 2 : 1;
        for (uint32_t shift = 14; shift > 0; known++) {
            shift -= bits;
            symbols[known] = (uint8_t)((chunk >> shift) & ((1u << bits) - 1));
            CLAIM(known < wanted || symbols[known] == 0);
        }
    }
    int64_t range_us = (int64_t)TWCC_REFERENCE_US << 24, moment_us = (int64_t)load24(p + 16) * TWCC_REFERENCE_US;
    for (uint32_t i = 0; i < wanted; i++) {
        CLAIM(symbols[i] < 3 && at + symbols[i] <= n);
        if (symbols[i] == 0) continue;
        moment_us += (symbols[i] == 1 ? p[at] : (int16_t)load16(p + at)) * TWCC_TICK_US;
        at += symbols[i];
        int64_t apart = (moment_us - arrived_us[(load16(p + 12) + i) & 0xffff]) % range_us;
        CLAIM(apart >= -TWCC_TICK_US && apart <= TWCC_TICK_US);
        told++;
    }
    CLAIM(told >= 1 && n - at < 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size < 200 ? size : 200};
    struct twcc *t = calloc(1, sizeof *t);
    if (!t) abort();
    int64_t now_us = 1 + take16(&r);
    uint16_t seq = take16(&r);
    uint8_t wide = take8(&r);
    uint32_t room = 64 + (wide & 1 ? wide : 4u * wide);
    uint8_t *out = malloc(room);
    if (!out) abort();
    while (r.left || t->pending) {
        uint8_t op = take8(&r);
        if (r.left && op & 0x0f) {
            switch (op >> 6) {
                case 0: seq = (uint16_t)(seq + 1); break;
                case 1: seq = (uint16_t)(seq + take8(&r) % 40); break;
                case 2: seq = (uint16_t)(seq - take8(&r) % 40); break;
                default: seq = take16(&r);
            }
            now_us += op & 0x20 ? (int64_t)take32(&r) - 0x10000000 : take8(&r) * 100;
            if (now_us < 1) now_us = 1; /* the clock is monotonic and past 0; within a batch arrivals may go back */
            for (uint32_t more = op & 0x10 ? take8(&r) : 0;; more--) { /* some in a row */
                if (twcc_record(t, seq, now_us) == 0) arrived_us[seq] = now_us;
                if (more == 0) break;
                seq++;
                now_us += 900;
            }
            continue;
        }
        for (uint32_t turns = 0; t->pending; turns++) {
            CLAIM(turns <= TWCC_WINDOW); /* it moves on */
            uint32_t written = twcc_report(t, 1, 2, out, room);
            CLAIM(written <= room);
            if (written) check(out, written);
        }
    }
    free(out);
    free(t);
    return 0;
}
