/* runtime.h: the stage runtime's inside.  Only common/stage/ includes it.
 *
 * Life of an event (struct work), and which thread moves it on:
 *
 *     consumer ──▶ QUEUED     behind earlier events of its key
 *                  LOOKUP     first of its key: is it in the ledger?                     ledger thread, in batches
 *                  READY      waits for a worker
 *                  RUNNING    its handler runs                                           a worker
 *                  WAITING    RETRY: until `due_us`, or until the circuit closes         clock thread
 *                  COMMITTING ledger row and effects, in a group                         committer thread
 *                  PRODUCING  its events are on their way                                delivery reports, producer thread
 *                  finished   offset may move on; the key's next event goes to LOOKUP
 *
 * One mutex (`lock`) guards everything that more than one thread sees: lists, keys, partitions, circuits, counters.  No I/O is done
 * under it.  A work is touched without the lock only by the thread that its state names. */
#pragma once

#include "common/kafka.h"
#include "common/metrics.h"
#include "common/stage.h"

#include <pthread.h>

#define WORKER_IDLE_MS_MAX 10000            /* then a worker thread ends */
#define WORKERS_BUSY 4                      /* handlers that compute at once; more only while these wait for something */
#define WORKERS_TICK_MS 2                   /* ready works that nobody took for so long get more workers */
#define LOOKUP_BATCH_MAX 256
#define COMMIT_GROUP_MAX 64                 /* events in one transaction: measured, see README of common */
#define COMMIT_STATEMENTS_MAX 512           /* in one pipeline: its answers fit the socket's buffer, so sending never blocks for ever */
#define COMMIT_BYTES_MAX (4 * 1024 * 1024)  /* of parameters in one group of more than one event */
#define UNFINISHED_OFFSETS_MAX 10000        /* beyond the lowest unfinished of a partition */
#define IN_PLACE_MS_MAX (5 * 60 * 1000)     /* an event waits in place so long, then it is parked … */
#define FULL_MS_MAX 1000                    /* … and sooner when its partition has had no room for so long */
#define RETRY_BASE_MS 250
#define RETRY_MS_MAX 30000
#define PARKED_MS_MAX (60 * 60 * 1000)      /* longest pause between two tries of a parked event */
#define INSTANCE_EVERY_MS 2000              /* so often an instance says what it is doing */
#define PARKED_LEASE_MS 60000               /* a resumed event has so long to be handled, then it is sent again */
#define CRASHES_MAX 3                       /* an event that crashed the process so often is rejected unseen */
#define CIRCUIT_FAILURES 8                  /* in a row … */
#define CIRCUIT_KEYS 3                      /* … of at least so many keys open it */
#define CIRCUITS_MAX 256                    /* providers, and what operators have paused */
#define CIRCUIT_PROBE_MS 1000               /* doubling to CIRCUIT_PROBE_MS_MAX */
#define CIRCUIT_PROBE_MS_MAX 30000
#define REBALANCE_COMMIT_MS_MAX 2000        /* a revoke waits so long for commits under way */
#define TOPICS_MAX 16                       /* read by one stage */

enum work_state { WORK_QUEUED, WORK_LOOKUP, WORK_READY, WORK_RUNNING, WORK_WAITING, WORK_COMMITTING, WORK_PRODUCING };

/* What to write into the ledger for a work that goes to the committer. */
enum verdict { VERDICT_DONE, VERDICT_SKIPPED, VERDICT_REJECTED, VERDICT_PARKED };

struct work_list {
    struct work *first, *last;
    int count;
};

/* The unfinished offsets of one partition, ascending; a ring. Finished ones leave when all before them have. */
struct offset_slot {
    int64_t offset;
    bool finished;
};
struct partition {
    struct partition *next;
    char *topic;
    int32_t number;
    bool assigned;
    bool fetched;                       /* its queue may have records */
    rd_kafka_queue_t *queue;            /* the consumer thread's; NULL while it is not assigned */
    int64_t in_flight;                  /* of its works */
    int64_t full_us;                    /* since when its share of what may be in flight is taken; 0: it is not */
    bool moved;                         /* its lowest unfinished offset did, since it was stored */
    bool is_replay;                     /* replay.<stage> */
    int64_t stored;                     /* offset given to rd_kafka_offsets_store; -1: none yet */
    struct offset_slot *slots;          /* ring of `room`, a power of two */
    size_t first, count, room;
};

