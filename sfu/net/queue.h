/* Datagrams on their way into a UDP socket: gathered, sent in bursts, kept while the socket is full.
 *
 * Datagrams for one destination that stand together and have one size (the last may be shorter) leave as
 * one message that the kernel cuts (UDP_SEGMENT); messages leave many to a call (sendmmsg).
 *
 * What the kernel takes no more of (EAGAIN) stays here, `blocked` is set, and no call is made until
 * `queue_writable`. A queue that is full then drops its oldest video, and anything else only where there is
 * no video.
 */
#ifndef ORCHARD_QUEUE_H
#define ORCHARD_QUEUE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum { QUEUE_UDP_SEGMENT = 103 };  /* linux/udp.h */
enum { QUEUE_SEGMENTS = 64 };      /* of one message: UDP_MAX_SEGMENTS of kernels before 6.9 */
enum { QUEUE_MESSAGE = 65000 };    /* bytes of one message: an IP packet has 65,535, headers included */
enum { QUEUE_BURST = 128 };        /* datagrams after which an open queue is sent */
enum { QUEUE_REFUSALS = 32 };      /* messages in a row that the kernel would not cut, until none is tried more */
enum { QUEUE_LEAST = QUEUE_BURST + QUEUE_SEGMENTS, QUEUE_MOST = 65536 }; /* slots */

struct batch_destination {
    struct sockaddr_in6 name; /* holds a sockaddr_in on an IPv4 socket */
    socklen_t name_length;
    uint32_t control_length;
    uint64_t control[5]; /* one pktinfo message; aligned as cmsghdr wants */
};

/* Datagrams in a row for one destination. */
struct queue_message {
    struct sockaddr_in6 name;
    socklen_t name_length;
    uint32_t control_length;
    uint64_t control[8];      /* the destination's, and room for UDP_SEGMENT behind it */
    uint32_t first, count;    /* vectors; a count of 0: all were dropped */
    uint32_t bytes;
    uint16_t segment;         /* size of each but the last */
    uint8_t closed;           /* the last is shorter: none may follow */
    uint8_t video;
    uint8_t refused;          /* the kernel would not cut it: one by one */
};

struct queue {
    int fd;
    int segments; /* whether the kernel cuts messages */
    int blocked;  /* the socket is full: `queue_writable` when it no longer is */
    uint32_t refusals;   /* in a row */
    uint32_t slots, slot_size;
    uint32_t queued;     /* datagrams */
    uint8_t *memory;
    uint8_t **spare;     /* slots that are free, a stack: the last used is the warmest */
    uint32_t spare_count;
    uint8_t *taken;      /* given out by queue_slot, not committed */
    int taken_video;
    struct iovec *vectors; /* 2 * slots; those before a message's `first` may be holes */
    uint32_t vector_end;
    struct queue_message *messages; /* 2 * slots */
    uint32_t message_begin, message_end;
    uint32_t video_at;   /* no message before this one has video */
    const struct batch_destination *last; /* whom the last message is for; NULL: none may follow it */
    struct mmsghdr *headers; /* QUEUE_BURST */
    uint64_t sent, sent_bytes, send_calls, sent_cut;
    uint64_t drop_video;   /* gave way to newer ones, or found no room beside what goes first */
    uint64_t drop_full;    /* anything else, where there was no video to give way */
    uint64_t drop_refused; /* the destination is at fault */
    uint64_t cuts_refused;
    int timed;             /* whether flushes are timed at present */
    uint64_t timed_ns;     /* what the timed ones took */
};

static inline int64_t batch_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void queue_free(struct queue *q) {
    free(q->memory);
    free(q->spare);
    free(q->vectors);
    free(q->messages);
    free(q->headers);
    memset(q, 0, sizeof *q);
}

/* 0, or -1 when there is no memory. Pages are touched when a slot is first used. */
static inline int queue_init(struct queue *q, int fd, uint32_t slots, uint32_t slot_size) {
    int segment;
    socklen_t length = sizeof segment;
    memset(q, 0, sizeof *q);
    q->fd = fd;
    /* a kernel that does not know the option would send a message uncut */
    q->segments = getsockopt(fd, IPPROTO_UDP, QUEUE_UDP_SEGMENT, &segment, &length) == 0;
    q->slots = slots;
    q->slot_size = slot_size;
    q->memory = malloc((size_t)slots * slot_size);
    q->spare = calloc(slots, sizeof *q->spare);
    q->vectors = calloc(2 * (size_t)slots, sizeof *q->vectors);
    q->messages = calloc(2 * (size_t)slots, sizeof *q->messages);
    q->headers = calloc(QUEUE_BURST, sizeof *q->headers);
    if (!q->memory || !q->spare || !q->vectors || !q->messages || !q->headers) {
        queue_free(q);
        return -1;
    }
    for (uint32_t i = slots; i-- > 0;) q->spare[q->spare_count++] = q->memory + (size_t)i * slot_size;
    return 0;
}

