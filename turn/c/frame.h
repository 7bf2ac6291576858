/* What a datagram of a TURN client is, and the two forms in which data travels between it and us: ChannelData
 * (RFC 8656 12.4) and the Send and Data indications (11). Pure functions over bytes.
 *
 * A peer is 18 bytes: its address, IPv4 as v4-mapped, and its port in network order; the front of a path, as in
 * sfu/net/address.py. */
#ifndef ORCHARD_FRAME_H
#define ORCHARD_FRAME_H

#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "crc.h"

enum { FRAME_PEER = 18, FRAME_HEAD = 48, FRAME_CHANNEL_HEAD = 4 }; /* FRAME_HEAD: of a Data indication, at most */
enum { FRAME_COOKIE = 0x2112A442, FRAME_STUN_HEAD = 20 };
enum { FRAME_ATTRIBUTES = 64 }; /* as the codec of sfu/wire/stun.py takes */

enum frame_kind { FRAME_STRANGE, FRAME_BAD_STUN, FRAME_STUN, FRAME_SEND, FRAME_CHANNEL };

/* Why a Send indication is dropped. */
enum frame_fault { FRAME_MALFORMED = -1, FRAME_BAD_FINGERPRINT = -2, FRAME_UNKNOWN_ATTRIBUTE = -3 };

struct frame_send {
    const uint8_t *data;
    uint32_t size;
    uint8_t peer[FRAME_PEER];
    uint8_t dont_fragment;
};

/* RFC 8656 12, table 3, with the channels of RFC 5766 (to 0x7FFF). */
static inline int frame_kind(const uint8_t *p, uint32_t n) {
    if (n == 0) return FRAME_STRANGE;
    if (p[0] >= 64 && p[0] <= 127) return FRAME_CHANNEL;
    if (p[0] > 3) return FRAME_STRANGE;
    if (n < FRAME_STUN_HEAD || n % 4 || load16(p + 2) != n - FRAME_STUN_HEAD || load32(p + 4) != FRAME_COOKIE)
        return FRAME_BAD_STUN;
    return load16(p) == 0x0016 ? FRAME_SEND : FRAME_STUN;
}

/* ChannelData on UDP, where padding may follow: 0, or -1 where the datagram is shorter than it says. */
static inline int frame_channel(const uint8_t *p, uint32_t n, uint16_t *channel, uint32_t *size) {
    if (n < FRAME_CHANNEL_HEAD) return -1;
    *channel = load16(p);
    *size = load16(p + 2);
    return *size <= n - FRAME_CHANNEL_HEAD ? 0 : -1;
}

static inline int frame_is_v4(const uint8_t *peer) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(peer, mapped, sizeof mapped) == 0;
}

/* The value of XOR-PEER-ADDRESS. -1 for what is no address, for port 0, and for IPv4 in the clothes of IPv6, which
 * would pass for a peer that was judged as IPv4. `p` is of `n` bytes in a message that begins at `message`. */
static inline int frame_peer(uint8_t *peer, const uint8_t *p, uint32_t n, const uint8_t *message) {
    if (n == 8 && p[1] == 1) {
        memset(peer, 0, 10);
        peer[10] = peer[11] = 0xff;
        store32(peer + 12, load32(p + 4) ^ FRAME_COOKIE);
    } else if (n == 20 && p[1] == 2) {
        for (int i = 0; i < 16; i++) peer[i] = p[4 + i] ^ message[4 + i]; /* cookie and transaction id */
        if (frame_is_v4(peer)) return -1;
    } else {
        return -1;
    }
    store16(peer + 16, load16(p + 2) ^ FRAME_COOKIE >> 16);
    return load16(peer + 16) == 0 ? -1 : 0;
}

