/* Packets of any size at any times, and what is read of streams between them: no more pass than the rates allow from any
 * moment on, what is idle fills, and what is full lets something pass at any rate. */
#include "bucket.h"

#include "claim.h"

static double larger(double a, double b) { return a > b ? a : b; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    struct bucket b = {0, 0, take16(&r), take32(&r)};
    int64_t now = (int64_t)take32(&r) * 1000000, start = now;
    uint64_t packets = 0, bytes = 0, reads = 0;
    uint32_t longest = 1;
    while (r.left) {
        uint32_t length = take16(&r);
        now += (int64_t)take16(&r) * 1000;
        struct bucket before = b;
        if (length % 4 == 3) {
            uint32_t most = length * 1000, room = bucket_room(&b, most, now), burst = bucket_burst(&b, most);
            CLAIM(room <= most && burst <= most && burst && (b.bytes_per_s || room == most));
            CLAIM(b.bytes_ns > now || room == burst); /* as much as at any time, after a pause */
            bucket_spend(&b, room, now);
            CLAIM(b.packets_ns == before.packets_ns);
            CLAIM(room < 2 || !b.bytes_per_s || b.bytes_ns - now <= BUCKET_BURST_NS);
            bytes += room;
            reads++;
            continue;
        }
        if (!bucket_take(&b, length, now)) {
            CLAIM(b.packets_ns == before.packets_ns && b.bytes_ns == before.bytes_ns);
            CLAIM((b.packets_per_s && b.packets_ns > now) || (b.bytes_per_s && b.bytes_ns > now));
            continue;
        }
        packets++;
        bytes += length;
        longest = length > longest ? length : longest;
        double passed_s = (double)(now - start) / 1e9, burst_s = BUCKET_BURST_NS / 1e9;
        double of_packets_s = b.packets_per_s ? larger(burst_s, 1 / (double)b.packets_per_s) : 0;
        double of_bytes_s = b.bytes_per_s ? larger(burst_s, longest / (double)b.bytes_per_s) : 0;
        /* each share is rounded down to a nanosecond */
        CLAIM(!b.packets_per_s
              || (double)packets / (double)b.packets_per_s <= passed_s + of_packets_s + (double)packets / 1e9);
        CLAIM(!b.bytes_per_s
              || (double)bytes / (double)b.bytes_per_s <= passed_s + of_bytes_s + (double)(packets + reads) / 1e9);
    }
    int64_t full_at = b.packets_ns > b.bytes_ns ? b.packets_ns : b.bytes_ns;
    now = full_at > now ? full_at : now;
    CLAIM(bucket_room(&b, 1, now) == 1);
    CLAIM(bucket_take(&b, 65507, now));
    return 0;
}