/* The first datagram of a message is sent or dropped. */
static inline void queue_pop(struct queue *q, struct queue_message *m) {
    q->spare[q->spare_count++] = q->vectors[m->first].iov_base;
    m->bytes -= (uint32_t)q->vectors[m->first].iov_len;
    m->first++;
    m->count--;
    q->queued--;
}

static inline void queue_taken(struct queue *q, struct queue_message *m, uint32_t count) {
    q->sent += count;
    for (; count > 0; count--) {
        q->sent_bytes += q->vectors[m->first].iov_len;
        queue_pop(q, m);
    }
}

/* Message of the datagrams `first` to `first + count`, to be cut if they are several. */
static inline void queue_header(struct queue *q, struct queue_message *m, uint32_t count, struct msghdr *h) {
    h->msg_name = &m->name;
    h->msg_namelen = m->name_length;
    h->msg_iov = &q->vectors[m->first];
    h->msg_iovlen = count;
    h->msg_control = m->control;
    h->msg_controllen = m->control_length;
    h->msg_flags = 0;
    if (count == 1) return;
    uint8_t *at = (uint8_t *)m->control + m->control_length;
    struct cmsghdr c;
    memset(at, 0, CMSG_SPACE(sizeof m->segment));
    memset(&c, 0, sizeof c);
    c.cmsg_level = IPPROTO_UDP;
    c.cmsg_type = QUEUE_UDP_SEGMENT;
    c.cmsg_len = CMSG_LEN(sizeof m->segment);
    memcpy(at, &c, sizeof c);
    memcpy(at + CMSG_LEN(0), &m->segment, sizeof m->segment);
    h->msg_controllen += CMSG_SPACE(sizeof m->segment);
}

/* The kernel's answer to a message that it did not take. 0: go on, -1: not now. */
static inline int queue_refused(struct queue *q, struct queue_message *m, int error) {
    if (error == EINTR) return 0;
    if (error == EAGAIN) {
        q->blocked = 1;
        return -1;
    }
    if (m->count > 1 && !m->refused && (error == EINVAL || error == EIO || error == EMSGSIZE)) {
        /* the path's MTU is less than a datagram, or its device can't checksum: cutting is not for it */
        m->refused = 1;
        q->cuts_refused++;
        if (++q->refusals == QUEUE_REFUSALS) q->segments = 0;
        return 0;
    }
    if (error == ENOBUFS) { /* no memory; the loop will not be told when there is */
        if (m->video) q->drop_video++;
        else q->drop_full++;
    } else { /* no route, not permitted */
        q->drop_refused++;
    }
    queue_pop(q, m);
    return 0;
}

/* Send from the front until it is empty or the socket is full. Returns how many datagrams the kernel took. */
static inline uint32_t queue_flush(struct queue *q) {
    uint64_t before = q->sent;
    int64_t began_ns = q->timed ? batch_clock_ns() : 0;
    q->last = NULL;
    while (q->queued > 0 && !q->blocked) {
        struct queue_message *m = &q->messages[q->message_begin];
        uint32_t count = 0;
        int n;
        if (m->count == 0) {
            q->message_begin++;
            continue;
        }
        if (m->refused) {
            queue_header(q, m, 1, &q->headers[0].msg_hdr);
            count = 1;
        }
        for (uint32_t i = q->message_begin; !m->refused && i < q->message_end && count < QUEUE_BURST; i++) {
            struct queue_message *next = &q->messages[i];
            if (next->count == 0 || next->refused) break;
            queue_header(q, next, next->count, &q->headers[count++].msg_hdr);
        }
        q->send_calls++;
        n = sendmmsg(q->fd, q->headers, count, MSG_DONTWAIT);
        if (n <= 0) {
            queue_refused(q, m, n < 0 ? errno : EAGAIN);
        } else if (m->refused) {
            queue_taken(q, m, 1);
        } else {
            for (int i = 0; i < n; i++, m++) {
                if (m->count > 1) {
                    q->sent_cut += m->count;
                    q->refusals = 0;
                }
                queue_taken(q, m, m->count);
            }
        }
    }
    if (q->queued == 0) q->vector_end = q->message_begin = q->message_end = q->video_at = 0;
    if (q->timed) q->timed_ns += (uint64_t)(batch_clock_ns() - began_ns);
    return (uint32_t)(q->sent - before);
}

