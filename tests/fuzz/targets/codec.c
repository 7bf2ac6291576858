/* A payload of any bytes under any codec: an answer, without a look past its end. */
#include "codec.h"

#include "claim.h"

static volatile int used; /* or the compiler leaves the reads out whose outcome is not */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    uint8_t codecs[128], codec = take8(&r), inside = take8(&r);
    for (uint32_t i = 0; i < sizeof codecs; i++) codecs[i] = (uint8_t)((i + inside) % (CODEC_NONE + 1));
    uint32_t whole = (uint32_t)r.left;
    for (uint32_t n = whole; n + 24 > whole; n--) { /* and cut anywhere near its end */
        uint8_t *payload = own(r.data, n);
        int answer = codec_keyframe((uint8_t)(codec % (CODEC_NONE + 1)), payload, n, codecs);
        CLAIM(answer == 0 || answer == 1);
        used = answer;
        uint32_t at = 0;
        int type = red_primary(payload, n, &at);
        CLAIM(type < 0 || (type < 128 && at <= n && at > 0));
        free(payload);
        if (n == 0) break;
    }
    return 0;
}
