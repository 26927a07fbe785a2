// accept4 is Linux's own.
#define _GNU_SOURCE

#include "pantler.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

int pantler_accept(int listener, pantler_peer *peer) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    memset(peer, 0, sizeof *peer);
    int connection = accept4(listener, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection < 0) return connection;
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)&address;
        peer->family = pantler_peer_ipv4;
        peer->port = ntohs(ipv4->sin_port);
        memcpy(peer->address, &ipv4->sin_addr, 4);
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)&address;
        peer->port = ntohs(ipv6->sin6_port);
        // A socket of IPv6 shows those who come by IPv4 as ::ffff:a.b.c.d.
        int mapped = IN6_IS_ADDR_V4MAPPED(&ipv6->sin6_addr);
        peer->family = mapped ? pantler_peer_ipv4 : pantler_peer_ipv6;
        memcpy(peer->address, ipv6->sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    }
    return connection;
}
