/* TURN clients by the thousand: each a line to the server and, once it has an allocation, a way to a peer and back.
 *
 * What clients ask for is a plan, a list of steps, which they go through side by side: CHALLENGE is an Allocate without
 * credentials, which tells the nonce; then ALLOCATE, PERMIT, BIND, ... Requests on UDP are sent again. What comes back of
 * data is traffic.h's. One thread; nothing but opening a line blocks. */
#ifndef ORCHARD_LOADTEST_CLIENTS_H
#define ORCHARD_LOADTEST_CLIENTS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/epoll.h>
#include <time.h>

#include "histogram.h"
#include "line.h"
#include "stun.h"

enum {
    CLIENTS_PLAN = 32,         /* steps */
    CLIENTS_PEERS = 16,        /* addresses to get permissions for */
    CLIENTS_USERS = 4096,
    CLIENTS_WINDOW = 1024,     /* at a plan at the same time */
    CLIENTS_READY = 256,       /* taken from epoll at a time */
    CLIENTS_CHANNEL = 0x4000,  /* the first; further ones follow */
    CLIENTS_AGAIN_MS = 500,    /* RFC 8489 6.2.1 */
    CLIENTS_TRIES = 5,
    CLIENTS_STALE = 3,         /* nonces in a row that are no good any more */
    CLIENTS_PATIENCE_MS = 15000,
    CLIENTS_UDP_GRO = 104,     /* linux/udp.h */
    CLIENTS_LOOK_MS = 20       /* between two looks at what is overdue */
};

enum clients_step {
    STEP_CHALLENGE = 1,
    STEP_ALLOCATE = 2,
    STEP_REFRESH = 3,
    STEP_RELEASE = 4,
    STEP_PERMIT = 5, /* all peers by one request */
    STEP_BIND = 16   /* ... and the channel's number from the first on: to peer number modulo their count, ports apart */
};

/* Why a client did not get through its plan; 300 to 699 are the server's own codes. */
enum clients_fault {
    FAULT_CONNECT = 1,   /* no socket, no connection */
    FAULT_TLS,
    FAULT_CLOSED,        /* by the server */
    FAULT_SILENT,        /* no answer */
    FAULT_MALFORMED,     /* an answer that lacks what it must have */
    FAULT_CODES = 700
};

struct client {
    struct line line;
    uint8_t id[STUN_ID]; /* of the request under way */
    uint32_t place;      /* of the plan */
    uint32_t active;     /* place among those at a plan, from 1; 0: at none */
    uint32_t tries, stale;
    uint64_t asked_ns, again_ns;
    uint32_t nonce_size;
    uint8_t nonce[128]; /* longer ones are none that a server should send */
    uint32_t head_size; /* of what carries data to the peer */
    uint8_t head[64];
};

struct user {
    uint8_t *name;
    uint32_t name_size;
    uint8_t key[32];
    uint32_t key_size;
};

struct clients {
    int epoll;
    int kind;   /* LINE_UDP, ... */
    int joined; /* datagrams may come as rows that the kernel put together */
    SSL_CTX *tls;
    struct sockaddr_storage server, local;
    uint32_t port; /* of our own that is tried next */
    struct sockaddr_storage peers[CLIENTS_PEERS];
    uint32_t peer_count;
    uint8_t realm[STUN_TEXT];
    uint32_t realm_size;
    struct user users[CLIENTS_USERS];
    uint32_t user_count, per_user; /* so many clients one after the other have one user */
    struct client *all;
    uint32_t count;
    uint64_t random;

    /* the plan under way */
    int plan[CLIENTS_PLAN];
    uint32_t plan_size;
    uint32_t first, jobs, begun, done, window;
    int passing; /* each job is a new client in the place of one that is through */
    uint32_t lifetime_s;
    uint32_t active[CLIENTS_WINDOW];
    uint32_t active_count;
    uint64_t looked_ns;

