/* Big-endian loads and stores of unaligned bytes. The caller has checked the bounds. */
#ifndef ORCHARD_BYTES_H
#define ORCHARD_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t load16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }
static inline uint32_t load24(const uint8_t *p) { return ((uint32_t)p[0] << 16) | ((uint32_t)p[1] << 8) | p[2]; }
static inline uint32_t load32(const uint8_t *p) { return ((uint32_t)p[0] << 24) | load24(p + 1); }
static inline uint64_t load64(const uint8_t *p) { return ((uint64_t)load32(p) << 32) | load32(p + 4); }

static inline void store16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void store24(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 16);
    store16(p + 1, v);
}
static inline void store32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    store24(p + 1, v);
}
static inline void store64(uint8_t *p, uint64_t v) {
    store32(p, (uint32_t)(v >> 32));
    store32(p + 4, (uint32_t)v);
}

#endif
