/* What a target says of every input; a claim that fails ends the run with its text and line. */
#ifndef ORCHARD_CLAIM_H
#define ORCHARD_CLAIM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM(what)                                                        \
    do {                                                                   \
        if (!(what)) {                                                     \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                       \
        }                                                                  \
    } while (0)

/* Takes an input apart from its front; zeros when it is at its end. */
struct reader {
    const uint8_t *data;
    size_t left;
};

static inline uint8_t take8(struct reader *r) {
    if (r->left == 0) return 0;
    r->left--;
    return *r->data++;
}
static inline uint16_t take16(struct reader *r) {
    uint16_t high = take8(r);
    return (uint16_t)(high << 8 | take8(r));
}
static inline uint32_t take32(struct reader *r) {
    uint32_t high = take16(r);
    return high << 16 | take16(r);
}

/* A copy in memory of exactly this size. */
static inline uint8_t *own(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    if (size) memcpy(copy, data, size);
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
