/* What a TURN client says and reads (RFC 8489, RFC 8656): requests signed with HMAC-SHA1, and the attributes of an answer.
 * Sends, allocates and keeps nothing. */
#ifndef ORCHARD_LOADTEST_STUN_H
#define ORCHARD_LOADTEST_STUN_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum {
    STUN_HEADER = 20,
    STUN_ID = 12,
    STUN_SIGNATURE = 24, /* MESSAGE-INTEGRITY with its head */
    STUN_MESSAGE = 1500, /* of a request; more than any has here */
    STUN_TEXT = 768      /* of REALM, NONCE and USERNAME: what may be sent has fewer (RFC 8489 14.3, 14.9, 14.10) */
};

enum stun_type {
    STUN_ALLOCATE = 0x003,
    STUN_REFRESH = 0x004,
    STUN_CREATE_PERMISSION = 0x008,
    STUN_CHANNEL_BIND = 0x009,
    STUN_SEND_INDICATION = 0x016,
    STUN_DATA_INDICATION = 0x017,
    STUN_SUCCESS = 0x100, /* of a request's type, the class of its answer */
    STUN_ERROR = 0x110
};

enum stun_attribute {
    STUN_USERNAME = 0x0006,
    STUN_MESSAGE_INTEGRITY = 0x0008,
    STUN_ERROR_CODE = 0x0009,
    STUN_CHANNEL_NUMBER = 0x000c,
    STUN_LIFETIME = 0x000d,
    STUN_XOR_PEER_ADDRESS = 0x0012,
    STUN_DATA = 0x0013,
    STUN_REALM = 0x0014,
    STUN_NONCE = 0x0015,
    STUN_REQUESTED_ADDRESS_FAMILY = 0x0017,
    STUN_REQUESTED_TRANSPORT = 0x0019
};

static const uint8_t stun_cookie[4] = {0x21, 0x12, 0xa4, 0x42};

static inline uint32_t stun_load16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static inline void stun_store16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline uint32_t stun_padding(uint32_t size) { return (4 - (size & 3)) & 3; }

struct stun_request {
    uint8_t data[STUN_MESSAGE + STUN_SIGNATURE];
    uint32_t size;
    int fault; /* it did not fit */
};

static inline void stun_begin(struct stun_request *r, uint32_t type, const uint8_t id[STUN_ID]) {
    r->size = STUN_HEADER;
    r->fault = 0;
    stun_store16(r->data, type);
    stun_store16(r->data + 2, 0);
    memcpy(r->data + 4, stun_cookie, 4);
    memcpy(r->data + 8, id, STUN_ID);
}

static inline void stun_put(struct stun_request *r, uint32_t type, const void *value, uint32_t size) {
    uint32_t padding = stun_padding(size);
    if (size > STUN_MESSAGE || r->size + 4 + size + padding > STUN_MESSAGE) {
        r->fault = 1;
        return;
    }
    stun_store16(r->data + r->size, type);
    stun_store16(r->data + r->size + 2, size);
    if (size) memcpy(r->data + r->size + 4, value, size);
    memset(r->data + r->size + 4 + size, 0, padding);
    r->size += 4 + size + padding;
    stun_store16(r->data + 2, r->size - STUN_HEADER);
}

static inline void stun_put_word(struct stun_request *r, uint32_t type, uint32_t value) {
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    stun_put(r, type, bytes, 4);
}

/* The value of an XOR address (RFC 8489 14.2); returns its size, 8 or 20. */
static inline uint32_t stun_xor_address(uint8_t out[20], const struct sockaddr_storage *address, const uint8_t id[STUN_ID]) {
    uint32_t size;
    uint8_t pad[16];
    memcpy(pad, stun_cookie, 4);
    memcpy(pad + 4, id, STUN_ID);
    out[0] = 0;
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        out[1] = 2;
        memcpy(out + 2, &v6->sin6_port, 2);
        memcpy(out + 4, &v6->sin6_addr, 16);
        size = 20;
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        out[1] = 1;
        memcpy(out + 2, &v4->sin_port, 2);
        memcpy(out + 4, &v4->sin_addr, 4);
        size = 8;
    }
    out[2] ^= pad[0];
    out[3] ^= pad[1];
    for (uint32_t i = 4; i < size; i++) out[i] ^= pad[i - 4];
    return size;
}

/* Put MESSAGE-INTEGRITY over what is there (RFC 8489 14.5). -1 where OpenSSL refuses, or something did not fit. */
static inline int stun_sign(struct stun_request *r, const uint8_t *key, uint32_t key_size) {
    unsigned int size = 0;
    uint8_t *at = r->data + r->size;
    if (r->fault) return -1;
    stun_store16(r->data + 2, r->size - STUN_HEADER + STUN_SIGNATURE);
    if (!HMAC(EVP_sha1(), key, (int)key_size, r->data, r->size, at + 4, &size)) return -1;
    stun_store16(at, STUN_MESSAGE_INTEGRITY);
    stun_store16(at + 2, size);
    r->size += STUN_SIGNATURE;
    return 0;
}

/* Whether these bytes are one whole STUN message. */
static inline int stun_is_message(const uint8_t *p, uint32_t size) {
    return size >= STUN_HEADER && p[0] < 4 && memcmp(p + 4, stun_cookie, 4) == 0 && stun_load16(p + 2) == size - STUN_HEADER;
}

/* The size of an attribute's value in a message for which `stun_is_message` holds, and where it is; -1 without one. */
static inline int32_t stun_find(const uint8_t *p, uint32_t size, uint32_t type, const uint8_t **value) {
    for (uint32_t at = STUN_HEADER; size - at >= 4;) {
        uint32_t length = stun_load16(p + at + 2);
        if (length > size - at - 4) return -1;
        if (stun_load16(p + at) == type) {
            *value = p + at + 4;
            return (int32_t)length;
        }
        length += stun_padding(length);
        if (length > size - at - 4) return -1;
        at += 4 + length;
    }
    return -1;
}

/* The number of an error answer (RFC 8489 14.8), or 0 where it tells none. */
static inline uint32_t stun_error_code(const uint8_t *p, uint32_t size) {
    const uint8_t *value;
    if (stun_find(p, size, STUN_ERROR_CODE, &value) < 4) return 0;
    return (value[2] & 7u) * 100 + value[3];
}

#endif