    uint64_t answered, sent_again;
    uint64_t faults[FAULT_CODES];
    uint32_t exchange[HISTOGRAM_PLACES]; /* from a request to its answer */
};

static inline uint64_t clients_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Numbers that differ each time and prove nothing (splitmix64). */
static inline uint64_t clients_random(struct clients *s) {
    uint64_t x = s->random += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint32_t clients_index(const struct clients *s, const struct client *c) { return (uint32_t)(c - s->all); }

static inline const struct user *clients_user(const struct clients *s, const struct client *c) {
    return &s->users[clients_index(s, c) / s->per_user % s->user_count];
}

/* -1: no memory. */
static inline int clients_init(struct clients *s, uint32_t count, uint64_t seed) {
    memset(s, 0, sizeof *s);
    s->random = seed;
    s->epoll = -1;
    s->all = calloc(count, sizeof *s->all);
    if (!s->all) return -1;
    s->count = count;
    for (uint32_t i = 0; i < count; i++) s->all[i].line.fd = -1;
    s->port = (uint32_t)clients_random(s) % LINE_PORTS;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    return s->epoll < 0 ? -1 : 0;
}

static inline void clients_free(struct clients *s) {
    for (uint32_t i = 0; i < s->count; i++)
        if (s->all[i].line.fd >= 0) line_close(&s->all[i].line);
    for (uint32_t i = 0; i < s->user_count; i++) free(s->users[i].name);
    free(s->all);
    SSL_CTX_free(s->tls);
    if (s->epoll >= 0) close(s->epoll);
    s->all = NULL;
    s->tls = NULL;
    s->count = s->user_count = 0;
    s->epoll = -1;
}

/* TLS as any client's, that takes every certificate: whose it is is not what is measured. -1: OpenSSL refuses. */
static inline int clients_use_tls(struct clients *s) {
    s->tls = SSL_CTX_new(TLS_client_method());
    if (!s->tls) return -1;
    SSL_CTX_set_verify(s->tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(s->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(s->tls, 1);
    return 0;
}

/* What carries data on this client's way to its peer: ChannelData's head, or a Send indication up to its data. */
static inline void client_head(const struct clients *s, struct client *c, int channel, uint32_t size) {
    uint8_t address[20];
    uint32_t length;
    if (channel) {
        stun_store16(c->head, CLIENTS_CHANNEL);
        stun_store16(c->head + 2, size);
        c->head_size = 4;
        return;
    }
    memset(c->head, 0, sizeof c->head);
    memcpy(c->head + 4, stun_cookie, 4);
    memcpy(c->head + 8, c->id, STUN_ID);
    length = stun_xor_address(address, &s->peers[0], c->head + 8);
    stun_store16(c->head, STUN_SEND_INDICATION);
    stun_store16(c->head + 2, 4 + length + 4 + size + stun_padding(size));
    stun_store16(c->head + 20, STUN_XOR_PEER_ADDRESS);
    stun_store16(c->head + 22, length);
    memcpy(c->head + 24, address, length);
    stun_store16(c->head + 24 + length, STUN_DATA);
    stun_store16(c->head + 26 + length, size);
    c->head_size = 28 + length;
}

/* The peer of a channel: the first is the one that data goes to, further ones are other ports of the same addresses. */
static inline struct sockaddr_storage client_peer(const struct clients *s, uint32_t channel) {
    struct sockaddr_storage peer = s->peers[channel % s->peer_count];
    uint16_t *port = peer.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)(void *)&peer)->sin6_port
                                                : &((struct sockaddr_in *)(void *)&peer)->sin_port;
    *port = htons((uint16_t)(ntohs(*port) + channel / s->peer_count));
    return peer;
}

static inline int client_request(struct clients *s, struct client *c, struct stun_request *r, int step) {
    static const uint32_t types[] = {
        [STEP_CHALLENGE] = STUN_ALLOCATE, [STEP_ALLOCATE] = STUN_ALLOCATE, [STEP_REFRESH] = STUN_REFRESH,
        [STEP_RELEASE] = STUN_REFRESH, [STEP_PERMIT] = STUN_CREATE_PERMISSION};
    const struct user *user = clients_user(s, c);
    uint8_t address[20];
    stun_begin(r, step >= STEP_BIND ? STUN_CHANNEL_BIND : types[step], c->id);
    if (step == STEP_CHALLENGE || step == STEP_ALLOCATE) {
        stun_put_word(r, STUN_REQUESTED_TRANSPORT, 17u << 24);
        if (s->peers[0].ss_family == AF_INET6) stun_put_word(r, STUN_REQUESTED_ADDRESS_FAMILY, 2u << 24);
    }
    if (step == STEP_REFRESH) stun_put_word(r, STUN_LIFETIME, s->lifetime_s);
    if (step == STEP_RELEASE) stun_put_word(r, STUN_LIFETIME, 0);
    if (step == STEP_PERMIT)
        for (uint32_t i = 0; i < s->peer_count; i++)
            stun_put(r, STUN_XOR_PEER_ADDRESS, address, stun_xor_address(address, &s->peers[i], c->id));
    if (step >= STEP_BIND) {
        uint32_t channel = (uint32_t)(step - STEP_BIND);
        struct sockaddr_storage peer = client_peer(s, channel);
        stun_put_word(r, STUN_CHANNEL_NUMBER, (CLIENTS_CHANNEL + channel) << 16);
        stun_put(r, STUN_XOR_PEER_ADDRESS, address, stun_xor_address(address, &peer, c->id));
    }
    if (step == STEP_CHALLENGE) return r->fault ? -1 : 0;
    stun_put(r, STUN_USERNAME, user->name, user->name_size);
    stun_put(r, STUN_REALM, s->realm, s->realm_size);
    stun_put(r, STUN_NONCE, c->nonce, c->nonce_size);
    return stun_sign(r, user->key, user->key_size);
}

static inline void client_close(struct clients *s, struct client *c) {
    if (c->line.fd < 0) return;
    epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->line.fd, NULL);
    line_close(&c->line);
}

