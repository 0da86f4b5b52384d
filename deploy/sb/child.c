#include "deploy/sb/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAST_LINE_BYTES 300

/* --- in the child -------------------------------------------------------------------------------------------- */

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* an ignored one would stay ignored */
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool become(const struct user *user)
{
    return setgroups(0, NULL) == 0 && setgid(user->gid) == 0 && setuid(user->uid) == 0;
}

static bool set_files(const struct child *child)
{
    int input = child->input >= 0 ? child->input : open("/dev/null", O_RDONLY);
    if (input < 0 || dup2(input, STDIN_FILENO) < 0)
        return false;
    return child->output < 0 || (dup2(child->output, STDOUT_FILENO) >= 0 && dup2(child->output, STDERR_FILENO) >= 0);
}

static _Noreturn void child_main(const struct child *child, pid_t parent, int trouble)
{
    setpgid(0, 0);
    reset_signals();
    bool good = set_files(child) && (child->user == NULL || become(child->user)) &&
                (child->folder == NULL || chdir(child->folder) == 0) &&
                /* after the change of user, which clears it */
                prctl(PR_SET_PDEATHSIG, child->death_signal ? child->death_signal : SIGKILL) == 0;
    if (good && getppid() != parent)
        _exit(1); /* sb died before it was set */
    if (good && child->run) {
        close(trouble);
        exit(child->run(child->context));
    }
    if (good)
        execvp(child->argv[0], child->argv);
    int error = errno;
    if (write(trouble, &error, sizeof(error)) < 0)
        _exit(126);
    _exit(127);
}

/* --- in sb --------------------------------------------------------------------------------------------------- */

pid_t child_start(const struct child *child, struct problem *why)
{
    int trouble[2];
    const char *name = child->run ? "a part of sb" : child->argv[0];

    if (pipe2(trouble, O_CLOEXEC) != 0) {
        fail(why, "could not start %s: %s", name, strerror(errno));
        return -1;
    }
    fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        close(trouble[0]);
        child_main(child, parent, trouble[1]);
    }
    int error = errno;
    close(trouble[1]);
    if (pid > 0) {
        setpgid(pid, pid); /* whoever comes first, so that kill(-pid) always works */
        ssize_t bytes = read(trouble[0], &error, sizeof(error));
        if (bytes == (ssize_t)sizeof(error)) {
            waitpid(pid, NULL, 0);
            pid = -1;
        }
    }
    close(trouble[0]);
    if (pid < 0)
        fail(why, "could not start %s: %s", name, strerror(error));
    return pid;
}

/* Both ways at once, so that neither side waits for the other; until the program closes its output, or false at the
 * deadline. */
static bool talk(int input, struct text text, int output, int64_t deadline_us, struct buf *said)
{
    char piece[4096];

    for (;;) {
        struct pollfd waits[2] = { { .fd = output, .events = POLLIN }, { .fd = input, .events = POLLOUT } };
        int64_t left_ms = (deadline_us - monotonic_us()) / 1000;
        if (left_ms <= 0 || (poll(waits, input >= 0 ? 2 : 1, (int)left_ms) < 0 && errno != EINTR))
            return false;
        if (input >= 0 && waits[1].revents) {
            ssize_t written = write(input, text.at, text.bytes);
            text.at += written > 0 ? written : 0;
            text.bytes -= written > 0 ? (size_t)written : 0;
            if (text.bytes == 0 || (written < 0 && errno != EAGAIN)) {
                close(input);
                input = -1;
            }
        }
        if (!waits[0].revents)
            continue;
        ssize_t bytes = read(output, piece, sizeof(piece));
        if (bytes == 0 || (bytes < 0 && errno != EINTR && errno != EAGAIN))
            break;
        buf_add(said, piece, bytes > 0 ? (size_t)bytes : 0);
    }
    if (input >= 0)
        close(input);
    return true;
}

static void last_line(const struct buf *said, char ret[LAST_LINE_BYTES])
{
    struct text text = buf_text(said);
    while (text.bytes > 0 && text.at[text.bytes - 1] == '\n')
        text.bytes--;
    const char *before = memrchr(text.at, '\n', text.bytes);
    const char *start = before ? before + 1 : text.at;
    snprintf(ret, LAST_LINE_BYTES, "%.*s", (int)(text.at + text.bytes - start), start);
}

bool child_run(const struct child *child, struct text input, int64_t timeout_ms, struct buf *output,
               struct problem *why)
{
    int in[2], out[2], status = 0;
    char line[LAST_LINE_BYTES], ending[64];

    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        return fail(why, "could not start %s: %s", child->argv[0], strerror(errno));
    struct child own = *child;
    own.input = in[0];
    own.output = out[1];
    pid_t pid = child_start(&own, why);
    close(in[0]);
    close(out[1]);
    if (pid < 0) {
        close(in[1]);
        close(out[0]);
        return false;
    }
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    bool in_time = talk(in[1], input, out[0], monotonic_us() + timeout_ms * 1000, output);
    close(out[0]);
    if (!in_time)
        kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (in_time && status == 0)
        return true;
    last_line(output, line);
    child_ending_print(status, ending, sizeof(ending));
    return fail(why, "%s: %s: %s", child->argv[0], in_time ? ending : "it did not end in time", line);
}

void child_ending_print(int status, char *ret, size_t room)
{
    if (WIFSIGNALED(status))
        snprintf(ret, room, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(ret, room, "exit code %d", WEXITSTATUS(status));
}
