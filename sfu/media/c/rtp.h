/* RTP packets: checked, taken apart, and written anew for a subscriber (RFC 3550 5.1, RFC 8285). */
#ifndef ORCHARD_RTP_H
#define ORCHARD_RTP_H

#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "codec.h"

enum { RTP_ELEMENTS = 16, RTP_HEADER = 12 };

struct rtp_element {
    uint8_t id;
    uint8_t size;
    uint16_t at; /* of the first data byte, from the start of the packet */
};

struct rtp_packet {
    const uint8_t *data;
    uint32_t size;
    uint32_t payload_at;
    uint32_t payload_size; /* without padding */
    uint32_t padding_size; /* 0 when the P bit is clear */
    uint32_t timestamp;
    uint32_t ssrc;
    uint16_t seq;
    uint8_t pt;
    uint8_t marker;
    uint8_t csrc_count;
    uint8_t element_count; /* of `elements`; further ones are not kept, so never forwarded */
    struct rtp_element elements[RTP_ELEMENTS];
};

/* Before unprotect: whether version, CSRCs and header extension lie inside the packet, `tag` bytes of
 * authentication left over. Returns the size of the header with CSRCs and extension, or 0. */
static inline uint32_t rtp_check(const uint8_t *p, uint32_t n, uint32_t tag) {
    if (n < RTP_HEADER + tag || (p[0] & 0xc0) != 0x80) return 0;
    uint32_t at = RTP_HEADER + 4u * (p[0] & 0x0f);
    uint32_t end = n - tag;
    if (at > end) return 0;
    if (p[0] & 0x10) {
        if (end - at < 4) return 0;
        at += 4 + 4u * load16(p + at + 2);
        if (at > end) return 0;
    }
    return at;
}

/* RFC 8285 4.2 (0xBEDE) and 4.3 (0x100x). A malformed tail ends the list; other profiles have none. */
static inline void rtp_read_elements(struct rtp_packet *r, uint32_t at, uint32_t end, uint32_t profile) {
    const uint8_t *p = r->data;
    int two = (profile & 0xfff0) == 0x1000;
    if (!two && profile != 0xbede) return;
    while (at < end && r->element_count < RTP_ELEMENTS) {
        uint32_t id, size;
        if (p[at] == 0) { /* padding */
            at++;
            continue;
        }
        if (two) {
            if (end - at < 2) return;
            id = p[at];
            size = p[at + 1];
            at += 2;
        } else {
            id = p[at] >> 4;
            size = (p[at] & 0x0fu) + 1;
            at++;
            if (id == 15) return; /* reserved: stop (4.2) */
            if (id == 0) {        /* length without id: padding with data, skipped */
                at += size;
                continue;
            }
        }
        if (size > end - at) return;
        struct rtp_element *e = &r->elements[r->element_count++];
        e->id = (uint8_t)id;
        e->size = (uint8_t)size;
        e->at = (uint16_t)at;
        at += size;
    }
}

/* After unprotect. 0, or -1 for a packet whose header or padding does not fit (padding: 1 to the
 * payload's length). */
static inline int rtp_parse(struct rtp_packet *r, const uint8_t *p, uint32_t n) {
    uint32_t header = rtp_check(p, n, 0);
    if (header == 0) return -1;
    r->data = p;
    r->size = n;
    r->marker = p[1] >> 7;
    r->pt = p[1] & 0x7f;
    r->seq = load16(p + 2);
    r->timestamp = load32(p + 4);
    r->ssrc = load32(p + 8);
    r->csrc_count = p[0] & 0x0f;
    r->payload_at = header;
    r->payload_size = n - header;
    r->padding_size = 0;
    r->element_count = 0;
    if (p[0] & 0x20) {
        uint32_t padding = p[n - 1];
        if (padding == 0 || padding > r->payload_size) return -1;
        r->padding_size = padding;
        r->payload_size -= padding;
    }
    if (p[0] & 0x10) {
        uint32_t at = RTP_HEADER + 4u * r->csrc_count;
        rtp_read_elements(r, at + 4, header, load16(p + at));
    }
    return 0;
}

/* Turn RTX into what it repeats, in place: the packet then begins 2 bytes later, under the given payload
 * type and SSRC and its original number. 0, or -1 when it has no OSN: a probe of padding (RFC 4588 4). */
static inline int rtp_unwrap(struct rtp_packet *r, uint8_t *p, uint8_t pt, uint32_t ssrc) {
    if (r->payload_size < 2) return -1;
    uint16_t osn = load16(p + r->payload_at);
    memmove(p + 2, p, r->payload_at);
    store16(p + 4, osn);
    p[3] = (uint8_t)((r->marker << 7) | pt);
    store32(p + 10, ssrc);
    r->data = p + 2;
    r->size -= 2;
    r->payload_size -= 2;
    r->ssrc = ssrc;
    r->seq = osn;
    r->pt = pt;
    return 0;
}