/* A client's job is over, well or by a fault; with a fault its line is closed. */
static inline void client_finish(struct clients *s, struct client *c, uint32_t fault) {
    uint32_t last = s->active[--s->active_count];
    s->active[c->active - 1] = last;
    s->all[last].active = c->active;
    c->active = 0;
    s->done++;
    if (fault) s->faults[fault < FAULT_CODES ? fault : FAULT_MALFORMED]++;
    if (fault || s->passing) client_close(s, c);
}

/* Send the request of the client's step, or send it again. */
static inline void client_say(struct clients *s, struct client *c, uint64_t now) {
    struct stun_request r;
    if (client_request(s, c, &r, s->plan[c->place]) < 0) {
        client_finish(s, c, FAULT_MALFORMED);
        return;
    }
    c->again_ns = now + ((uint64_t)CLIENTS_AGAIN_MS * 1000000u << c->tries);
    if (line_send(&c->line, r.data, r.size) < 0) client_finish(s, c, FAULT_CLOSED);
}

static inline void client_ask(struct clients *s, struct client *c, uint64_t now) {
    uint64_t random[2] = {clients_random(s), clients_random(s)};
    memcpy(c->id, random, STUN_ID);
    c->asked_ns = now;
    c->tries = 0;
    client_say(s, c, now);
}

