/* stage.h: the stage runtime, the product's heart.  A stage is a table of routes; a handler reads, asks and describes; the runtime
 * alone commits: ledger and rows in one transaction, then produce, then the offset.
 *
 * Promise.  Each event takes effect once, whatever is killed when.  Whoever reads an event can rely on the rows it speaks of.
 * Events of one key are handled one after the other, across all topics of the stage; keys in parallel.  Nothing blocks anything else:
 * retries are finite, then the event parks or goes to dead.<stage>.
 *
 * A handler is straight-line C on a worker thread with a stack of STAGE_STACK_BYTES.  It returns
 *     DONE    its effects are committed and its events sent
 *     RETRY   nothing of it is kept (answers of ASK_ONCE are); it runs again later, from the start
 *     REJECT  final: the event goes to dead.<stage> untouched, with the reason; its effects are dropped
 * and may run any number of times for one event.  It frees nothing: memory comes from work_arena().
 *
 *     static enum outcome transcribe_call(struct work *work, const struct event *event)
 *     {
 *         struct call_recorded call;
 *         TRY(work_read_data(work, event, call_recorded_read, &call));
 *         struct rows rows;
 *         TRY(work_query(work, &find_call, &rows, call.call_id));
 *         …
 *         struct answer answer;
 *         TRY(ask(work, "transcribe", &request, &answer));
 *         effect_row(work, &insert_transcript, call.call_id, …);
 *         effect_event(work, &EVENT_CALL_TRANSCRIBED, call.call_id, &transcribed);
 *         return DONE;
 *     }
 */
#pragma once

#include "common/daemon.h"
#include "common/event.h"
#include "common/http_client.h"
#include "common/postgres.h"

#define STAGE_STACK_BYTES (256 * 1024)
#define STAGE_EFFECTS_MAX 256               /* rows and events of one handler */
#define STAGE_ARENA_BYTES_MAX (96 * 1024 * 1024)
#define STAGE_RERUNS_MAX 5                  /* after a conflict at commit (unique, exclusion, foreign key) … */
#define STAGE_CONTENTION_RERUNS_MAX 60      /* … and after losing a race for a row (must, serialization, deadlock, lock): with growing pauses */

enum outcome { DONE, RETRY, REJECT };

/* Returns from the handler unless `expression` is DONE. */
#define TRY(expression)                                                                                                \
    do {                                                                                                               \
        enum outcome try_outcome_ = (expression);                                                                      \
        if (try_outcome_ != DONE)                                                                                      \
            return try_outcome_;                                                                                       \
    } while (0)

struct work;        /* one event being handled; used by its worker thread alone */

typedef enum outcome stage_handler(struct work *work, const struct event *event);

struct route {
    const struct event_type *type;          /* NULL ends a table.  Types of the stage's topics without a route are passed over */
    stage_handler *handle;
    bool preempts;                          /* sets `cancelled` on the running handler of its key when it is consumed */
};

/* Emits an event of `type` for each due row.  `due` has no parameters unless `parameter` gives it one, at most SWEEP_ROWS_MAX rows, and the
 * columns id, next_check_at, subject, tenant, data (JSON text).  The event's id holds id and next_check_at; handling it must move that. */
#define SWEEP_ROWS_MAX 500
struct sweep {
    const char *name;                       /* NULL ends a table */
    int64_t every_ms;
    const struct statement *due;
    const struct event_type *type;          /* its topic must be written by this stage, and read by it: due.<stage> */
    const char *(*parameter)(void *context);    /* may be NULL */
};

struct stage {
    const char *name;                       /* "transcribe"; also the Postgres role switchboard_<name> and the consumer group */
    const char *summary;
    const struct setting *settings;
    void *context;                          /* filled from the settings; given by work_context() */
    const struct route *routes;
    const struct sweep *sweeps;             /* may be NULL */
    bool (*open)(void *context, struct problem *why);       /* settings are read, nothing is consumed yet; may be NULL */
    void (*close)(void *context);                           /* the last offset is committed; may be NULL */
    bool (*ready)(void *context, struct problem *why);      /* more to say at /ready; may be NULL */
    bool (*check)(void *context, struct buf *out);          /* more to say at --check; may be NULL */
    /* Adds members of the stage's own (json_name() and a value each) to what this instance says of itself in `instances`; on a thread of
     * the runtime, every two seconds, and must not wait; may be NULL */
    void (*report)(void *context, struct buf *json);
    bool own_metrics_server;                /* the stage serves /health, /ready and /metrics itself (ingest) */
};

/* main of a stage: everything from options to exit code. */
int stage_main(int argc, char **argv, const struct stage *stage);
/* For stages that serve /ready themselves. */
bool stage_ready(struct problem *why);
struct http_client *stage_http(void);

