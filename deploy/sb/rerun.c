#include "deploy/sb/rerun.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/kafka.h"
#include "deploy/sb/command.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/terminal.h"

#define QUEUE_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define ANSWER_MS       30000 /* without any answer of Kafka, then it is away */
#define POLL_MS         100
#define LOOK_MS         300   /* between two looks into the ledger */
#define LOOK_MAX        2000  /* events in one look */
#define IDLE_MS_MAX     10000 /* nothing was handled: is anybody there? */
#define INSTANCE_SEEN   "10 s"
#define TOPIC_BYTES     80
#define OUTCOME_BYTES   256

/* --- the event ----------------------------------------------------------------------------------------------- */

bool rerun_write(struct buf *out, struct text message, int run, struct rerun_flags flags, struct arena *arena,
                 struct problem *why)
{
    struct event event;

    if (!event_read(message, arena, &event, why))
        return false;
    event.run = run;
    event.ask_again = flags.ask_again;
    event.resend = flags.resend;
    event_write(out, &event, event_type_find(event.type), NULL);
    return !out->overflowed || fail(why, "the event %s is too large", event.id);
}

/* --- sending ------------------------------------------------------------------------------------------------- */

struct rerun_sender {
    rd_kafka_t *producer;
    char topic[TOPIC_BYTES];
    int64_t pause_us, next_us;
    int64_t heard_us; /* from Kafka */
    int64_t unsent;
    char refused[200]; /* the first that Kafka would not have */
};

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    struct rerun_sender *sender = opaque;

    (void)producer;
    sender->unsent--;
    sender->heard_us = monotonic_us();
    if (message->err && sender->refused[0] == '\0')
        snprintf(sender->refused, sizeof(sender->refused), "%s", rd_kafka_err2str(message->err));
}

struct rerun_sender *rerun_open(const char *brokers, const char *stage, int64_t rate, struct problem *why)
{
    struct rerun_sender *sender = must_alloc(sizeof(*sender));

    snprintf(sender->topic, sizeof(sender->topic), "replay.%s", stage);
    sender->pause_us = 1000000 / rate;
    sender->producer = kafka_producer(brokers, "sb", "1", QUEUE_BYTES_MAX, delivered, sender, why);
    if (sender->producer)
        return sender;
    free(sender);
    return NULL;
}

