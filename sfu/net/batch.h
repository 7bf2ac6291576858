/* Batches of datagrams on one UDP socket: recvmmsg, and what queue.h does, over slots taken once.
 *
 * A path is 38 bytes, as in sfu/net/address.py: remote address (16, IPv4 as v4-mapped), remote port
 * (2, network order), local address (16), scope id (4, network order).
 *
 * The slots belong to the batch. A received slot is valid until the next batch_receive; a send slot
 * from batch_slot until batch_commit.
 */
#ifndef ORCHARD_BATCH_H
#define ORCHARD_BATCH_H

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

#include "queue.h"

enum { BATCH_PATH = 38, BATCH_RECEIVE_MAX = 1024 };

/* Room for one in6_pktinfo or in_pktinfo, SO_RXQ_OVFL and SO_TIMESTAMPNS. */
enum { BATCH_CONTROL = 128 };

struct batch_slot {
    uint8_t *data;
    uint32_t size;
    int64_t arrival_us; /* the kernel's time of arrival, on the clock of `now_us` */
    uint8_t path[BATCH_PATH];
};

struct batch {
    int fd;
    int family;
    uint32_t slot_size;
    uint32_t receive_slots;
    uint8_t *receive_memory;
    struct batch_slot *slots;
    struct mmsghdr *in;
    struct iovec *in_vector;
    struct sockaddr_in6 *in_name;
    uint8_t *in_control;
    struct queue out;
    int64_t now_us, now_wall_ns; /* of the last receive: one moment on both clocks */
    uint32_t overflow_seen; /* last SO_RXQ_OVFL, which the kernel counts without end */
    uint64_t received, received_bytes, receive_calls;
    uint64_t drop_overflow;  /* lost in the kernel's queue before we read them */
    uint64_t drop_truncated; /* longer than a slot */
    uint64_t drop_no_path;   /* without the address that was hit */
};

static inline void batch_free(struct batch *b) {
    free(b->receive_memory);
    free(b->slots);
    free(b->in);
    free(b->in_vector);
    free(b->in_name);
    free(b->in_control);
    queue_free(&b->out);
    memset(b, 0, sizeof *b);
}

/* 0, or -1 when there is no memory. */
static inline int batch_init(struct batch *b, int fd, int family, uint32_t receive_slots, uint32_t send_slots,
                             uint32_t slot_size) {
    memset(b, 0, sizeof *b);
    b->fd = fd;
    b->family = family;
    b->slot_size = slot_size;
    b->receive_slots = receive_slots;
    b->receive_memory = malloc((size_t)receive_slots * slot_size);
    b->slots = calloc(receive_slots, sizeof *b->slots);
    b->in = calloc(receive_slots, sizeof *b->in);
    b->in_vector = calloc(receive_slots, sizeof *b->in_vector);
    b->in_name = calloc(receive_slots, sizeof *b->in_name);
    b->in_control = calloc(receive_slots, BATCH_CONTROL);
    if (queue_init(&b->out, fd, send_slots, slot_size) < 0 || !b->receive_memory || !b->slots || !b->in ||
        !b->in_vector || !b->in_name || !b->in_control) {
        batch_free(b);
        return -1;
    }
    for (uint32_t i = 0; i < receive_slots; i++) {
        b->in_vector[i].iov_base = b->receive_memory + (size_t)i * slot_size;
        b->in_vector[i].iov_len = slot_size;
        b->in[i].msg_hdr.msg_iov = &b->in_vector[i];
        b->in[i].msg_hdr.msg_iovlen = 1;
        b->in[i].msg_hdr.msg_name = &b->in_name[i];
        b->in[i].msg_hdr.msg_control = b->in_control + (size_t)i * BATCH_CONTROL;
    }
    return 0;
}

static inline void batch_v4_mapped(uint8_t out[16], const void *address) {
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, address, 4);
}

/* Read the path and the control messages of one received message. 0, or -1 without a local address. */
static inline int batch_read_control(struct batch *b, struct msghdr *header, struct batch_slot *slot,
                                     int64_t *stamp_ns) {
    int found = 0;
    uint8_t *path = slot->path;
    memset(path, 0, BATCH_PATH);
    if (b->family == AF_INET6) {
        const struct sockaddr_in6 *name = header->msg_name;
        if (header->msg_namelen < sizeof *name) return -1;
        uint32_t scope = htonl(name->sin6_scope_id);
        memcpy(path, &name->sin6_addr, 16);
        memcpy(path + 16, &name->sin6_port, 2);
        memcpy(path + 34, &scope, 4);
    } else {
        const struct sockaddr_in *name = header->msg_name;
        if (header->msg_namelen < sizeof *name) return -1;
        batch_v4_mapped(path, &name->sin_addr);
        memcpy(path + 16, &name->sin_port, 2);
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(path + 18, &info.ipi6_addr, 16);
            found = 1;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            batch_v4_mapped(path + 18, &info.ipi_addr);
            found = 1;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t total;
            memcpy(&total, CMSG_DATA(c), sizeof total);
            b->drop_overflow += (uint32_t)(total - b->overflow_seen);
            b->overflow_seen = total;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
            *stamp_ns = (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec;
        }
    }
    return found ? 0 : -1;
}