/* --- in a handler: who and where ------------------------------------------------------------------------------------- */
struct arena *work_arena(struct work *work);
const struct event *work_event(const struct work *work);    /* the one the handler was given */
void *work_context(struct work *work);
int work_run(const struct work *work);                      /* 0, or the number of the replay */
int work_attempt(const struct work *work);                  /* from 1 */
const char *work_conflict(const struct work *work);         /* the constraint that made this a rerun ("" when it has no name), or NULL */
bool work_cancelled(const struct work *work);
/* The tenant of the events this handler emits; before it is called, the cause's. */
void work_set_tenant(struct work *work, const char *tenant);
const char *work_tenant(const struct work *work);           /* may be NULL */
/* The time (RFC 3339) and run of the events this handler emits; before it is called, the cause's.  For what an earlier event asked for
 * and this one only brings. */
void work_set_source(struct work *work, const char *time, int run);
const char *work_source_time(const struct work *work);
int work_source_run(const struct work *work);
char *work_time(struct work *work, int64_t us);             /* RFC 3339, in the arena */

/* Around anything that waits and is neither a query nor an HTTP request of this header (a decoder, a lock): meanwhile another handler
 * may compute. */
void work_waits(struct work *work);
void work_goes_on(struct work *work);

/* --- how it ended ------------------------------------------------------------------------------------------------------ */
enum outcome retry(struct work *work, int64_t after_ms, const char *format, ...) PRINTF_LIKE(3, 4);  /* after_ms 0: the runtime's back-off */
enum outcome reject(struct work *work, const char *format, ...) PRINTF_LIKE(2, 3);
enum outcome reject_problem(struct work *work, const struct problem *why);      /* with its JSON pointer */
enum outcome skip(struct work *work, const char *format, ...) PRINTF_LIKE(2, 3);    /* DONE, without effects; counted, and in the ledger */
/* REJECT, with the reason that stands in work_why(): of what was described nothing is kept, but this row is committed with the dead
 * letter, for what must then be known to have failed. */
#define reject_noting(work, statement, ...) noting_params((work), REJECT, (statement), PARAMS(__VA_ARGS__))
/* The same of an outcome that is not DONE: RETRY, too, becomes a dead letter when it is given up. */
#define noting(work, outcome, statement, ...) noting_params((work), (outcome), (statement), PARAMS(__VA_ARGS__))
enum outcome noting_params(struct work *work, enum outcome outcome, const struct statement *statement, struct params params);

/* --- read -------------------------------------------------------------------------------------------------------------- */
/* The event's data through a generated reader; REJECT with pointer and reason when it does not hold to its schema. */
#define work_read_data(work, event, reader, ret)                                                                       \
    work_read_data_((work), (reader)((event)->data, work_arena(work), (ret), work_why(work)))
enum outcome work_read_data_(struct work *work, bool valid);
struct problem *work_why(struct work *work);                /* where the reason of a coming reject or retry is written */
/* Rows, outside any transaction. Parameters are const char *, as many as the statement says. RETRY when Postgres is away. */
#define work_query(work, statement, ret, ...)                                                                          \
    work_query_params((work), (statement), (ret), PARAMS(__VA_ARGS__))
enum outcome work_query_params(struct work *work, const struct statement *statement, struct rows *ret,
                               struct params params);

/* --- ask --------------------------------------------------------------------------------------------------------------- */
enum ask_kind {
    ASK_AGAIN,      /* harmless to repeat (a fetch, a model): the answer is recorded with the effects; left when the daemon is to end */
    ASK_ONCE,       /* must not happen twice (a message, a job): recorded as sent before it leaves, and its answer before the handler goes on */
};

struct answer {
    struct text body;               /* what is recorded and given again: text, UTF-8, at most ASK_ANSWER_BYTES_MAX */
    const char *provider_id;        /* the provider's name for what was made (a message sid, a job id); may be NULL */
    const char *provider;           /* set by ask(): who gave it; a recorded one perhaps another than is asked now */
    const char *model;              /* what answered: "gemini-2.5-flash", "pocketsphinx"; may be NULL */
    int64_t tokens_in, tokens_out;
    int64_t cost_micros;            /* millionths of a US dollar */
    const char *ask_id;             /* set by ask(): the id of its row */
    const char *content;            /* set by ask(), of ASK_ONCE: the words under which it was asked, perhaps by an earlier run; or NULL */
    bool recorded;                  /* set by ask(): this is a recorded answer, nobody was asked now */
};
#define ASK_ANSWER_BYTES_MAX (8 * 1024 * 1024)

