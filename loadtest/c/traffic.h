/* Datagrams from clients through the server to a peer, which sends each back, and through the server back to the client.
 *
 * Each carries the client's number and the time at which it was sent. It counts when it has come back, so each counts for
 * two that the server relayed. What joined clients send at once leaves as one message that the kernel cuts (UDP_SEGMENT), and comes
 * as one (UDP_GRO). As long as there is something to send within a few milliseconds, what comes is looked for again and again,
 * without sleep: no time of the server goes into waking it. */
#ifndef ORCHARD_LOADTEST_TRAFFIC_H
#define ORCHARD_LOADTEST_TRAFFIC_H

#include "clients.h"

#include <netinet/udp.h>

enum {
    TRAFFIC_SLOTS = 64,      /* datagrams (or rows of them) to a call; UDP_MAX_SEGMENTS */
    TRAFFIC_SLOT = 65536,
    TRAFFIC_ROW = 65000,     /* bytes of one message that the kernel cuts */
    TRAFFIC_BATCH = 2048,    /* bytes of a datagram with its head */
    TRAFFIC_HEAD = 64,       /* room for what stands before data */
    TRAFFIC_STAMP = 16,
    TRAFFIC_STREAM = 1 << 17, /* gathered for one stream at a time */
    TRAFFIC_LATE_NS = 20000000, /* what should have been sent longer ago is not sent any more, but counted. Chosen */
    TRAFFIC_PEER = 0xffffffff,
    TRAFFIC_UDP_SEGMENT = 103 /* linux/udp.h */
};

static const uint8_t traffic_mark[4] = {'o', 'r', 'c', 't'};

struct traffic {
    struct clients clients;
    int peer;            /* the peer's socket */
    int channel;         /* data goes by channels, else by indications */
    uint32_t size;       /* bytes of data in a datagram */
    uint32_t senders;    /* clients 0 to `senders` send */

    double per_step, owed; /* datagrams for each step, and what is left of them */
    uint64_t step_ns, next_ns, steps;
    uint32_t turn; /* whose the next datagram is */

    uint64_t sent, refused, unsent; /* taken by the kernel, not taken, not offered since it was too late */
    uint64_t echoed, echo_refused;  /* came to the peer; and could not be sent back */
    uint64_t returned, strange;     /* came back; came and is nothing that was sent */
    uint64_t missing;               /* were not back when this sending began */
    uint64_t ended;                 /* clients whose line broke */
    uint32_t round_trip[HISTOGRAM_PLACES];

    uint8_t (*in)[TRAFFIC_SLOT];
    uint8_t (*out)[TRAFFIC_HEAD + TRAFFIC_BATCH];
    uint8_t *gathered;
    struct mmsghdr headers[TRAFFIC_SLOTS];
    struct iovec vectors[TRAFFIC_SLOTS];
    struct sockaddr_storage names[TRAFFIC_SLOTS];
    uint64_t control[TRAFFIC_SLOTS][4]; /* UDP_GRO, UDP_SEGMENT */
};

static inline void traffic_free(struct traffic *t) {
    clients_free(&t->clients);
    if (t->peer >= 0) close(t->peer);
    free(t->in);
    free(t->out);
    free(t->gathered);
    t->peer = -1;
    t->in = NULL;
    t->out = NULL;
    t->gathered = NULL;
}

/* -1: no memory, no socket. */
static inline int traffic_init(struct traffic *t, uint32_t count, uint64_t seed, uint32_t size) {
    memset(t, 0, sizeof *t);
    t->peer = -1;
    t->size = size;
    if (clients_init(&t->clients, count, seed) < 0) return -1;
    t->in = malloc(sizeof *t->in * TRAFFIC_SLOTS);
    t->out = calloc(TRAFFIC_SLOTS, sizeof *t->out);
    t->gathered = malloc(TRAFFIC_STREAM);
    return t->in && t->out && t->gathered ? 0 : -1;
}

/* Open the peer at the first of the peers' addresses, with a port of the system's, which is then that of all of them. */
static inline int traffic_open_peer(struct traffic *t) {
    struct clients *s = &t->clients;
    struct sockaddr_storage *name = &s->peers[0];
    socklen_t length = sizeof *name;
    int buffer = 1 << 23, one = 1;
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = TRAFFIC_PEER}};
    t->peer = socket(name->ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->peer < 0) return -1;
    setsockopt(t->peer, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(t->peer, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (t->clients.joined && setsockopt(t->peer, IPPROTO_UDP, CLIENTS_UDP_GRO, &one, sizeof one) < 0) return -1;
    if (bind(t->peer, (const struct sockaddr *)name, line_address_size(name)) < 0) return -1;
    if (getsockname(t->peer, (struct sockaddr *)name, &length) < 0) return -1;
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, t->peer, &event);
}