/* Receive once. Returns how many slots of b->slots are filled; 0 also when nothing waits or on an error.
 * `*more` is 1 when the call came back full, so that more may wait. */
static inline uint32_t batch_receive(struct batch *b, int64_t now_us, int *more) {
    for (uint32_t i = 0; i < b->receive_slots; i++) {
        b->in[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_in6);
        b->in[i].msg_hdr.msg_controllen = BATCH_CONTROL;
        b->in[i].msg_hdr.msg_flags = 0;
    }
    int n;
    do n = recvmmsg(b->fd, b->in, b->receive_slots, MSG_DONTWAIT, NULL);
    while (n < 0 && errno == EINTR);
    *more = n == (int)b->receive_slots;
    if (n <= 0) return 0;
    b->receive_calls++;
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    if (now_us != b->now_us) { /* a further receive at the same `now_us` comes later than that */
        b->now_us = now_us;
        b->now_wall_ns = (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec;
    }
    uint32_t filled = 0;
    for (int i = 0; i < n; i++) {
        struct batch_slot *slot = &b->slots[filled];
        int64_t stamp_ns = 0;
        if (batch_read_control(b, &b->in[i].msg_hdr, slot, &stamp_ns) < 0) {
            b->drop_no_path++;
            continue;
        }
        if (b->in[i].msg_hdr.msg_flags & MSG_TRUNC) {
            b->drop_truncated++;
            continue;
        }
        int64_t age_us = stamp_ns == 0 ? 0 : (b->now_wall_ns - stamp_ns) / 1000;
        if (age_us < -1000000 || age_us > 1000000) age_us = 0; /* the wall clock was set meanwhile */
        slot->data = b->in_vector[i].iov_base;
        slot->size = b->in[i].msg_len;
        slot->arrival_us = now_us - age_us;
        b->received++;
        b->received_bytes += slot->size;
        filled++;
    }
    return filled;
}

static inline void batch_make_destination(struct batch_destination *d, int family, const uint8_t *path) {
    struct cmsghdr *c = (struct cmsghdr *)d->control;
    memset(d, 0, sizeof *d);
    if (family == AF_INET6) {
        struct in6_pktinfo info;
        uint32_t scope;
        memset(&info, 0, sizeof info);
        memcpy(&scope, path + 34, 4);
        d->name.sin6_family = AF_INET6;
        memcpy(&d->name.sin6_addr, path, 16);
        memcpy(&d->name.sin6_port, path + 16, 2);
        d->name.sin6_scope_id = ntohl(scope);
        d->name_length = sizeof d->name;
        memcpy(&info.ipi6_addr, path + 18, 16);
        if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) info.ipi6_ifindex = ntohl(scope);
        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        d->control_length = CMSG_SPACE(sizeof info);
    } else {
        struct sockaddr_in name;
        struct in_pktinfo info;
        memset(&name, 0, sizeof name);
        memset(&info, 0, sizeof info);
        name.sin_family = AF_INET;
        memcpy(&name.sin_addr, path + 12, 4);
        memcpy(&name.sin_port, path + 16, 2);
        memcpy(&d->name, &name, sizeof name);
        d->name_length = sizeof name;
        memcpy(&info.ipi_spec_dst, path + 30, 4);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        d->control_length = CMSG_SPACE(sizeof info);
    }
}

/* The send side: what each promises, queue.h says. */
static inline uint8_t *batch_slot(struct batch *b, int video) { return queue_slot(&b->out, video); }
static inline void batch_release(struct batch *b) { queue_release(&b->out); }
static inline uint32_t batch_flush(struct batch *b) { return queue_flush(&b->out); }
static inline uint32_t batch_writable(struct batch *b) { return queue_writable(&b->out); }
static inline void batch_commit(struct batch *b, const struct batch_destination *to, uint32_t size) {
    queue_commit(&b->out, to, size);
}

#endif