void rerun_close(struct rerun_sender *sender)
{
    if (sender == NULL)
        return;
    rd_kafka_purge(sender->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_destroy(sender->producer);
    free(sender);
}

static bool is_answering(struct rerun_sender *sender, struct problem *why)
{
    if (sender->refused[0])
        return fail(why, "Kafka did not take an event for \"%s\": %s", sender->topic, sender->refused);
    return monotonic_us() - sender->heard_us < ANSWER_MS * 1000 ||
           fail(why, "Kafka has not answered for %d s", ANSWER_MS / 1000);
}

static void keep_pace(struct rerun_sender *sender)
{
    int64_t now = monotonic_us();

    for (; now < sender->next_us; now = monotonic_us())
        rd_kafka_poll(sender->producer, (int)((sender->next_us - now) / 1000));
    sender->next_us = (now - sender->next_us > 1000000 ? now : sender->next_us) + sender->pause_us;
}

bool rerun_send(struct rerun_sender *sender, struct text key, struct text payload, struct problem *why)
{
    keep_pace(sender);
    if (sender->unsent == 0)
        sender->heard_us = monotonic_us();
    for (;;) {
        rd_kafka_resp_err_t error =
            rd_kafka_producev(sender->producer, RD_KAFKA_V_TOPIC(sender->topic), RD_KAFKA_V_KEY(key.at, key.bytes),
                              RD_KAFKA_V_VALUE((void *)payload.at, payload.bytes),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            sender->unsent++;
            rd_kafka_poll(sender->producer, 0);
            return is_answering(sender, why);
        }
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return fail(why, "could not send an event to \"%s\": %s", sender->topic, rd_kafka_err2str(error));
        rd_kafka_poll(sender->producer, POLL_MS);
        if (!is_answering(sender, why))
            return false;
    }
}

bool rerun_flush(struct rerun_sender *sender, struct problem *why)
{
    while (sender->unsent > 0 && is_answering(sender, why))
        rd_kafka_poll(sender->producer, POLL_MS);
    return sender->unsent == 0 && is_answering(sender, why);
}

/* --- waiting ------------------------------------------------------------------------------------------------- */

static const struct statement find_outcomes = {
    .name = "sb_find_outcomes",
    .text = "SELECT ledger.event_id, ledger.run, outcome FROM unnest($2::uuid[], $3::integer[]) AS sent (event_id, run)"
            " JOIN ledger ON ledger.event_id = sent.event_id AND ledger.stage = $1 AND ledger.run = sent.run",
    .params = 3,
};
static const struct statement find_workers = {
    .name = "sb_find_workers",
    .text = "SELECT EXISTS (SELECT 1 FROM instances WHERE stage = $1 AND seen_at > now() - $2::interval) AS runs,"
            " EXISTS (SELECT 1 FROM pauses WHERE kind = 'stage' AND name = $1) AS paused",
    .params = 2,
};

static int64_t *counter_of(struct rerun_outcomes *outcomes, const char *outcome)
{
    switch (outcome[0]) {
    case 'd':
        return &outcomes->done;
    case 's':
        return &outcomes->skipped;
    case 'r':
        return &outcomes->rejected;
    default:
        return &outcomes->parked;
    }
}

static bool is_same(const struct rerun *rerun, const struct rows *rows, int row)
{
    return rerun->run == atoi(row_get(rows, row, "run")) &&
           strcasecmp(rerun->event_id, row_get(rows, row, "event_id")) == 0;
}

/* Takes what was handled out of the first `most`; those of them that are open go behind the others, for their turn. */
static size_t settle(struct rerun *reruns, size_t count, size_t most, const struct rows *rows,
                     struct rerun_outcomes *outcomes)
{
    static struct rerun open[LOOK_MAX];
    size_t left = 0;

    for (size_t i = 0; i < most; i++) {
        int row = 0;
        while (row < rows->count && !is_same(&reruns[i], rows, row))
            row++;
        if (row < rows->count)
            (*counter_of(outcomes, row_get(rows, row, "outcome")))++;
        else
            open[left++] = reruns[i];
    }
    memmove(reruns, &reruns[most], (count - most) * sizeof(*reruns));
    memcpy(&reruns[count - most], open, left * sizeof(*open));
    return count - most + left;
}

/* Looks once for some of those that are open; gives how many are open still, or -1. */
static int64_t look(struct session *session, const char *stage, struct rerun *reruns, size_t count,
                    struct rerun_outcomes *outcomes, struct problem *why)
{
    struct arena *arena = arena_new((size_t)64 * 1024 * 1024);
    size_t most = count < LOOK_MAX ? count : LOOK_MAX;
    struct buf ids, runs;
    struct rows rows;

    buf_init(&ids, LOOK_MAX * 64);
    buf_init(&runs, LOOK_MAX * 16);
    pg_array_begin(&ids);
    pg_array_begin(&runs);
    for (size_t i = 0; i < most; i++) {
        char run[16];
        snprintf(run, sizeof(run), "%d", reruns[i].run);
        pg_array_add(&ids, reruns[i].event_id);
        pg_array_add(&runs, run);
    }
    pg_array_end(&ids);
    pg_array_end(&runs);
    bool done = pg_query(session->pool, &find_outcomes, PARAMS(stage, buf_text(&ids).at, buf_text(&runs).at), arena,
                         &rows, why) == PG_FINE;
    int64_t open = done ? (int64_t)settle(reruns, count, most, &rows, outcomes) : -1;
    buf_done(&ids);
    buf_done(&runs);
    arena_free(arena);
    return open;
}

/* Nothing was handled for a while. */
static bool somebody_is_there(struct session *session, const char *stage)
{
    struct rows rows;
    struct problem why;

    if (!session_query(session, &find_workers, PARAMS(stage, INSTANCE_SEEN), &rows, &why))
        return true; /* the next look says what is the matter */
    bool runs = *row_get(&rows, 0, "runs") == 't', paused = *row_get(&rows, 0, "paused") == 't';
    if (!runs || paused)
        fprintf(stderr, "the stage %s %s: what was sent waits in Kafka\n", stage, runs ? "is paused" : "does not run");
    return runs && !paused;
}

static void show_progress(const struct rerun_outcomes *outcomes, size_t count, int64_t open)
{
    if (isatty(STDERR_FILENO) != 1)
        return;
    fprintf(stderr, "\r%" PRId64 " of %zu handled%s%s ", (int64_t)count - open, count,
            outcomes->rejected ? ", some rejected" : "", outcomes->parked ? ", some parked" : "");
    if (open == 0)
        fputc('\n', stderr);
    fflush(stderr);
}

bool rerun_wait(struct session *session, const char *stage, struct rerun *reruns, size_t count,
                struct rerun_outcomes *ret, struct problem *why)
{
    int64_t open = (int64_t)count, moved_us = monotonic_us();

    *ret = (struct rerun_outcomes){ 0 };
    while (open > 0) {
        int64_t before = open;
        open = look(session, stage, reruns, (size_t)open, ret, why);
        if (open < 0)
            return false;
        show_progress(ret, count, open);
        if (open < before)
            moved_us = monotonic_us();
        else if (monotonic_us() - moved_us > IDLE_MS_MAX * 1000 && !somebody_is_there(session, stage))
            break;
        if (open > 0 && before - open < LOOK_MAX)
            nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000L }, NULL);
    }
    ret->open = open;
    return true;
}

