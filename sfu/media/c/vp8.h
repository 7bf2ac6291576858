/* The VP8 payload descriptor (RFC 7741 4.2): its running numbers, read and shifted.
 *
 *     0 1 2 3 4 5 6 7
 *    |X|R|N|S|R| PID |
 * X: |I|L|T|K| RSV   |
 * I: |M| PictureID   |   7 bits, or 15 in two bytes with M
 * L: |   TL0PICIDX   |
 * T: |TID|Y| KEYIDX  |   there with T or K; KEYIDX means something with K
 *
 * Each layer of a simulcast counts for itself. A subscriber that goes from one to another must see one
 * count, else its decoder takes the step for lost pictures. So a stretch of packets that leaves under
 * one numbering has one `vp8_shift`; what is sent again finds its numbers by the same shift. Shifting
 * keeps the width of each number, so the descriptor keeps its length. Total over any bytes: what does
 * not fit has no numbers. */
#ifndef ORCHARD_VP8_H
#define ORCHARD_VP8_H

#include <stdint.h>

#include "bytes.h"

/* Where the numbers of one packet stand, from the start of the payload (0: it has none), and what they are. */
struct vp8_numbers {
    uint8_t picture_at, tl0_at, key_at;
    uint8_t wide; /* the picture id has 15 bits */
    uint8_t tl0, key;
    uint16_t picture;
};

/* What is added to each number, modulo its width. */
struct vp8_shift {
    uint16_t picture;
    uint8_t tl0, key;
};

/* The numbers of the newest packet that a subscriber was sent; `has_` says which were ever sent. */
struct vp8_sent {
    uint16_t picture;
    uint8_t tl0, key;
    uint8_t has_picture, has_tl0, has_key;
};

static inline void vp8_read(struct vp8_numbers *v, const uint8_t *p, uint32_t n) {
    static const struct vp8_numbers none = {0};
    uint32_t at = 2;
    *v = none;
    if (n < 2 || !(p[0] & 0x80)) return;
    uint8_t x = p[1];
    uint32_t end = at + (x & 0x80 ? 1 : 0) + (x & 0x40 ? 1 : 0) + (x & 0x30 ? 1 : 0);
    if (end > n) return;
    if (x & 0x80) {
        v->wide = p[at] >> 7;
        if (end + v->wide > n) return;
        v->picture_at = (uint8_t)at;
        v->picture = v->wide ? load16(p + at) & 0x7fff : p[at];
        at += 1u + v->wide;
    }
    if (x & 0x40) {
        v->tl0_at = (uint8_t)at;
        v->tl0 = p[at++];
    }
    if (x & 0x10) {
        v->key_at = (uint8_t)at;
        v->key = p[at] & 0x1f;
    }
}

/* The shift under which the packet `v` is the picture after the last that was sent. */
static inline struct vp8_shift vp8_follow(const struct vp8_sent *last, const struct vp8_numbers *v) {
    struct vp8_shift shift = {0, 0, 0};
    if (last->has_picture) shift.picture = (uint16_t)(last->picture + 1 - v->picture);
    if (last->has_tl0) shift.tl0 = (uint8_t)(last->tl0 + 1 - v->tl0);
    if (last->has_key) shift.key = (uint8_t)(last->key + 1 - v->key);
    return shift;
}

/* Shift the numbers of a payload that `v` was read from. */
static inline void vp8_write(uint8_t *p, const struct vp8_numbers *v, const struct vp8_shift *shift) {
    uint32_t picture = (uint32_t)v->picture + shift->picture;
    if (v->picture_at && v->wide) store16(p + v->picture_at, 0x8000 | (picture & 0x7fff));
    if (v->picture_at && !v->wide) p[v->picture_at] = picture & 0x7f;
    if (v->tl0_at) p[v->tl0_at] = (uint8_t)(v->tl0 + shift->tl0);
    if (v->key_at) p[v->key_at] = (uint8_t)((p[v->key_at] & 0xe0) | ((v->key + shift->key) & 0x1f));
}

/* The packet `v` went out under `shift` as the newest of its subscriber. */
static inline void vp8_note(struct vp8_sent *last, const struct vp8_numbers *v, const struct vp8_shift *shift) {
    if (v->picture_at) {
        last->picture = (uint16_t)(v->picture + shift->picture) & (v->wide ? 0x7fff : 0x7f);
        last->has_picture = 1;
    }
    if (v->tl0_at) {
        last->tl0 = (uint8_t)(v->tl0 + shift->tl0);
        last->has_tl0 = 1;
    }
    if (v->key_at) {
        last->key = (uint8_t)(v->key + shift->key) & 0x1f;
        last->has_key = 1;
    }
}

#endif
