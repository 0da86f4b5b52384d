/* spool_file.h: the file of the spool: SQLite (WAL, synchronous=FULL), a row per message.
 *
 * A function that returns a reason returns NULL when it did what it says, else why it could not: a static text.
 * Between spool_file_begin() and spool_file_commit() all takes effect together, or nothing does.
 *
 * Threads: one at a time. */
#pragma once

#include <sqlite3.h>

#include "common/arena.h"
#include "ingest/spool.h"

#define SPOOL_PATH_BYTES_MAX 1024

enum spool_statement {
    SPOOL_BEGIN,
    SPOOL_COMMIT,
    SPOOL_ROLLBACK,
    SPOOL_ADD,
    SPOOL_REMOVE,
    SPOOL_SET_ASIDE,
    SPOOL_READ,
    SPOOL_LEFTOVERS,
    SPOOL_VACUUM,
    SPOOL_STATEMENTS
};

struct spool_file {
    char path[SPOOL_PATH_BYTES_MAX];
    int64_t bytes_max;
    sqlite3 *database;
    sqlite3_stmt *statements[SPOOL_STATEMENTS];
    int wal_frames;
    bool grown; /* pages to give back once it is empty */
};

struct spool_file_counts {
    int64_t messages, aside; /* waiting for Kafka; set aside */
    int64_t last_number;
};

/* Makes folder and file when they are missing; one that is corrupt is put aside.  Close it also when this fails. */
bool spool_file_open(struct spool_file *file, const char *directory, int64_t bytes_max, struct problem *why);
void spool_file_close(struct spool_file *file);
bool spool_file_count(struct spool_file *file, struct spool_file_counts *ret, struct problem *why);
bool spool_file_leftovers(struct spool_file *file, void (*each)(void *context, const struct spool_count *count),
                          void *context, struct problem *why);
int64_t spool_file_bytes(const struct spool_file *file); /* with its log; any thread */

const char *spool_file_begin(struct spool_file *file);
const char *spool_file_commit(struct spool_file *file);
void spool_file_rollback(struct spool_file *file); /* also when nothing was begun */
const char *spool_file_add(struct spool_file *file, const struct spool_message *message);
const char *spool_file_remove(struct spool_file *file, int64_t number);
const char *spool_file_set_aside(struct spool_file *file, int64_t number, const char *reason);
/* The first messages of a lane, at most `room`, no more after SPOOL_READ_BYTES_MAX.  They are in the arena. */
const char *spool_file_read(struct spool_file *file, const char *topic, int32_t partition, int room,
                            struct arena *arena, struct spool_message *ret, int *ret_count);
/* Gives back what an emptied file does not need, and moves a long log into the file.  What fails here fails the next
 * time, or not. */
void spool_file_tidy(struct spool_file *file, bool is_empty);
