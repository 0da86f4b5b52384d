#include "ingest/spool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/fault.h"
#include "common/log.h"
#include "ingest/spool_file.h"

#define SPOOL_READ_ARENA_BYTES_MAX (64 * 1024 * 1024)

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

struct spool {
    struct spool_settings settings;
    struct spool_file file;             /* the writer's while it runs */
    int64_t last_number;                /* owner's thread */
    bool failing;                       /* the log has said so; writer's thread */
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

/* --- the writer's thread -------------------------------------------------------------------------------------- */

/* NULL, or why not. */
static const char *write_request(struct spool *spool, const struct request *request)
{
    const char *reason = NULL;
    switch (request->kind) {
    case REQUEST_ADD:
        return spool_file_add(&spool->file, &request->message);
    case REQUEST_REMOVE:
        for (int i = 0; i < request->count && !reason; i++)
            reason = spool_file_remove(&spool->file, request->numbers[i]);
        return reason;
    case REQUEST_SET_ASIDE:
        return spool_file_set_aside(&spool->file, request->numbers[0], request->reason);
    case REQUEST_READ:
        break;
    }
    assert(!"a read is not written");
    return "a read is not written";
}

static void note_written(struct spool *spool, const struct request *request)
{
    if (request->kind == REQUEST_ADD) {
        if (atomic_fetch_add(&spool->messages, 1) == 0)
            atomic_store(&spool->waiting_since_us, now_us());
        return;
    }
    atomic_fetch_sub(&spool->messages, request->count);
    if (request->kind == REQUEST_SET_ASIDE)
        atomic_fetch_add(&spool->aside, request->count);
}

/* One transaction of the requests from `first` up to `end`, additions left out when not `with_additions`.  NULL, or why
 * not. */
static const char *write_transaction(struct spool *spool, struct request *first, const struct request *end,
                                     bool with_additions)
{
    const char *reason = spool_file_begin(&spool->file);
    if (reason)
        return reason;
    for (struct request *request = first; request != end && !reason; request = request->next)
        if (with_additions || request->kind != REQUEST_ADD)
            reason = write_request(spool, request);
    reason = FAULT_ERROR("spool.before") ? "disk I/O error" : reason;
    if (!reason)
        reason = spool_file_commit(&spool->file);
    FAULT_POINT("spool.after");
    if (reason) {
        spool_file_rollback(&spool->file);
        return reason;
    }
    for (struct request *request = first; request != end; request = request->next) {
        if (!with_additions && request->kind == REQUEST_ADD)
            continue;
        request->done = true;
        note_written(spool, request);
    }
    return NULL;
}

/* On a full disk removals must still come through: they are what makes room. */
static void write_group(struct spool *spool, struct request *first, const struct request *end)
{
    const char *reason = write_transaction(spool, first, end, true);
    if (!reason) {
        if (spool->failing)
            log_info("the spool can be written again", LOG_TEXT("file", spool->file.path));
        spool->failing = false;
        return;
    }
    if (!spool->failing)
        log_error("the spool could not be written: what comes in is refused while Kafka is away",
                  LOG_TEXT("file", spool->file.path), LOG_TEXT("reason", reason));
    spool->failing = true;
    write_transaction(spool, first, end, false);
}

static void read_messages(struct spool *spool, struct request *request)
{
    int room = request->count;

    request->arena = arena_new(SPOOL_READ_ARENA_BYTES_MAX);
    request->messages = arena_alloc(request->arena, (size_t)room * sizeof(request->messages[0]));
    const char *reason = spool_file_read(&spool->file, request->message.topic, request->message.partition, room,
                                         request->arena, request->messages, &request->count);
    request->done = !reason;
    if (reason)
        log_error("the spool could not be read", LOG_TEXT("file", spool->file.path), LOG_TEXT("reason", reason));
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
        spool_file_tidy(&spool->file, atomic_load(&spool->messages) == 0);
    }
    return NULL;
}

/* --- the owner's thread --------------------------------------------------------------------------------------- */

static bool count_messages(struct spool *spool, struct problem *why)
{
    struct spool_file_counts counts;
    if (!spool_file_count(&spool->file, &counts, why))
        return false;
    spool->last_number = counts.last_number;
    atomic_store(&spool->messages, counts.messages);
    atomic_store(&spool->waiting_since_us, now_us());
    atomic_store(&spool->aside, counts.aside);
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

    bool good = spool_file_open(&spool->file, settings->directory, settings->bytes_max, why) &&
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
    return spool_file_leftovers(&spool->file, each, context, why);
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
    spool_file_close(&spool->file);
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
    return (struct spool_size){
        .messages = atomic_load(&spool->messages),
        .waiting_since_us = atomic_load(&spool->messages) > 0 ? atomic_load(&spool->waiting_since_us) : 0,
        .aside = atomic_load(&spool->aside),
        .bytes = spool_file_bytes(&spool->file),
    };
}
