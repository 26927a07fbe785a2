#include "pantler.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static const int endings[] = {SIGHUP, SIGINT, SIGTERM};
static const int count = sizeof endings / sizeof *endings;

/// Written once, before the handler is there.
static int told = -1;

static void tell(int number, siginfo_t *info, void *context) {
    (void)context;
    int kept = errno;
    // What the kernel sends by itself comes from the terminal, and goes to all processes in its foreground.
    unsigned char message[2] = {(unsigned char)number, info->si_code == SI_KERNEL};
    // A pipe that is full has told of enough signals.
    ssize_t written = write(told, message, sizeof message);
    (void)written;
    errno = kept;
}

int pantler_catch_endings(void) {
    int ends[2];
    if (pantler_pipe(ends) != 0) return -1;
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    told = ends[1];
    struct sigaction action = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (int index = 0; index < count; index++) {
        struct sigaction before;
        // What nohup, or a shell for what it runs in the background, has had ignored stays ignored.
        if (sigaction(endings[index], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            sigaction(endings[index], &action, NULL);
        }
    }
    return ends[0];
}

void pantler_release_endings(void) {
    for (int index = 0; index < count; index++) {
        struct sigaction before;
        if (sigaction(endings[index], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            signal(endings[index], SIG_DFL);
        }
    }
}
