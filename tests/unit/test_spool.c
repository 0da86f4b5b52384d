/* The spool: order, one transaction for many, and nothing lost: kill -9, a full disk, a broken file, a second
 * process. */
#include "ingest/spool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define MESSAGES_MAX 20000
#define PATIENCE_MS 20000

/* What the callbacks told. */
struct told {
    struct spool *spool;
    char directory[64];
    int added, refused, removed, kept, reads;
    int64_t read_numbers[SPOOL_READ_MAX];
    char read_payloads[4][64];
    int read_count;
};

static void note_added(void *context, void *message_context, bool on_disk)
{
    struct told *told = context;
    if (message_context)
        *(int *)message_context = on_disk ? 1 : -1;
    told->added += on_disk;
    told->refused += !on_disk;
}

static void note_read(void *context, const char *topic, int32_t partition, const struct spool_message *messages,
                      int count)
{
    struct told *told = context;
    (void)topic;
    told->reads++;
    told->read_count = count;
    for (int i = 0; i < count; i++) {
        assert_int_equal(messages[i].partition, partition);
        told->read_numbers[i] = messages[i].number;
        if (i < 4)
            snprintf(told->read_payloads[i], sizeof(told->read_payloads[i]), "%s %.*s %.*s", messages[i].id,
                     (int)messages[i].key.bytes, messages[i].key.at, (int)messages[i].payload.bytes,
                     messages[i].payload.at);
    }
}

static void note_removed(void *context, const char *topic, int32_t partition, int count, bool gone)
{
    struct told *told = context;
    (void)topic;
    (void)partition;
    *(gone ? &told->removed : &told->kept) += count;
}

static struct spool *open_spool(struct told *told, int64_t bytes_max, struct problem *why)
{
    told->spool = spool_open(&(struct spool_settings){ .directory = told->directory,
                                                       .bytes_max = bytes_max,
                                                       .added = note_added,
                                                       .read = note_read,
                                                       .removed = note_removed,
                                                       .context = told },
                             why);
    return told->spool;
}

/* Serves until `*count` has come to `wanted`. */
static void serve_until(struct told *told, const int *count, int wanted)
{
    while (*count < wanted) {
        struct pollfd ready = { .fd = spool_fd(told->spool), .events = POLLIN };
        assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
        spool_serve(told->spool);
    }
}

static int64_t add(struct told *told, int32_t partition, const char *payload, void *context)
{
    return spool_add(told->spool,
                     &(struct spool_message){ .id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                                              .topic = "inbound.test",
                                              .partition = partition,
                                              .key = TEXT("key"),
                                              .payload = text_of(payload) },
                     context);
}

static void read_lane(struct told *told, int32_t partition, int count)
{
    int before = told->reads;
    spool_read(told->spool, "inbound.test", partition, count);
    serve_until(told, &told->reads, before + 1);
}

static int start(void **state)
{
    struct told *told = must_alloc(sizeof(*told));
    struct problem why = { 0 };
    snprintf(told->directory, sizeof(told->directory), "/tmp/test_spool.XXXXXX");
    assert_non_null(mkdtemp(told->directory));
    strcat(told->directory, "/a/b");            /* made by the spool */
    if (!open_spool(told, 64 << 20, &why))
        fail_msg("%s", why.text);
    *state = told;
    return 0;
}

static int finish(void **state)
{
    struct told *told = *state;
    char command[128];
    spool_close(told->spool);
    *strstr(told->directory, "/a/b") = '\0';
    snprintf(command, sizeof(command), "rm -rf %s", told->directory);
    assert_int_equal(system(command), 0);
    free(told);
    return 0;
}

static void reopen(struct told *told)
{
    struct problem why = { 0 };
    spool_close(told->spool);
    if (!open_spool(told, 64 << 20, &why))
        fail_msg("%s", why.text);
}

static void keeps_order_within_a_lane(void **state)
{
    struct told *told = *state;
    int64_t first = add(told, 0, "one", NULL);
    add(told, 1, "other lane", NULL);
    int64_t second = add(told, 0, "two", NULL);
    serve_until(told, &told->added, 3);
    assert_true(first < second);

    read_lane(told, 0, SPOOL_READ_MAX);
    assert_int_equal(told->read_count, 2);
    assert_int_equal(told->read_numbers[0], first);
    assert_string_equal(told->read_payloads[0], "6ba7b810-9dad-11d1-80b4-00c04fd430c8 key one");
    assert_string_equal(told->read_payloads[1], "6ba7b810-9dad-11d1-80b4-00c04fd430c8 key two");

    spool_remove(told->spool, "inbound.test", 0, &first, 1);
    read_lane(told, 0, 1);                      /* behind the removal, so it sees it */
    assert_int_equal(told->removed, 1);
    assert_int_equal(told->read_count, 1);
    assert_int_equal(told->read_numbers[0], second);

    read_lane(told, 7, 1);
    assert_int_equal(told->read_count, 0);
}