/* One conversation's events, in order of consumption. */
struct key {
    struct key *next_in_bucket;
    struct work_list works;             /* the first one is being handled */
    uint64_t hash;
    size_t bytes;
    char name[];                        /* not terminated */
};

struct row_effect {
    struct row_effect *next;
    const struct statement *statement;
    const char **values;
};
struct event_effect {
    struct event_effect *next;
    const struct event_type *type;      /* NULL: it was read from `emitted` */
    const char *topic;
    const char *key;
    struct text payload;
};
/* An answer of this work, kept over its reruns. */
struct kept_answer {
    struct kept_answer *next;
    const char *name;
    const char *ask_id;
    struct answer answer;
    const char *attempt;                /* ASK_ONCE: the lease's number under which it is written */
    enum ask_kind kind;
    const char *provider;
    int64_t took_us;
    bool saved;                         /* already in the table */
    bool unrecorded;                    /* the table does not get its body */
};

struct work {
    struct work *next;                  /* in the list of its state */
    struct work *next_of_key;
    enum work_state state;
    struct partition *partition;
    int64_t offset;
    struct key *key;
    const struct route *route;
    bool unread;                        /* not an event: `unread_why` says why */
    bool resumed;                       /* was parked: its ledger row is there and is updated */
    bool key_is_parked;                 /* parks behind the others of its key */
    struct circuit *probe;              /* the open circuit it tries */
    bool crashed;                       /* too often */
    bool erased;                        /* its conversation's person was: it is passed over */
    volatile bool cancelled;
    int64_t kafka_us;                   /* the record's timestamp */
    int64_t consumed_us, first_us;      /* first_us: moved on by time spent behind an open circuit */
    int64_t began_us;                   /* RUNNING since */
    int64_t worked_us;
    int64_t due_us;                     /* WAITING */
    int64_t retry_ms;                   /* asked for by the handler; 0: back-off */
    struct circuit *behind;             /* WAITING until it closes */
    int attempts, reruns;
    char ledger_day[16];                /* of the row to update when resumed */
    int parked_attempts;
    int64_t parked_age_us;

    struct arena *keep;                 /* lives until the work is finished: message, event, kept answers */
    struct arena *arena;                /* lives for one run of the handler and its commit */
    struct problem *unread_why;         /* in `keep` */
    struct text message;
    struct text message_key;            /* terminated UTF-8; the conversation */
    struct event event;
    struct kept_answer *answers;

    /* described by the handler, in `arena` */
    struct row_effect *rows, **rows_end;
    struct event_effect *events, **events_end;
    int effects;
    const char *tenant;
    const char *source_time;            /* of the events: the cause's, unless the handler knows better … */
    int source_run;                     /* … as is their run */
    const char *traceparent;
    bool skipped;
    bool keeps_rows;                    /* its rejection does */
    struct problem why;
    bool broken;                        /* an effect that does not hold to its schema or limit: `why` says which */
    bool conflict;                      /* this is a rerun after one */
    char constraint[64];
    const char *asking;                 /* ask_id() */
    const char *asking_content;         /* ask_content() */
    const struct ask *asked;            /* the ask being made */
    bool uncertain;                     /* its end is not known */

    enum verdict verdict;
    bool from_ledger;                   /* its events were read from `emitted`: nothing is committed, they are sent again */
    int acks_due;
    const struct work_probe *try;       /* work_try: no runtime behind it */
    const struct stage *try_stage;
};

/* Why some works do not go on now.  A provider's circuit is opened by its failures, and closed by a probe; or, as a stage's and a
 * tenant's, by an operator (pause.c), who alone closes it then.  Works wait here; those of a tenant are parked, so that others go on. */
