/* spool.h: what was accepted while Kafka did not answer, on this machine's disk, until Kafka has it.
 *
 * One SQLite file (WAL, synchronous=FULL), one thread that alone touches it.  Requests are queued from the owner's
 * thread and answered there: the file descriptor becomes readable, spool_serve() calls back.  All requests that
 * wait are one transaction, so a thousand messages cost one fsync.  Requests take effect in the order they were
 * made.
 *
 *     spool_add ──▶ added(true): on disk, even through kill -9 and power failure ──▶ spool_read ──▶ spool_remove
 *
 * A message's number is its place: higher is later.  Within a lane (a topic's partition) messages are read in that
 * order. A file that cannot be read is put aside under another name for a person, and a new one begun.
 *
 * Threads: all functions are for the owner's thread, and so are the callbacks. */
#pragma once

#include "common/base.h"

#define SPOOL_GROUP_MAX 1024            /* requests in one transaction */
#define SPOOL_READ_MAX 512              /* messages given by one read … */
#define SPOOL_READ_BYTES_MAX (8 * 1024 * 1024)      /* … which ends beyond these bytes, after at least one message */

struct spool;

struct spool_message {
    int64_t number;
    const char *id;
    const char *topic;
    int32_t partition;
    struct text key;
    struct text payload;
};

struct spool_settings {
    const char *directory;              /* made when missing, for its owner alone; one process may use it */
    int64_t bytes_max;                  /* of the file */
    /* The message given with this context is on disk, or (false) it is not: the disk is full or broken, the log
     * says which. */
    void (*added)(void *context, void *message_context, bool on_disk);
    /* The next messages of a lane, valid during the call; `count` 0: there are none; -1: they could not be read. */
    void (*read)(void *context, const char *topic, int32_t partition, const struct spool_message *messages, int count);
    /* So many messages of the lane are gone, or (false) are still there because the disk refused. */
    void (*removed)(void *context, const char *topic, int32_t partition, int count, bool gone);
    void *context;
};

struct spool_count {
    const char *topic;
    int32_t partition;
    int64_t messages;
};

struct spool *spool_open(const struct spool_settings *settings, struct problem *why);
/* What the last process left, by lane; before anything is added.  Calls `each` in no order. */
bool spool_leftovers(struct spool *spool, void (*each)(void *context, const struct spool_count *count), void *context,
                     struct problem *why);
/* Finishes what is queued, without calling back, and frees the spool; NULL is fine. */
void spool_close(struct spool *spool);

int spool_fd(const struct spool *spool);
void spool_serve(struct spool *spool);

/* Keeps a message.  What it points to must live until `added` is called.  Gives its number. */
int64_t spool_add(struct spool *spool, const struct spool_message *message, void *message_context);
/* Removes messages of one lane by number. */
void spool_remove(struct spool *spool, const char *topic, int32_t partition, const int64_t *numbers, int count);
/* Asks for the first messages of a lane, at most `count`. */
void spool_read(struct spool *spool, const char *topic, int32_t partition, int count);
/* Kafka will never take this message: it leaves its lane and stays in the file with the reason, for a person. */
void spool_set_aside(struct spool *spool, const char *topic, int32_t partition, int64_t number, const char *reason);

struct spool_size {
    int64_t messages;           /* waiting for Kafka */
    int64_t waiting_since_us;   /* since when there are any (1970; what the last process left: since the start); 0: none */
    int64_t aside;              /* set aside */
    int64_t bytes;              /* of the file */
};
struct spool_size spool_size(struct spool *spool);          /* any thread */
