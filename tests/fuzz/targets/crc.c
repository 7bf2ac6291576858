/* Eight bytes at a step, and one: the same. */
#include "crc.h"

#include "claim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct crc_table t;
    uint32_t c = 0xffffffffu;
    crc_init(&t);
    for (size_t i = 0; i < size; i++) {
        c ^= data[i];
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
    }
    CLAIM(crc32_of(&t, data, (uint32_t)size) == (c ^ 0xffffffffu));
    return 0;
}