static inline uint32_t traffic_segment_of(const struct msghdr *message, uint32_t size) {
    struct msghdr h = *message; /* CMSG_NXTHDR takes no const one */
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == CLIENTS_UDP_GRO) {
            int segment;
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
            if (segment > 0) return (uint32_t)segment;
        }
    return size;
}

/* Have the kernel cut a message into datagrams of `segment` bytes. */
static inline void traffic_cut(struct traffic *t, uint32_t slot, uint32_t segment) {
    struct msghdr *h = &t->headers[slot].msg_hdr;
    uint16_t value = (uint16_t)segment;
    struct cmsghdr c = {.cmsg_len = CMSG_LEN(sizeof value), .cmsg_level = IPPROTO_UDP, .cmsg_type = TRAFFIC_UDP_SEGMENT};
    memset(t->control[slot], 0, sizeof t->control[slot]);
    memcpy(t->control[slot], &c, sizeof c);
    memcpy((uint8_t *)t->control[slot] + CMSG_LEN(0), &value, sizeof value);
    h->msg_control = t->control[slot];
    h->msg_controllen = CMSG_SPACE(sizeof value);
}

/* Receive into the slots; how many. */
static inline uint32_t traffic_receive(struct traffic *t, int fd, int named) {
    for (uint32_t i = 0; i < TRAFFIC_SLOTS; i++) {
        struct msghdr *h = &t->headers[i].msg_hdr;
        memset(h, 0, sizeof *h);
        t->vectors[i] = (struct iovec){t->in[i], TRAFFIC_SLOT};
        h->msg_iov = &t->vectors[i];
        h->msg_iovlen = 1;
        if (named) {
            h->msg_name = &t->names[i];
            h->msg_namelen = sizeof t->names[i];
        }
        if (t->clients.joined) {
            h->msg_control = t->control[i];
            h->msg_controllen = sizeof t->control[i];
        }
    }
    int n = recvmmsg(fd, t->headers, TRAFFIC_SLOTS, MSG_DONTWAIT, NULL);
    return n > 0 ? (uint32_t)n : 0;
}

/* What has come to the peer goes back to where it came from. Whether anything had come. */
static inline int traffic_echo(struct traffic *t) {
    uint32_t count = traffic_receive(t, t->peer, 1), at = 0;
    uint32_t datagrams[TRAFFIC_SLOTS];
    for (uint32_t i = 0; i < count; i++) {
        struct msghdr *h = &t->headers[i].msg_hdr;
        uint32_t size = t->headers[i].msg_len;
        uint32_t segment = t->clients.joined ? traffic_segment_of(h, size) : size;
        datagrams[i] = segment ? (size + segment - 1) / segment : 1;
        t->echoed += datagrams[i];
        t->vectors[i].iov_len = size;
        h->msg_control = NULL;
        h->msg_controllen = 0;
        if (datagrams[i] > 1) traffic_cut(t, i, segment);
    }
    while (at < count) {
        int n = sendmmsg(t->peer, t->headers + at, count - at, MSG_DONTWAIT);
        if (n > 0) at += (uint32_t)n;
        else t->echo_refused += datagrams[at++];
    }
    return count > 0;
}

/* Data has come to a client. */
static inline void traffic_returned(struct traffic *t, uint32_t index, const uint8_t *data, uint32_t size, uint64_t now) {
    uint32_t number;
    uint64_t sent_ns;
    if (size != t->size || memcmp(data, traffic_mark, 4) != 0) {
        t->strange++;
        return;
    }
    memcpy(&number, data + 4, 4);
    memcpy(&sent_ns, data + 8, 8);
    if (number != index || sent_ns > now) {
        t->strange++;
        return;
    }
    t->returned++;
    t->round_trip[histogram_place((now - sent_ns) / 1000)]++;
}

/* A message has come to a client. */
static inline void traffic_message(struct traffic *t, struct client *c, const uint8_t *p, uint32_t size, uint64_t now) {
    uint32_t index = clients_index(&t->clients, c);
    const uint8_t *data;
    if (size >= 4 && p[0] >= 64 && p[0] < 128) {
        uint32_t length = stun_load16(p + 2);
        if (!t->channel || stun_load16(p) != CLIENTS_CHANNEL || length > size - 4) t->strange++;
        else traffic_returned(t, index, p + 4, length, now);
        return;
    }
    if (!stun_is_message(p, size)) {
        t->strange++;
        return;
    }
    if (stun_load16(p) != STUN_DATA_INDICATION) {
        client_answered(&t->clients, c, p, size, now);
        return;
    }
    int32_t length = t->channel ? -1 : stun_find(p, size, STUN_DATA, &data);
    if (length < 0) t->strange++;
    else traffic_returned(t, index, data, (uint32_t)length, now);
}

