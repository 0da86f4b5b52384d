/* The spool's files with any bytes changed, as a bad disk or a power failure leaves them: it opens, or says why not;
 * what can be read is within its bounds; and it goes on taking messages.
 *
 * The input is a list of changes to the files of a spool that was killed: four bytes each, which file, where (a
 * fraction of its length), and what stands there now; a file's number beyond the two cuts it there. */
#include "tests/fuzz/fuzz.h"

#include "ingest/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>

#define MESSAGES       40
#define FILE_BYTES_MAX (1024 * 1024) /* of its log, too, when each message was a transaction of its own */
#define CHANGE_BYTES   4
#define PATIENCE_MS    20000
#define TOPIC          "inbound.test"
#define CUT            0x80

static struct part {
    const char *name;
    char content[FILE_BYTES_MAX];
    size_t bytes;
} parts[] = { { .name = "spool.sqlite" }, { .name = "spool.sqlite-wal" } };

static struct told {
    int added, refused, reads, answered;
    int read_count;
} told;

/* --- what it tells ------------------------------------------------------------------------------------------------ */

static void note_added(void *context, void *message_context, bool on_disk)
{
    (void)context, (void)message_context;
    told.added += on_disk;
    told.refused += !on_disk;
    told.answered++;
}

static void note_read(void *context, const char *topic, int32_t partition, const struct spool_message *messages,
                      int count)
{
    (void)context;
    require(strcmp(topic, TOPIC) == 0 && count >= -1 && count <= SPOOL_READ_MAX);
    for (int i = 0; i < count; i++) {
        require(messages[i].partition == partition && messages[i].id && messages[i].key.at && messages[i].payload.at);
        require(messages[i].payload.at[messages[i].payload.bytes] == '\0');
        require(i == 0 || messages[i].number > messages[i - 1].number);
    }
    told.read_count = count;
    told.answered++;
}

static void note_removed(void *context, const char *topic, int32_t partition, int count, bool gone)
{
    (void)context, (void)topic, (void)partition, (void)count, (void)gone;
    told.answered++;
}

static void note_leftovers(void *context, const struct spool_count *count)
{
    (void)context;
    require(count->topic && count->messages > 0);
}

static struct spool *open_spool(struct problem *why)
{
    return spool_open(&(struct spool_settings){ .directory = fuzz_folder,
                                                .bytes_max = 8 << 20,
                                                .added = note_added,
                                                .read = note_read,
                                                .removed = note_removed },
                      why);
}

static void serve_until(struct spool *spool, int answered)
{
    while (told.answered < answered) {
        int ready = poll(&(struct pollfd){ .fd = spool_fd(spool), .events = POLLIN }, 1, PATIENCE_MS);
        require(ready == 1 || (ready < 0 && errno == EINTR)); /* libFuzzer's clock ticks */
        spool_serve(spool);
    }
}

static void add(struct spool *spool, int32_t partition)
{
    spool_add(spool,
              &(struct spool_message){ .id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                                       .topic = TOPIC,
                                       .partition = partition,
                                       .key = TEXT("key"),
                                       .payload = TEXT("{\"what\":\"was accepted\"}") },
              NULL);
}

/* --- the files ---------------------------------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
    static char path[2 * FUZZ_PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", fuzz_folder, name);
    return path;
}

static void empty_folder(void)
{
    DIR *listing = opendir(fuzz_folder);
    require(listing != NULL);
    for (struct dirent *entry; (entry = readdir(listing));)
        unlinkat(dirfd(listing), entry->d_name, 0);
    closedir(listing);
}

/* As kill -9 leaves it: some of it in the file, the rest in its log. */
static void make_parts(void)
{
    struct problem why;
    struct spool *spool = open_spool(&why);
    int64_t numbers[] = { 1, 2 };

    require(spool != NULL);
    for (int i = 0; i < MESSAGES; i++) {
        add(spool, i % 2);
        serve_until(spool, i + 1); /* one at a time, or how much is in the log would depend on the machine */
    }
    spool_remove(spool, TOPIC, 0, numbers, 1);
    spool_set_aside(spool, TOPIC, 1, numbers[1], "too large");
    serve_until(spool, MESSAGES + 2);
    for (size_t i = 0; i < LENGTH(parts); i++) {
        int fd = open(path_of(parts[i].name), O_RDONLY | O_CLOEXEC);
        ssize_t got = read(fd, parts[i].content, FILE_BYTES_MAX);
        require(got > 0 && got < FILE_BYTES_MAX);
        parts[i].bytes = (size_t)got;
        close(fd);
    }
    spool_close(spool);
}

static void write_parts(const uint8_t *changes, size_t bytes)
{
    for (size_t i = 0; i < LENGTH(parts); i++) {
        static char content[FILE_BYTES_MAX];
        size_t length = parts[i].bytes;
        memcpy(content, parts[i].content, length);
        for (size_t at = 0; at + CHANGE_BYTES <= bytes; at += CHANGE_BYTES) {
            const uint8_t *change = changes + at;
            size_t place = ((size_t)change[1] << 8 | change[2]) * length >> 16;
            if (change[0] % LENGTH(parts) != i || length == 0)
                continue;
            if (change[0] & CUT)
                length = place;
            else
                content[place] = (char)change[3];
        }
        int fd = open(path_of(parts[i].name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        require(write(fd, content, length) == (ssize_t)length);
        close(fd);
    }
}

/* ------------------------------------------------------------------------------------------------------------------ */

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    log_nothing();
    fuzz_folder_make();
    make_parts();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct problem why = { .text = "" };

    empty_folder();
    write_parts(data, size);
    told = (struct told){ 0 };
    struct spool *spool = open_spool(&why);
    if (spool == NULL) {
        check_reason(&why);
        return 0;
    }
    if (!spool_leftovers(spool, note_leftovers, NULL, &why))
        check_reason(&why);
    for (int32_t lane = 0; lane < 2; lane++) {
        spool_read(spool, TOPIC, lane, SPOOL_READ_MAX);
        add(spool, lane);
    }
    serve_until(spool, 4);
    require(told.added + told.refused == 2);
    spool_close(spool);
    return 0;
}