/* The element with an id, or NULL; id 0 is never found. */
static inline const struct rtp_element *rtp_element_of(const struct rtp_packet *r, uint8_t id) {
    for (uint32_t i = 0; i < r->element_count; i++)
        if (r->elements[i].id == id && id != 0) return &r->elements[i];
    return NULL;
}

/* What a subscriber gets in place of the publisher's header. */
struct rtp_target {
    uint32_t ssrc;
    uint32_t timestamp;
    uint16_t seq;
    uint8_t pt;
    uint8_t red;               /* the payload is RED: the types inside are mapped too */
    uint8_t mixed;             /* the two-byte form may be used (extmap-allow-mixed) */
    uint8_t rtx;               /* as RTX of the number `osn` (RFC 4588 4): padding stays behind */
    uint16_t osn;
    uint8_t mid_id;            /* 0: no mid */
    uint8_t mid_size;
    const uint8_t *mid;
    const uint8_t *extensions; /* 256: publisher's id to subscriber's; 0 strips */
    const uint8_t *types;      /* 128: publisher's payload type to subscriber's; 0xff is none */
};

struct rtp_out {
    const uint8_t *data;
    uint8_t id;
    uint8_t size;
};

/* Whether an element can be written in the one-byte form. */
static inline int rtp_fits_one_byte(uint8_t id, uint8_t size) { return id <= 14 && size >= 1 && size <= 16; }

/* Map the payload types in the block headers of RED. -1 for an unmapped one; what is no RED passes. */
static inline int rtp_rewrite_red(uint8_t *p, uint32_t n, const uint8_t *types) {
    uint32_t at = 0, primary;
    if (red_primary(p, n, &primary) < 0) return 0;
    for (;;) {
        uint8_t type = types[p[at] & 0x7f];
        int last = !(p[at] & 0x80);
        if (type > 127) return -1;
        p[at] = (uint8_t)((p[at] & 0x80) | type);
        if (last) return 0;
        at += 4;
    }
}

/* Write the packet for a subscriber into `out` of `room` bytes. Returns its size, or 0 when it does not
 * fit or carries RED of a type that is not mapped.
 *
 * Only mapped extension elements pass, and the mid; the form is one-byte unless an element needs the
 * other and it is allowed, else that element is left out. Marker, CSRCs, payload and padding stay, but
 * for the padding of what goes as RTX. */
static inline uint32_t rtp_rewrite(const struct rtp_packet *r, const struct rtp_target *t, uint8_t *out, uint32_t room) {
    struct rtp_out keep[RTP_ELEMENTS + 1];
    uint32_t kept = 0, two = 0, extension = 0;
    for (uint32_t i = 0; i < r->element_count; i++) {
        uint8_t id = t->extensions[r->elements[i].id];
        if (id == 0) continue;
        if (!rtp_fits_one_byte(id, r->elements[i].size)) {
            if (!t->mixed) continue;
            two = 1;
        }
        keep[kept].id = id;
        keep[kept].size = r->elements[i].size;
        keep[kept].data = r->data + r->elements[i].at;
        kept++;
    }
    if (t->mid_id != 0 && (t->mixed || rtp_fits_one_byte(t->mid_id, t->mid_size))) {
        if (!rtp_fits_one_byte(t->mid_id, t->mid_size)) two = 1;
        keep[kept].id = t->mid_id;
        keep[kept].size = t->mid_size;
        keep[kept].data = t->mid;
        kept++;
    }
    for (uint32_t i = 0; i < kept; i++) extension += 1 + two + keep[i].size;
    uint32_t words = (extension + 3) / 4;
    uint32_t at = RTP_HEADER + 4u * r->csrc_count;
    uint32_t padding = t->rtx ? 0 : r->padding_size;
    uint32_t body = r->payload_size + padding;
    if (at + (kept ? 4 + 4 * words : 0) + (t->rtx ? 2 : 0) + body > room) return 0;

    out[0] = (uint8_t)(0x80 | (padding ? 0x20 : 0) | (kept ? 0x10 : 0) | r->csrc_count);
    out[1] = (uint8_t)((r->marker << 7) | t->pt);
    store16(out + 2, t->seq);
    store32(out + 4, t->timestamp);
    store32(out + 8, t->ssrc);
    memcpy(out + RTP_HEADER, r->data + RTP_HEADER, 4u * r->csrc_count);
    if (kept) {
        store16(out + at, two ? 0x1000 : 0xbede);
        store16(out + at + 2, words);
        at += 4;
        uint32_t end = at + 4 * words;
        for (uint32_t i = 0; i < kept; i++) {
            if (two) {
                out[at++] = keep[i].id;
                out[at++] = keep[i].size;
            } else {
                out[at++] = (uint8_t)((keep[i].id << 4) | (keep[i].size - 1));
            }
            memcpy(out + at, keep[i].data, keep[i].size);
            at += keep[i].size;
        }
        while (at < end) out[at++] = 0;
    }
    if (t->rtx) {
        store16(out + at, t->osn);
        at += 2;
    }
    memcpy(out + at, r->data + r->payload_at, body);
    if (t->red && rtp_rewrite_red(out + at, r->payload_size, t->types) < 0) return 0;
    return at + body;
}

#endif