enum circuit_kind { CIRCUIT_PROVIDER, CIRCUIT_STAGE, CIRCUIT_TENANT };
extern const char *const circuit_kinds[];  /* their names, by kind */
struct circuit {
    enum circuit_kind kind;
    const char *name;                   /* of the provider, stage or tenant */
    bool held;                          /* open by an operator's hand */
    bool stops;                         /* nothing new is taken while it is open */
    bool held_still;                    /* while the pauses are read: it is among them */
    int failures;                       /* in a row */
    uint64_t failing_keys[CIRCUIT_KEYS];
    int failing_key_count;
    bool open;
    bool probing;
    int64_t opened_us, next_probe_us, probe_ms;
    char why[200];
    struct work_list waiting;
};

struct runtime {
    const struct stage *stage;
    struct pg_pool *pool;
    struct http_client *http;
    rd_kafka_t *consumer, *producer;

    int64_t workers_max, in_flight_max, in_flight_bytes_max, connections_max, retry_age_ms_max;
    int64_t ledger_days;
    bool create_topics;
    struct http_client_settings http_settings;

    const char *topics[TOPICS_MAX + 1]; /* read, replay.<stage> included */
    char replay_topic[64], dead_topic[64], role[64];

    pthread_mutex_t lock;
    pthread_cond_t lookup_ready, commit_ready, clock_changed, sweep_now;
    pthread_cond_t arrived;             /* records, news of the group, or room: the consumer looks */
    pthread_cond_t settled;             /* nothing is COMMITTING or PRODUCING, or a worker has ended */
    struct work_list lookup, ready, commit;
    struct work **heap;                 /* WAITING by due_us */
    size_t heap_count, heap_room;
    struct worker *idle;                /* most recently idle first */
    int workers, running;
    int busy;                           /* workers that were woken or run, and do not wait inside a query or an ask */
    int64_t taken;                      /* works that workers took, ever */
    struct key **buckets;
    size_t bucket_count, key_count;
    struct partition *partitions;
    struct circuit circuits[CIRCUITS_MAX];
    int circuit_count;
    int circuits_stopping, circuits_held;
    int64_t in_flight, in_flight_bytes;
    int64_t committing;                 /* COMMITTING and PRODUCING */
    struct work *free_works;
    int free_count;
    bool stopping;                      /* nothing new is started */
    bool finished;                      /* threads end */
    bool cannot_send;                   /* the producer failed for good: what is PRODUCING stays so, and the stage ends */
    bool resume_parked;                 /* the sweeper shall look now */
    int64_t postgres_away_us;           /* since when; 0: it is there */
    bool subscribed;
    bool group_news;                    /* the consumer's main queue has something */
    bool wants_room;                    /* a partition has records and there was no room for them */
    rd_kafka_queue_t *group_queue;

    pthread_t ledger_thread, commit_thread, clock_thread, sweep_thread, produce_thread;
};

extern struct runtime runtime;          /* one stage a process */

/* work.c: making, running and ending of one work */
struct work *work_new(void);                                            /* lock held */
void work_free(struct work *work);                                      /* lock held */
void work_begin_run(struct work *work);                                 /* empties what the last run described */
enum outcome work_handle(struct work *work);                            /* runs the handler */
void list_push(struct work_list *list, struct work *work);
struct work *list_pop(struct work_list *list);
void emit_payload(struct work *work, const struct event_type *type, const char *topic, const char *key, struct text payload);
void emit_rejection(struct work *work);
const char *work_subject(const struct work *work);

/* keys.c */
void keys_init(void);
void key_append(struct work *work);                                     /* lock held; may move it to LOOKUP */
void key_pop(struct work *work);                                        /* lock held; the next one moves to LOOKUP */
uint64_t key_hash(struct text name);

/* workers.c */
void make_ready(struct work *work);                                     /* lock held */
/* Lock held, each WORKERS_TICK_MS while works are ready: more workers when nobody took any since the last time. */
void workers_tick(void);
void workers_stop(int64_t deadline_us);

