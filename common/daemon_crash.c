/* A crash is noted in STATE_DIR/crash.<daemon>.<instance>: one line, the id of what the crashing thread worked on.  The
 * runtime reads the notes at the next start, so that one event cannot bring the daemon down for ever.
 *
 * The handler uses open, write, fsync, close, signal and raise alone (signal-safety(7)) and what was prepared before.
 */
#include "common/daemon_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(SANITIZED)
#include <sanitizer/common_interface_defs.h>
#endif

#define CRASH_STACK_BYTES (32 * 1024)

static char note_path[PATH_MAX];
static const char *daemon_name;
static _Thread_local const char *volatile working_on; /* volatile: stored before the code that may crash */

/* Copies what can be printed; the rest becomes '?'. */
static size_t copy_printable(char *to, const char *from)
{
    size_t bytes = 0;
    for (; bytes < CRASH_ID_BYTES_MAX && from[bytes]; bytes++)
        to[bytes] =
            from[bytes] > ' ' && from[bytes] <= '~' && from[bytes] != '"' && from[bytes] != '\\' ? from[bytes] : '?';
    return bytes;
}

static void note(void)
{
    const char *id = working_on;
    if (!id)
        return;
    char line[CRASH_ID_BYTES_MAX + 1];
    size_t bytes = copy_printable(line, id);
    line[bytes++] = '\n';
    int file = open(note_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (file < 0)
        return;
    if (write(file, line, bytes) > 0)
        fsync(file);
    close(file);
}

#if !defined(SANITIZED)
static size_t crash_stack_bytes(void)
{
    long least = sysconf(_SC_SIGSTKSZ); /* wide vector registers need more */
    return least > CRASH_STACK_BYTES ? (size_t)least : CRASH_STACK_BYTES;
}

static pthread_key_t stack_key;

static void stack_drop(void *stack)
{
    sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
    munmap(stack, crash_stack_bytes());
}

/* Each thread needs its own.  Mapped, not allocated: its pages cost nothing until they are used.  Without one (memory
 * is out) only an overflow of the thread's own stack goes unnoted. */
static void stack_give(void)
{
    static _Thread_local bool given;
    if (given)
        return;
    given = true;
    void *stack = mmap(NULL, crash_stack_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return;
    sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = crash_stack_bytes() }, NULL);
    pthread_setspecific(stack_key, stack);
}
#endif

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* nobody is left to tell */
}

static void on_crash(int number)
{
    note();
    char id[CRASH_ID_BYTES_MAX + 1] = "";
    if (working_on)
        id[copy_printable(id, working_on)] = 0;
    say("{\"level\":\"error\",\"daemon\":\"");
    say(daemon_name);
    say("\",\"message\":\"crashed\",\"signal\":\"");
    say(number == SIGSEGV  ? "SIGSEGV"
        : number == SIGBUS ? "SIGBUS"
        : number == SIGFPE ? "SIGFPE"
        : number == SIGILL ? "SIGILL"
                           : "SIGABRT");
    say("\",\"working_on\":\"");
    say(id);
    say("\"}\n");
    signal(number, SIG_DFL);
    raise(number); /* delivered on return, since it is blocked here: a core dump shows the place */
}

void daemon_working_on(const char *id)
{
#if !defined(SANITIZED)
    stack_give();
#endif
    working_on = id;
}

bool daemon_crash_catch(const char *name, const char *instance, const char *state_dir, struct problem *why)
{
    daemon_name = name;
    int bytes = snprintf(note_path, sizeof(note_path), "%s/crash.%s.%s", state_dir, name, instance);
    if (bytes < 0 || (size_t)bytes >= sizeof(note_path))
        return fail(why, "STATE_DIR is too long for a file's name");
    struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK };
    sigemptyset(&action.sa_mask);
#if defined(SANITIZED)
    __sanitizer_set_death_callback(note); /* its report says more than our handler could */
#else
    int error = pthread_key_create(&stack_key, stack_drop);
    if (error)
        return fail(why, "could not prepare for crashes: %s", strerror(error));
    stack_give();
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    for (size_t i = 0; i < LENGTH(faults); i++)
        sigaction(faults[i], &action, NULL);
#endif
    sigaction(SIGABRT, &action, NULL);
    return true;
}

void daemon_crash_notes(void (*each)(void *context, const char *id), void *context)
{
    FILE *file = fopen(note_path, "re");
    if (!file)
        return;
    char line[CRASH_ID_BYTES_MAX + 2];
    while (fgets(line, sizeof(line), file)) {
        size_t bytes = strcspn(line, "\n");
        if (bytes == 0 || line[bytes] != '\n') /* cut off: not an id */
            continue;
        line[bytes] = 0;
        each(context, line);
    }
    fclose(file);
    unlink(note_path);
}