static void count_lanes(void *context, const struct spool_count *count)
{
    int *counts = context;
    assert_string_equal(count->topic, "inbound.test");
    counts[count->partition] = (int)count->messages;
}

static void tells_what_was_left_and_goes_on_counting(void **state)
{
    struct told *told = *state;
    struct problem why = { 0 };
    int counts[4] = { 0 };
    add(told, 0, "one", NULL);
    add(told, 3, "two", NULL);
    int64_t last = add(told, 3, "three", NULL);
    serve_until(told, &told->added, 3);

    reopen(told);
    assert_true(spool_leftovers(told->spool, count_lanes, counts, &why));
    assert_int_equal(counts[0], 1);
    assert_int_equal(counts[3], 2);
    assert_int_equal(spool_size(told->spool).messages, 3);
    assert_true(add(told, 0, "later", NULL) > last);
}

/* Group commit: thousands of messages take far fewer than thousands of fsyncs, which shows in the time; here it is
 * enough that all that wait are answered together. */
static void takes_many_in_one_transaction(void **state)
{
    struct told *told = *state;
    for (int i = 0; i < MESSAGES_MAX; i++)
        add(told, i % 8, "{\"some\":\"payload\"}", NULL);
    struct pollfd ready = { .fd = spool_fd(told->spool), .events = POLLIN };
    int servings = 0;
    while (told->added < MESSAGES_MAX) {
        assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
        spool_serve(told->spool);
        servings++;
    }
    assert_true(servings <= MESSAGES_MAX / 100);
    assert_int_equal(told->refused, 0);
}

static void sets_aside_what_will_never_be_taken(void **state)
{
    struct told *told = *state;
    int64_t bad = add(told, 0, "bad", NULL);
    int64_t good = add(told, 0, "good", NULL);
    spool_set_aside(told->spool, "inbound.test", 0, bad, "too large");
    read_lane(told, 0, 10);
    assert_int_equal(told->removed, 1);         /* from its lane */
    assert_int_equal(told->read_count, 1);
    assert_int_equal(told->read_numbers[0], good);
    reopen(told);
    assert_int_equal(spool_size(told->spool).messages, 1);
    assert_int_equal(spool_size(told->spool).aside, 1);
}

/* The child says through a pipe what the spool told it is on disk, and is killed in the middle of its work. */
static void spool_for_ever(const char *directory, int pipe_fd)
{
    struct told told = { 0 };
    struct problem why = { 0 };
    int64_t said = 0;

    snprintf(told.directory, sizeof(told.directory), "%s", directory);
    if (!open_spool(&told, 256 << 20, &why))
        _exit(1);
    for (;;) {
        for (int i = 0; i < 50; i++)
            add(&told, i % 4, "{\"some\":\"payload\"}", NULL);
        struct pollfd ready = { .fd = spool_fd(told.spool), .events = POLLIN };
        poll(&ready, 1, PATIENCE_MS);
        spool_serve(told.spool);
        if (told.added > said) {
            said = told.added;
            if (write(pipe_fd, &said, sizeof(said)) != sizeof(said))
                _exit(1);
        }
    }
}

static void loses_nothing_to_kill_9(void **state)
{
    struct told *told = *state;
    int64_t promised = 0, said;
    int kills = 5;

    spool_close(told->spool);
    for (int kill_number = 1; kill_number <= kills; kill_number++) {
        int pipe_fds[2];
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t child = fork();
        if (child == 0) {
            close(pipe_fds[0]);
            spool_for_ever(told->directory, pipe_fds[1]);
        }
        close(pipe_fds[1]);
        int64_t before = promised, in_this_life = 0;
        for (int i = 0; i < 7 * kill_number && read(pipe_fds[0], &said, sizeof(said)) == sizeof(said); i++)
            in_this_life = said;
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(pipe_fds[0], &said, sizeof(said)) == sizeof(said))
            in_this_life = said;
        close(pipe_fds[0]);
        assert_true(in_this_life > 0);
        promised = before + in_this_life;
    }
    struct problem why = { 0 };
    if (!open_spool(told, 256 << 20, &why))
        fail_msg("%s", why.text);
    assert_true(spool_size(told->spool).messages >= promised);
    assert_int_equal(told->removed, 0);
}

