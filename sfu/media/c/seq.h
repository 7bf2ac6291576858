/* Sequence numbers: 16 bits on the wire, 32 bits (eseq) inside, compared as serial numbers (RFC 1982). */
#ifndef ORCHARD_SEQ_H
#define ORCHARD_SEQ_H

#include <stdint.h>
#include <string.h>

#include "vp8.h"

/* How far `a` is after `b`; negative when before. */
static inline int32_t eseq_diff(uint32_t a, uint32_t b) { return (int32_t)(a - b); }

/* The extended number nearest to `near` whose low 16 bits are `seq`. */
static inline uint32_t eseq_near(uint32_t near, uint16_t seq) {
    int16_t step = (int16_t)(uint16_t)(seq - (uint16_t)near);
    return (uint32_t)((int64_t)near + step);
}

/* A bit for each of the newest numbers of a stream: has this one been received, or sent?
 * `size` numbers, a power of two and a multiple of 64; the owner keeps the highest number. */
static inline int window_has(const uint64_t *bits, uint32_t size, uint32_t n) {
    n &= size - 1;
    return (int)(bits[n / 64] >> (n % 64) & 1);
}

static inline void window_set(uint64_t *bits, uint32_t size, uint32_t n) {
    n &= size - 1;
    bits[n / 64] |= (uint64_t)1 << (n % 64);
}

/* The highest number goes from `from` to `to`: those between, and `to`, are not set yet. */
static inline void window_advance(uint64_t *bits, uint32_t size, uint32_t from, uint32_t to) {
    if (to - from >= size) {
        memset(bits, 0, size / 8);
        return;
    }
    for (uint32_t n = from + 1; n != to + 1; n++) {
        uint32_t at = n & (size - 1);
        bits[at / 64] &= ~((uint64_t)1 << (at % 64));
    }
}

/* The subscriber's numbering: pieces of constant offset, newest last.
 *
 * A piece says that inputs of its source from `first` on leave as input + offset. A new piece begins
 * where an input was left out, so that its number is closed up, and where the source changes. Pieces
 * since the last change of source are the run: a late input finds in it the piece that was in force
 * when its number was given out. Older pieces only answer which input left under a number (a NACK's
 * question). Pieces are few and fixed; what is older than all of them has no number any more. */
enum { SEQMAP_PIECES = 32 };

struct piece {
    uint32_t first;            /* input */
    uint32_t offset;
    uint32_t source;           /* index and generation of whose inputs these are */
    uint32_t generation;
    uint32_t timestamp_offset;
    uint32_t bend_first; /* a timestamp of the source: what comes soon after it ... */
    uint32_t bend_floor; /* ... leaves later than this one */
    struct vp8_shift vp8;
};

struct seqmap {
    struct piece pieces[SEQMAP_PIECES];
    uint32_t count;   /* pieces in use */
    uint32_t run;     /* first piece of the present source */
    uint32_t highest; /* newest input mapped or left out; meaningless while count is 0 */
};

/* Room for one piece more, which is not filled yet. */
static inline struct piece *seqmap_push(struct seqmap *m) {
    if (m->count == SEQMAP_PIECES) {
        memmove(m->pieces, m->pieces + 1, (SEQMAP_PIECES - 1) * sizeof m->pieces[0]);
        m->count--;
        if (m->run > 0) m->run--;
    }
    return &m->pieces[m->count++];
}

/* Go on with another source, or anew with the same: the input `in` is to leave as `out`, which must be
 * the number after the last. The caller fills in the source; what is older has no number from now on. */
static inline struct piece *seqmap_restart(struct seqmap *m, uint32_t in, uint32_t out) {
    while (m->count > 0 && eseq_diff(m->pieces[m->count - 1].first + m->pieces[m->count - 1].offset, out) >= 0)
        m->count--; /* nothing was sent under it */
    struct piece *piece = seqmap_push(m);
    memset(piece, 0, sizeof *piece);
    piece->first = in;
    piece->offset = out - in;
    m->run = m->count - 1;
    m->highest = in - 1;
    return piece;
}

/* The piece that an input of the present source belongs to, or NULL when it is older than the run or was left
 * out: its number is the one after it. */
static inline const struct piece *seqmap_of_input(const struct seqmap *m, uint32_t in) {
    for (uint32_t i = m->count; i-- > m->run;) {
        const struct piece *piece = &m->pieces[i];
        if (eseq_diff(in, piece->first) < 0) continue;
        if (i + 1 < m->count && eseq_diff(in + piece->offset, piece[1].first + piece[1].offset) >= 0) return NULL;
        return piece;
    }
    return NULL;
}

/* The piece under which `out` was or is to be given out, or NULL when it is older than all. */
static inline const struct piece *seqmap_of_output(const struct seqmap *m, uint32_t out) {
    for (uint32_t i = m->count; i-- > 0;)
        if (eseq_diff(out, m->pieces[i].first + m->pieces[i].offset) >= 0) return &m->pieces[i];
    return NULL;
}

/* Note that an input is sent. */
static inline void seqmap_sent(struct seqmap *m, uint32_t in) {
    if (eseq_diff(in, m->highest) > 0) m->highest = in;
}

/* Leave `in` out and close its number up. 0 when that can't be: a later input has its number already,
 * so the subscriber would see a gap. */
static inline int seqmap_skip(struct seqmap *m, uint32_t in) {
    if (m->count == 0 || eseq_diff(in, m->highest) <= 0) return 0;
    struct piece *last = &m->pieces[m->count - 1];
    m->highest = in;
    if (last->first != in) { /* else nothing was sent under the newest piece: move it on */
        struct piece before = *last;
        last = seqmap_push(m);
        *last = before;
    }
    last->first = in + 1;
    last->offset--;
    return 1;
}

#endif
