/* A whole daemon in a child process, driven from outside: options, signals, the drain deadline, crashes and their
 * notes, the operators' port.  The child is this program again, in the role its first argument names; it writes a
 * letter to a pipe at each step, so that nothing here waits for a time. */
#include "common/daemon_parts.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has a macro named fail */

#define OUTPUT_BYTES_MAX (64 * 1024)
#define STEP_FD          3  /* the child's, after the usual three */
#define FDS_MAX          64 /* more than this program opens */

struct child {
    pid_t pid;
    int steps, out, errors; /* read ends */
    char output[OUTPUT_BYTES_MAX], log[OUTPUT_BYTES_MAX];
};

static char folder[] = "/tmp/test_daemon.XXXXXX";
static char state_dir[sizeof(folder) + 16], note_path[sizeof(folder) + 48], env_path[sizeof(folder) + 8];
static struct child child;

/* --- the child ---------------------------------------------------------------------------------------------------- */

struct context {
    int64_t number;
};
static const struct setting table[] = {
    { "TESTD_NUMBER", SET_COUNT, offsetof(struct context, number), "7", 1, 9, .help = "a number" }, { 0 }
};

struct stage_context {
    int64_t wait_ms;
};
static const struct setting stage_table[] = {
    { "TESTD_WAIT", SET_DURATION, offsetof(struct stage_context, wait_ms), "5s", .help = "a time" }, { 0 }
};

static bool check(void *context, struct buf *out)
{
    int64_t number = ((struct context *)context)->number;
    buf_printf(out, "%s number %d\n", number == 7 ? "ok  " : "bad ", (int)number);
    return number == 7;
}

static void start(int argc, char **argv)
{
    static struct context context;
    static struct stage_context stage_context;
    static const struct daemon daemon = {
        .name = "testd",
        .summary = "is tested",
        .settings = table,
        .context = &context,
        .stage_settings = stage_table,
        .stage_context = &stage_context,
        .check = check,
    };
    daemon_start(&daemon, argc, argv);
}

static void start_plainly(void)
{
    start(1, (char *[]){ "testd", NULL });
}

static void step(char letter)
{
    if (write(STEP_FD, &letter, 1) != 1)
        _exit(99);
}

static void wait_for_stop(void)
{
    struct pollfd stop = { .fd = daemon_stop_fd(), .events = POLLIN };
    while (poll(&stop, 1, -1) < 0)
        ;
}

static int run_until_asked(void)
{
    start_plainly();
    raise(SIGPIPE);
    raise(SIGHUP);
    if (daemon_stopping())
        return 98;
    step('r');
    wait_for_stop();
    wait_for_stop(); /* it stays readable */
    return daemon_stopping() ? daemon_finish() : 98;
}

static int hang(void)
{
    while (pause() < 0)
        ;
    return 95;
}

static int never_finish(void)
{
    start_plainly();
    step('r');
    wait_for_stop();
    step('s');
    return hang();
}

static int give_up_inside(void)
{
    start_plainly();
    daemon_stop("the broker says we are fenced");
    wait_for_stop();
    return daemon_finish();
}

static int give_up_and_hang(void)
{
    start_plainly();
    daemon_stop("the broker says we are fenced");
    return hang();
}

/* Not NULL: of that the undefined-behaviour sanitizer makes an end of its own. */
static volatile int *volatile nowhere = (volatile int *)64;

static int abort_at_work(void)
{
    start_plainly();
    daemon_working_on("first");
    daemon_working_on("886313e1-abort");
    abort();
}

static int fault_at_work(void)
{
    start_plainly();
    daemon_working_on("886313e1-fault");
    *nowhere = 1;
    return 0;
}

static int abort_idle(void)
{
    start_plainly();
    daemon_working_on("886313e1-done");
    daemon_working_on(NULL);
    abort();
}

static int abort_with_a_strange_id(void)
{
    char id[CRASH_ID_BYTES_MAX + 100];
    start_plainly();
    memset(id, 'x', sizeof(id) - 1);
    memcpy(id, "a\nb\"c\\d", 7);
    id[sizeof(id) - 1] = 0;
    daemon_working_on(id);
    abort();
}

