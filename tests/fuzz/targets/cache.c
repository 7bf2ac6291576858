/* Two sources that put, find, trim, fit and clear in any order over one small pool: what is found are the bytes
 * that were put under that number, and no block is lost or taken twice. */
#include "cache.h"

#include "claim.h"

enum { NUMBERS = 1024, BLOCKS = 12 };

struct owner {
    struct cache cache;
    uint16_t sizes[NUMBERS]; /* of the newest packet put under each number, 0: none since the last clear */
    uint8_t tags[NUMBERS];
};

static void check_blocks(const struct cache_pool *p, const struct owner *owners) {
    uint32_t held = 0, free_blocks = 0;
    uint8_t marked[BLOCKS] = {0};
    for (uint32_t k = 0; k < 2; k++) {
        const struct cache *c = &owners[k].cache;
        uint32_t count = 0;
        for (uint32_t block = c->first; block != CACHE_NONE; block = p->next[block]) {
            CLAIM(block < BLOCKS && !marked[block]);
            marked[block] = 1;
            count++;
            if (block == c->last) break;
        }
        CLAIM(count == c->blocks);
        held += count;
    }
    for (uint32_t block = p->free; block != CACHE_NONE; block = p->next[block]) {
        CLAIM(block < BLOCKS && !marked[block]);
        marked[block] = 1;
        free_blocks++;
    }
    CLAIM(held == p->taken && free_blocks == p->free_count && held + free_blocks == p->top);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct owner owners[2];
    struct reader r = {data, size < 600 ? size : 600};
    struct cache_pool p;
    int64_t now_us = 1000000;
    memset(owners, 0, sizeof owners);
    uint8_t start = take8(&r);
    uint32_t blocks_max = 1 + start % 8, blocks = start & 0x80 ? BLOCKS : start % 3; /* of the pool: few, or none */
    CLAIM(cache_pool_init(&p, (uint64_t)blocks * CACHE_BLOCK + 5) == 0 && p.blocks == blocks);
    cache_init(&owners[0].cache, 16);
    cache_init(&owners[1].cache, 128);
    uint32_t number = 0x10000u - 20;
    while (r.left) {
        uint8_t op = take8(&r);
        struct owner *o = &owners[op & 1];
        now_us += (op >> 1 & 3) * 1000;
        switch (op >> 3 & 7) {
            case 0: number += take8(&r) % 40; break;
            case 1: number -= take8(&r) % 40; break;
            case 2: cache_trim(&o->cache, &p, now_us - take8(&r) * 100); break;
            case 3: cache_fit(&o->cache, &p, 0.1 * (1 + take8(&r)), 2.0); break;
            case 4:
                if (op & 0x80) {
                    cache_clear(&o->cache, &p);
                    memset(o->sizes, 0, sizeof o->sizes);
                }
                break;
            default: {
                uint32_t bytes = op & 0x80 ? take16(&r) % 2000 : 1 + take8(&r) * 6u;
                struct cached *one = cache_put(&o->cache, &p, blocks_max, now_us - 20000, number, bytes);
                if (!one) break;
                CLAIM(bytes > 0);
                one->arrival_us = now_us;
                memset(one->data, op ^ (int)number, bytes);
                o->sizes[number % NUMBERS] = (uint16_t)bytes;
                o->tags[number % NUMBERS] = (uint8_t)(op ^ number);
                CLAIM(cache_find(&o->cache, &p, number) == one);
                number++;
            }
        }
        for (uint32_t k = 0; k < 2; k++) {
            CLAIM(owners[k].cache.blocks <= blocks_max);
            CLAIM(owners[k].cache.blocks || !owners[k].cache.index); /* what holds nothing takes no memory */
        }
    }
    check_blocks(&p, owners);
    for (uint32_t k = 0; k < 2; k++) {
        for (uint32_t n = number - NUMBERS / 2; n != number + NUMBERS / 2; n++) {
            const struct cached *one = cache_find(&owners[k].cache, &p, n);
            if (!one) continue;
            CLAIM(one->eseq == n && one->size == owners[k].sizes[n % NUMBERS]);
            for (uint32_t i = 0; i < one->size; i++) CLAIM(one->data[i] == owners[k].tags[n % NUMBERS]);
        }
        cache_clear(&owners[k].cache, &p);
    }
    CLAIM(p.taken == 0);
    cache_pool_free(&p);
    return 0;
}
