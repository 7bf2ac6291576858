/* What the kernel tells of datagrams that a relay socket sent and that came to nothing (IP_RECVERR), and the options
 * that a relay socket and a listener are given. */
#ifndef ORCHARD_SOCKETS_H
#define ORCHARD_SOCKETS_H

#include "batch.h"

#include <linux/errqueue.h>
#include <unistd.h>

#include "bytes.h"
#include "frame.h"
#include "intake.h"

enum { SOCKET_MEMINFO = 55, SOCKET_DROPS = 8, SOCKET_FIGURES = 16 }; /* asm-generic/socket.h, linux/sock_diag.h */

struct icmp_error {
    uint8_t peer[FRAME_PEER]; /* whom the datagram was for */
    uint8_t type, code;
    uint32_t data; /* RFC 8656 18.13: the MTU of a "too big", else 0 */
};

/* RFC 8656 11.5: the types that a client is told of. */
static inline int icmp_is_told(const struct sock_extended_err *e) {
    if (e->ee_origin == SO_EE_ORIGIN_ICMP) return e->ee_type == 3 || e->ee_type == 11;
    if (e->ee_origin == SO_EE_ORIGIN_ICMP6) return e->ee_type >= 1 && e->ee_type <= 3;
    return 0;
}

/* Take one from the socket: 1, 0 where it is of no kind that is told, -1 when there is none. */
static inline int icmp_take(int fd, struct icmp_error *out) {
    struct sockaddr_in6 name;
    uint64_t control[64];
    struct msghdr h;
    int told = 0;
    memset(&name, 0, sizeof name);
    memset(&h, 0, sizeof h);
    memset(out, 0, sizeof *out);
    h.msg_name = &name;
    h.msg_namelen = sizeof name;
    h.msg_control = control;
    h.msg_controllen = sizeof control;
    if (recvmsg(fd, &h, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return -1;
    if (name.sin6_family == AF_INET6) {
        memcpy(out->peer, &name.sin6_addr, 16);
        memcpy(out->peer + 16, &name.sin6_port, 2);
    } else {
        struct sockaddr_in v4;
        memcpy(&v4, &name, sizeof v4);
        batch_v4_mapped(out->peer, &v4.sin_addr);
        memcpy(out->peer + 16, &v4.sin_port, 2);
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
        struct sock_extended_err e;
        if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
            !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
            continue;
        memcpy(&e, CMSG_DATA(c), sizeof e);
        told = icmp_is_told(&e);
        out->type = e.ee_type;
        out->code = e.ee_code;
        if (e.ee_errno == EMSGSIZE) out->data = e.ee_info;
    }
    return told;
}

static inline int socket_option(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value);
}

/* Datagrams that the socket's queue has lost since it was opened. */
static inline uint32_t socket_lost(int fd) {
    uint32_t figures[SOCKET_FIGURES];
    socklen_t size = sizeof figures;
    if (getsockopt(fd, SOL_SOCKET, SOCKET_MEMINFO, figures, &size) < 0 || size <= SOCKET_DROPS * sizeof *figures) return 0;
    return figures[SOCKET_DROPS];
}

/* AF_INET or AF_INET6 of a UDP socket, else -1. */
static inline int socket_family(int fd) {
    int family = -1, type = -1;
    socklen_t size = sizeof family;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0) return -1;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_DGRAM) return -1;
    return family == AF_INET || family == AF_INET6 ? family : -1;
}

/* 16 bytes of the address to which a socket is bound: 1, or 0 where it hears on every address. */
static inline int socket_bound(int fd, uint8_t local[16]) {
    static const uint8_t any[16];
    struct sockaddr_in6 name;
    socklen_t size = sizeof name;
    memset(&name, 0, sizeof name);
    if (getsockname(fd, (struct sockaddr *)&name, &size) < 0) return 0;
    if (name.sin6_family == AF_INET6) {
        memcpy(local, &name.sin6_addr, 16);
        return memcmp(local, any, 16) != 0;
    }
    struct sockaddr_in v4;
    memcpy(&v4, &name, sizeof v4);
    batch_v4_mapped(local, &v4.sin_addr);
    return v4.sin_addr.s_addr != 0;
}

/* Whether what leaves has DF set, or may be cut on its way (RFC 8656 14: not set where the client didn't ask). With DF
 * the kernel is not to remember paths' MTUs: the client measures. */
static inline void socket_dont_fragment(int fd, int family, int on) {
    if (family == AF_INET6) socket_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, on ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_DONT);
    else socket_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, on ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT);
}

/* Traffic class and, unless it is bound to one, the address that was hit with each datagram, and several of one sender
 * together where the kernel can (it is no fault if not); losses are asked for (socket_lost), since to be told of them costs
 * each datagram a look. -1: errno says why this is no such socket. */
static inline int socket_listens(int fd, int family, int bound) {
    int failed = family == AF_INET6 ? socket_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) : 0;
    if (bound) {
        if (family == AF_INET6) socket_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 0);
        else socket_option(fd, IPPROTO_IP, IP_PKTINFO, 0);
    }
    socket_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 0);
    socket_option(fd, IPPROTO_UDP, INTAKE_UDP_GRO, 1);
    return socket_option(fd, IPPROTO_IP, IP_RECVTOS, 1) < 0 || failed < 0 ? -1 : 0; /* IPv4 comes to IPv6 sockets too */
}

/* The like for a relay socket, and word of what came to nothing. */
static inline int socket_relays(int fd, int family) {
    int v6 = family == AF_INET6;
    if (socket_option(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVTCLASS : IP_RECVTOS, 1) < 0) return -1;
    if (socket_option(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, 1) < 0) return -1;
    socket_option(fd, IPPROTO_UDP, INTAKE_UDP_GRO, 1);
    socket_dont_fragment(fd, family, 0);
    return 0;
}

#endif