/* Whether the server knows an attribute that must be understood: those of RFC 8489 and RFC 8656 below 0x8000. */
static inline int frame_known(uint16_t type) {
    static const uint64_t known = 1ull << 0x01 | 1ull << 0x06 | 1ull << 0x08 | 1ull << 0x09 | 1ull << 0x0a |
                                  1ull << 0x0c | 1ull << 0x0d | 1ull << 0x12 | 1ull << 0x13 | 1ull << 0x14 |
                                  1ull << 0x15 | 1ull << 0x16 | 1ull << 0x17 | 1ull << 0x18 | 1ull << 0x19 |
                                  1ull << 0x1a | 1ull << 0x1c | 1ull << 0x1d | 1ull << 0x1e | 1ull << 0x20 |
                                  1ull << 0x22;
    return type >= 0x8000 || (type < 64 && known >> type & 1);
}

/* A message for which frame_kind says FRAME_SEND. 0, or why it is to be dropped (RFC 8656 11.2, RFC 8489 6.3.2). */
static inline int frame_read_send(struct frame_send *s, const uint8_t *p, uint32_t n, const struct crc_table *crc) {
    uint32_t at = FRAME_STUN_HEAD, count = 0;
    int has_peer = 0, over = 0, unknown = 0; /* over: what follows MESSAGE-INTEGRITY is ignored (RFC 8489 9) */
    s->data = NULL;
    s->dont_fragment = 0;
    while (at < n) { /* both multiples of 4: the 4 bytes of an attribute's head are there */
        uint16_t type = load16(p + at);
        uint32_t size = load16(p + at + 2), value = at + 4;
        if (size > n - value || ++count > FRAME_ATTRIBUTES) return FRAME_MALFORMED;
        if (type == 0x8028) { /* FINGERPRINT, the last */
            if (size != 4 || value + 4 != n || load32(p + value) != (crc32_of(crc, p, at) ^ 0x5354554Eu))
                return FRAME_BAD_FINGERPRINT;
        } else if (over) {
        } else if (type == 0x0008 || type == 0x001c) {
            over = 1;
        } else if (type == 0x0012) {
            if (!has_peer && frame_peer(s->peer, p + value, size, p) < 0) return FRAME_MALFORMED;
            has_peer = 1;
        } else if (type == 0x0013) {
            if (!s->data) {
                s->data = p + value;
                s->size = size;
            }
        } else if (type == 0x001a) {
            if (size != 0) return FRAME_MALFORMED;
            s->dont_fragment = 1;
        } else if (!frame_known(type)) {
            unknown = 1;
        }
        at = value + ((size + 3) & ~3u);
    }
    if (unknown) return FRAME_UNKNOWN_ATTRIBUTE;
    return has_peer && s->data ? 0 : FRAME_MALFORMED;
}

static inline uint32_t frame_padding(uint32_t size) { return -size & 3; }

static inline uint32_t frame_write_channel(uint8_t *out, uint16_t channel, uint32_t size) {
    store16(out, channel);
    store16(out + 2, size);
    return FRAME_CHANNEL_HEAD;
}

static inline uint32_t frame_data_head(const uint8_t *peer) { return frame_is_v4(peer) ? FRAME_HEAD - 12 : FRAME_HEAD; }

/* All of a Data indication that stands before its `size` bytes of data; frame_padding follows them. `out` has
 * frame_data_head bytes; returns that. `id`: 96 bits, random. */
static inline uint32_t frame_write_data(uint8_t *out, const uint8_t *peer, uint32_t size, const uint64_t id[2]) {
    int v4 = frame_is_v4(peer);
    uint32_t address = v4 ? 8 : 20, head = frame_data_head(peer);
    store16(out, 0x0017);
    store16(out + 2, head - FRAME_STUN_HEAD + size + frame_padding(size));
    store32(out + 4, FRAME_COOKIE);
    memcpy(out + 8, id, 12);
    store16(out + 20, 0x0012);
    store16(out + 22, address);
    store16(out + 24, v4 ? 1 : 2);
    store16(out + 26, load16(peer + 16) ^ FRAME_COOKIE >> 16);
    if (v4) store32(out + 28, load32(peer + 12) ^ FRAME_COOKIE);
    else
        for (int i = 0; i < 16; i++) out[28 + i] = peer[i] ^ out[4 + i];
    store16(out + head - 4, 0x0013);
    store16(out + head - 2, size);
    return head;
}

#endif
