/* The CRC-32 of FINGERPRINT (RFC 8489 14.7), eight bytes at a step: a byte at a step takes longer over a
 * 1,000-byte indication than all else that is done with it. */
#ifndef ORCHARD_CRC_H
#define ORCHARD_CRC_H

#include <stdint.h>

struct crc_table {
    uint32_t at[8][256]; /* [k][b]: the remainder of byte b with k zero bytes behind it */
};

static inline void crc_init(struct crc_table *t) {
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t c = b;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        t->at[0][b] = c;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t b = 0; b < 256; b++) t->at[k][b] = t->at[k - 1][b] >> 8 ^ t->at[0][t->at[k - 1][b] & 255];
}

static inline uint32_t crc32_of(const struct crc_table *t, const uint8_t *p, uint32_t size) {
    uint32_t c = 0xffffffffu;
    for (; size >= 8; size -= 8, p += 8) {
        c ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        c = t->at[7][c & 255] ^ t->at[6][c >> 8 & 255] ^ t->at[5][c >> 16 & 255] ^ t->at[4][c >> 24] ^
            t->at[3][p[4]] ^ t->at[2][p[5]] ^ t->at[1][p[6]] ^ t->at[0][p[7]];
    }
    for (; size > 0; size--, p++) c = c >> 8 ^ t->at[0][(c ^ *p) & 255];
    return c ^ 0xffffffffu;
}

#endif