static void *fault_in_thread(void *unused)
{
    daemon_working_on("886313e1-thread");
    *nowhere = 1;
    return unused;
}

static int fault_in_a_thread(void)
{
    pthread_t thread;
    start_plainly();
    daemon_working_on("886313e1-main");
    pthread_create(&thread, NULL, fault_in_thread, NULL);
    pthread_join(thread, NULL);
    return 0;
}

#if !defined(SANITIZED)
static int raise_at_work(void)
{
    start_plainly();
    daemon_working_on("886313e1-raise");
    raise(atoi(getenv("TEST_RAISE")));
    return 0;
}

static size_t sink(const volatile char *at, size_t depth)
{
    volatile char frame[4096];
    frame[depth % sizeof(frame)] = at ? at[0] : 1;
    return depth == SIZE_MAX ? 0 : sink(frame, depth + 1) + (size_t)frame[0];
}

static void *overflow_in_thread(void *unused)
{
    daemon_working_on("886313e1-overflow");
    return sink(NULL, 0) ? unused : NULL;
}

static int overflow_a_threads_stack(void)
{
    pthread_t thread;
    start_plainly();
    pthread_create(&thread, NULL, overflow_in_thread, NULL);
    pthread_join(thread, NULL);
    return 0;
}
#endif

static void print_note(void *context, const char *id)
{
    (void)context;
    printf("%s\n", id);
}

static int print_notes(void)
{
    start_plainly();
    daemon_crash_notes(print_note, NULL);
    return 0;
}

static bool be_ready(void *context, struct problem *why)
{
    if (*(int *)context)
        return true;
    *(int *)context = 1;
    return (fail)(why, "waiting for Kafka"); /* in parentheses: not cmocka's */
}

static int serve(void)
{
    static int ready;
    struct problem why;
    start_plainly();
    if (!daemon_serve_metrics(be_ready, &ready, &why)) {
        log_error(why.text);
        return 97;
    }
    step('r');
    wait_for_stop();
    step('s');
    char unused;
    if (read(STDIN_FILENO, &unused, 1) != 0) /* until the parent has asked once more */
        return 98;
    return daemon_finish();
}

static const struct {
    const char *name;
    int (*run)(void);
} roles[] = {
    { "run_until_asked", run_until_asked },
    { "never_finish", never_finish },
    { "give_up_inside", give_up_inside },
    { "give_up_and_hang", give_up_and_hang },
    { "abort_at_work", abort_at_work },
    { "fault_at_work", fault_at_work },
    { "abort_idle", abort_idle },
    { "abort_with_a_strange_id", abort_with_a_strange_id },
    { "fault_in_a_thread", fault_in_a_thread },
    { "print_notes", print_notes },
    { "serve", serve },
#if !defined(SANITIZED)
    { "raise_at_work", raise_at_work },
    { "overflow_a_threads_stack", overflow_a_threads_stack },
#endif
};

/* Does not return when this process is a child. */
static void play_role(int argc, char **argv)
{
    if (strcmp(argv[0], "start_with_options") == 0) {
        start(argc, argv);
        exit(96); /* none of the tested options comes back */
    }
    for (size_t i = 0; i < LENGTH(roles); i++)
        if (strcmp(argv[0], roles[i].name) == 0)
            exit(roles[i].run());
}

/* --- the parent --------------------------------------------------------------------------------------------------- */

