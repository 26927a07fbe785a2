// Thousands of connections that mean no good. See hostile.py.
//
//     hostile PORT CONNECTIONS SECONDS HOW EARS FIRST NEXT
//
// FIRST and NEXT are files. Each connection sends FIRST as soon as it is there, and then, HOW:
//
//     hold     nothing more
//     drip     NEXT, a byte a second, from the beginning again after its end
//     again    NEXT, once a second
//     ask      NEXT, each time that something has come back
//     churn    nothing: it is closed, and opened again, once a second
//
// EARS: `reads` what comes, or `deaf`, with as small a buffer as the kernel allows. A connection that the server closes is opened again within
// a second. They come from sixteen addresses of this machine, so that their ports do not run out. Prints, as JSON, how many were opened, closed
// by the server, and refused by the kernel, and the bytes that were sent and received.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum how { HOLD, DRIP, AGAIN, ASK, CHURN };
enum { SLICES = 50 };

struct file {
    char *bytes;
    size_t length;
};

struct connection {
    int socket;
    // Whether FIRST is sent, and how far a drip has come.
    int begun;
    size_t dripped;
};

static struct connection *all;
static struct file first, next;
static enum how how;
static int ready, port, deaf;
static long opened, closed, refused, sent, received;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static struct file contents(const char *path) {
    struct file made = {NULL, 0};
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    made.length = ftell(file);
    rewind(file);
    made.bytes = malloc(made.length + 1);
    if (fread(made.bytes, 1, made.length, file) != made.length) fail(path);
    fclose(file);
    return made;
}

static void reconnect(int i) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) fail("socket");
    int yes = 1, least = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (deaf) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    struct sockaddr_in from = {AF_INET, 0, {htonl(INADDR_LOOPBACK + 1 + i % 16)}, {0}};
    struct sockaddr_in to = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) fail("bind");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        close(fd);
        refused++;
        return;
    }
    all[i] = (struct connection){fd, 0, 0};
    struct epoll_event event = {EPOLLOUT, {.u32 = i}};
    if (epoll_ctl(ready, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static void drop(int i) {
    close(all[i].socket);
    all[i].socket = -1;
}

static void give(int i, const char *bytes, size_t length) {
    ssize_t count = send(all[i].socket, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) sent += count;
}

// What a connection does once a second.
static void turn(int i) {
    struct connection *one = &all[i];
    if (one->socket < 0) return reconnect(i);
    if (!one->begun) return;
    switch (how) {
    case DRIP:
        if (next.length) give(i, next.bytes + one->dripped++ % next.length, 1);
        break;
    case AGAIN: give(i, next.bytes, next.length); break;
    case CHURN:
        drop(i);
        reconnect(i);
        break;
    case HOLD:
    case ASK: break;
    }
}

static void met(int i, unsigned events) {
    struct connection *one = &all[i];
    if (one->socket < 0) return;
    if (!one->begun) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            refused++;
            return drop(i);
        }
        one->begun = 1;
        opened++;
        give(i, first.bytes, first.length);
        struct epoll_event event = {deaf ? EPOLLRDHUP : EPOLLIN | EPOLLRDHUP, {.u32 = i}};
        if (epoll_ctl(ready, EPOLL_CTL_MOD, one->socket, &event)) fail("epoll_ctl");
        return;
    }
    static char input[1 << 16];
    if (events & EPOLLIN) {
        ssize_t count = recv(one->socket, input, sizeof input, MSG_DONTWAIT);
        if (count > 0) {
            received += count;
            if (how == ASK) give(i, next.bytes, next.length);
            return;
        }
        if (count < 0 && errno == EAGAIN) return;
    }
    closed++;
    drop(i);
}

int main(int count, char **arguments) {
    if (count != 8) return 2;
    port = atoi(arguments[1]);
    int connections = atoi(arguments[2]);
    double seconds = atof(arguments[3]);
    const char *names[] = {"hold", "drip", "again", "ask", "churn"};
    for (int i = 0; i < 5; i++) {
        if (!strcmp(arguments[4], names[i])) how = i;
    }
    deaf = !strcmp(arguments[5], "deaf");
    first = contents(arguments[6]);
    next = contents(arguments[7]);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    all = calloc(connections, sizeof *all);
    for (int i = 0; i < connections; i++) all[i].socket = -1;
    if ((ready = epoll_create1(0)) < 0) fail("epoll_create1");
    double begin = now();
    // Each second all of them have their turn, in slices.
    for (long slice = 0;; slice++) {
        int from = (long)connections * (slice % SLICES) / SLICES, to = (long)connections * (slice % SLICES + 1) / SLICES;
        for (int i = from; i < to; i++) turn(i);
        double due = begin + (slice + 1.0) / SLICES, left;
        while ((left = due - now()) > 0) {
            struct epoll_event events[512];
            int found = epoll_wait(ready, events, 512, left * 1000 + 1);
            for (int i = 0; i < found; i++) met(events[i].data.u32, events[i].events);
        }
        if (now() - begin >= seconds) break;
    }
    int open = 0;
    for (int i = 0; i < connections; i++) open += all[i].socket >= 0 && all[i].begun;
    printf("{\"open\": %d, \"opened\": %ld, \"closed\": %ld, \"refused\": %ld, \"sent\": %ld, \"received\": %ld}\n", open, opened, closed,
           refused, sent, received);
}