/* offsets.c: lock held */
struct partition *partition_get(const char *topic, int32_t number);
/* False when this offset is already being handled or was finished. */
bool offsets_begin(struct partition *partition, int64_t offset);
void offsets_finish(struct partition *partition, int64_t offset);
void offsets_drop_before(struct partition *partition, int64_t offset);
int64_t offsets_lowest(const struct partition *partition);              /* what to commit; -1: nothing consumed */

/* consume.c */
bool consume_open(struct problem *why);
void consume_run(void);                                                 /* the main thread, until stopping */
void consume_close(void);
void offsets_store(void);                                               /* of all partitions that moved */
void room_appeared(const struct partition *partition);                  /* lock held: one of its works is finished */

/* ledger.c */
void *ledger_main(void *unused);
/* Whoever finds Postgres away tries again until it is back, and says both: meanwhile nothing is consumed.  No lock. */
void postgres_is_away(const struct problem *why);                       /* pauses */
void postgres_is_back(void);
/* commit.c */
void *commit_main(void *unused);
void commit_push(struct work *work, enum verdict verdict);              /* lock held */
/* produce.c */
bool produce_open(struct problem *why);
void *produce_main(void *unused);
void produce_works(struct work *const *works, int count);               /* no lock; then they are PRODUCING or finished */
bool produce_payload(const char *topic, const char *key, struct text payload, struct problem *why);
int event_count(const struct work *work);                               /* it emits */
void work_finish(struct work *work);                                    /* lock held */
void committing_ended(void);                                            /* lock held: of one work */
void settle_until(int64_t deadline_us);                                 /* lock held: nothing is COMMITTING or PRODUCING, or cannot end */
/* clock.c */
void *clock_main(void *unused);
void wait_until(struct work *work, int64_t due_us);                     /* lock held */
void settle_retry(struct work *work);                                   /* lock held: waits, parks or rejects */
void park(struct work *work, int64_t pause_ms);                         /* lock held: with nothing of what the handler described */
/* circuit.c: lock held */
struct circuit *circuit_find(enum circuit_kind kind, const char *name);         /* NULL: there are too many */
void circuit_note(struct circuit *circuit, struct work *work, bool success, const char *why);
void circuit_open_now(struct circuit *circuit, const char *why);
void circuit_probe_due(int64_t now, int64_t *next_us);
void circuit_probe_end(struct work *work);                              /* its handler has ended: was anybody asked? */
void circuit_hold(struct circuit *circuit, const char *why);
void circuit_release(struct circuit *circuit);
/* Is this stage or this tenant (which may be NULL) paused?  Then `work` is behind it, and its `why` says so. */
bool circuit_holds(struct work *work, const char *tenant);
void circuit_wait(struct work *work);                                   /* behind what it is behind */
/* pause.c */
bool pauses_read(struct problem *why);                                  /* no lock */
/* ask.c: for dry_run.c too */
extern const struct statement find_answer, find_purpose;
void answer_from_row(const struct rows *rows, struct answer *ret);
/* dry_run.c */
int dry_run(void *context);                                             /* the exit code */
/* probe.c: work_try */
enum outcome probe_ask(struct work *work, const char *name, const struct ask *ask, struct answer *ret);
/* sweep.c */
void *sweep_main(void *unused);
/* instance.c */
struct work_counts {
    int64_t queued, lookup, ready, running, waiting, committing;    /* works; the last is PRODUCING too */
    int64_t workers;
};
void works_count(struct work_counts *ret);                              /* lock held */
void instance_tell(struct arena *arena);                                /* no lock; the sweeper's thread */
void instances_forget(struct arena *arena);                             /* those that were not seen for a day */
void instance_gone(void);                                               /* the stage has ended, in good order */

/* metrics, in stage.c */
extern struct metric metric_events, metric_handled_time, metric_hop_time, metric_retries, metric_conflicts, metric_asks,
    metric_ask_time, metric_commit_time, metric_commit_events, metric_duplicates, metric_emitted;