/* `one` and `two` are further arguments of the child; NULL: none. */
static void begin_with_input(const char *role, const char *one, const char *two, int input)
{
    int steps[2], out[2], errors[2];
    assert_int_equal(pipe(steps) | pipe(out) | pipe(errors), 0);
    child.pid = fork();
    assert_true(child.pid >= 0);
    if (child.pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
        dup2(input, STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(errors[1], STDERR_FILENO);
        dup2(steps[1], STEP_FD);
        for (int fd = STEP_FD + 1; fd < FDS_MAX; fd++)
            close(fd);
        execl("/proc/self/exe", role, one, two, (char *)NULL);
        _exit(94);
    }
    close(steps[1]);
    close(out[1]);
    close(errors[1]);
    child.steps = steps[0];
    child.out = out[0];
    child.errors = errors[0];
    child.log[0] = 0;
}

static void begin(const char *role)
{
    begin_with_input(role, NULL, NULL, STDIN_FILENO);
}

static void wait_for_step(char letter)
{
    char got = 0;
    if (read(child.steps, &got, 1) != 1 || got != letter)
        fail_msg("the child did not come to step %c", letter);
}

static void read_all(int fd, char *ret)
{
    size_t bytes = strlen(ret);
    for (ssize_t got; (got = read(fd, ret + bytes, OUTPUT_BYTES_MAX - 1 - bytes)) > 0;)
        bytes += (size_t)got;
    ret[bytes] = 0;
    close(fd);
}

/* The status waitpid gives. */
static int end(void)
{
    int status;
    child.output[0] = 0;
    read_all(child.out, child.output);
    read_all(child.errors, child.log);
    close(child.steps);
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    return status;
}

static void assert_ends(int code)
{
    int status = end();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        fail_msg("wanted exit code %d, got status %x; it said: %s", code, (unsigned)status, child.log);
}

static void assert_crashes(int number)
{
    int status = end();
#if defined(SANITIZED)
    (void)number; /* a sanitizer may end the process in a way of its own */
    assert_int_not_equal(status, 0);
#else
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), number);
#endif
}

static void assert_says(const char *text, const char *wanted)
{
    if (!strstr(text, wanted))
        fail_msg("missing: %s\nin: %s", wanted, text);
}

static void begin_with(const char *one, const char *two)
{
    begin_with_input("start_with_options", one, two, STDIN_FILENO);
}

static void write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static void prints_help_and_version(void **state)
{
    (void)state;
    begin_with("--help", NULL);
    assert_ends(0);
    assert_says(child.output, "testd: is tested\n");
    assert_says(child.output,
                "  TESTD_NUMBER                       number, 1 to 9                7\n      a number\n");
    assert_says(child.output, "  TESTD_WAIT                         duration                      5s\n      a time\n");
    assert_says(child.output, "  DATABASE_URL                       secret                        required\n");
    assert_says(child.output, "  TESTD_METRICS_LISTEN               address:port                  127.0.0.1:0\n");
    assert_says(child.output, "Exit codes\n");
    for (char *line = strtok(child.output, "\n"); line; line = strtok(NULL, "\n"))
        if (strlen(line) > 100)
            fail_msg("too wide: %s", line);
    begin_with("--version", NULL);
    assert_ends(0);
    assert_says(child.output, "testd (Switchboard ");
}

static void refuses_wrong_options(void **state)
{
    (void)state;
    begin_with("--chekc", NULL);
    assert_ends(2);
    assert_says(child.log, "try \"testd --help\"");
    begin_with("now", NULL);
    assert_ends(2);
    assert_says(child.log, "it takes no argument such as \"now\"");
    begin_with("--env-file", "/nowhere/.env");
    assert_ends(2);
    assert_says(child.log, "could not open /nowhere/.env, given by --env-file");
}

static void stops_for_a_wrong_setting(void **state)
{
    (void)state;
    write_file(env_path, "\nTESTD_NUMBER=10\n");
    begin_with("--env-file", env_path);
    assert_ends(2);
    assert_says(child.log, "TESTD_NUMBER is \\\"10\\\" on line 2 of ");
    setenv("INSTANCE", "a/b", 1);
    begin("run_until_asked");
    assert_ends(2);
    assert_says(child.log, "INSTANCE is \\\"a/b\\\"; it takes: letters");
    setenv("INSTANCE", "one", 1);
    setenv("STATE_DIR", "/dev/null/state", 1);
    begin("run_until_asked");
    assert_ends(2);
    assert_says(child.log, "could not make the folder STATE_DIR \\\"/dev/null/state\\\"");
    unsetenv("DATABASE_URL");
    begin("run_until_asked");
    assert_ends(2);
    assert_says(child.log, "DATABASE_URL is not set");
}

