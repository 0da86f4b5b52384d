#include "deploy/sb/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deploy/sb/command.h"
#include "deploy/sb/supervisor_parts.h"
#include "deploy/sb/terminal.h"

#define MS       INT64_C(1000)
#define HURRY_MS 2000 /* after a second signal */

/* What a run of the supervisor is at. */
struct run {
    struct supervisor *supervisor;
    int signals;           /* signalfd */
    int phase, last_phase; /* the one being started; when stopping, the one being stopped */
    bool stopping;
    bool hurried;
    bool changed; /* the state file is behind */
    int code;
};

struct part *supervisor_add(struct supervisor *supervisor, const char *name, int phase)
{
    assert(supervisor->count < PARTS_MAX);
    struct part *part = &supervisor->parts[supervisor->count++];
    *part = (struct part){ .name = name, .phase = phase, .output = -1, .stop_signal = SIGTERM };
    return part;
}

#define EACH_PART(run, part)                                                                                           \
    for (struct part *part = (run)->supervisor->parts; part < (run)->supervisor->parts + (run)->supervisor->count;     \
         part++)

/* --- stopping ------------------------------------------------------------------------------------------------ */

static void begin_stop(struct run *run, int code)
{
    if (run->stopping)
        return;
    run->stopping = run->changed = true;
    run->code = code;
    run->phase = run->last_phase + 1;
    printf("stopping\n");
    fflush(stdout);
}

/* A second signal: everything at once, and little time. */
static void hurry(struct run *run)
{
    if (run->hurried)
        return;
    run->hurried = true;
    EACH_PART(run, part)
    {
        if (part->pid > 0 && part->state != PART_STOPPING)
            part_stop(part);
        int64_t soon_us = monotonic_us() + HURRY_MS * MS;
        part->next_us = part->next_us < soon_us ? part->next_us : soon_us;
    }
}

/* One phase after the other, the last first. */
static void go_on_stopping(struct run *run)
{
    EACH_PART(run, part)
    if (part->phase >= run->phase && part->pid > 0)
        return;
    while (run->phase > 0) {
        bool any = false;
        run->phase--;
        EACH_PART(run, part)
        {
            if (part->phase != run->phase)
                continue;
            if (part->state != PART_STOPPING)
                part_stop(part);
            any = any || part->pid > 0;
        }
        run->changed = true;
        if (any)
            return;
    }
    run->phase = -1; /* nothing is left */
}

/* --- starting ------------------------------------------------------------------------------------------------ */

static void give_up(struct run *run, const struct part *part, const char *reason)
{
    if (run->stopping)
        return;
    fflush(stdout);
    fprintf(stderr, "sb up: %s could not start: %s\n", part->name, reason);
    begin_stop(run, EXIT_FAILED);
}

static void start(struct run *run, struct part *part)
{
    struct problem why;
    run->changed = true;
    if (!part_start(part, run->supervisor->log_folder, &why))
        give_up(run, part, why.text);
}

static bool is_up(const struct part *part)
{
    if (part->once)
        return part->state == PART_ENDED && (part->status == 0 || part->to_terminal);
    return part->was_ready;
}

static void end_of_phases(struct run *run)
{
    const struct supervisor *supervisor = run->supervisor;
    int status = supervisor->parts[supervisor->count - 1].status;
    if (supervisor->stop_after_last)
        begin_stop(run, WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED);
}

/* Goes to the next phase when all of this one are up. */
static void go_on_starting(struct run *run)
{
    while (!run->stopping && run->phase <= run->last_phase) {
        EACH_PART(run, part)
        if (part->phase == run->phase && !is_up(part))
            return;
        if (run->supervisor->phase_done)
            run->supervisor->phase_done(run->supervisor->context, run->phase);
        run->phase++;
        if (run->phase > run->last_phase)
            end_of_phases(run);
        EACH_PART(run, part)
        if (part->phase == run->phase && !run->stopping)
            start(run, part);
    }
}

/* --- what happens -------------------------------------------------------------------------------------------- */

static void child_ended(struct run *run, pid_t pid, int status)
{
    char reason[2 * LOG_WORDS_BYTES];

    EACH_PART(run, part)
    {
        if (part->pid != pid)
            continue;
        run->changed = true;
        if (part->state == PART_STOPPING) {
            part_ended(part, status);
        } else if (!part_died(part, status) && !is_up(part)) {
            part_words(part, reason, sizeof(reason));
            give_up(run, part, reason);
        }
        return;
    }
}

