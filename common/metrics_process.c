#include "common/metrics_process.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t start_us; /* 0: not known */

static int64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return -1;
    long long size, resident;
    int found = fscanf(file, "%lld %lld", &size, &resident);
    fclose(file);
    return found == 2 ? resident * sysconf(_SC_PAGESIZE) : -1;
}

static int open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    if (!directory)
        return -1;
    int files = 0;
    for (const struct dirent *entry; (entry = readdir(directory));)
        files += entry->d_name[0] != '.';
    closedir(directory);
    return files - 1; /* not the directory being read */
}

/* The 22nd field of /proc/self/stat is the start in clock ticks since boot; the second, in parentheses, may hold
 * anything. */
static int64_t start_ticks(void)
{
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file)
        return -1;
    size_t bytes = fread(line, 1, sizeof(line) - 1, file);
    fclose(file);
    line[bytes] = 0;
    const char *at = strrchr(line, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoll(at, NULL, 10) : -1;
}

static void find_start(void)
{
    int64_t ticks = start_ticks();
    struct timespec since_boot;
    if (ticks < 0 || clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0)
        return;
    int64_t boot_us = now_us() - (since_boot.tv_sec * INT64_C(1000000) + since_boot.tv_nsec / 1000);
    start_us = boot_us + ticks * 1000000 / sysconf(_SC_CLK_TCK);
}

void metrics_print_process(struct buf *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_start);

    int64_t resident = resident_bytes();
    if (resident >= 0)
        buf_printf(out,
                   "# HELP process_resident_memory_bytes memory held\n# TYPE process_resident_memory_bytes gauge\n"
                   "process_resident_memory_bytes %lld\n",
                   (long long)resident);
    struct timespec used;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0)
        buf_printf(out,
                   "# HELP process_cpu_seconds_total processor time used\n# TYPE process_cpu_seconds_total counter\n"
                   "process_cpu_seconds_total %lld.%06ld\n",
                   (long long)used.tv_sec, used.tv_nsec / 1000);
    int files = open_files();
    if (files >= 0)
        buf_printf(out,
                   "# HELP process_open_fds open files and sockets\n# TYPE process_open_fds gauge\n"
                   "process_open_fds %d\n",
                   files);
    if (start_us > 0)
        buf_printf(out,
                   "# HELP process_start_time_seconds when the process started, since 1970\n"
                   "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %lld.%06lld\n",
                   (long long)(start_us / 1000000), (long long)(start_us % 1000000));
}
