/* Is a layer of a simulcast being sent? Publishers stop a layer without a word, so its silence must tell:
 * measured by the layer's own pace and against the other layers, since what holds all of them up (a
 * camera that pauses, a bad uplink) ends none. */
#ifndef ORCHARD_FLOW_H
#define ORCHARD_FLOW_H

#include <stdint.h>

enum {
    FLOW_GAP_FIRST_US = 250000, /* taken for the pace until two frames have come */
    FLOW_GAP_MAX_US = 500000,   /* a longer gap was a pause, not the pace; chosen: 2 frames a second */
    FLOW_GRACE_US = 100000      /* on top of two gaps: jitter, and a frame that its encoder left out; chosen */
};

struct flow {
    int64_t last_us;  /* newest packet with media; 0: none yet */
    int64_t frame_us; /* first packet of the newest frame */
    uint32_t timestamp;
    uint32_t gap_us;  /* the longest time between two frames of late */
    uint8_t silent;   /* as last judged */
};

/* A packet with media has come. */
static inline void flow_packet(struct flow *f, uint32_t timestamp, int64_t now_us) {
    if (f->last_us == 0) {
        f->gap_us = FLOW_GAP_FIRST_US;
        f->frame_us = now_us;
    } else if (timestamp != f->timestamp) {
        int64_t gap = now_us - f->frame_us;
        if (gap > FLOW_GAP_MAX_US) gap = FLOW_GAP_MAX_US;
        if (gap < 0) gap = 0;
        if (gap > f->gap_us) f->gap_us = (uint32_t)gap;
        else f->gap_us -= (f->gap_us - (uint32_t)gap) >> 5; /* forgotten within some 32 frames */
        f->frame_us = now_us;
    }
    f->timestamp = timestamp;
    f->last_us = now_us;
}

/* Whether a layer has ceased while another one had its newest packet at `newest_us`. */
static inline int flow_ceased(const struct flow *f, int64_t newest_us) {
    return newest_us - f->last_us > FLOW_GRACE_US + 2 * (int64_t)f->gap_us;
}

#endif