static inline void traffic_broke(struct traffic *t, struct client *c) {
    t->ended++;
    if (c->active) client_finish(&t->clients, c, FAULT_CLOSED);
    else client_close(&t->clients, c);
}

static inline void traffic_stream_readable(struct traffic *t, struct client *c) {
    for (;;) {
        int n = line_read(&c->line);
        uint32_t at = 0;
        int32_t next = 0;
        uint64_t now;
        if (n == 0) return;
        now = clients_now();
        while (n > 0 && (next = line_next(c->line.in + at, c->line.in_size - at)) > 0) {
            traffic_message(t, c, c->line.in + at, (uint32_t)next, now);
            if (c->line.fd < 0) return; /* its job is over */
            at += (uint32_t)next;
        }
        if (n < 0 || next < 0) {
            traffic_broke(t, c);
            return;
        }
        c->line.in_size -= at;
        if (c->line.in_size) memmove(c->line.in, c->line.in + at, c->line.in_size);
    }
}

static inline void traffic_readable(struct traffic *t, struct client *c) {
    if (c->line.is_stream) {
        traffic_stream_readable(t, c);
        return;
    }
    uint32_t count = traffic_receive(t, c->line.fd, 0);
    uint64_t now = clients_now();
    for (uint32_t i = 0; i < count && c->line.fd >= 0; i++) {
        uint32_t size = t->headers[i].msg_len;
        uint32_t segment = t->clients.joined ? traffic_segment_of(&t->headers[i].msg_hdr, size) : size;
        for (uint32_t at = 0; at < size && c->line.fd >= 0; at += segment)
            traffic_message(t, c, t->in[i] + at, size - at < segment ? size - at : segment, now);
    }
}

/* Take what waits, or wait for it `wait_ms`. */
static inline void traffic_poll(struct traffic *t, int wait_ms) {
    struct epoll_event events[CLIENTS_READY];
    int n = epoll_wait(t->clients.epoll, events, CLIENTS_READY, wait_ms);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == TRAFFIC_PEER) {
            traffic_echo(t);
            continue;
        }
        struct client *c = &t->clients.all[events[i].data.u32];
        if (c->line.fd >= 0) traffic_readable(t, c);
    }
}

/* One datagram (or message of a stream) of a client, in an out slot; how long it is. */
static inline uint32_t traffic_build(struct traffic *t, struct client *c, uint32_t slot, uint64_t now, uint8_t **begin) {
    uint8_t *data = t->out[slot] + TRAFFIC_HEAD;
    uint32_t index = clients_index(&t->clients, c);
    uint32_t padding = !t->channel || c->line.is_stream ? stun_padding(t->size) : 0;
    *begin = data - c->head_size;
    memcpy(*begin, c->head, c->head_size);
    if (!t->channel && t->clients.peers[0].ss_family == AF_INET) { /* of IPv6 the address hangs on the id */
        uint64_t random = clients_random(&t->clients);
        memcpy(*begin + 12, &random, 8);
    }
    memcpy(data, traffic_mark, 4);
    memcpy(data + 4, &index, 4);
    memcpy(data + 8, &now, 8);
    memset(data + t->size, 0, padding);
    return c->head_size + t->size + padding;
}

static inline void traffic_send_stream(struct traffic *t, struct client *c, uint32_t count, uint64_t now) {
    uint32_t gathered = 0, waiting = 0;
    uint8_t *begin;
    if (line_flush(&c->line) < 0) {
        traffic_broke(t, c);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = traffic_build(t, c, 0, now, &begin);
        memcpy(t->gathered + gathered, begin, size);
        gathered += size;
        waiting++;
        /* on TLS each is a record of its own, as clients have it */
        if (!c->line.ssl && i + 1 < count && gathered + size <= TRAFFIC_STREAM) continue;
        int sent = line_send(&c->line, t->gathered, gathered);
        if (sent > 0) t->sent += waiting;
        else t->refused += waiting;
        gathered = waiting = 0;
        if (sent < 0) {
            traffic_broke(t, c);
            return;
        }
    }
}

static inline void traffic_send_some(struct traffic *t, struct client *c, uint32_t count, uint64_t now) {
    uint32_t size = 0, sent;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *begin;
        size = traffic_build(t, c, i, now, &begin);
        t->vectors[i] = (struct iovec){begin, size};
        memset(&t->headers[i].msg_hdr, 0, sizeof t->headers[i].msg_hdr);
        t->headers[i].msg_hdr.msg_iov = &t->vectors[i];
        t->headers[i].msg_hdr.msg_iovlen = 1;
    }
    if (count == 1) {
        sent = send(c->line.fd, t->vectors[0].iov_base, size, MSG_DONTWAIT) >= 0;
    } else if (t->clients.joined) {
        t->headers[0].msg_hdr.msg_iovlen = count;
        traffic_cut(t, 0, size);
        sent = sendmsg(c->line.fd, &t->headers[0].msg_hdr, MSG_DONTWAIT) >= 0 ? count : 0;
    } else {
        int n = sendmmsg(c->line.fd, t->headers, count, MSG_DONTWAIT);
        sent = n > 0 ? (uint32_t)n : 0;
    }
    t->sent += sent;
    t->refused += count - sent;
}

