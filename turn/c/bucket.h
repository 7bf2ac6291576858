/* How much may pass: so many packets and so many bytes a second, BUCKET_BURST_NS of them at once.
 *
 * Two clocks that each packet puts on by its share of a second; while neither is ahead of the time by more than
 * the burst, packets pass. A bucket that was idle is full, and then one packet passes whatever its share: else a rate
 * of less than a packet in the burst would be none. */
#ifndef ORCHARD_BUCKET_H
#define ORCHARD_BUCKET_H

#include <stdint.h>

enum { BUCKET_BURST_NS = 500000000 }; /* chosen: a keyframe of a high layer and what waited behind it */

struct bucket {
    int64_t packets_ns, bytes_ns;             /* the clocks */
    uint64_t packets_per_s, bytes_per_s;      /* 0: without bound */
};

static inline int64_t bucket_ahead(int64_t clock_ns, int64_t now_ns, uint64_t amount, uint64_t per_s) {
    if (clock_ns < now_ns) clock_ns = now_ns;
    return per_s ? clock_ns + (int64_t)(amount * 1000000000u / per_s) : clock_ns;
}

/* Whether a clock that stood at `clock_ns` may be put on to `ahead_ns`. */
static inline int bucket_lets(int64_t clock_ns, int64_t ahead_ns, int64_t now_ns) {
    return clock_ns <= now_ns || ahead_ns - now_ns <= BUCKET_BURST_NS;
}

/* 1 and taken, or 0: it does not pass, and costs nothing. `size` has 32 bits, so that the product fits. */
static inline int bucket_take(struct bucket *b, uint32_t size, int64_t now_ns) {
    int64_t packets_ns = bucket_ahead(b->packets_ns, now_ns, 1, b->packets_per_s);
    int64_t bytes_ns = bucket_ahead(b->bytes_ns, now_ns, size, b->bytes_per_s);
    if (!bucket_lets(b->packets_ns, packets_ns, now_ns) || !bucket_lets(b->bytes_ns, bytes_ns, now_ns)) return 0;
    b->packets_ns = packets_ns;
    b->bytes_ns = bytes_ns;
    return 1;
}

/* How many bytes, of `most`, pass at once after a pause: one at least. */
static inline uint32_t bucket_burst(const struct bucket *b, uint32_t most) {
    uint64_t burst = b->bytes_per_s / (1000000000 / BUCKET_BURST_NS);
    if (b->bytes_per_s == 0 || burst > most) return most;
    return burst || !most ? (uint32_t)burst : 1;
}

/* How many bytes of a stream may pass now, of `most`: packets are not counted there. */
static inline uint32_t bucket_room(const struct bucket *b, uint32_t most, int64_t now_ns) {
    if (b->bytes_per_s == 0 || b->bytes_ns <= now_ns) return bucket_burst(b, most);
    int64_t ahead_ns = b->bytes_ns - now_ns;
    if (ahead_ns >= BUCKET_BURST_NS) return 0;
    uint64_t room = (uint64_t)(BUCKET_BURST_NS - ahead_ns) / 1000 * b->bytes_per_s / 1000000;
    return room < most ? (uint32_t)room : most;
}

/* Bytes that bucket_room let pass. */
static inline void bucket_spend(struct bucket *b, uint32_t size, int64_t now_ns) {
    b->bytes_ns = bucket_ahead(b->bytes_ns, now_ns, size, b->bytes_per_s);
}

#endif
