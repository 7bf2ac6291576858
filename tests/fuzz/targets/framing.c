/* A stream of any bytes under any limits: what is said of a message lies within the limits, more bytes change nothing of
 * it, fewer never say otherwise, and what is whole is a message by the rules of datagrams too. */
#include "framing.h"

#include "claim.h"

static int look(struct framing *f, const uint8_t *data, uint32_t n, const struct framing_limits *limits) {
    uint8_t *copy = own(data, n); /* reads past what is there are seen */
    int result = framing_next(f, copy, n, limits);
    free(copy);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    struct framing_limits limits = {take16(&r), take32(&r)};
    uint32_t at = 0, left = (uint32_t)r.left;
    while (at < left) {
        struct framing whole = {0, 0}, part = {0, 0};
        int result = look(&whole, r.data + at, left - at, &limits);
        int before = FRAMING_MORE;
        for (uint32_t n = 0; n <= left - at && n <= 24; n++) {
            int now = look(&part, r.data + at, n, &limits);
            /* a fault stays one, and sizes stay known unless what follows them is at fault */
            if (before < 0) CLAIM(now == before || now == FRAMING_GARBAGE);
            if (before == FRAMING_KNOWN) CLAIM(now == FRAMING_KNOWN || now == FRAMING_GARBAGE);
            before = now;
        }
        if (left - at <= 24) CLAIM(before == result);
        if (result != FRAMING_KNOWN) break;
        CLAIM(whole.size >= 4 && whole.padded % 4 == 0 && whole.padded - whole.size < 4);
        CLAIM(whole.padded <= (limits.control > limits.data ? limits.control : limits.data));
        if (whole.padded > left - at) break;
        int kind = frame_kind(r.data + at, whole.size);
        CLAIM(kind == FRAME_STUN || kind == FRAME_SEND || kind == FRAME_CHANNEL);
        CLAIM(kind != FRAME_STUN || whole.padded <= limits.control);
        at += whole.padded;
    }
    return 0;
}