/* So many datagrams of one client, at once. */
static inline void traffic_send(struct traffic *t, struct client *c, uint32_t count) {
    uint64_t now = clients_now();
    if (c->line.fd < 0) {
        t->unsent += count;
        return;
    }
    if (c->line.is_stream) {
        traffic_send_stream(t, c, count, now);
        return;
    }
    uint32_t most = TRAFFIC_SLOTS, whole = c->head_size + t->size + 3;
    if (t->clients.joined && whole * most > TRAFFIC_ROW) most = TRAFFIC_ROW / whole;
    for (uint32_t some; count; count -= some) {
        some = count < most ? count : most;
        traffic_send_some(t, c, some, now);
    }
}

/* What is to be sent in a step, in turns: all have as many, but for one. */
static inline void traffic_step(struct traffic *t) {
    t->owed += t->per_step;
    uint32_t count = (uint32_t)t->owed;
    t->owed -= count;
    uint32_t each = count / t->senders, more = count % t->senders;
    for (uint32_t i = 0; i < t->senders && (each || i < more); i++) {
        uint32_t index = (t->turn + i) % t->senders;
        traffic_send(t, &t->clients.all[index], each + (i < more));
    }
    t->turn = (t->turn + more) % t->senders;
}

/* Send `per_s` datagrams a second for that long, all senders together, `step_ns` apart as many as are due. */
static inline void traffic_begin(struct traffic *t, uint32_t senders, double per_s, uint64_t step_ns, double seconds) {
    struct clients *s = &t->clients;
    t->senders = senders;
    t->step_ns = step_ns;
    t->per_step = per_s * (double)step_ns / 1e9;
    t->owed = 0.0;
    t->missing = t->sent - t->returned;
    t->steps = (uint64_t)(seconds * 1e9 / (double)step_ns);
    t->next_ns = clients_now();
    for (uint32_t i = 0; i < senders; i++) client_head(s, &s->all[i], t->channel, t->size);
}

static inline int traffic_wait_ms(const struct traffic *t, uint64_t now, uint64_t until) {
    uint64_t next = t->steps && t->next_ns < until ? t->next_ns : until;
    return next > now + 3000000u ? (int)((next - now) / 1000000u) - 2 : 0;
}

/* Go on with it for at most `slice_ns`; whether there is more to send. */
static inline int traffic_go_on(struct traffic *t, uint64_t slice_ns) {
    uint64_t now = clients_now(), until = now + slice_ns;
    while (now < until && t->steps) {
        clients_go_on(&t->clients, now);
        if (now >= t->next_ns) {
            while (t->steps && now - t->next_ns > TRAFFIC_LATE_NS && now > t->next_ns) {
                t->unsent += (uint64_t)t->per_step;
                t->next_ns += t->step_ns;
                t->steps--;
            }
            if (!t->steps) break;
            traffic_step(t);
            t->next_ns += t->step_ns;
            t->steps--;
        }
        traffic_poll(t, traffic_wait_ms(t, now, until));
        now = clients_now();
    }
    return t->steps != 0;
}

/* Take what comes for at most `slice_ns`, or until all that was sent since traffic_begin is back. */
static inline void traffic_settle(struct traffic *t, uint64_t slice_ns) {
    uint64_t until = clients_now() + slice_ns;
    while (clients_now() < until && t->sent - t->returned > t->missing) {
        for (uint32_t i = 0; i < t->senders; i++) {
            struct client *c = &t->clients.all[i];
            if (c->line.fd >= 0 && c->line.is_stream && line_flush(&c->line) < 0) traffic_broke(t, c);
        }
        traffic_poll(t, 1);
    }
}

/* Go on with the clients' plan for at most `slice_ns`; whether there is more to do. */
static inline int traffic_plan(struct traffic *t, uint64_t slice_ns) {
    struct clients *s = &t->clients;
    uint64_t now = clients_now(), until = now + slice_ns;
    while (now < until && s->done < s->jobs) {
        clients_go_on(s, now);
        if (s->done < s->jobs) traffic_poll(t, s->active_count < s->window && s->begun < s->jobs ? 0 : 1);
        now = clients_now();
    }
    return s->done < s->jobs;
}

#endif
