/* Sealing RTP under AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714) with OpenSSL's EVP.
 *
 * One `evp_sealer` per direction of an association: all its SSRCs share the session key. It keeps no
 * roll-over counter: the caller names the 48-bit index of each packet, and never one index of an SSRC for
 * two different packets.
 *
 * OpenSSL's functions are called by address: the one to call is not known before the start
 * (sfu/media/srtp.py).
 */
#ifndef ORCHARD_EVP_H
#define ORCHARD_EVP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"

enum { EVP_TAG = 16, EVP_SALT = 12, EVP_KEY_MAX = 32 };
enum { EVP_LABEL_KEY = 0, EVP_LABEL_SALT = 2 }; /* RFC 3711 4.3.2: of SRTP, not SRTCP */
enum { EVP_GET_TAG = 0x10 };                    /* EVP_CTRL_AEAD_GET_TAG, openssl/evp.h */

/* The addresses, in the order in which srtp.py gives them. A context and a cipher are opaque. */
struct evp_calls {
    void *(*context_new)(void);
    void (*context_free)(void *context);
    int (*control)(void *context, int type, int argument, void *pointer);
    int (*init)(void *context, const void *cipher, void *engine, const uint8_t *key, const uint8_t *iv);
    int (*update)(void *context, uint8_t *out, int *done, const uint8_t *in, int size);
    int (*final)(void *context, uint8_t *out, int *done);
    const void *(*aes_128_ctr)(void);
    const void *(*aes_256_ctr)(void);
    const void *(*aes_128_gcm)(void);
    const void *(*aes_256_gcm)(void);
};
enum { EVP_CALLS = sizeof(struct evp_calls) / sizeof(void *) };

struct evp_sealer {
    void *context; /* owned; holds the session key, some 1.2 KiB. NULL: none */
    uint8_t salt[EVP_SALT];
};

/* Session key or salt (RFC 3711 4.3.1 with the key derivation rate 0): the key stream of AES-CM under the
 * master key, from the master salt, 96 bits at the left (RFC 7714 11), with the label in its eighth byte.
 * 0, or -1. */
static inline int evp_derive(const struct evp_calls *c, uint8_t *out, uint32_t size, const uint8_t *master,
                             uint32_t key_size, uint8_t label) {
    uint8_t counter[16] = {0};
    int done = 0;
    void *context = c->context_new();
    if (!context) return -1;
    memcpy(counter, master + key_size, EVP_SALT);
    counter[7] ^= label;
    memset(out, 0, size);
    int ok = c->init(context, key_size == 16 ? c->aes_128_ctr() : c->aes_256_ctr(), NULL, master, counter) == 1 &&
             c->update(context, out, &done, out, (int)size) == 1 && done == (int)size;
    c->context_free(context);
    return ok ? 0 : -1;
}

static inline void evp_sealer_free(const struct evp_calls *c, struct evp_sealer *s) {
    if (s->context) c->context_free(s->context); /* wipes the key schedule */
    explicit_bzero(s, sizeof *s);
}

/* Take a session key of `key_size` (16 or 32) bytes and its salt of 12 behind it. 0, or -1 and nothing is
 * held: no memory, or no such cipher. `s` holds nothing before. */
static inline int evp_sealer_take(const struct evp_calls *c, struct evp_sealer *s, const uint8_t *key,
                                  uint32_t key_size) {
    memset(s, 0, sizeof *s);
    if (key_size != 16 && key_size != 32) return -1;
    s->context = c->context_new();
    memcpy(s->salt, key + key_size, EVP_SALT);
    if (s->context && c->init(s->context, key_size == 16 ? c->aes_128_gcm() : c->aes_256_gcm(), NULL, key, NULL) == 1)
        return 0;
    evp_sealer_free(c, s);
    return -1;
}

/* The same with a master key and its salt. */
static inline int evp_sealer_init(const struct evp_calls *c, struct evp_sealer *s, const uint8_t *master,
                                  uint32_t key_size) {
    uint8_t key[EVP_KEY_MAX + EVP_SALT];
    int result = -1;
    memset(s, 0, sizeof *s);
    if (key_size != 16 && key_size != 32) return -1;
    if (evp_derive(c, key, key_size, master, key_size, EVP_LABEL_KEY) == 0 &&
        evp_derive(c, key + key_size, EVP_SALT, master, key_size, EVP_LABEL_SALT) == 0)
        result = evp_sealer_take(c, s, key, key_size);
    explicit_bzero(key, sizeof key);
    return result;
}

/* Seal a packet in place: `header` bytes (CSRCs and extension included) stay readable and are authenticated,
 * what follows up to `size` is encrypted, and EVP_TAG bytes are written behind. `header` is at least 12 and at
 * most `size`; the room for the tag is the caller's. 0, or -1 when OpenSSL refuses. */
static inline int evp_seal(const struct evp_calls *c, struct evp_sealer *s, uint8_t *packet, uint32_t header,
                           uint32_t size, uint64_t index) {
    uint8_t iv[EVP_SALT];
    int done = 0;
    /* RFC 7714 8.1: two zero bytes, SSRC, roll-over counter, sequence number; all under the salt */
    memcpy(iv, s->salt, EVP_SALT);
    store32(iv + 2, load32(iv + 2) ^ load32(packet + 8));
    store32(iv + 6, load32(iv + 6) ^ (uint32_t)(index >> 16));
    store16(iv + 10, (uint32_t)load16(iv + 10) ^ (uint32_t)(index & 0xffff));
    if (c->init(s->context, NULL, NULL, NULL, iv) != 1) return -1;
    if (c->update(s->context, NULL, &done, packet, (int)header) != 1) return -1;
    if (size > header && c->update(s->context, packet + header, &done, packet + header, (int)(size - header)) != 1)
        return -1;
    if (c->final(s->context, packet + size, &done) != 1) return -1;
    return c->control(s->context, EVP_GET_TAG, EVP_TAG, packet + size) == 1 ? 0 : -1;
}

#endif
