/* Does a packet begin a keyframe? Total over any bytes: a payload that does not parse, or is encrypted
 * end to end, is no keyframe. Nothing is believed about sizes inside the payload without a check. */
#ifndef ORCHARD_CODEC_H
#define ORCHARD_CODEC_H

#include <stdint.h>

#include "bytes.h"

/* The numbers are also written in sfu/media/control.py. */
enum codec { CODEC_OTHER = 0, CODEC_VP8, CODEC_VP9, CODEC_H264, CODEC_H265, CODEC_AV1, CODEC_RED, CODEC_RTX, CODEC_NONE };

/* RFC 7741 4.2, 4.3; RFC 6386 9.1 for the start code, which tells a keyframe from ciphertext. */
static inline int vp8_keyframe(const uint8_t *p, uint32_t n) {
    uint32_t at = 1;
    if (n < 1 || !(p[0] & 0x10) || (p[0] & 0x07)) return 0; /* the first packet of partition 0 only */
    if (p[0] & 0x80) {
        if (n < 2) return 0;
        uint8_t x = p[1];
        at = 2;
        if (x & 0x80) {
            if (n < at + 1) return 0;
            at += p[at] & 0x80 ? 2 : 1;
        }
        if (x & 0x40) at++;
        if (x & 0x30) at++;
    }
    if (n < at + 6) return 0;
    return !(p[at] & 0x01) && p[at + 3] == 0x9d && p[at + 4] == 0x01 && p[at + 5] == 0x2a;
}

/* RFC 9628 4.2: not inter-predicted, begins a frame, of the lowest spatial layer. */
static inline int vp9_keyframe(const uint8_t *p, uint32_t n) {
    uint32_t at = 1;
    if (n < 1 || (p[0] & 0x40) || !(p[0] & 0x08)) return 0;
    if (p[0] & 0x80) {
        if (n < at + 1) return 0;
        at += p[at] & 0x80 ? 2 : 1;
    }
    if (p[0] & 0x20) {
        if (n < at + 1 || (p[at] & 0x0f)) return 0; /* SID 0, D 0 */
        at++;
    }
    return n > at;
}

/* One NAL unit: SPS, or the first slice of an IDR picture (first_mb_in_slice is 0: the bit is set). */
static inline int h264_nal_keyframe(uint8_t type, const uint8_t *body, uint32_t n) {
    return type == 7 || (type == 5 && n >= 1 && (body[0] & 0x80));
}

/* RFC 6184 5.2 to 5.8. */
static inline int h264_keyframe(const uint8_t *p, uint32_t n) {
    if (n < 2) return 0;
    uint8_t type = p[0] & 0x1f;
    if (type == 28 || type == 29) return (p[1] & 0x80) && h264_nal_keyframe(p[1] & 0x1f, p + 2, n - 2);
    if (type != 24 && type != 25) return h264_nal_keyframe(type, p + 1, n - 1);
    uint32_t at = type == 25 ? 3 : 1;
    while (at + 3 <= n) {
        uint32_t size = load16(p + at);
        at += 2;
        if (size == 0 || size > n - at) return 0;
        if (h264_nal_keyframe(p[at] & 0x1f, p + at + 1, size - 1)) return 1;
        at += size;
    }
    return 0;
}

/* VPS, SPS, or the first slice segment of an IRAP picture (RFC 7798 1.1.4; H.265 7.4.2.2). */
static inline int h265_nal_keyframe(uint8_t type, const uint8_t *body, uint32_t n) {
    return type == 32 || type == 33 || (type >= 16 && type <= 21 && n >= 1 && (body[0] & 0x80));
}

/* RFC 7798 4.4. */
static inline int h265_keyframe(const uint8_t *p, uint32_t n) {
    if (n < 3) return 0;
    uint8_t type = (p[0] >> 1) & 0x3f;
    if (type == 49) return (p[2] & 0x80) && h265_nal_keyframe(p[2] & 0x3f, p + 3, n - 3);
    if (type != 48) return h265_nal_keyframe(type, p + 2, n - 2);
    uint32_t at = 2;
    while (at + 4 <= n) {
        uint32_t size = load16(p + at);
        at += 2;
        if (size < 2 || size > n - at) return 0;
        if (h265_nal_keyframe((p[at] >> 1) & 0x3f, p + at + 2, size - 2)) return 1;
        at += size;
    }
    return 0;
}

/* RTP Payload Format for AV1, 4.4: the N bit, or a sequence header as the first OBU. */
static inline int av1_keyframe(const uint8_t *p, uint32_t n) {
    if (n < 2 || (p[0] & 0x80)) return 0; /* Z: the rest of an earlier OBU */
    if (p[0] & 0x08) return 1;
    uint32_t at = 1;
    uint32_t count = (p[0] >> 4) & 0x03; /* OBU elements; 0 is "each has its length" */
    for (uint32_t element = 1; element <= 2; element++) {
        uint64_t size = 0;
        if (count != element) {
            uint32_t shift = 0;
            do {
                if (at >= n || shift > 28) return 0;
                size |= (uint64_t)(p[at] & 0x7f) << shift;
                shift += 7;
            } while (p[at++] & 0x80);
        } else {
            size = n - at;
        }
        if (size == 0 || size > n - at) return 0;
        uint8_t type = (p[at] >> 3) & 0x0f;
        if (type == 1) return 1;
        if (type != 2) return 0; /* a temporal delimiter may stand before */
        at += (uint32_t)size;
        if (at >= n || count == element) return 0;
    }
    return 0;
}

/* RFC 2198 3: where the primary block begins. Returns its payload type, or -1 when this is no RED. */
static inline int red_primary(const uint8_t *p, uint32_t n, uint32_t *primary_at) {
    uint32_t at = 0, blocks = 0;
    while (at < n && (p[at] & 0x80)) {
        if (n - at < 4) return -1;
        blocks += load16(p + at + 2) & 0x3ff;
        at += 4;
    }
    if (at >= n || blocks > n - at - 1) return -1;
    *primary_at = at + 1 + blocks;
    return p[at] & 0x7f;
}

/* `codecs` tells the codec of each payload type of the section, for what lies inside RED. */
static inline int codec_keyframe(uint8_t codec, const uint8_t *p, uint32_t n, const uint8_t *codecs) {
    if (codec == CODEC_RED) {
        uint32_t at = 0;
        int inner = red_primary(p, n, &at);
        if (inner < 0) return 0;
        codec = codecs[inner];
        p += at;
        n -= at;
    }
    switch (codec) {
        case CODEC_VP8: return vp8_keyframe(p, n);
        case CODEC_VP9: return vp9_keyframe(p, n);
        case CODEC_H264: return h264_keyframe(p, n);
        case CODEC_H265: return h265_keyframe(p, n);
        case CODEC_AV1: return av1_keyframe(p, n);
        default: return 0;
    }
}

#endif
