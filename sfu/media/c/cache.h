/* The packet cache: each source's recent packets, once, whatever the number of subscribers.
 *
 * A pool of equal blocks is shared by all caches and bounds what they take together. A cache is a list
 * of blocks, oldest first; packets are written one behind the other into the newest. What is too old,
 * or too much, goes a block at a time from the old end. An index by the low bits of the number finds a
 * packet; a block that goes takes its packets out of the index, so the index never points at bytes that
 * are another's by now.
 *
 *   blocks   [p1 p2 p3 ..]  [p4 p5 ..]  [p6 .. |free]     first -> ... -> last
 *   index     n & mask  ->  1 + place in the pool, 0 is nothing
 */
#ifndef ORCHARD_CACHE_H
#define ORCHARD_CACHE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "seq.h"

enum {
    CACHE_BLOCK = 16384,      /* 13 packets of 1200 bytes; 2 % of it is lost at the end */
    CACHE_NONE = 0x7fffffff,  /* no block */
    CACHE_INDEX_MAX = 8192,   /* numbers that a cache finds at most */
    CACHE_SPARE = 64,         /* free blocks whose memory is kept */
};

/* One packet in a block, its bytes behind it; the next follows at the next multiple of 8. */
struct cached {
    int64_t arrival_us;
    uint32_t eseq;
    uint16_t size;
    uint8_t keyframe; /* begins a keyframe */
    uint8_t codec;    /* that its payload type had then */
    uint8_t data[];
};

struct cache_pool {
    uint8_t *memory;    /* `blocks` of CACHE_BLOCK; the kernel gives a page when it is touched */
    uint32_t *next;     /* of each block, in its cache's or the free list */
    uint32_t *epoch;    /* of each block: how often its packets have gone */
    uint32_t blocks;
    uint32_t top;       /* blocks ever taken; those beyond are not touched */
    uint32_t free;      /* list of those given back */
    uint32_t free_count;
    uint32_t taken;
};

struct cache {
    uint32_t *index;      /* of this cache; NULL while it holds nothing */
    uint32_t index_min;   /* its size at the start, and at least: a power of two */
    uint32_t mask;
    uint32_t first, last; /* blocks, CACHE_NONE: none */
    uint32_t blocks;
    uint32_t used;        /* bytes of the last block */
    uint32_t packets;     /* written since index_fit looked last */
};

