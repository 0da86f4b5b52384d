#include "ingest/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/fault.h"
#include "common/log.h"

#define SPOOL_PAGE_BYTES 4096
#define SPOOL_PATH_BYTES_MAX 1024
#define SPOOL_READ_ARENA_BYTES_MAX (64 * 1024 * 1024)
#define SPOOL_CHECKPOINT_FRAMES 1000    /* SQLite's default; done by us after the answers, so that none waits for it */
#define SPOOL_APPLICATION_ID 0x53425350 /* "SBSP": file(1) and a person see whose it is */
#define SPOOL_VERSION 1

enum request_kind { REQUEST_ADD, REQUEST_REMOVE, REQUEST_SET_ASIDE, REQUEST_READ };

struct request {
    struct request *next;
    enum request_kind kind;
    bool done;                          /* for reads: could be read */
    struct spool_message message;       /* add: all of it; others: its lane */
    void *context;                      /* add */
    char *reason;                       /* set aside */
    struct arena *arena;                /* read: holds the messages */
    struct spool_message *messages;
    int count;                          /* remove: of numbers; read: asked for, then found */
    int64_t numbers[];
};

struct queue {
    struct request *first, **last;
};

enum statement_name {
    BEGIN,
    COMMIT,
    ROLLBACK,
    ADD,
    REMOVE,
    SET_ASIDE,
    READ,
    LEFTOVERS,
    LAST_NUMBER,
    ASIDE,
    VACUUM,
    STATEMENTS
};

static const char *const statements[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [ADD] = "INSERT INTO messages (number, id, topic, partition, key, payload) VALUES (?, ?, ?, ?, ?, ?)",
    [REMOVE] = "DELETE FROM messages WHERE number = ?",
    [SET_ASIDE] = "UPDATE messages SET aside = ?2 WHERE number = ?1",
    [READ] = "SELECT number, id, key, payload FROM messages WHERE topic = ? AND partition = ? AND aside IS NULL ORDER "
             "BY number LIMIT ?",
    [LEFTOVERS] = "SELECT topic, partition, count(*) FROM messages WHERE aside IS NULL GROUP BY topic, partition",
    [LAST_NUMBER] = "SELECT coalesce(max(number), 0) FROM messages",
    [ASIDE] = "SELECT count(*) FROM messages WHERE aside IS NOT NULL",
    [VACUUM] = "PRAGMA incremental_vacuum",
};

/* auto_vacuum first: it cannot be changed once there is a table.  EXCLUSIVE keeps other processes out. */
static const char preparations[] = "PRAGMA auto_vacuum = INCREMENTAL;"
                                   "PRAGMA locking_mode = EXCLUSIVE;"
                                   "PRAGMA journal_mode = WAL;"
                                   "PRAGMA synchronous = FULL;"
                                   "PRAGMA wal_autocheckpoint = 0;"
                                   "PRAGMA trusted_schema = OFF;"
                                   "BEGIN EXCLUSIVE; COMMIT;";

static const char schema[] = "CREATE TABLE messages ("
                             "    number    INTEGER PRIMARY KEY,"
                             "    id        TEXT NOT NULL,"
                             "    topic     TEXT NOT NULL,"
                             "    partition INTEGER NOT NULL,"
                             "    key       BLOB NOT NULL,"
                             "    payload   BLOB NOT NULL,"
                             "    aside     TEXT) STRICT;"
                             "CREATE INDEX messages_lane ON messages (topic, partition, number) WHERE aside IS NULL;";

struct spool {
    struct spool_settings settings;
    char path[SPOOL_PATH_BYTES_MAX];
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENTS];
    int64_t last_number;                /* owner's thread */
    int wal_frames;                     /* writer's thread, as are the next two */
    bool failing;                       /* the log has said so */
    bool grown;                         /* pages to give back once it is empty */
    _Atomic int64_t messages, aside, waiting_since_us;
    int fd;
    pthread_t writer;
    bool writer_runs;
    pthread_mutex_t lock;               /* guards what follows */
    pthread_cond_t wake;
    struct queue asked, answered;
    bool closing;
};