static void refuses_when_it_is_full_and_takes_again_when_there_is_room(void **state)
{
    struct told *told = *state;
    struct problem why = { 0 };
    char payload[32 * 1024];
    int64_t numbers[SPOOL_READ_MAX];

    memset(payload, 'x', sizeof(payload) - 1);
    payload[sizeof(payload) - 1] = '\0';
    spool_close(told->spool);
    if (!open_spool(told, 1 << 20, &why))
        fail_msg("%s", why.text);
    int answered = 0;
    while (told->refused == 0) {
        int verdict = 0;
        add(told, 0, payload, &verdict);
        while (verdict == 0) {
            struct pollfd ready = { .fd = spool_fd(told->spool), .events = POLLIN };
            assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
            spool_serve(told->spool);
        }
        assert_true(++answered < 64);
    }
    assert_true(told->added >= 20);
    read_lane(told, 0, SPOOL_READ_MAX);
    assert_int_equal(told->read_count, told->added);
    memcpy(numbers, told->read_numbers, sizeof(numbers));
    spool_remove(told->spool, "inbound.test", 0, numbers, told->read_count);
    serve_until(told, &told->removed, told->added);
    int before = told->added;
    add(told, 0, payload, NULL);
    serve_until(told, &told->added, before + 1);
}

/* A file-size limit is what a full disk looks like from inside. */
static void survives_a_full_disk(void **state)
{
    struct told *told = *state;
    struct rlimit before, small = { 256 * 1024, RLIM_INFINITY };
    char payload[16 * 1024];

    memset(payload, 'x', sizeof(payload) - 1);
    payload[sizeof(payload) - 1] = '\0';
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 40; i++) {
        int verdict = 0;
        add(told, 0, payload, &verdict);
        while (verdict == 0) {
            struct pollfd ready = { .fd = spool_fd(told->spool), .events = POLLIN };
            assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
            spool_serve(told->spool);
        }
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(told->refused > 0);
    int on_disk = told->added;
    add(told, 0, payload, NULL);                /* there is room again */
    serve_until(told, &told->added, on_disk + 1);
    reopen(told);
    assert_int_equal(spool_size(told->spool).messages, on_disk + 1);
}

static void write_at(const char *path, off_t at, const char *bytes, size_t count)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, count, at), (ssize_t)count);
    close(fd);
}

static void puts_a_broken_file_aside(void **state)
{
    struct told *told = *state;
    char path[128], command[256], garbage[512];

    add(told, 0, "one", NULL);
    serve_until(told, &told->added, 1);
    spool_close(told->spool);
    snprintf(path, sizeof(path), "%s/spool.sqlite", told->directory);
    memset(garbage, 'Z', sizeof(garbage));
    write_at(path, 0, garbage, sizeof(garbage));
    struct problem why = { 0 };
    if (!open_spool(told, 64 << 20, &why))
        fail_msg("%s", why.text);
    assert_int_equal(spool_size(told->spool).messages, 0);
    snprintf(command, sizeof(command), "ls %s/spool.sqlite.corrupt-* >/dev/null", told->directory);
    assert_int_equal(system(command), 0);
    add(told, 0, "goes on", NULL);
    serve_until(told, &told->added, 2);
}

/* What it held must not be written over: the door does not open before somebody has seen to it. */
static void stops_when_a_broken_file_cannot_be_put_aside(void **state)
{
    struct told *told = *state;
    struct told again = { 0 };
    struct problem why = { 0 };
    struct stat before, after;
    char path[128], aside[256], garbage[512];

    add(told, 0, "one", NULL);
    serve_until(told, &told->added, 1);
    spool_close(told->spool);
    told->spool = NULL;
    snprintf(path, sizeof(path), "%s/spool.sqlite", told->directory);
    memset(garbage, 'Z', sizeof(garbage));
    write_at(path, 0, garbage, sizeof(garbage));
    assert_int_equal(stat(path, &before), 0);
    for (long long second = now_us() / 1000000, end = second + 10; second < end; second++) { /* its names are taken */
        snprintf(aside, sizeof(aside), "%s.corrupt-%lld", path, second);
        assert_int_equal(mkdir(aside, 0700), 0);
    }
    memcpy(again.directory, told->directory, sizeof(again.directory));
    assert_null(open_spool(&again, 64 << 20, &why));
    assert_non_null(strstr(why.text, "could not put the corrupt spool"));
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_size == before.st_size && after.st_ino == before.st_ino);
}

