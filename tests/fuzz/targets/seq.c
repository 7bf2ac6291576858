/* Packets sent and left out in any order, from one source and then another: an output is its input less what
 * was left out before it, and each output leads back to the input that left under it. */
#include "seq.h"

#include "claim.h"

enum { NUMBERS = 4096, ORIGIN = NUMBERS / 2, WINDOW = 256 };

static uint8_t seen[NUMBERS];      /* SRTP's replay window lets no number come twice */
static uint8_t closed_up[NUMBERS]; /* inputs of this source that were left out in time */
static uint64_t window[WINDOW / 64];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    struct seqmap m;
    uint32_t first = take32(&r), out = take32(&r), source = 0, newest = out - 1;
    memset(&m, 0, sizeof m);
    memset(window, 0, sizeof window);
    CLAIM(!seqmap_of_input(&m, first) && !seqmap_of_output(&m, out) && !seqmap_skip(&m, first));
    while (r.left) {
        uint32_t closed_count = 0;
        int32_t highest = -1;
        memset(seen, 0, sizeof seen);
        memset(closed_up, 0, sizeof closed_up);
        seqmap_restart(&m, first, out)->source = ++source;
        while (r.left) {
            uint8_t op = take8(&r);
            if (op == 0) break; /* to another source */
            int32_t input = op & 2 ? highest + 1 + ((op >> 2) & 3) : highest - (op >> 2);
            if (input < -ORIGIN || input >= ORIGIN || seen[input + ORIGIN]) continue;
            seen[input + ORIGIN] = 1;
            uint32_t in = first + (uint32_t)input;
            CLAIM(eseq_near(first + (uint32_t)highest, (uint16_t)in) == in);
            const struct piece *piece = seqmap_of_input(&m, in);
            if (op & 1) {
                int closed = seqmap_skip(&m, in);
                CLAIM(closed == (input > highest)); /* a later one has its number already */
                closed_up[input + ORIGIN] = (uint8_t)closed;
                closed_count += (uint32_t)closed;
            } else if (piece) {
                uint32_t wanted = out + (uint32_t)input - closed_count, number = in + piece->offset;
                for (int32_t i = input; i <= highest; i++) wanted += closed_up[i + ORIGIN];
                CLAIM(input >= 0 && number == wanted && piece->source == source);
                CLAIM(seqmap_of_output(&m, number) == piece);
                seqmap_sent(&m, in);
                int32_t ahead = eseq_diff(number, newest);
                if (ahead > 0) {
                    window_advance(window, WINDOW, newest, number);
                    newest = number;
                }
                if (ahead > -WINDOW) {
                    CLAIM(!window_has(window, WINDOW, number)); /* no number is given out twice */
                    window_set(window, WINDOW, number);
                }
            } else {
                CLAIM(input < 0 || m.pieces[m.run].first != first); /* older than all pieces of the run */
            }
            if (input > highest) highest = input;
            CLAIM(m.count >= 1 && m.count <= SEQMAP_PIECES && m.run < m.count);
        }
        out = newest + 1;
        first = take32(&r);
    }
    for (uint32_t i = 1; i < m.count; i++)
        CLAIM(eseq_diff(m.pieces[i].first + m.pieces[i].offset, m.pieces[i - 1].first + m.pieces[i - 1].offset) >= 0);
    return 0;
}