/* The socket has room again. */
static inline uint32_t queue_writable(struct queue *q) {
    q->blocked = 0;
    return queue_flush(q);
}

/* Close the holes up: there is room for `slots` vectors and messages more. */
static inline void queue_compact(struct queue *q) {
    uint32_t end = 0, vector = 0, video_at = q->video_at;
    for (uint32_t i = q->message_begin; i < q->message_end; i++) {
        if (i == video_at) q->video_at = end;
        struct queue_message *m = &q->messages[i];
        if (m->count == 0) continue;
        memmove(&q->vectors[vector], &q->vectors[m->first], m->count * sizeof *q->vectors);
        if (end != i) q->messages[end] = *m;
        q->messages[end++].first = vector;
        vector += m->count;
    }
    if (video_at < q->message_begin) q->video_at = 0;
    if (video_at >= q->message_end) q->video_at = end;
    q->message_begin = 0;
    q->message_end = end;
    q->vector_end = vector;
    q->last = NULL; /* the last message may be another's now */
}

/* Make room in a full queue for a datagram. 0, or -1: it has to go itself, and is counted. */
static inline int queue_evict(struct queue *q, int video) {
    for (; q->video_at < q->message_end; q->video_at++) {
        struct queue_message *m = &q->messages[q->video_at];
        if (m->count == 0 || !m->video) continue;
        queue_pop(q, m);
        q->drop_video++;
        return 0;
    }
    if (video) {
        q->drop_video++;
        return -1;
    }
    while (q->messages[q->message_begin].count == 0) q->message_begin++;
    queue_pop(q, &q->messages[q->message_begin]);
    q->drop_full++;
    return 0;
}

/* A free slot of slot_size bytes for a datagram that is video or goes before it; commit it, release it or
 * take it again. NULL for video that finds no room. */
static inline uint8_t *queue_slot(struct queue *q, int video) {
    if (!q->taken) {
        if (q->spare_count == 0) queue_flush(q);
        if (q->spare_count == 0 && queue_evict(q, video) < 0) return NULL;
        q->taken = q->spare[--q->spare_count];
    }
    q->taken_video = video;
    return q->taken;
}

/* Give the slot of the last queue_slot back unused. */
static inline void queue_release(struct queue *q) {
    if (q->taken) q->spare[q->spare_count++] = q->taken;
    q->taken = NULL;
}

static inline int queue_joins(const struct queue *q, const struct batch_destination *to, uint32_t size) {
    const struct queue_message *m = &q->messages[q->message_end - 1];
    return q->last == to && m->count > 0 && !m->closed && size <= m->segment && size > 0 &&
           m->count < QUEUE_SEGMENTS && m->bytes + size <= QUEUE_MESSAGE && m->video == q->taken_video;
}

/* Queue the taken slot's `size` bytes. `to` is copied; it is the same destination at the same address until
 * the next flush. Sends what is queued when that is a burst, but cuts no row of datagrams in two. */
static inline void queue_commit(struct queue *q, const struct batch_destination *to, uint32_t size) {
    struct queue_message *m;
    if (q->vector_end == 2 * q->slots) queue_compact(q);
    if (q->last && q->segments && queue_joins(q, to, size)) {
        m = &q->messages[q->message_end - 1];
    } else {
        if (q->queued >= QUEUE_BURST) queue_flush(q);
        m = &q->messages[q->message_end++];
        m->name = to->name;
        m->name_length = to->name_length;
        m->control_length = to->control_length;
        memcpy(m->control, to->control, sizeof to->control);
        m->first = q->vector_end;
        m->count = m->bytes = 0;
        m->segment = (uint16_t)size;
        m->closed = m->refused = 0;
        m->video = (uint8_t)q->taken_video;
        q->last = to;
    }
    q->vectors[q->vector_end].iov_base = q->taken;
    q->vectors[q->vector_end++].iov_len = size;
    q->taken = NULL;
    q->queued++;
    m->count++;
    m->bytes += size;
    m->closed = size < m->segment;
}

#endif