static void finds_damage_in_the_middle(void **state)
{
    struct told *told = *state;
    char path[128], garbage[3000];

    for (int i = 0; i < 2000; i++)
        add(told, 0, "{\"some\":\"payload that fills a few pages\"}", NULL);
    serve_until(told, &told->added, 2000);
    spool_close(told->spool);                   /* the log goes into the file */
    snprintf(path, sizeof(path), "%s/spool.sqlite", told->directory);
    memset(garbage, 'Z', sizeof(garbage));
    write_at(path, 4096 * 5, garbage, sizeof(garbage));
    struct problem why = { 0 };
    if (!open_spool(told, 64 << 20, &why))
        fail_msg("%s", why.text);
    assert_int_equal(spool_size(told->spool).messages, 0);
}

static void is_for_one_process(void **state)
{
    struct told *told = *state;
    struct told second = { 0 };
    struct problem why = { 0 };

    memcpy(second.directory, told->directory, sizeof(second.directory));
    assert_null(open_spool(&second, 64 << 20, &why));
    assert_non_null(strstr(why.text, "another process uses it"));
    add(told, 0, "one", NULL);
    serve_until(told, &told->added, 1);
}

static void refuses_a_newer_file_and_a_bad_folder(void **state)
{
    struct told *told = *state;
    struct told other = { 0 };
    struct problem why = { 0 };
    char path[128];
    sqlite3 *database;

    snprintf(other.directory, sizeof(other.directory), "/dev/null/spool");
    assert_null(open_spool(&other, 64 << 20, &why));
    assert_non_null(strstr(why.text, "SPOOL_DIR"));

    char too_long[2000];
    memset(too_long, 'd', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    assert_null(spool_open(&(struct spool_settings){ .directory = too_long, .bytes_max = 64 << 20 }, &why));
    assert_non_null(strstr(why.text, "SPOOL_DIR is longer than"));

    spool_close(told->spool);
    snprintf(path, sizeof(path), "%s/spool.sqlite", told->directory);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
    assert_null(open_spool(told, 64 << 20, &why));
    assert_non_null(strstr(why.text, "newer version"));
}

static void gives_the_disk_back_when_it_is_empty(void **state)
{
    struct told *told = *state;
    int64_t numbers[400];
    char payload[16 * 1024];

    memset(payload, 'x', sizeof(payload) - 1);
    payload[sizeof(payload) - 1] = '\0';
    for (int i = 0; i < 400; i++)
        numbers[i] = add(told, 0, payload, NULL);
    serve_until(told, &told->added, 400);
    int64_t full = spool_size(told->spool).bytes;
    spool_remove(told->spool, "inbound.test", 0, numbers, 400);
    serve_until(told, &told->removed, 400);
    read_lane(told, 0, 1);                      /* the writer has tidied up when it answers this */
    assert_true(full > 6000000);
    assert_true(spool_size(told->spool).bytes < 200000);
}

int main(void)
{
    log_init("test_spool", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_order_within_a_lane, start, finish),
        cmocka_unit_test_setup_teardown(tells_what_was_left_and_goes_on_counting, start, finish),
        cmocka_unit_test_setup_teardown(takes_many_in_one_transaction, start, finish),
        cmocka_unit_test_setup_teardown(sets_aside_what_will_never_be_taken, start, finish),
        cmocka_unit_test_setup_teardown(loses_nothing_to_kill_9, start, finish),
        cmocka_unit_test_setup_teardown(refuses_when_it_is_full_and_takes_again_when_there_is_room, start, finish),
        cmocka_unit_test_setup_teardown(survives_a_full_disk, start, finish),
        cmocka_unit_test_setup_teardown(puts_a_broken_file_aside, start, finish),
        cmocka_unit_test_setup_teardown(stops_when_a_broken_file_cannot_be_put_aside, start, finish),
        cmocka_unit_test_setup_teardown(finds_damage_in_the_middle, start, finish),
        cmocka_unit_test_setup_teardown(is_for_one_process, start, finish),
        cmocka_unit_test_setup_teardown(refuses_a_newer_file_and_a_bad_folder, start, finish),
        cmocka_unit_test_setup_teardown(gives_the_disk_back_when_it_is_empty, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
