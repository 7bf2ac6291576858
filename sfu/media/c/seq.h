/* Sequence numbers: 16 bits on the wire, 32 bits (eseq) inside, compared as serial numbers (RFC 1982). */
#ifndef ORCHARD_SEQ_H
#define ORCHARD_SEQ_H

#include <stdint.h>

/* How far `a` is after `b`; negative when before. */
static inline int32_t eseq_diff(uint32_t a, uint32_t b) { return (int32_t)(a - b); }

/* The extended number nearest to `near` whose low 16 bits are `seq`. */
static inline uint32_t eseq_near(uint32_t near, uint16_t seq) {
    int16_t step = (int16_t)(uint16_t)(seq - (uint16_t)near);
    return (uint32_t)((int64_t)near + step);
}

/* The subscriber's numbering of one source: pieces of constant offset, newest last.
 *
 * A piece says that inputs from `first` on leave as input + offset. A new piece begins where an input
 * was left out, so that its number is closed up; a late input finds the piece that was in force when
 * its number was given out. Pieces are few and fixed; inputs older than all of them have no number. */
enum { SEQMAP_PIECES = 16 };

struct seqmap {
    uint32_t first[SEQMAP_PIECES];
    uint32_t offset[SEQMAP_PIECES];
    uint32_t count;   /* pieces in use */
    uint32_t highest; /* newest input mapped or left out; meaningless while count is 0 */
};

/* Begin anew: the input `in` is to leave as `out`. What is older has no number any more. */
static inline void seqmap_restart(struct seqmap *m, uint32_t in, uint32_t out) {
    m->first[0] = in;
    m->offset[0] = out - in;
    m->count = 1;
    m->highest = in - 1;
}

/* 1 and the output number, or 0 when `in` is older than every piece. */
static inline int seqmap_find(const struct seqmap *m, uint32_t in, uint32_t *out) {
    for (uint32_t i = m->count; i-- > 0;) {
        if (eseq_diff(in, m->first[i]) >= 0) {
            *out = in + m->offset[i];
            return 1;
        }
    }
    return 0;
}

/* Map an input that is sent. */
static inline int seqmap_send(struct seqmap *m, uint32_t in, uint32_t *out) {
    if (!seqmap_find(m, in, out)) return 0;
    if (eseq_diff(in, m->highest) > 0) m->highest = in;
    return 1;
}

/* Leave `in` out and close its number up. 0 when that can't be: a later input has its number already,
 * so the subscriber would see a gap. */
static inline int seqmap_skip(struct seqmap *m, uint32_t in) {
    if (m->count == 0 || eseq_diff(in, m->highest) <= 0) return 0;
    m->highest = in;
    uint32_t last = m->count - 1;
    if (m->first[last] == in) { /* nothing was sent under the newest piece: move it on */
        m->first[last] = in + 1;
        m->offset[last]--;
        return 1;
    }
    if (m->count == SEQMAP_PIECES) {
        for (uint32_t i = 1; i < SEQMAP_PIECES; i++) {
            m->first[i - 1] = m->first[i];
            m->offset[i - 1] = m->offset[i];
        }
        last--;
    }
    m->first[last + 1] = in + 1;
    m->offset[last + 1] = m->offset[last] - 1;
    m->count = last + 2;
    return 1;
}

#endif
