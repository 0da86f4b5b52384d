#include "ingest/spool_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"

#define SPOOL_PAGE_BYTES 4096
#define SPOOL_CHECKPOINT_FRAMES 1000    /* SQLite's default; done by us after the answers, so that none waits for it */
#define SPOOL_APPLICATION_ID 0x53425350 /* "SBSP": file(1) and a person see whose it is */
#define SPOOL_VERSION 1

static const char *const statements[SPOOL_STATEMENTS] = {
    [SPOOL_BEGIN] = "BEGIN IMMEDIATE",
    [SPOOL_COMMIT] = "COMMIT",
    [SPOOL_ROLLBACK] = "ROLLBACK",
    [SPOOL_ADD] = "INSERT INTO messages (number, id, topic, partition, key, payload) VALUES (?, ?, ?, ?, ?, ?)",
    [SPOOL_REMOVE] = "DELETE FROM messages WHERE number = ?",
    [SPOOL_SET_ASIDE] = "UPDATE messages SET aside = ?2 WHERE number = ?1",
    [SPOOL_READ] = "SELECT number, id, key, payload FROM messages WHERE topic = ? AND partition = ? AND aside IS NULL"
                   " ORDER BY number LIMIT ?",
    [SPOOL_LEFTOVERS] = "SELECT topic, partition, count(*) FROM messages WHERE aside IS NULL GROUP BY topic, partition",
    [SPOOL_VACUUM] = "PRAGMA incremental_vacuum",
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

/* --- opening -------------------------------------------------------------------------------------------------- */

static bool is_corrupt(int code)
{
    return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

static bool database_fail(struct spool_file *file, int code, struct problem *why)
{
    if ((code & 0xff) == SQLITE_BUSY)
        return fail(why,
                    "could not open the spool \"%s\": another process uses it; give each instance its own SPOOL_DIR",
                    file->path);
    return fail(why, "could not open the spool \"%s\": %s", file->path,
                file->database ? sqlite3_errmsg(file->database) : sqlite3_errstr(code));
}

/* One number from a pragma or a query of one row. */
static int ask_number(struct spool_file *file, const char *sql, int64_t *ret)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(file->database, sql, -1, &statement, NULL);
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
static int check_file(struct spool_file *file)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(file->database, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        code = strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
    sqlite3_finalize(statement);
    return code;
}

static int prepare_file(struct spool_file *file)
{
    char pragmas[128];
    int64_t version = 0;
    int code = sqlite3_exec(file->database, preparations, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = ask_number(file, "PRAGMA user_version", &version);
    if (code == SQLITE_OK && version == 0) {
        code = sqlite3_exec(file->database, "BEGIN", NULL, NULL, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_exec(file->database, schema, NULL, NULL, NULL);
        snprintf(pragmas, sizeof(pragmas), "PRAGMA user_version = %d; PRAGMA application_id = %d; COMMIT",
                 SPOOL_VERSION, SPOOL_APPLICATION_ID);
        if (code == SQLITE_OK)
            code = sqlite3_exec(file->database, pragmas, NULL, NULL, NULL);
    } else if (code == SQLITE_OK) {
        code = version == SPOOL_VERSION ? check_file(file) : SQLITE_MISMATCH;
    }
    snprintf(pragmas, sizeof(pragmas), "PRAGMA max_page_count = %lld",
             (long long)(file->bytes_max / SPOOL_PAGE_BYTES));
    if (code == SQLITE_OK)
        code = sqlite3_exec(file->database, pragmas, NULL, NULL, NULL);
    return code;
}

static int prepare_statements(struct spool_file *file)
{
    for (int i = 0; i < SPOOL_STATEMENTS; i++) {
        int code = sqlite3_prepare_v3(file->database, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &file->statements[i], NULL);
        if (code != SQLITE_OK)
            return code;
    }
    return SQLITE_OK;
}

static int note_wal(void *context, sqlite3 *database, const char *name, int frames)
{
    (void)database;
    (void)name;
    ((struct spool_file *)context)->wal_frames = frames;
    return SQLITE_OK;
}

void spool_file_close(struct spool_file *file)
{
    for (int i = 0; i < SPOOL_STATEMENTS; i++) {
        sqlite3_finalize(file->statements[i]);
        file->statements[i] = NULL;
    }
    sqlite3_close(file->database);
    file->database = NULL;
}

static int open_file(struct spool_file *file)
{
    int code = sqlite3_open_v2(file->path, &file->database,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK)
        code = prepare_file(file);
    if (code == SQLITE_OK)
        code = prepare_statements(file);
    if (code == SQLITE_OK)
        sqlite3_wal_hook(file->database, note_wal, file);
    return code;
}

/* Renames the file and its log out of the way: a person may get something out of it (sqlite3's .recover). */
static bool put_file_aside(struct spool_file *file, struct problem *why)
{
    static const char *const parts[] = { "", "-wal", "-shm" };
    char from[SPOOL_PATH_BYTES_MAX + 8], to[SPOOL_PATH_BYTES_MAX + 64];

    for (size_t i = 0; i < LENGTH(parts); i++) {
        snprintf(from, sizeof(from), "%s%s", file->path, parts[i]);
        snprintf(to, sizeof(to), "%s.corrupt-%lld%s", file->path, (long long)(now_us() / 1000000), parts[i]);
        if (rename(from, to) != 0 && (i == 0 || errno != ENOENT))
            return fail(why, "could not put the corrupt spool \"%s\" aside: %s", from, strerror(errno));
        if (i == 0)
            log_error(
                "the spool is corrupt and was put aside; what it held is not sent: recover it with sqlite3's .recover",
                LOG_TEXT("file", to));
    }
    return true;
}

static bool open_or_replace_file(struct spool_file *file, struct problem *why)
{
    int code = open_file(file);
    if (is_corrupt(code)) { /* or the disk refused to read: SQLite says the same of both */
        spool_file_close(file);
        code = open_file(file);
    }
    if (is_corrupt(code)) {
        spool_file_close(file);
        if (!put_file_aside(file, why))
            return false;
        code = open_file(file);
    }
    if (code == SQLITE_MISMATCH)
        return fail(why, "could not open the spool \"%s\": a newer version of this program made it", file->path);
    return code == SQLITE_OK || database_fail(file, code, why);
}

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

bool spool_file_open(struct spool_file *file, const char *directory, int64_t bytes_max, struct problem *why)
{
    file->bytes_max = bytes_max;
    int path_bytes = snprintf(file->path, sizeof(file->path), "%s/spool.sqlite", directory);
    if (path_bytes >= (int)sizeof(file->path))
        return fail(why, "SPOOL_DIR is longer than %d bytes", SPOOL_PATH_BYTES_MAX - 14);
    return make_directory(directory, why) && open_or_replace_file(file, why);
}

bool spool_file_count(struct spool_file *file, struct spool_file_counts *ret, struct problem *why)
{
    *ret = (struct spool_file_counts){ 0 };
    int code = ask_number(file, "SELECT count(*) FROM messages WHERE aside IS NULL", &ret->messages);
    if (code == SQLITE_OK)
        code = ask_number(file, "SELECT count(*) FROM messages WHERE aside IS NOT NULL", &ret->aside);
    if (code == SQLITE_OK)
        code = ask_number(file, "SELECT coalesce(max(number), 0) FROM messages", &ret->last_number);
    file->grown = ret->messages + ret->aside > 0;
    return code == SQLITE_OK || database_fail(file, code, why);
}

bool spool_file_leftovers(struct spool_file *file, void (*each)(void *context, const struct spool_count *count),
                          void *context, struct problem *why)
{
    sqlite3_stmt *statement = file->statements[SPOOL_LEFTOVERS];
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        each(context, &(struct spool_count){ .topic = (const char *)sqlite3_column_text(statement, 0),
                                             .partition = sqlite3_column_int(statement, 1),
                                             .messages = sqlite3_column_int64(statement, 2) });
    sqlite3_reset(statement);
    return code == SQLITE_DONE || database_fail(file, code, why);
}

int64_t spool_file_bytes(const struct spool_file *file)
{
    char log_path[SPOOL_PATH_BYTES_MAX + 8];
    struct stat main_file = { 0 }, log_file = { 0 };

    snprintf(log_path, sizeof(log_path), "%s-wal", file->path);
    stat(file->path, &main_file);
    stat(log_path, &log_file);
    return (int64_t)main_file.st_size + (int64_t)log_file.st_size;
}

/* --- writing and reading -------------------------------------------------------------------------------------- */

static const char *run(struct spool_file *file, enum spool_statement name)
{
    int code = sqlite3_step(file->statements[name]);
    sqlite3_reset(file->statements[name]);
    sqlite3_clear_bindings(file->statements[name]);
    return code == SQLITE_DONE || code == SQLITE_ROW ? NULL : sqlite3_errstr(code);
}

const char *spool_file_begin(struct spool_file *file)
{
    return run(file, SPOOL_BEGIN);
}

const char *spool_file_commit(struct spool_file *file)
{
    return run(file, SPOOL_COMMIT);
}

void spool_file_rollback(struct spool_file *file)
{
    if (!sqlite3_get_autocommit(file->database))
        run(file, SPOOL_ROLLBACK);
}

const char *spool_file_add(struct spool_file *file, const struct spool_message *message)
{
    sqlite3_stmt *statement = file->statements[SPOOL_ADD];
    sqlite3_bind_int64(statement, 1, message->number);
    sqlite3_bind_text(statement, 2, message->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, message->topic, -1, SQLITE_STATIC);
    sqlite3_bind_int(statement, 4, message->partition);
    sqlite3_bind_blob64(statement, 5, message->key.at ? message->key.at : "", message->key.bytes, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 6, message->payload.at ? message->payload.at : "", message->payload.bytes,
                        SQLITE_STATIC);
    file->grown = true;
    return run(file, SPOOL_ADD);
}

const char *spool_file_remove(struct spool_file *file, int64_t number)
{
    sqlite3_bind_int64(file->statements[SPOOL_REMOVE], 1, number);
    return run(file, SPOOL_REMOVE);
}

const char *spool_file_set_aside(struct spool_file *file, int64_t number, const char *reason)
{
    sqlite3_bind_int64(file->statements[SPOOL_SET_ASIDE], 1, number);
    sqlite3_bind_text(file->statements[SPOOL_SET_ASIDE], 2, reason, -1, SQLITE_STATIC);
    return run(file, SPOOL_SET_ASIDE);
}

static struct text blob_of(sqlite3_stmt *statement, int column, struct arena *arena)
{
    struct text blob = { sqlite3_column_blob(statement, column), (size_t)sqlite3_column_bytes(statement, column) };
    return (struct text){ blob.bytes ? arena_copy_text(arena, blob) : "", blob.bytes };
}

const char *spool_file_read(struct spool_file *file, const char *topic, int32_t partition, int room,
                            struct arena *arena, struct spool_message *ret, int *ret_count)
{
    sqlite3_stmt *statement = file->statements[SPOOL_READ];
    size_t bytes = 0;
    int code = SQLITE_DONE;

    *ret_count = 0;
    sqlite3_bind_text(statement, 1, topic, -1, SQLITE_STATIC);
    sqlite3_bind_int(statement, 2, partition);
    sqlite3_bind_int(statement, 3, room);
    while (bytes < SPOOL_READ_BYTES_MAX && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct spool_message *message = &ret[(*ret_count)++];
        *message = (struct spool_message){ .number = sqlite3_column_int64(statement, 0),
                                           .id = arena_copy(arena, (const char *)sqlite3_column_text(statement, 1)),
                                           .topic = topic,
                                           .partition = partition,
                                           .key = blob_of(statement, 2, arena),
                                           .payload = blob_of(statement, 3, arena) };
        bytes += message->payload.bytes;
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? NULL : sqlite3_errstr(code);
}

void spool_file_tidy(struct spool_file *file, bool is_empty)
{
    if (file->grown && is_empty) {
        while (sqlite3_step(file->statements[SPOOL_VACUUM]) == SQLITE_ROW)
            ;
        sqlite3_reset(file->statements[SPOOL_VACUUM]);
        if (sqlite3_wal_checkpoint_v2(file->database, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_OK)
            file->grown = false;
        file->wal_frames = 0;
    } else if (file->wal_frames >= SPOOL_CHECKPOINT_FRAMES) {
        sqlite3_wal_checkpoint_v2(file->database, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        file->wal_frames = 0;
    }
}