static void checks_settings_and_reach(void **state)
{
    (void)state;
    begin_with("--check", NULL);
    assert_ends(0);
    assert_says(child.output, "ok   settings\n  TESTD_NUMBER                       7 (default)\n");
    assert_says(child.output, "  TESTD_WAIT                         5s (default)\n");
    assert_says(child.output, "  DATABASE_URL                       «set» (environment)\n");
    assert_says(child.output, "\nok   state_dir ");
    assert_says(child.output, "\nok   number 7\n");
    assert_null(strstr(child.output, "hush"));
    setenv("TESTD_NUMBER", "8", 1);
    begin_with("--check", NULL);
    assert_ends(1);
    assert_says(child.output, "\nbad  number 8\n");
    setenv("TESTD_NUMBER", "none", 1);
    begin_with("--check", NULL);
    assert_ends(1);
    assert_says(child.output, "bad  settings TESTD_NUMBER is \"none\" in the environment; it takes: number, 1 to 9\n");
    unsetenv("TESTD_NUMBER");
    setenv("STATE_DIR", "/dev/null/state", 1);
    begin_with("--check", NULL);
    assert_ends(1);
    assert_says(child.output, "\nbad  state_dir could not make the folder");
    assert_says(child.output, "\nok   number 7\n");
}

/* --- signals ------------------------------------------------------------------------------------------------------ */

static void ends_well_when_asked(void **state)
{
    (void)state;
    static const int asks[] = { SIGTERM, SIGINT };
    for (size_t i = 0; i < LENGTH(asks); i++) {
        begin("run_until_asked");
        wait_for_step('r');
        kill(child.pid, SIGHUP);
        kill(child.pid, asks[i]);
        assert_ends(0);
        assert_says(child.log, asks[i] == SIGTERM ? "\"signal\":\"SIGTERM\"" : "\"signal\":\"SIGINT\"");
        assert_says(child.log, "\"message\":\"ended\",\"exit_code\":0");
    }
}

static void ends_at_once_when_asked_twice(void **state)
{
    (void)state;
    begin("never_finish");
    wait_for_step('r');
    kill(child.pid, SIGTERM);
    wait_for_step('s');
    kill(child.pid, SIGINT);
    assert_ends(1);
    assert_says(child.log, "asked a second time");
}

static void ends_at_the_drain_deadline(void **state)
{
    (void)state;
    setenv("DRAIN_DEADLINE", "100ms", 1);
    begin("never_finish");
    wait_for_step('r');
    kill(child.pid, SIGTERM);
    assert_ends(1);
    assert_says(child.log, "did not finish in time\",\"deadline_ms\":100");
    begin("give_up_and_hang");
    assert_ends(1);
    assert_says(child.log, "did not finish in time");
}

static void ends_with_one_when_it_gives_up(void **state)
{
    (void)state;
    begin("give_up_inside");
    assert_ends(1);
    assert_says(child.log, "the broker says we are fenced");
}

/* --- crashes ------------------------------------------------------------------------------------------------------ */

static void notes_what_crashed_it(void **state)
{
    (void)state;
    begin("abort_at_work");
    assert_crashes(SIGABRT);
    assert_says(child.log, "\"signal\":\"SIGABRT\",\"working_on\":\"886313e1-abort\"}\n");
    begin("fault_at_work");
    assert_crashes(SIGSEGV);
    begin("abort_idle");
    assert_crashes(SIGABRT);
    begin("fault_in_a_thread");
    assert_crashes(SIGSEGV);
    begin("print_notes");
    assert_ends(0);
    assert_string_equal(child.output, "886313e1-abort\n886313e1-fault\n886313e1-thread\n");
    assert_int_not_equal(access(note_path, F_OK), 0);
    begin("print_notes");
    assert_ends(0);
    assert_string_equal(child.output, "");
}

