/* Puts, replacements, look-ups and deletions in any order, against a plain array. */
#include "hash.h"

#include "claim.h"

/* As in the engine: the owner in the high half, many of the same SSRC. */
static uint64_t key_of(uint32_t place) { return (uint64_t)place << 32 | place % 7; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    struct hash h;
    uint32_t model[256];
    uint32_t count = 0;
    uint64_t seed = (uint64_t)take32(&r) << 32;
    memset(model, 0xff, sizeof model);
    CLAIM(hash_init(&h, seed, 4) == 0);
    while (r.left) {
        uint8_t op = take8(&r), place = take8(&r);
        uint64_t key = key_of(place);
        if (op & 1) {
            CLAIM(hash_put(&h, key, place * 3u + op) == 0);
            count += model[place] == (uint32_t)HASH_NONE;
            model[place] = place * 3u + op;
        } else {
            hash_delete(&h, key);
            count -= model[place] != (uint32_t)HASH_NONE;
            model[place] = (uint32_t)HASH_NONE;
        }
        CLAIM(h.count == count && h.count <= (h.mask + 1) / 2);
    }
    for (uint32_t place = 0; place < 256; place++)
        CLAIM(hash_find(&h, key_of(place)) == model[place]);
    uint8_t *bytes = own(data, size);
    CLAIM(hash_bytes(&h, bytes, (uint32_t)size) == hash_bytes(&h, data, (uint32_t)size));
    free(bytes);
    hash_free(&h);
    return 0;
}
