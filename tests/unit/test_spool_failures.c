/* The spool when the n-th thing it asks of the disk, or the n-th piece of memory SQLite asks for, is refused: whatever
 * n is, what was acknowledged is there afterwards, and what was removed is not. */
#include "tests/unit/failing.h"

#include "common/log.h"
#include "ingest/spool.h"

#include <dirent.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define MESSAGES    3
#define TOPIC       "inbound.test"
#define PATIENCE_MS 20000
#define CALLS_LEAST 20 /* fewer would mean that they are not seen */

/* What was told of the messages, by their numbers from 1. */
static struct told {
    bool added[MESSAGES + 1], removed, set_aside, found[MESSAGES + 1];
    int answered, read_count;
} told;
static char directory[64], when[64];

static void expect(bool holds, const char *what)
{
    if (!holds)
        fail_msg("%s: %s", when, what);
}

static void note_added(void *context, void *message_context, bool on_disk)
{
    (void)context;
    *(bool *)message_context = on_disk;
    told.answered++;
}

static void note_read(void *context, const char *topic, int32_t partition, const struct spool_message *messages,
                      int count)
{
    (void)context, (void)topic, (void)partition;
    for (int i = 0; i < count; i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "{\"message\":%d}", (int)messages[i].number);
        assert_in_range(messages[i].number, 1, MESSAGES);
        assert_string_equal(messages[i].id, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
        assert_true(text_is(messages[i].key, "key") && text_is(messages[i].payload, expected));
        told.found[messages[i].number] = true;
    }
    told.read_count = count;
    told.answered++;
}

/* One is removed, and another set aside. */
static void note_removed(void *context, const char *topic, int32_t partition, int count, bool gone)
{
    (void)context, (void)topic, (void)count;
    *(partition == 0 ? &told.removed : &told.set_aside) = gone;
    told.answered++;
}

static struct spool *open_spool(struct problem *why)
{
    return spool_open(&(struct spool_settings){ .directory = directory,
                                                .bytes_max = 8 << 20,
                                                .added = note_added,
                                                .read = note_read,
                                                .removed = note_removed },
                      why);
}

static void serve_until(struct spool *spool, int answered)
{
    while (told.answered < answered) {
        assert_int_equal(poll(&(struct pollfd){ .fd = spool_fd(spool), .events = POLLIN }, 1, PATIENCE_MS), 1);
        spool_serve(spool);
    }
}

static void add(struct spool *spool, int number, int32_t lane)
{
    static char payloads[MESSAGES + 1][32];
    snprintf(payloads[number], sizeof(payloads[number]), "{\"message\":%d}", number);
    spool_add(spool,
              &(struct spool_message){ .id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                                       .topic = TOPIC,
                                       .partition = lane,
                                       .key = TEXT("key"),
                                       .payload = text_of(payloads[number]) },
              &told.added[number]);
    serve_until(spool, number);
}

/* Two messages of one lane, of which the first is removed, and one of another, which is set aside. */
static void live(void)
{
    struct problem why = { .text = "" };
    const int64_t first = 1;
    struct spool *spool = open_spool(&why);

    if (spool == NULL) {
        assert_string_not_equal(why.text, "");
        return;
    }
    add(spool, 1, 0);
    add(spool, 2, 0);
    add(spool, 3, 1);
    spool_remove(spool, TOPIC, 0, &first, 1);
    spool_set_aside(spool, TOPIC, 1, 3, "too large");
    spool_read(spool, TOPIC, 0, SPOOL_READ_MAX);
    serve_until(spool, MESSAGES + 3);
    spool_close(spool);
}

static void each_file(void (*each)(int folder, const char *name))
{
    DIR *listing = opendir(directory);
    for (struct dirent *entry; listing && (entry = readdir(listing));)
        each(dirfd(listing), entry->d_name);
    if (listing)
        closedir(listing);
}

/* What is in a spool that seems corrupt waits for a person. */
static void is_not_put_away(int folder, const char *name)
{
    (void)folder;
    expect(strstr(name, "corrupt") == NULL, "it was taken for corrupt");
}

/* What was refused may have been done nevertheless. */
static void see_what_is_there(void)
{
    struct problem why = { .text = "" };
    struct told before = told;

    each_file(is_not_put_away);
    told = (struct told){ 0 };
    struct spool *spool = open_spool(&why);
    expect(spool != NULL, why.text);
    for (int32_t lane = 0; lane < 2; lane++)
        spool_read(spool, TOPIC, lane, SPOOL_READ_MAX);
    serve_until(spool, 2);
    struct spool_size size = spool_size(spool);
    spool_close(spool);
    each_file(is_not_put_away);
    expect(told.found[2] || !before.added[2], "an acknowledged message is gone");
    expect(!told.found[1] || !before.removed, "a removed message came back");
    expect(before.set_aside ? !told.found[3] && size.aside == before.added[3]
                            : told.found[3] || size.aside > 0 || !before.added[3],
           "what was set aside is gone, or came back");
}

static void remove_file(int folder, const char *name)
{
    unlinkat(folder, name, 0);
}

static void remove_directory(void)
{
    each_file(remove_file);
    rmdir(directory);
}

/* --- SQLite's memory --------------------------------------------------------------------------------------------- */

static sqlite3_mem_methods usual;

static void *refusable_malloc(int bytes)
{
    return failing_now(FAILING_LIBRARY) ? NULL : usual.xMalloc(bytes);
}

static void *refusable_realloc(void *at, int bytes)
{
    return failing_now(FAILING_LIBRARY) ? NULL : usual.xRealloc(at, bytes);
}

/* Before anything of SQLite is used. */
static void make_memory_refusable(void)
{
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &usual), SQLITE_OK);
    sqlite3_mem_methods refusable = usual;
    refusable.xMalloc = refusable_malloc;
    refusable.xRealloc = refusable_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &refusable), SQLITE_OK);
}

static int start(void **state)
{
    (void)state;
    log_init("test_spool_failures", (enum log_level)(LOG_ERROR + 1)); /* it is told thousands of times */
    /* in memory where that can be had: all of it is done a thousand times */
    snprintf(directory, sizeof(directory), "%s/test_spool_failures.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(directory));
    make_memory_refusable();
    return 0;
}

static int finish(void **state)
{
    (void)state;
    remove_directory();
    return 0;
}

/* ----------------------------------------------------------------------------------------------------------------- */

static void try_all(enum failing_kind what, enum failing how)
{
    int nth = 0, calls = 0;
    do {
        remove_directory();
        told = (struct told){ 0 };
        snprintf(when, sizeof(when), "call %d failed %s", ++nth, failing_names[how]);
        failing_begin(what, nth, how);
        live();
        calls = failing_end();
        see_what_is_there();
    } while (nth <= calls);
    print_message("%s: each of %d calls\n", failing_names[how], calls);
    assert_true(calls > CALLS_LEAST && told.found[2]);
}

static void nothing_is_lost_to_a_disk_that_fails(void **state)
{
    (void)state;
    for (enum failing how = 0; how < FAILINGS; how++)
        try_all(FAILING_DISK, how);
}

static void nothing_is_lost_when_memory_is_out(void **state)
{
    (void)state;
    try_all(FAILING_LIBRARY, FAILS_ONCE);
    try_all(FAILING_LIBRARY, FAILS_FOR_GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_to_a_disk_that_fails),
        cmocka_unit_test(nothing_is_lost_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