void rerun_outcomes_print(const struct rerun_outcomes *outcomes, char *ret, size_t room)
{
    struct buf text;

    buf_init(&text, room - 1);
    buf_printf(&text, "%" PRId64 " done", outcomes->done);
    if (outcomes->skipped)
        buf_printf(&text, ", %" PRId64 " passed over", outcomes->skipped);
    if (outcomes->rejected)
        buf_printf(&text, ", %" PRId64 " rejected", outcomes->rejected);
    if (outcomes->parked)
        buf_printf(&text, ", %" PRId64 " parked", outcomes->parked);
    if (outcomes->open)
        buf_printf(&text, ", %" PRId64 " not handled yet", outcomes->open);
    snprintf(ret, room, "%s", buf_text(&text).at);
    buf_done(&text);
}

int rerun_tell(struct session *session, char **argv, const char *action_id, const struct rerun_end *end, bool json)
{
    const struct rerun_outcomes *outcomes = &end->outcomes;
    char text[OUTCOME_BYTES], detail[OUTCOME_BYTES];
    struct problem why;

    snprintf(detail, sizeof(detail),
             "{\"sent\":%" PRId64 ",\"gone\":%" PRId64 ",\"done\":%" PRId64 ",\"skipped\":%" PRId64
             ",\"rejected\":%" PRId64 ",\"parked\":%" PRId64 ",\"open\":%" PRId64 "}",
             end->sent, end->gone, outcomes->done, outcomes->skipped, outcomes->rejected, outcomes->parked,
             outcomes->open);
    if (!operator_record_end(session, action_id, detail, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    rerun_outcomes_print(outcomes, text, sizeof(text));
    if (json)
        printf("%s\n", detail);
    else
        printf("%" PRId64 " sent%s%s\n", end->sent, end->waited ? ": " : "", end->waited ? text : "");
    if (end->gone > 0)
        fprintf(stderr, "%" PRId64 " %s no longer in Kafka\n", end->gone, plural(end->gone, "is", "are"));
    return outcomes->rejected > 0 || outcomes->open > 0 || end->gone > 0 ? EXIT_FAILED : EXIT_FINE;
}
