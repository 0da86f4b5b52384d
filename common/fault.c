/* fault.c: what happens at a fault point; empty in a build for production. */
#include "common/fault.h"

#if defined(FAULT_POINTS)

#include "common/base.h"
#include "common/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX 32
#define NAME_BYTES 48
#define LINE_BYTES 256

enum action { FAULT_NONE, FAULT_KILL, FAULT_STOP, FAULT_DELAY, FAULT_FAIL };
static const char *const action_names[] = {
    [FAULT_NONE] = "none", [FAULT_KILL] = "kill", [FAULT_STOP] = "stop", [FAULT_DELAY] = "delay", [FAULT_FAIL] = "error" };

struct rule {
    char name[NAME_BYTES];
    enum action action;
    long ms;
    long nth;                           /* 0: by chance */
    double probability;
    long hits;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[RULES_MAX];
static int rule_count;
static uint64_t chance;                 /* the generator's state: splitmix64 */
static struct stat known;               /* of the file that was read */

static double draw(void)
{
    uint64_t value = (chance += 0x9E3779B97F4A7C15u);
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return (double)((value ^ (value >> 31)) >> 11) / 9007199254740992.0;
}

static bool rule_read(const char *line, struct rule *ret)
{
    char action[16] = "", how[32] = "";
    *ret = (struct rule){ .probability = 1 };
    if (sscanf(line, "%47[^=]=%15[a-z]:%ld %31s", ret->name, action, &ret->ms, how) < 3)
        sscanf(line, "%47[^=]=%15[a-z] %31s", ret->name, action, how);
    for (size_t i = FAULT_KILL; i < LENGTH(action_names); i++)
        if (strcmp(action, action_names[i]) == 0)
            ret->action = (enum action)i;
    if (strncmp(how, "nth=", 4) == 0)
        ret->nth = atol(how + 4);
    else if (strncmp(how, "p=", 2) == 0)
        ret->probability = atof(how + 2);
    return ret->action != FAULT_NONE;
}

/* Lock held.  A file that is not there is one without rules. */
static void rules_refresh(void)
{
    const char *path = getenv("FAULT_FILE");
    struct stat now = { 0 };
    if (!path || stat(path, &now) != 0)
        now = (struct stat){ 0 };
    if (now.st_ino == known.st_ino && now.st_mtim.tv_sec == known.st_mtim.tv_sec && now.st_mtim.tv_nsec == known.st_mtim.tv_nsec)
        return;
    known = now;
    rule_count = 0;
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file)
        return;
    char line[LINE_BYTES];
    while (fgets(line, sizeof(line), file) && rule_count < RULES_MAX) {
        if (strncmp(line, "seed=", 5) == 0)
            chance = strtoull(line + 5, NULL, 10);
        else if (rule_read(line, &rules[rule_count]))
            rule_count++;
        else if (line[0] != '\n' && line[0] != '#')
            log_error("a line of FAULT_FILE is no rule", LOG_TEXT("line", line));
    }
    fclose(file);
}

static enum action decide(const char *name, long *ret_ms)
{
    enum action action = FAULT_NONE;
    pthread_mutex_lock(&lock);
    rules_refresh();
    for (int i = 0; i < rule_count && action == FAULT_NONE; i++) {
        struct rule *rule = &rules[i];
        if (strcmp(rule->name, name) != 0)
            continue;
        rule->hits++;
        if (rule->nth > 0 ? rule->hits == rule->nth : draw() < rule->probability) {
            action = rule->action;
            *ret_ms = rule->ms;
        }
    }
    pthread_mutex_unlock(&lock);
    return action;
}

static void pause_ms(long ms)
{
    struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
    nanosleep(&pause, NULL);
}

/* A grandchild that holds nothing of ours open wakes us: nobody else knows that we stopped. */
static void freeze(long ms)
{
    pid_t self = getpid(), child = fork();
    if (child == 0) {
        if (fork() == 0) {
            close_range(0, ~0U, 0);
            pause_ms(ms);
            kill(self, SIGCONT);
        }
        _exit(0);
    }
    if (child < 0)
        return;
    waitpid(child, NULL, 0);
    kill(self, SIGSTOP);
}

bool fault_point(const char *name)
{
    long ms = 0;
    enum action action = decide(name, &ms);
    if (action == FAULT_NONE)
        return false;
    log_warning("fault", LOG_TEXT("point", name), LOG_TEXT("action", action_names[action]), LOG_INT("for_ms", ms));
    if (action == FAULT_KILL)
        kill(getpid(), SIGKILL);
    else if (action == FAULT_STOP)
        freeze(ms);
    else if (action == FAULT_DELAY)
        pause_ms(ms);
    return action == FAULT_FAIL;
}

#endif