static void queue_init(struct queue *queue)
{
    *queue = (struct queue){ .last = &queue->first };
}

static void queue_push(struct queue *queue, struct request *request)
{
    request->next = NULL;
    *queue->last = request;
    queue->last = &request->next;
}

static struct request *queue_pop(struct queue *queue)
{
    struct request *request = queue->first;
    if (request && !(queue->first = request->next))
        queue->last = &queue->first;
    return request;
}

static void request_free(struct request *request)
{
    arena_free(request->arena);
    free(request->reason);
    free(request);
}

/* --- the file ------------------------------------------------------------------------------------------------- */

static bool is_corrupt(int code)
{
    return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

static bool database_fail(struct spool *spool, int code, struct problem *why)
{
    if ((code & 0xff) == SQLITE_BUSY)
        return fail(why,
                    "could not open the spool \"%s\": another process uses it; give each instance its own SPOOL_DIR",
                    spool->path);
    return fail(why, "could not open the spool \"%s\": %s", spool->path,
                spool->database ? sqlite3_errmsg(spool->database) : sqlite3_errstr(code));
}

/* One number from a pragma or a query of one row. */
static int ask_number(struct spool *spool, const char *sql, int64_t *ret)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(spool->database, sql, -1, &statement, NULL);
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *ret = sqlite3_column_int64(statement, 0);
        code = SQLITE_OK;
    }
    int end = sqlite3_finalize(statement);
    return code == SQLITE_OK ? end : code;
}

/* SQLITE_CORRUPT when the file's own check finds anything. */
static int check_file(struct spool *spool)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(spool->database, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        code = strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
    sqlite3_finalize(statement);
    return code;
}

