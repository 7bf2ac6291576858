/* Places of a histogram of times: exact up to 32 us, then 32 for each doubling, so within 3 %. */
#ifndef ORCHARD_HISTOGRAM_H
#define ORCHARD_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_PLACES = 640 }; /* up to some 16 s; what is longer is counted at the last */

static inline uint32_t histogram_place(uint64_t us) {
    uint32_t exponent = 5;
    if (us < 32) return (uint32_t)us;
    while (us >> (exponent + 1)) exponent++;
    uint32_t place = (exponent - 4) * 32 + (uint32_t)((us >> (exponent - 5)) & 31);
    return place < HISTOGRAM_PLACES ? place : HISTOGRAM_PLACES - 1;
}

#endif