struct ask {
    enum ask_kind kind;
    const char *provider;           /* "twilio": the circuit's and the metrics' name; one of few */
    bool no_circuit;                /* whom it asks differs from event to event: the failures of one say nothing of the others */
    /* ASK_ONCE: what it is for, in business terms, so that no replay repeats it: recipient, purpose, subject, version */
    const char *recipient, *purpose, *subject, *version;
    const char *content;            /* ASK_ONCE: what is said; recorded before it leaves, and a try whose end is not known is looked for,
                                     * and repeated, in these words, whatever the handler would say by then; may be NULL */
    int64_t timeout_ms;             /* of the whole request; the lease is this + 30 s */
    bool unrecorded;                /* ASK_AGAIN: that it was asked is recorded, and not the answer: it holds what is none of the event's, and
                                     * what matters of it stands in the effects; a replay asks anew */
    /* Performs the request: DONE with `ret`, or retry()/reject().  For ASK_ONCE RETRY must mean "not acted on, for sure"; when that is not
     * known it returns ask_uncertain(work, …), and the next run looks it up first. */
    enum outcome (*call)(struct work *work, void *request, struct answer *ret);
    /* ASK_ONCE: looks the thing up at the provider after an uncertain end: DONE with *ret_found; NULL: cannot be looked up,
     * the ask stays `uncertain` for a person and the event is rejected */
    enum outcome (*look_up)(struct work *work, void *request, struct answer *ret, bool *ret_found);
    void *request;
};

/* Asks, or gives the recorded answer.  RETRY at once while the provider's circuit is open. */
enum outcome ask(struct work *work, const char *name, const struct ask *ask, struct answer *ret);
enum outcome ask_uncertain(struct work *work, const char *format, ...) PRINTF_LIKE(2, 3);
/* Inside an ask's `call` and `look_up`: the id of its row, a marker to find the thing by at the provider. */
const char *ask_id(const struct work *work);
/* There, too: the ask's `content`, or that of the earlier try which may have arrived. */
const char *ask_content(const struct work *work);

/* One HTTP request from inside an ask's `call`: 2xx is DONE; 408, 425, 429, 5xx and what was not sent RETRY (Retry-After honoured);
 * 401 and 403 RETRY and open the circuit at once (our credentials are wrong: everyone would fail); what was sent and broke off is
 * ask_uncertain for ASK_ONCE, else RETRY; other statuses REJECT with the start of the body. */
enum outcome work_http(struct work *work, const struct http_request *request, struct http_reply *ret);
/* A provider refuses whatever we ask, as the reason says: RETRY, and its circuit opens at once. */
enum outcome work_refused(struct work *work, const char *provider, const char *format, ...) PRINTF_LIKE(3, 4);
/* The one that is asked refused our credentials, or has no money of ours left: as work_refused(), if the ask has a circuit. */
enum outcome work_refused_us(struct work *work, long status);
/* As work_http, without judging the status: DONE whenever there is an answer; and the judgement, for who looks at it first. */
enum outcome work_http_any(struct work *work, const struct http_request *request, struct http_reply *ret);
enum outcome work_http_judge(struct work *work, const struct http_reply *reply);

/* --- describe ---------------------------------------------------------------------------------------------------------- */
/* A statement to run in the event's transaction, in order: an INSERT, UPDATE or DELETE without RETURNING.  Parameters are copied. */
#define effect_row(work, statement, ...) effect_row_params((work), (statement), PARAMS(__VA_ARGS__))
void effect_row_params(struct work *work, const struct statement *statement, struct params params);
/* An event to send after the commit; `data` is the type's generated struct, written at once.  One handler may emit
 * several of a type and subject; their ids are then made of their order, too. */
void effect_event(struct work *work, const struct event_type *type, const char *subject, const void *data);
/* An event that begins a conversation of its own, as the door's do: it is correlated by its subject, and has an id that says what it is, so
 * that it takes effect once by whomever and however often it is found. */
void effect_arrival(struct work *work, const struct event_type *type, const char *id, const char *subject, const void *data);

/* --- for tests of handlers: effects without any server ------------------------------------------------------------------ */
struct work_probe {
    /* what work_query answers: called with the statement and its parameters */
    enum outcome (*query)(void *context, const struct statement *statement, struct params params, struct arena *arena,
                          struct rows *ret);
    /* what ask answers; NULL: the ask's own `call` runs */
    enum outcome (*ask)(void *context, const char *name, const struct ask *ask, struct arena *arena, struct answer *ret);
    void *context;
    int attempt, run;
};
/* Runs `handle` on `message` (an event as JSON) and gives the effects as lines in `effects`: "row <statement> <param>|<param>…",
 * "event <type> <subject> <data>", "skip <why>". */
enum outcome work_try(const struct stage *stage, stage_handler *handle, struct text message, const struct work_probe *probe,
                      struct buf *effects, struct problem *why);
