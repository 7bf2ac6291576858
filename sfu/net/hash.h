/* A hash table from 64-bit keys to 32-bit values: open addressing, linear probing, backward-shift delete.
 *
 * Keys are mixed with a secret seed, so that a peer can't choose keys that collide. The table doubles
 * when it is half full; it never shrinks. */
#ifndef ORCHARD_HASH_H
#define ORCHARD_HASH_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HASH_NONE = 0xffffffff }; /* as a value: an empty entry; as an answer: not found */

struct hash_entry {
    uint64_t key;
    uint32_t value;
};

struct hash {
    struct hash_entry *entries;
    uint32_t mask;
    uint32_t count;
    uint64_t seed;
};

static inline uint64_t hash_mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    x ^= x >> 32;
    return x;
}

static inline uint32_t hash_home(const struct hash *h, uint64_t key) {
    return (uint32_t)hash_mix(key ^ h->seed) & h->mask;
}

static inline int hash_init(struct hash *h, uint64_t seed, uint32_t size) {
    h->entries = malloc((size_t)size * sizeof *h->entries);
    if (!h->entries) return -1;
    memset(h->entries, 0xff, (size_t)size * sizeof *h->entries);
    h->mask = size - 1;
    h->count = 0;
    h->seed = seed;
    return 0;
}

static inline void hash_free(struct hash *h) {
    free(h->entries);
    h->entries = NULL;
}

static inline uint32_t hash_find(const struct hash *h, uint64_t key) {
    for (uint32_t i = hash_home(h, key); h->entries[i].value != (uint32_t)HASH_NONE; i = (i + 1) & h->mask)
        if (h->entries[i].key == key) return h->entries[i].value;
    return (uint32_t)HASH_NONE;
}

static inline void hash_place(struct hash *h, uint64_t key, uint32_t value) {
    uint32_t i = hash_home(h, key);
    while (h->entries[i].value != (uint32_t)HASH_NONE && h->entries[i].key != key) i = (i + 1) & h->mask;
    if (h->entries[i].value == (uint32_t)HASH_NONE) h->count++;
    h->entries[i].key = key;
    h->entries[i].value = value;
}

/* Insert or replace. 0, or -1 when there is no memory to grow. */
static inline int hash_put(struct hash *h, uint64_t key, uint32_t value) {
    if (h->count >= (h->mask + 1) / 2) {
        struct hash bigger;
        if (hash_init(&bigger, h->seed, (h->mask + 1) * 2) < 0) return -1;
        for (uint32_t i = 0; i <= h->mask; i++)
            if (h->entries[i].value != (uint32_t)HASH_NONE) hash_place(&bigger, h->entries[i].key, h->entries[i].value);
        free(h->entries);
        *h = bigger;
    }
    hash_place(h, key, value);
    return 0;
}

static inline void hash_delete(struct hash *h, uint64_t key) {
    uint32_t i = hash_home(h, key);
    while (h->entries[i].key != key || h->entries[i].value == (uint32_t)HASH_NONE) {
        if (h->entries[i].value == (uint32_t)HASH_NONE) return;
        i = (i + 1) & h->mask;
    }
    h->count--;
    for (uint32_t next = (i + 1) & h->mask; h->entries[next].value != (uint32_t)HASH_NONE; next = (next + 1) & h->mask) {
        uint32_t home = hash_home(h, h->entries[next].key);
        if (((next - home) & h->mask) >= ((next - i) & h->mask)) {
            h->entries[i] = h->entries[next];
            i = next;
        }
    }
    h->entries[i].value = (uint32_t)HASH_NONE;
}

/* A 64-bit key of `size` bytes under the table's seed. */
static inline uint64_t hash_bytes(const struct hash *h, const uint8_t *data, uint32_t size) {
    uint64_t state = h->seed ^ size;
    while (size > 0) {
        uint64_t word = 0;
        uint32_t part = size < 8 ? size : 8;
        memcpy(&word, data, part);
        state = hash_mix(state ^ word) + 0x9e3779b97f4a7c15ULL;
        data += part;
        size -= part;
    }
    return state;
}

#endif
