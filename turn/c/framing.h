/* Cutting a TCP or TLS stream into STUN messages and ChannelData (RFC 8489 6.2.2, RFC 8656 12.5), as sfu/wire/turn.py
 * does: a fault is told as soon as its byte is there. Pure functions over bytes.
 *
 * All sums have 32 bits and none of their parts more than 16, so that nothing wraps. */
#ifndef ORCHARD_FRAMING_H
#define ORCHARD_FRAMING_H

#include "frame.h"

enum framing_result { FRAMING_MORE = 0, FRAMING_KNOWN = 1, FRAMING_GARBAGE = -1, FRAMING_TOO_LARGE = -2 };

/* What a message may claim, head and padding counted. Send indications are data, all other STUN is control. */
struct framing_limits {
    uint32_t control, data;
};

struct framing {
    uint32_t size;   /* of the message */
    uint32_t padded; /* what it takes of the stream */
};

/* What the next message is, from the `n` bytes of it that are there. FRAMING_KNOWN: its sizes are told, whether or not
 * all of it is there; FRAMING_MORE: too little to say. Less than 0: this stream can't be followed any more. */
static inline int framing_next(struct framing *f, const uint8_t *p, uint32_t n, const struct framing_limits *limits) {
    static const uint8_t cookie[4] = {0x21, 0x12, 0xA4, 0x42};
    uint32_t limit = limits->data;
    if (n == 0) return FRAMING_MORE;
    int stun = p[0] < 4;
    if (!stun && (p[0] < 64 || p[0] > 127)) return FRAMING_GARBAGE;
    if (n < FRAME_CHANNEL_HEAD) return FRAMING_MORE;
    f->size = load16(p + 2) + (stun ? (uint32_t)FRAME_STUN_HEAD : (uint32_t)FRAME_CHANNEL_HEAD);
    f->padded = (f->size + 3) & ~3u;
    if (stun) {
        uint32_t there = n - 4 < sizeof cookie ? n - 4 : (uint32_t)sizeof cookie;
        if (f->size % 4 || memcmp(p + 4, cookie, there) != 0) return FRAMING_GARBAGE;
        if (load16(p) != 0x0016) limit = limits->control;
    }
    return f->padded > limit ? FRAMING_TOO_LARGE : FRAMING_KNOWN;
}

#endif