/* Begin the plan with this client, on a new line where it has none. */
static inline void client_begin(struct clients *s, struct client *c) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = clients_index(s, c)}};
    c->place = c->stale = 0;
    s->active[s->active_count++] = clients_index(s, c);
    c->active = s->active_count;
    if (c->line.fd < 0) {
        int one = 1;
        if (line_open(&c->line, s->kind, &s->server, &s->local, &s->port, s->tls) < 0) {
            client_finish(s, c, errno ? FAULT_CONNECT : FAULT_TLS);
            return;
        }
        if ((s->joined && setsockopt(c->line.fd, IPPROTO_UDP, CLIENTS_UDP_GRO, &one, sizeof one) < 0) ||
            epoll_ctl(s->epoll, EPOLL_CTL_ADD, c->line.fd, &event) < 0) {
            client_finish(s, c, FAULT_CONNECT);
            return;
        }
    }
    client_ask(s, c, clients_now());
}

/* Keep what a challenge told. */
static inline int client_challenged(struct clients *s, struct client *c, const uint8_t *p, uint32_t size) {
    const uint8_t *value;
    int32_t n = stun_find(p, size, STUN_NONCE, &value);
    if (n <= 0 || n > (int32_t)sizeof c->nonce) return -1;
    memcpy(c->nonce, value, (size_t)n);
    c->nonce_size = (uint32_t)n;
    n = stun_find(p, size, STUN_REALM, &value);
    return n == (int32_t)s->realm_size && memcmp(value, s->realm, s->realm_size) == 0 ? 0 : -1;
}

/* A STUN message that is no data has come: where it answers the request under way, go on with the plan. */
static inline void client_answered(struct clients *s, struct client *c, const uint8_t *p, uint32_t size, uint64_t now) {
    if (!c->active || memcmp(p + 8, c->id, STUN_ID) != 0) return;
    int step = s->plan[c->place];
    uint32_t kind = stun_load16(p) & 0x110, code = kind == STUN_ERROR ? stun_error_code(p, size) : 0;
    s->answered++;
    s->exchange[histogram_place((now - c->asked_ns) / 1000)]++;
    if (step == STEP_CHALLENGE ? code == 401 : code == 438 && c->stale < CLIENTS_STALE) {
        if (client_challenged(s, c, p, size) < 0) {
            client_finish(s, c, FAULT_MALFORMED);
            return;
        }
        c->stale++;
    } else if (kind != STUN_SUCCESS || step == STEP_CHALLENGE) {
        client_finish(s, c, code ? code : FAULT_MALFORMED);
        return;
    } else {
        c->stale = 0;
    }
    if (code != 438 && ++c->place == s->plan_size) {
        client_finish(s, c, 0);
        return;
    }
    client_ask(s, c, now);
}

/* A plan for clients `first` to `first + jobs`, `window` at a time; or `passing`, for as many new ones, one after the other
 * in the places from 0 to `window`. */
static inline void clients_plan(struct clients *s, const int *steps, uint32_t size, uint32_t first, uint32_t jobs,
                                uint32_t window, int passing) {
    memcpy(s->plan, steps, size * sizeof *steps);
    s->plan_size = size;
    s->first = first;
    s->jobs = jobs;
    s->begun = s->done = s->active_count = 0;
    s->window = window;
    s->passing = passing;
}

/* Begin what may begin; send again, or give up, what is not answered. */
static inline void clients_go_on(struct clients *s, uint64_t now) {
    while (s->begun < s->jobs && s->active_count < s->window) {
        uint32_t i = s->first + s->begun;
        if (s->passing) for (i = 0; s->all[i].active; i++); /* of `window` places one is free */
        s->begun++;
        client_begin(s, &s->all[i]);
    }
    if (now - s->looked_ns < CLIENTS_LOOK_MS * 1000000u) return;
    s->looked_ns = now;
    for (uint32_t i = s->active_count; i-- > 0;) {
        struct client *c = &s->all[s->active[i]];
        if (now < (c->line.is_stream ? c->asked_ns + CLIENTS_PATIENCE_MS * 1000000ull : c->again_ns)) continue;
        if (c->line.is_stream || ++c->tries == CLIENTS_TRIES) {
            client_finish(s, c, FAULT_SILENT);
            continue;
        }
        s->sent_again++;
        client_say(s, c, now);
    }
}

#endif
