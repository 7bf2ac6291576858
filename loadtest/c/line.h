/* A client's way to the server: a UDP socket, or a connection over TCP or TLS. Opening blocks, for a few seconds at most;
 * after that nothing does. What a stream does not take at once waits in its line, up to a bound. */
#ifndef ORCHARD_LOADTEST_LINE_H
#define ORCHARD_LOADTEST_LINE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum {
    LINE_UDP = 0,
    LINE_TCP = 1,
    LINE_TLS = 2,
    LINE_IN = 32768,       /* read from a stream at a time; more than any message that a server is asked for has */
    LINE_OUT = 1 << 20,    /* may wait to be written: more is refused */
    LINE_PATIENCE_S = 10,  /* of connecting and of the handshake */
    LINE_BUFFER = 1 << 20, /* receive buffer that is asked for */
    LINE_PORTS_FIRST = 10000, /* own UDP ports, in turn: a server may remember a 5-tuple for a while. Chosen: ... */
    LINE_PORTS = 22000        /* ... below those that the system draws */
};

struct line {
    int fd; /* -1: closed */
    SSL *ssl;
    int is_stream;
    uint8_t *in; /* of a stream: what was read and is no whole message yet, LINE_IN bytes */
    uint32_t in_size;
    uint8_t *out; /* of a stream: what was not written yet */
    uint32_t out_at, out_end, out_room;
};

