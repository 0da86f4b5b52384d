#include "deploy/sb/supervisor_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deploy/sb/command.h"
#include "deploy/sb/terminal.h"

#define MS                     INT64_C(1000)
#define PROBE_FIRST_MS         20
#define PROBE_EVERY_MS         100
#define BACKOFF_FIRST_MS       500
#define BACKOFF_MS_MAX         30000
#define STEADY_MS              60000 /* ready for so long: the next death begins a new series of back-offs */
#define TRIES_MAX              3     /* to get ready for the first time */
#define PROBE_ANSWER_BYTES_MAX (64 * 1024)

const char *const part_states[] = {
    [PART_WAITING] = "waiting",         [PART_STARTING] = "starting", [PART_READY] = "ready",
    [PART_BACKING_OFF] = "backing off", [PART_STOPPING] = "stopping", [PART_ENDED] = "ended",
};

static void say(const struct part *part, enum colour colour, const char *what, int64_t us, const char *more)
{
    printf("  %-11s %s%-8s%s", part->name, colour_begin(colour), what, colour_end());
    if (us >= 0)
        printf(" %5.1f s", (double)us / 1e6);
    printf("%s%s\n", *more ? "  " : "", more);
    fflush(stdout);
}

static void close_output(struct part *part)
{
    if (part->output > 0)
        close(part->output);
    part->output = -1;
}

void part_read_output(struct part *part)
{
    char piece[16384];

    while (part->output > 0) {
        ssize_t bytes = read(part->output, piece, sizeof(piece));
        if (bytes > 0)
            logfile_add(&part->log, (struct text){ piece, (size_t)bytes });
        else if (bytes == 0 || (errno != EAGAIN && errno != EINTR))
            close_output(part);
        else if (errno == EAGAIN)
            return;
    }
}

void part_words(const struct part *part, char *ret, size_t room)
{
    char ending[64], words[LOG_WORDS_BYTES];

    child_ending_print(part->status, ending, sizeof(ending));
    logfile_words(&part->log, words);
    snprintf(ret, room, "%s%s%s%s%s", ending, *words ? "; it said last: " : "", words,
             part->to_terminal ? "" : "; all of it is in ", part->to_terminal ? "" : part->log.path);
}

bool part_start(struct part *part, const char *log_folder, struct problem *why)
{
    int pipes[2] = { -1, -1 };

    close_output(part);
    part->state = PART_ENDED;
    if (!part->to_terminal) {
        if (part->log.path[0] == '\0' && !logfile_open(&part->log, log_folder, part->name, why))
            return false;
        logfile_forget(&part->log);
        if (pipe2(pipes, O_CLOEXEC) != 0)
            return fail(why, "could not start %s: %s", part->name, strerror(errno));
        fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    }
    struct child child = { .argv = part->run ? NULL : (char *const *)part->argv,
                           .run = part->run,
                           .context = part->context,
                           .user = part->user,
                           .folder = part->folder,
                           .death_signal = part->stop_signal,
                           .input = -1,
                           .output = pipes[1] };
    pid_t pid = child_start(&child, why);
    if (pipes[1] >= 0)
        close(pipes[1]);
    part->output = pipes[0];
    if (pid < 0)
        return false;
    part->pid = pid;
    part->state = PART_STARTING;
    part->started_us = monotonic_us();
    part->begin_us = part->begin_us ? part->begin_us : part->started_us;
    part->next_us = part->started_us + PROBE_FIRST_MS * MS;
    return true;
}

static void became_ready(struct part *part)
{
    part->state = PART_READY;
    part->ready_us = monotonic_us();
    say(part, GREEN, "ready", part->ready_us - (part->was_ready ? part->started_us : part->begin_us),
        part->where ? part->where : "");
    part->was_ready = true;
}

bool part_check(struct part *part)
{
    enum probe_result result = PROBE_PENDING;

    if (part->probe.listen != NULL && part->probe.socket >= 0)
        result = probe_go_on(&part->probe);
    else if (monotonic_us() >= part->next_us)
        result = probe_start(&part->probe, part->listen, part->path, PROBE_ANSWER_BYTES_MAX);
    if (result == PROBE_PENDING)
        return false;
    part->next_us = monotonic_us() + PROBE_EVERY_MS * MS;
    if (result == PROBE_BAD || (part->answers && !part->answers(part->url)))
        return false;
    became_ready(part);
    return true;
}

static void forget_process(struct part *part, int status)
{
    part_read_output(part);
    probe_end(&part->probe);
    kill(-part->pid, SIGKILL); /* what is left of its group */
    part->pid = 0;
    part->status = status;
}

bool part_died(struct part *part, int status)
{
    char words[2 * LOG_WORDS_BYTES], line[3 * LOG_WORDS_BYTES];
    int64_t now = monotonic_us();
    bool steady = part->state == PART_READY && now - part->ready_us > STEADY_MS * MS;

    forget_process(part, status);
    if (part->once) {
        part->state = PART_ENDED;
        if (status == 0 && !part->to_terminal)
            say(part, GREEN, "done", now - part->started_us, part->where ? part->where : "");
        if (status != 0 && part->to_terminal) {
            part_words(part, words, sizeof(words));
            say(part, RED, "failed", now - part->started_us, words);
        }
        return false;
    }
    if (!part->was_ready && (++part->tries >= TRIES_MAX || (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_WRONG))) {
        part->state = PART_ENDED;
        return false;
    }
    part->backoff_ms = steady || part->backoff_ms == 0 ? BACKOFF_FIRST_MS : 2 * part->backoff_ms;
    part->backoff_ms = part->backoff_ms < BACKOFF_MS_MAX ? part->backoff_ms : BACKOFF_MS_MAX;
    part->next_us = now + part->backoff_ms * MS;
    part->state = PART_BACKING_OFF;
    part->restarts++;
    part_words(part, words, sizeof(words));
    snprintf(line, sizeof(line), "starting again in %.1f s: %s", (double)part->backoff_ms / 1e3, words);
    say(part, RED, "died", now - part->started_us, line);
    return true;
}

void part_stop(struct part *part)
{
    bool runs = part->pid > 0;
    part->state = runs ? PART_STOPPING : PART_ENDED;
    part->next_us = monotonic_us() + part->stop_ms * MS;
    part->started_us = monotonic_us();
    if (runs)
        kill(part->pid, part->stop_signal);
}

void part_kill(struct part *part)
{
    say(part, YELLOW, "killed", -1, "it did not end in time");
    kill(-part->pid, SIGKILL);
    part->next_us = INT64_MAX;
}

void part_ended(struct part *part, int status)
{
    forget_process(part, status);
    close_output(part);
    part->state = PART_ENDED;
    say(part, FAINT, "ended", monotonic_us() - part->started_us, "");
}
