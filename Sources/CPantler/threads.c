// The cpu_set_t functions are Linux's own.
#define _GNU_SOURCE

#include "pantler.h"

#include <sys/prctl.h>

bool pantler_get_affinity(pid_t thread, cpu_set_t *cores) {
    return sched_getaffinity(thread, sizeof *cores, cores) == 0;
}

bool pantler_set_affinity(const cpu_set_t *cores) { return sched_setaffinity(0, sizeof *cores, cores) == 0; }

void pantler_name_thread(const char *name) { prctl(PR_SET_NAME, name); }