static int prepare_file(struct spool *spool)
{
    char pragmas[128];
    int64_t version = 0;
    int code = sqlite3_exec(spool->database, preparations, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = ask_number(spool, "PRAGMA user_version", &version);
    if (code == SQLITE_OK && version == 0) {
        code = sqlite3_exec(spool->database, "BEGIN", NULL, NULL, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_exec(spool->database, schema, NULL, NULL, NULL);
        snprintf(pragmas, sizeof(pragmas), "PRAGMA user_version = %d; PRAGMA application_id = %d; COMMIT",
                 SPOOL_VERSION, SPOOL_APPLICATION_ID);
        if (code == SQLITE_OK)
            code = sqlite3_exec(spool->database, pragmas, NULL, NULL, NULL);
    } else if (code == SQLITE_OK) {
        code = version == SPOOL_VERSION ? check_file(spool) : SQLITE_MISMATCH;
    }
    snprintf(pragmas, sizeof(pragmas), "PRAGMA max_page_count = %lld",
             (long long)(spool->settings.bytes_max / SPOOL_PAGE_BYTES));
    if (code == SQLITE_OK)
        code = sqlite3_exec(spool->database, pragmas, NULL, NULL, NULL);
    return code;
}

static int prepare_statements(struct spool *spool)
{
    for (int i = 0; i < STATEMENTS; i++) {
        int code = sqlite3_prepare_v3(spool->database, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &spool->statements[i], NULL);
        if (code != SQLITE_OK)
            return code;
    }
    return SQLITE_OK;
}

static int note_wal(void *context, sqlite3 *database, const char *name, int frames)
{
    (void)database;
    (void)name;
    ((struct spool *)context)->wal_frames = frames;
    return SQLITE_OK;
}

static void close_file(struct spool *spool)
{
    for (int i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(spool->statements[i]);
        spool->statements[i] = NULL;
    }
    sqlite3_close(spool->database);
    spool->database = NULL;
}

static int open_file(struct spool *spool)
{
    int code = sqlite3_open_v2(spool->path, &spool->database,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK)
        code = prepare_file(spool);
    if (code == SQLITE_OK)
        code = prepare_statements(spool);
    if (code == SQLITE_OK)
        sqlite3_wal_hook(spool->database, note_wal, spool);
    return code;
}

/* Renames the file and its log out of the way: a person may get something out of it (sqlite3's .recover). */
static bool put_file_aside(struct spool *spool, struct problem *why)
{
    static const char *const parts[] = { "", "-wal", "-shm" };
    char from[SPOOL_PATH_BYTES_MAX + 8], to[SPOOL_PATH_BYTES_MAX + 64];

    for (size_t i = 0; i < LENGTH(parts); i++) {
        snprintf(from, sizeof(from), "%s%s", spool->path, parts[i]);
        snprintf(to, sizeof(to), "%s.corrupt-%lld%s", spool->path, (long long)(now_us() / 1000000), parts[i]);
        if (rename(from, to) != 0 && (i == 0 || errno != ENOENT))
            return fail(why, "could not put the corrupt spool \"%s\" aside: %s", from, strerror(errno));
        if (i == 0)
            log_error(
                "the spool is corrupt and was put aside; what it held is not sent: recover it with sqlite3's .recover",
                LOG_TEXT("file", to));
    }
    return true;
}

static bool open_or_replace_file(struct spool *spool, struct problem *why)
{
    int code = open_file(spool);
    if (is_corrupt(code)) { /* or the disk refused to read: SQLite says the same of both */
        close_file(spool);
        code = open_file(spool);
    }
    if (is_corrupt(code)) {
        close_file(spool);
        if (!put_file_aside(spool, why))
            return false;
        code = open_file(spool);
    }
    if (code == SQLITE_MISMATCH)
        return fail(why, "could not open the spool \"%s\": a newer version of this program made it", spool->path);
    return code == SQLITE_OK || database_fail(spool, code, why);
}

/* --- the writer's thread -------------------------------------------------------------------------------------- */

static int run(struct spool *spool, enum statement_name name)
{
    int code = sqlite3_step(spool->statements[name]);
    sqlite3_reset(spool->statements[name]);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

static int write_add(struct spool *spool, const struct spool_message *message)
{
    sqlite3_stmt *statement = spool->statements[ADD];
    sqlite3_bind_int64(statement, 1, message->number);
    sqlite3_bind_text(statement, 2, message->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, message->topic, -1, SQLITE_STATIC);
    sqlite3_bind_int(statement, 4, message->partition);
    sqlite3_bind_blob64(statement, 5, message->key.at ? message->key.at : "", message->key.bytes, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 6, message->payload.at ? message->payload.at : "", message->payload.bytes,
                        SQLITE_STATIC);
    int code = run(spool, ADD);
    sqlite3_clear_bindings(statement);
    return code;
}

static int write_request(struct spool *spool, const struct request *request)
{
    int code = SQLITE_OK;
    switch (request->kind) {
    case REQUEST_ADD:
        return write_add(spool, &request->message);
    case REQUEST_REMOVE:
        for (int i = 0; i < request->count && code == SQLITE_OK; i++) {
            sqlite3_bind_int64(spool->statements[REMOVE], 1, request->numbers[i]);
            code = run(spool, REMOVE);
        }
        return code;
    case REQUEST_SET_ASIDE:
        sqlite3_bind_int64(spool->statements[SET_ASIDE], 1, request->numbers[0]);
        sqlite3_bind_text(spool->statements[SET_ASIDE], 2, request->reason, -1, SQLITE_STATIC);
        code = run(spool, SET_ASIDE);
        sqlite3_clear_bindings(spool->statements[SET_ASIDE]);
        return code;
    case REQUEST_READ:
        break;
    }
    assert(!"a read is not written");
    return SQLITE_MISUSE;
}

static void note_written(struct spool *spool, const struct request *request)
{
    if (request->kind == REQUEST_ADD) {
        if (atomic_fetch_add(&spool->messages, 1) == 0)
            atomic_store(&spool->waiting_since_us, now_us());
        spool->grown = true;
        return;
    }
    atomic_fetch_sub(&spool->messages, request->count);
    if (request->kind == REQUEST_SET_ASIDE)
        atomic_fetch_add(&spool->aside, request->count);
}

/* One transaction of the requests from `first` up to `end`, additions left out when not `with_additions`. */
static int write_transaction(struct spool *spool, struct request *first, const struct request *end, bool with_additions)
{
    int code = run(spool, BEGIN);
    if (code != SQLITE_OK)
        return code;
    for (struct request *request = first; request != end && code == SQLITE_OK; request = request->next)
        if (with_additions || request->kind != REQUEST_ADD)
            code = write_request(spool, request);
    code = FAULT_ERROR("spool.before") ? SQLITE_IOERR : code;
    if (code == SQLITE_OK)
        code = run(spool, COMMIT);
    FAULT_POINT("spool.after");
    if (code != SQLITE_OK) {
        if (!sqlite3_get_autocommit(spool->database))
            run(spool, ROLLBACK);
        return code;
    }
    for (struct request *request = first; request != end; request = request->next) {
        if (!with_additions && request->kind == REQUEST_ADD)
            continue;
        request->done = true;
        note_written(spool, request);
    }
    return SQLITE_OK;
}

/* On a full disk removals must still come through: they are what makes room. */
static void write_group(struct spool *spool, struct request *first, const struct request *end)
{
    int code = write_transaction(spool, first, end, true);
    if (code == SQLITE_OK) {
        if (spool->failing)
            log_info("the spool can be written again", LOG_TEXT("file", spool->path));
        spool->failing = false;
        return;
    }
    if (!spool->failing)
        log_error("the spool could not be written: what comes in is refused while Kafka is away",
                  LOG_TEXT("file", spool->path), LOG_TEXT("reason", sqlite3_errstr(code)));
    spool->failing = true;
    write_transaction(spool, first, end, false);
}

static void read_messages(struct spool *spool, struct request *request)
{
    sqlite3_stmt *statement = spool->statements[READ];
    size_t bytes = 0;
    int wanted = request->count, code = SQLITE_DONE;

    request->arena = arena_new(SPOOL_READ_ARENA_BYTES_MAX);
    request->messages = arena_alloc(request->arena, (size_t)wanted * sizeof(request->messages[0]));
    request->count = 0;
    sqlite3_bind_text(statement, 1, request->message.topic, -1, SQLITE_STATIC);
    sqlite3_bind_int(statement, 2, request->message.partition);
    sqlite3_bind_int(statement, 3, wanted);
    while (bytes < SPOOL_READ_BYTES_MAX && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct text key = { sqlite3_column_blob(statement, 2), (size_t)sqlite3_column_bytes(statement, 2) };
        struct text payload = { sqlite3_column_blob(statement, 3), (size_t)sqlite3_column_bytes(statement, 3) };
        struct text id = { (const char *)sqlite3_column_text(statement, 1),
                           (size_t)sqlite3_column_bytes(statement, 1) };
        request->messages[request->count++] = (struct spool_message){
            .number = sqlite3_column_int64(statement, 0),
            .id = arena_copy_text(request->arena, id),
            .topic = request->message.topic,
            .partition = request->message.partition,
            .key = { key.bytes ? arena_copy_text(request->arena, key) : "", key.bytes },
            .payload = { payload.bytes ? arena_copy_text(request->arena, payload) : "", payload.bytes },
        };
        bytes += payload.bytes;
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    request->done = code == SQLITE_DONE || code == SQLITE_ROW;
    if (!request->done)
        log_error("the spool could not be read", LOG_TEXT("file", spool->path),
                  LOG_TEXT("reason", sqlite3_errstr(code)));
}

static void run_group(struct spool *spool, struct request *group)
{
    for (struct request *request = group; request;) {
        if (request->kind == REQUEST_READ) {
            read_messages(spool, request);
            request = request->next;
            continue;
        }
        struct request *end = request;
        while (end && end->kind != REQUEST_READ)
            end = end->next;
        write_group(spool, request, end);
        request = end;
    }
}

static void answer_group(struct spool *spool, struct request *group)
{
    pthread_mutex_lock(&spool->lock);
    while (group) {
        struct request *next = group->next;
        queue_push(&spool->answered, group);
        group = next;
    }
    pthread_mutex_unlock(&spool->lock);
    eventfd_write(spool->fd, 1);
}

/* Nobody waits for this.  What fails here is tried again after the next group. */
static void tidy(struct spool *spool)
{
    if (spool->grown && atomic_load(&spool->messages) == 0) {
        while (sqlite3_step(spool->statements[VACUUM]) == SQLITE_ROW)
            ;
        sqlite3_reset(spool->statements[VACUUM]);
        if (sqlite3_wal_checkpoint_v2(spool->database, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_OK)
            spool->grown = false;
        spool->wal_frames = 0;
    } else if (spool->wal_frames >= SPOOL_CHECKPOINT_FRAMES) {
        sqlite3_wal_checkpoint_v2(spool->database, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        spool->wal_frames = 0;
    }
}

/* The requests to do next, or NULL when the spool closes and all is done. */
static struct request *take_group(struct spool *spool)
{
    struct queue group;

    queue_init(&group);
    pthread_mutex_lock(&spool->lock);
    while (!spool->asked.first && !spool->closing)
        pthread_cond_wait(&spool->wake, &spool->lock);
    for (int i = 0; i < SPOOL_GROUP_MAX && spool->asked.first; i++)
        queue_push(&group, queue_pop(&spool->asked));
    pthread_mutex_unlock(&spool->lock);
    return group.first;
}

static void *writer_main(void *context)
{
    struct spool *spool = context;
    struct request *group;

    pthread_setname_np(pthread_self(), "spool");
    while ((group = take_group(spool))) {
        run_group(spool, group);
        answer_group(spool, group);
        tidy(spool);
    }
    return NULL;
}

/* --- the owner's thread --------------------------------------------------------------------------------------- */

static bool make_directory(const char *path, struct problem *why)
{
    char part[SPOOL_PATH_BYTES_MAX];
    snprintf(part, sizeof(part), "%s", path);
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return fail(why, "could not make the folder \"%s\" of the spool: %s; set SPOOL_DIR", part, strerror(errno));
        if (!slash)
            return true;
        *slash = '/';
    }
}

static bool count_messages(struct spool *spool, struct problem *why)
{
    int64_t all = 0, aside = 0;
    int code = ask_number(spool, "SELECT count(*) FROM messages", &all);
    if (code == SQLITE_OK)
        code = ask_number(spool, statements[ASIDE], &aside);
    if (code == SQLITE_OK)
        code = ask_number(spool, statements[LAST_NUMBER], &spool->last_number);
    if (code != SQLITE_OK)
        return database_fail(spool, code, why);
    atomic_store(&spool->messages, all - aside);
    atomic_store(&spool->waiting_since_us, now_us());
    atomic_store(&spool->aside, aside);
    spool->grown = all > 0;
    return true;
}

struct spool *spool_open(const struct spool_settings *settings, struct problem *why)
{
    struct spool *spool = must_alloc(sizeof(*spool));
    spool->settings = *settings;
    queue_init(&spool->asked);
    queue_init(&spool->answered);
    pthread_mutex_init(&spool->lock, NULL);
    pthread_cond_init(&spool->wake, NULL);
    spool->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int path_bytes = snprintf(spool->path, sizeof(spool->path), "%s/spool.sqlite", settings->directory);

    bool good = path_bytes < (int)sizeof(spool->path) ||
                fail(why, "SPOOL_DIR is longer than %d bytes", SPOOL_PATH_BYTES_MAX - 14);
    good = good && make_directory(settings->directory, why) && open_or_replace_file(spool, why) &&
           count_messages(spool, why);
    if (good && (spool->fd < 0 || pthread_create(&spool->writer, NULL, writer_main, spool) != 0))
        good = fail(why, "could not start the spool: %s", strerror(errno));
    spool->writer_runs = good;
    if (!good) {
        spool_close(spool);
        return NULL;
    }
    return spool;
}

bool spool_leftovers(struct spool *spool, void (*each)(void *context, const struct spool_count *count), void *context,
                     struct problem *why)
{
    sqlite3_stmt *statement = spool->statements[LEFTOVERS];
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        each(context, &(struct spool_count){ .topic = (const char *)sqlite3_column_text(statement, 0),
                                             .partition = sqlite3_column_int(statement, 1),
                                             .messages = sqlite3_column_int64(statement, 2) });
    sqlite3_reset(statement);
    return code == SQLITE_DONE || database_fail(spool, code, why);
}

void spool_close(struct spool *spool)
{
    struct request *request;

    if (!spool)
        return;
    if (spool->writer_runs) {
        pthread_mutex_lock(&spool->lock);
        spool->closing = true;
        pthread_cond_signal(&spool->wake);
        pthread_mutex_unlock(&spool->lock);
        pthread_join(spool->writer, NULL);
    }
    while ((request = queue_pop(&spool->answered)))
        request_free(request);
    close_file(spool);
    if (spool->fd >= 0)
        close(spool->fd);
    pthread_cond_destroy(&spool->wake);
    pthread_mutex_destroy(&spool->lock);
    free(spool);
}

int spool_fd(const struct spool *spool)
{
    return spool->fd;
}

static void answer(struct spool *spool, const struct request *request)
{
    const struct spool_settings *settings = &spool->settings;
    const struct spool_message *lane = &request->message;

    if (request->kind == REQUEST_ADD)
        settings->added(settings->context, request->context, request->done);
    else if (request->kind == REQUEST_READ)
        settings->read(settings->context, lane->topic, lane->partition, request->messages,
                       request->done ? request->count : -1);
    else
        settings->removed(settings->context, lane->topic, lane->partition, request->count, request->done);
}

void spool_serve(struct spool *spool)
{
    eventfd_t ignored;
    struct request *request;

    eventfd_read(spool->fd, &ignored);
    pthread_mutex_lock(&spool->lock);
    request = spool->answered.first;
    queue_init(&spool->answered);
    pthread_mutex_unlock(&spool->lock);
    while (request) {
        struct request *next = request->next;
        answer(spool, request);
        request_free(request);
        request = next;
    }
}

static void ask(struct spool *spool, struct request *request)
{
    pthread_mutex_lock(&spool->lock);
    bool idle = !spool->asked.first;
    queue_push(&spool->asked, request);
    if (idle)
        pthread_cond_signal(&spool->wake);
    pthread_mutex_unlock(&spool->lock);
}

static struct request *request_new(enum request_kind kind, const char *topic, int32_t partition, int numbers)
{
    struct request *request = must_alloc(sizeof(*request) + (size_t)numbers * sizeof(request->numbers[0]));
    request->kind = kind;
    request->message.topic = topic;
    request->message.partition = partition;
    request->count = numbers;
    return request;
}

int64_t spool_add(struct spool *spool, const struct spool_message *message, void *message_context)
{
    struct request *request = request_new(REQUEST_ADD, message->topic, message->partition, 0);
    request->message = *message;
    request->message.number = ++spool->last_number;
    request->context = message_context;
    ask(spool, request);
    return spool->last_number;
}

void spool_remove(struct spool *spool, const char *topic, int32_t partition, const int64_t *numbers, int count)
{
    struct request *request = request_new(REQUEST_REMOVE, topic, partition, count);
    memcpy(request->numbers, numbers, (size_t)count * sizeof(numbers[0]));
    ask(spool, request);
}

void spool_read(struct spool *spool, const char *topic, int32_t partition, int count)
{
    assert(count > 0 && count <= SPOOL_READ_MAX);
    struct request *request = request_new(REQUEST_READ, topic, partition, 0);
    request->count = count;
    ask(spool, request);
}

void spool_set_aside(struct spool *spool, const char *topic, int32_t partition, int64_t number, const char *reason)
{
    struct request *request = request_new(REQUEST_SET_ASIDE, topic, partition, 1);
    request->numbers[0] = number;
    request->reason = must_copy(reason);
    ask(spool, request);
}

struct spool_size spool_size(struct spool *spool)
{
    char log_path[SPOOL_PATH_BYTES_MAX + 8];
    struct stat file = { 0 }, wal = { 0 };

    snprintf(log_path, sizeof(log_path), "%s-wal", spool->path);
    stat(spool->path, &file);
    stat(log_path, &wal);
    return (struct spool_size){
        .messages = atomic_load(&spool->messages),
        .waiting_since_us = atomic_load(&spool->messages) > 0 ? atomic_load(&spool->waiting_since_us) : 0,
        .aside = atomic_load(&spool->aside),
        .bytes = (int64_t)file.st_size + (int64_t)wal.st_size,
    };
}