static inline int cache_pool_init(struct cache_pool *p, uint64_t bytes) {
    memset(p, 0, sizeof *p);
    uint64_t blocks = bytes / CACHE_BLOCK;
    p->free = CACHE_NONE;
    p->blocks = blocks < CACHE_NONE / (CACHE_BLOCK / 8) ? (uint32_t)blocks : CACHE_NONE / (CACHE_BLOCK / 8);
    if (p->blocks == 0) return 0;
    void *memory = mmap(NULL, (size_t)p->blocks * CACHE_BLOCK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    p->next = malloc(p->blocks * sizeof *p->next);
    p->epoch = calloc(p->blocks, sizeof *p->epoch);
    if (memory == MAP_FAILED || !p->next || !p->epoch) {
        if (memory != MAP_FAILED) munmap(memory, (size_t)p->blocks * CACHE_BLOCK);
        free(p->next);
        free(p->epoch);
        p->next = p->epoch = NULL;
        return -1;
    }
    p->memory = memory;
    return 0;
}

static inline void cache_pool_free(struct cache_pool *p) {
    if (p->memory) munmap(p->memory, (size_t)p->blocks * CACHE_BLOCK);
    free(p->next);
    free(p->epoch);
    memset(p, 0, sizeof *p);
}

static inline uint8_t *cache_block(const struct cache_pool *p, uint32_t block) {
    return p->memory + (size_t)block * CACHE_BLOCK;
}

static inline uint32_t cache_take_block(struct cache_pool *p) {
    uint32_t block = p->free;
    if (block != CACHE_NONE) {
        p->free = p->next[block];
        p->free_count--;
    } else if (p->top < p->blocks) {
        block = p->top++;
    } else {
        return CACHE_NONE;
    }
    p->taken++;
    return block;
}

/* Give a block back; what is more than a little spare memory goes back to the kernel. */
static inline void cache_give_block(struct cache_pool *p, uint32_t block) {
    if (p->free_count >= CACHE_SPARE) madvise(cache_block(p, block), CACHE_BLOCK, MADV_DONTNEED);
    p->next[block] = p->free;
    p->free = block;
    p->free_count++;
    p->taken--;
}

static inline struct cached *cache_at(const struct cache_pool *p, uint32_t place) {
    return (struct cached *)(void *)(p->memory + (size_t)(place - 1) * 8);
}

static inline uint32_t cache_block_of(const struct cache_pool *p, const struct cached *c) {
    return (uint32_t)((size_t)((const uint8_t *)c - p->memory) / CACHE_BLOCK);
}

/* Where byte `at` of a block is, as the index has it. */
static inline uint32_t cache_place(uint32_t block, uint32_t at) { return block * (CACHE_BLOCK / 8) + 1 + at / 8; }

/* Bytes that a packet of `size` bytes takes in a block. */
static inline uint32_t cache_step(uint32_t size) {
    return (uint32_t)((sizeof(struct cached) + size + 7) & ~(size_t)7);
}

static inline void cache_init(struct cache *c, uint32_t index_min) {
    memset(c, 0, sizeof *c);
    c->index_min = index_min;
    c->first = c->last = CACHE_NONE;
}

/* The packet at byte `at` of a block of the cache, NULL behind the last. */
static inline struct cached *cache_in(const struct cache *c, const struct cache_pool *p, uint32_t block, uint32_t at) {
    uint32_t end = block == c->last ? c->used : CACHE_BLOCK;
    if (at + sizeof(struct cached) > end) return NULL;
    struct cached *one = cache_at(p, cache_place(block, at));
    return one->size ? one : NULL; /* 0: the unused end of a block */
}

/* Take the oldest block's packets out of the index, and the block out of the cache. */
static inline uint32_t cache_unlink(struct cache *c, struct cache_pool *p) {
    uint32_t block = c->first;
    const struct cached *one;
    for (uint32_t at = 0; (one = cache_in(c, p, block, at)); at += cache_step(one->size)) {
        uint32_t *entry = &c->index[one->eseq & c->mask];
        if (*entry == cache_place(block, at)) *entry = 0;
    }
    p->epoch[block]++;
    c->first = block == c->last ? CACHE_NONE : p->next[block];
    if (c->first == CACHE_NONE) c->last = CACHE_NONE;
    c->blocks--;
    return block;
}

static inline void cache_clear(struct cache *c, struct cache_pool *p) {
    while (c->first != CACHE_NONE) cache_give_block(p, cache_unlink(c, p));
    free(c->index);
    cache_init(c, c->index_min);
}

/* Let go of blocks, but for the newest, whose packets all came before `before_us`. */
static inline void cache_trim(struct cache *c, struct cache_pool *p, int64_t before_us) {
    while (c->first != c->last) {
        /* a block's packets came before the first one of the next */
        if (cache_at(p, cache_place(p->next[c->first], 0))->arrival_us >= before_us) return;
        cache_give_block(p, cache_unlink(c, p));
    }
}

/* A block to write on, the newest from now on: a fresh one, or the cache's own oldest when it has
 * `blocks_max` or the pool is empty. -1 when there is none. */
static inline int cache_grow(struct cache *c, struct cache_pool *p, uint32_t blocks_max) {
    uint32_t block = c->blocks < blocks_max ? cache_take_block(p) : CACHE_NONE;
    if (block == CACHE_NONE) {
        if (c->first == CACHE_NONE) return -1;
        block = cache_unlink(c, p);
    }
    if (c->last != CACHE_NONE) p->next[c->last] = block;
    else c->first = block;
    p->next[block] = CACHE_NONE;
    c->last = block;
    c->blocks++;
    c->used = 0;
    return 0;
}

/* Room for a packet of `size` bytes under the number `eseq`; the caller fills it in. What came before
 * `before_us` may go for it. NULL when there is no memory. Numbers may come in any order. */
static inline struct cached *cache_put(struct cache *c, struct cache_pool *p, uint32_t blocks_max, int64_t before_us,
                                       uint32_t eseq, uint32_t size) {
    uint32_t step = cache_step(size);
    if (size == 0 || step > CACHE_BLOCK || blocks_max == 0) return NULL;
    if (!c->index) {
        if (p->free == CACHE_NONE && p->top == p->blocks) return NULL; /* no block to find anything in */
        c->index = calloc(c->index_min, sizeof *c->index);
        if (!c->index) return NULL;
        c->mask = c->index_min - 1;
    }
    if (c->last == CACHE_NONE || c->used + step > CACHE_BLOCK) {
        if (c->last != CACHE_NONE && c->used + sizeof(struct cached) <= CACHE_BLOCK)
            cache_at(p, cache_place(c->last, c->used))->size = 0;
        cache_trim(c, p, before_us);
        if (cache_grow(c, p, blocks_max) < 0) return NULL;
    }
    uint32_t place = cache_place(c->last, c->used);
    struct cached *one = cache_at(p, place);
    one->eseq = eseq;
    one->size = (uint16_t)size;
    c->index[eseq & c->mask] = place;
    c->used += step;
    c->packets++;
    return one;
}

/* The packet with a number, or NULL. */
static inline struct cached *cache_find(const struct cache *c, const struct cache_pool *p, uint32_t eseq) {
    uint32_t place = c->index ? c->index[eseq & c->mask] : 0;
    if (place == 0) return NULL;
    struct cached *one = cache_at(p, place);
    return one->eseq == eseq ? one : NULL;
}

/* Of the packets held, the one that came first; NULL: none is held. */
static inline const struct cached *cache_oldest(const struct cache *c, const struct cache_pool *p) {
    return c->first == CACHE_NONE ? NULL : cache_in(c, p, c->first, 0);
}

/* Make the index fit what came since the last call: `seconds` later, for a cache that holds `hold_s`.
 * Off the packet path. A cache that finds no memory for a larger one keeps what it has. */
static inline void cache_fit(struct cache *c, const struct cache_pool *p, double seconds, double hold_s) {
    if (!c->index || seconds <= 0) return;
    double wanted = 1.5 * hold_s * c->packets / seconds;
    uint32_t size = c->index_min;
    c->packets = 0;
    while (size < wanted && size < CACHE_INDEX_MAX) size *= 2;
    if (size <= c->mask + 1 && size * 4 > c->mask + 1) return; /* shrinks only when far too large */
    uint32_t *index = calloc(size, sizeof *index);
    if (!index) return;
    for (uint32_t block = c->first; block != CACHE_NONE; block = p->next[block]) {
        const struct cached *one;
        for (uint32_t at = 0; (one = cache_in(c, p, block, at)); at += cache_step(one->size))
            index[one->eseq & (size - 1)] = cache_place(block, at);
    }
    free(c->index);
    c->index = index;
    c->mask = size - 1;
}

#endif