static void take_signals(struct run *run)
{
    struct signalfd_siginfo info;
    int status;

    while (read(run->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        if (run->stopping)
            hurry(run);
        else
            begin_stop(run, run->supervisor->stop_after_last ? EXIT_FAILED : EXIT_FINE);
    }
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        child_ended(run, pid, status);
}

/* What is due for one part now. */
static void tend(struct run *run, struct part *part)
{
    char reason[512];
    int64_t now = monotonic_us();

    if (part->state == PART_STARTING && part->listen && part_check(part))
        run->changed = true;
    if (part->state == PART_STARTING && part->start_ms && now > part->started_us + part->start_ms * MS) {
        snprintf(reason, sizeof(reason), "it was not ready after %lld s (%s); what it said is in %s",
                 (long long)part->start_ms / 1000, part->probe.said, part->log.path);
        if (!part->was_ready)
            give_up(run, part, reason);
        kill(-part->pid, SIGKILL); /* its end is told by SIGCHLD */
        part->started_us = now;
    }
    if (part->state == PART_BACKING_OFF && now >= part->next_us && !run->stopping)
        start(run, part);
    if (part->state == PART_STOPPING && now >= part->next_us)
        part_kill(part);
}

/* When something is due next, in milliseconds for poll; -1: nothing is. */
static int next_due(struct run *run)
{
    int64_t due_us = INT64_MAX;
    EACH_PART(run, part)
    {
        int64_t part_us = INT64_MAX;
        bool probing = part->probe.listen && part->probe.socket >= 0;
        if (part->state == PART_BACKING_OFF || part->state == PART_STOPPING)
            part_us = part->next_us;
        else if (part->state == PART_STARTING && part->listen)
            part_us = probing ? part->probe.deadline_us : part->next_us;
        if (part->state == PART_STARTING && part->start_ms && part->started_us + part->start_ms * MS < part_us)
            part_us = part->started_us + part->start_ms * MS;
        due_us = part_us < due_us ? part_us : due_us;
    }
    if (due_us == INT64_MAX)
        return -1;
    int64_t left_ms = (due_us - monotonic_us()) / MS + 1;
    return left_ms > 0 ? (int)left_ms : 0;
}

static void wait_and_take(struct run *run)
{
    struct pollfd waits[1 + 2 * PARTS_MAX] = { { .fd = run->signals, .events = POLLIN } };
    nfds_t count = 1;

    EACH_PART(run, part)
    {
        waits[count++] = (struct pollfd){ .fd = part->output > 0 ? part->output : -1, .events = POLLIN };
        bool probing = part->state == PART_STARTING && part->probe.listen && part->probe.socket >= 0;
        waits[count++] = (struct pollfd){ .fd = probing ? part->probe.socket : -1,
                                          .events = probing ? probe_events(&part->probe) : 0 };
    }
    if (poll(waits, count, next_due(run)) < 0 && errno != EINTR)
        return;
    count = 1;
    EACH_PART(run, part)
    {
        if (waits[count].revents)
            part_read_output(part);
        count += 2;
    }
    if (waits[0].revents)
        take_signals(run);
}

static int signals_open(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int supervisor_run(struct supervisor *supervisor)
{
    struct run run = { .supervisor = supervisor, .changed = true, .signals = signals_open() };

    prctl(PR_SET_CHILD_SUBREAPER, 1); /* children of a part that died come to us, not to init */
    EACH_PART(&run, part)
    run.last_phase = part->phase > run.last_phase ? part->phase : run.last_phase;
    EACH_PART(&run, part)
    if (part->phase == 0 && !run.stopping)
        start(&run, part);
    while (run.phase >= 0) {
        go_on_starting(&run);
        if (run.stopping) /* perhaps since just now */
            go_on_stopping(&run);
        if (run.changed)
            state_write(supervisor);
        run.changed = false;
        if (run.phase < 0)
            break;
        wait_and_take(&run);
        EACH_PART(&run, part)
        tend(&run, part);
    }
    EACH_PART(&run, part)
    part_read_output(part);
    close(run.signals);
    return run.code;
}