static inline socklen_t line_address_size(const struct sockaddr_storage *address) {
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static inline void line_close(struct line *l) {
    if (l->ssl) {
        ERR_clear_error();
        SSL_shutdown(l->ssl);
        SSL_free(l->ssl);
        ERR_clear_error();
    }
    if (l->fd >= 0) close(l->fd);
    free(l->in);
    free(l->out);
    memset(l, 0, sizeof *l);
    l->fd = -1;
}

/* Bind to the next port of our own that is free. */
static inline int line_bind(int fd, const struct sockaddr_storage *local, uint32_t *port) {
    for (uint32_t tries = 0; tries < LINE_PORTS; tries++) {
        struct sockaddr_storage name = *local;
        uint16_t number = htons((uint16_t)(LINE_PORTS_FIRST + (*port)++ % LINE_PORTS));
        if (name.ss_family == AF_INET6) ((struct sockaddr_in6 *)(void *)&name)->sin6_port = number;
        else ((struct sockaddr_in *)(void *)&name)->sin_port = number;
        if (bind(fd, (const struct sockaddr *)&name, line_address_size(&name)) == 0) return 0;
        if (errno != EADDRINUSE && errno != EACCES) return -1;
    }
    return -1;
}

static inline int line_handshake(struct line *l, SSL_CTX *tls) {
    ERR_clear_error();
    l->ssl = SSL_new(tls);
    int done = l->ssl && SSL_set_fd(l->ssl, l->fd) == 1 && SSL_connect(l->ssl) == 1;
    ERR_clear_error();
    return done ? 0 : -1;
}

/* Connect from `local` (any port) to `server`. -1: errno says why, 0 where TLS failed; nothing is open then. */
static inline int line_open(struct line *l, int kind, const struct sockaddr_storage *server,
                            const struct sockaddr_storage *local, uint32_t *port, SSL_CTX *tls) {
    int one = 1, buffer = LINE_BUFFER, saved;
    struct timeval patience = {LINE_PATIENCE_S, 0};
    memset(l, 0, sizeof *l);
    l->is_stream = kind != LINE_UDP;
    l->fd = socket(server->ss_family, (l->is_stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    if (l->fd < 0) return -1;
    if (!l->is_stream) {
        setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        if (line_bind(l->fd, local, port) < 0) goto failed;
    } else {
        setsockopt(l->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        l->in = malloc(LINE_IN);
        if (!l->in) goto failed;
    }
    if (connect(l->fd, (const struct sockaddr *)server, line_address_size(server)) < 0) goto failed;
    if (kind == LINE_TLS && line_handshake(l, tls) < 0) {
        errno = 0;
        goto failed;
    }
    if (fcntl(l->fd, F_SETFL, O_NONBLOCK) < 0) goto failed;
    return 0;
failed:
    saved = errno;
    line_close(l);
    errno = saved;
    return -1;
}

/* Write to a stream what goes at once; how many bytes, or -1 when the connection is over. */
static inline int64_t line_write(struct line *l, const uint8_t *data, uint32_t size) {
    uint32_t done = 0;
    while (done < size) {
        if (!l->ssl) {
            ssize_t n = send(l->fd, data + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
            if (n < 0) return -1;
            done += (uint32_t)n;
            continue;
        }
        size_t n = 0;
        ERR_clear_error();
        if (SSL_write_ex(l->ssl, data + done, size - done, &n) == 1) {
            done += (uint32_t)n;
            continue;
        }
        int why = SSL_get_error(l->ssl, 0);
        ERR_clear_error();
        if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) return -1;
        break;
    }
    return done;
}

/* Write what waits: 0, or -1 when the connection is over. */
static inline int line_flush(struct line *l) {
    if (l->out_at == l->out_end) return 0;
    int64_t n = line_write(l, l->out + l->out_at, l->out_end - l->out_at);
    if (n < 0) return -1;
    l->out_at += (uint32_t)n;
    if (l->out_at == l->out_end) l->out_at = l->out_end = 0;
    return 0;
}

static inline int line_waits(const struct line *l) { return l->out_at != l->out_end; }

/* Send a datagram, or whole messages on a stream. 1; 0 where there is no room for it and nothing was sent; -1 when the
 * connection is over. */
static inline int line_send(struct line *l, const uint8_t *data, uint32_t size) {
    if (!l->is_stream) return send(l->fd, data, size, MSG_DONTWAIT) >= 0;
    int64_t n = line_waits(l) ? 0 : line_write(l, data, size);
    if (n < 0) return -1;
    uint32_t rest = size - (uint32_t)n;
    if (!rest) return 1;
    if (l->out_at && l->out_end + rest > l->out_room) {
        memmove(l->out, l->out + l->out_at, l->out_end - l->out_at);
        l->out_end -= l->out_at;
        l->out_at = 0;
    }
    if (l->out_end + rest > l->out_room) {
        uint32_t room = 2 * (l->out_end + rest);
        uint8_t *more = l->out_end + rest > LINE_OUT && n == 0 ? NULL : realloc(l->out, room);
        if (!more) return n == 0 ? 0 : -1; /* half a message is the end of a stream */
        l->out = more;
        l->out_room = room;
    }
    memcpy(l->out + l->out_end, data + n, rest);
    l->out_end += rest;
    return 1;
}

/* Read from a stream behind what is held. How many bytes, 0 where nothing waits, -1 when it is over. */
static inline int line_read(struct line *l) {
    uint32_t room = LINE_IN - l->in_size;
    if (!room) return -1; /* a message longer than any that was asked for */
    if (!l->ssl) {
        ssize_t n = recv(l->fd, l->in + l->in_size, room, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
        if (n <= 0) return -1;
        l->in_size += (uint32_t)n;
        return (int)n;
    }
    size_t n = 0;
    ERR_clear_error();
    if (SSL_read_ex(l->ssl, l->in + l->in_size, room, &n) == 1) {
        l->in_size += (uint32_t)n;
        return (int)n;
    }
    int why = SSL_get_error(l->ssl, 0);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* The size of the next message that is held, with its padding; 0 where it is not whole, -1 where it is none. */
static inline int32_t line_next(const uint8_t *p, uint32_t size) {
    if (size < 4) return 0;
    uint32_t length = (uint32_t)p[2] << 8 | p[3];
    if (p[0] < 4) length += 20;
    else if (p[0] >= 64 && p[0] < 128) length = (length + 4 + 3) & ~3u;
    else return -1;
    return length <= size ? (int32_t)length : 0;
}

#endif
