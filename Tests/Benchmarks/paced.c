// Requests at a fixed rate, evenly spaced, whether the answers keep up or not, and percentiles of what they take, as JSON. See steady.py and
// scaling.py.
//
//     paced PORT REQUESTS_PER_SECOND SECONDS CONNECTIONS PATH KEYS [BODY...]
//
// Without bodies they are GETs of PATH and eight digits, drawn from 0 to KEYS - 1; with bodies PUTs of them by turns, to one key after the
// other. PACED_FIELDS in the environment stands in the head of each, as `Authorization: Bearer …` with its line's end. Latency counts from the moment at which a request was due: a server that stands still is charged with every request that
// it kept from being sent meanwhile.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

// Requests that may wait for their answers on one connection; a server that is further behind has failed.
enum { CONNECTIONS = 1024, WAITING = 1 << 14, ANSWER = 1 << 16 };

struct connection {
    long due[WAITING];
    unsigned sent, answered;
    char input[ANSWER];
    size_t length;
    int socket;
};

static struct connection all[CONNECTIONS];
static int ready;
static const char *fields;
static long *latencies, answers;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

static void connect_all(int count, int port) {
    struct sockaddr_in to = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    int yes = 1;
    for (int i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct epoll_event event = {EPOLLIN, {.u32 = i}};
        if (epoll_ctl(ready, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
        all[i].socket = fd;
    }
}

static void ask(int i, const char *path, unsigned key, const char *body, long due) {
    struct connection *one = &all[i];
    char request[ANSWER];
    int size = snprintf(request, sizeof request, "%s %s%08u HTTP/1.1\r\nHost: 127.0.0.1\r\n%s", body ? "PUT" : "GET", path, key,
                        fields);
    size += body ? snprintf(request + size, sizeof request - size,
                            "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body)
                 : snprintf(request + size, sizeof request - size, "\r\n");
    if (size >= (int)sizeof request) fail("a body is too long");
    if (one->sent - one->answered == WAITING) fail("the server does not keep up");
    one->due[one->sent++ % WAITING] = due;
    if (send(all[i].socket, request, size, MSG_NOSIGNAL) != size) fail("send");
}

static void take_answers(int i) {
    struct connection *one = &all[i];
    ssize_t more = recv(all[i].socket, one->input + one->length, ANSWER - 1 - one->length, MSG_DONTWAIT);
    long at = now();
    if (more <= 0) fail("the server has closed");
    one->length += more;
    one->input[one->length] = 0;
    char *start = one->input, *end;
    while ((end = strstr(start, "\r\n\r\n"))) {
        char *field = strcasestr(start, "\r\ncontent-length:");
        char *next = end + 4 + (field && field < end ? atol(field + 17) : 0);
        if (next > one->input + one->length) break;
        if (strncmp(start, "HTTP/1.1 20", 11)) {
            fprintf(stderr, "an answer began %.32s\n", start);
            exit(1);
        }
        latencies[answers++] = at - one->due[one->answered++ % WAITING];
        start = next;
    }
    one->length -= start - one->input;
    memmove(one->input, start, one->length);
}

static int ascending(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static double microseconds(double share) { return latencies[(long)((answers - 1) * share)] / 1e3; }

int main(int count, char **arguments) {
    if (count < 7) return 2;
    double rate = atof(arguments[2]);
    long total = rate * atof(arguments[3]), sent = 0;
    int connections = atoi(arguments[4]), keys = atoi(arguments[6]);
    if (total < 1 || connections < 1 || connections > CONNECTIONS || keys < 1) return 2;
    fields = getenv("PACED_FIELDS");
    if (!fields) fields = "";
    latencies = calloc(total, sizeof *latencies);
    if ((ready = epoll_create1(0)) < 0) fail("epoll_create1");
    connect_all(connections, atoi(arguments[1]));
    // Sleep to the microsecond, and not to the kernel's usual 50.
    prctl(PR_SET_TIMERSLACK, 1);
    srandom(7);
    long begin = now() + 10000000;
    while (answers < total) {
        long due;
        while (due = begin + sent * 1e9 / rate, sent < total && due <= now()) {
            const char *body = count > 7 ? arguments[7 + sent % (count - 7)] : NULL;
            ask(sent % connections, arguments[5], (body ? sent : random()) % keys, body, due);
            sent++;
        }
        long wait = sent < total ? due - now() : 10000000000L;
        if (wait < 0) wait = 0;
        struct timespec most = {wait / 1000000000L, wait % 1000000000L};
        // epoll_wait(2) knows milliseconds alone.
        struct pollfd any = {ready, POLLIN, 0};
        if (ppoll(&any, 1, &most, NULL) == 0 && sent == total) fail("no answer");
        struct epoll_event events[64];
        int found = epoll_wait(ready, events, 64, 0);
        for (int i = 0; i < found; i++) take_answers(events[i].data.u32);
    }
    qsort(latencies, total, sizeof *latencies, ascending);
    printf("{\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n", microseconds(0.5), microseconds(0.99),
           microseconds(0.999), microseconds(1));
}