static void notes_every_kind_of_crash(void **state)
{
    (void)state;
#if defined(SANITIZED)
    skip(); /* the sanitizer's handlers stand in the place of ours */
#else
    static const int numbers[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    for (size_t i = 0; i < LENGTH(numbers); i++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", numbers[i]);
        setenv("TEST_RAISE", number, 1);
        begin("raise_at_work");
        assert_crashes(numbers[i]);
        begin("print_notes");
        assert_ends(0);
        assert_string_equal(child.output, "886313e1-raise\n");
    }
    begin("overflow_a_threads_stack");
    assert_crashes(SIGSEGV);
    begin("print_notes");
    assert_ends(0);
    assert_string_equal(child.output, "886313e1-overflow\n");
#endif
}

static void keeps_notes_one_line_each(void **state)
{
    (void)state;
    begin("abort_with_a_strange_id");
    assert_crashes(SIGABRT);
    begin("print_notes");
    assert_ends(0);
    assert_int_equal(strlen(child.output), CRASH_ID_BYTES_MAX + 1);
    assert_int_equal(strncmp(child.output, "a?b?c?dxxx", 10), 0);
    write_file(note_path, "whole\n\ncut o");
    begin("print_notes");
    assert_ends(0);
    assert_string_equal(child.output, "whole\n");
}

/* --- the operators' port ------------------------------------------------------------------------------------------ */

/* The port the child logged that it listens on; it has logged it before step 'r'. */
static uint16_t port_of_child(void)
{
    ssize_t got = read(child.errors, child.log, sizeof(child.log) - 1);
    assert_true(got > 0);
    child.log[got] = 0;
    const char *port = strstr(child.log, "\"port\":");
    assert_non_null(port);
    return (uint16_t)atoi(port + strlen("\"port\":"));
}

static void get(uint16_t port, const char *path, char *ret)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(connection, (struct sockaddr *)&address, sizeof(address)), 0);
    dprintf(connection, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    ret[0] = 0;
    read_all(connection, ret);
}

static void serves_health_ready_and_metrics(void **state)
{
    (void)state;
    static char answer[OUTPUT_BYTES_MAX];
    int input[2];
    assert_int_equal(pipe(input), 0);
    begin_with_input("serve", NULL, NULL, input[0]);
    wait_for_step('r');
    uint16_t port = port_of_child();
    get(port, "/health", answer);
    assert_says(answer, "HTTP/1.1 200");
    get(port, "/ready", answer);
    assert_says(answer, "HTTP/1.1 503");
    assert_says(answer, "waiting for Kafka");
    get(port, "/ready", answer);
    assert_says(answer, "HTTP/1.1 200");
    get(port, "/metrics", answer);
    assert_says(answer, "text/plain; version=0.0.4");
    assert_says(answer, "process_resident_memory_bytes ");
    kill(child.pid, SIGTERM);
    wait_for_step('s');
    get(port, "/ready", answer);
    assert_says(answer, "HTTP/1.1 503");
    assert_says(answer, "stopping");
    close(input[0]);
    close(input[1]);
    assert_ends(0);
}

/* --- */

static int set_up(void **state)
{
    (void)state;
    unlink(note_path);
    setenv("DATABASE_URL", "postgresql://user:hush@localhost/x", 1);
    setenv("INSTANCE", "one", 1);
    setenv("STATE_DIR", state_dir, 1);
    unsetenv("DRAIN_DEADLINE");
    unsetenv("TESTD_NUMBER");
    unsetenv("TESTD_METRICS_LISTEN");
    return 0;
}

#define PER_TEST(function) cmocka_unit_test_setup(function, set_up)

int main(int argc, char **argv)
{
    play_role(argc, argv);
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    snprintf(state_dir, sizeof(state_dir), "%s/deep/state", folder);
    snprintf(note_path, sizeof(note_path), "%s/crash.testd.one", state_dir);
    snprintf(env_path, sizeof(env_path), "%s/env", folder);
    const struct CMUnitTest tests[] = {
        PER_TEST(prints_help_and_version),    PER_TEST(refuses_wrong_options),
        PER_TEST(stops_for_a_wrong_setting),  PER_TEST(checks_settings_and_reach),
        PER_TEST(ends_well_when_asked),       PER_TEST(ends_at_once_when_asked_twice),
        PER_TEST(ends_at_the_drain_deadline), PER_TEST(ends_with_one_when_it_gives_up),
        PER_TEST(notes_what_crashed_it),      PER_TEST(notes_every_kind_of_crash),
        PER_TEST(keeps_notes_one_line_each),  PER_TEST(serves_health_ready_and_metrics),
    };
    int failed = cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
    unlink(note_path);
    unlink(env_path);
    rmdir(state_dir);
    *strrchr(state_dir, '/') = 0;
    rmdir(state_dir);
    rmdir(folder);
    return failed;
}
