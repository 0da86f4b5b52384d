/* sb replay: gives handled events to their stage again, as a new run, while it runs. */
#include "deploy/sb/replay.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/records.h"
#include "deploy/sb/terminal.h"
#include "deploy/sb/when.h"

#define EVENTS_MAX        1000000
#define CHUNK_MAX         256 /* events read and sent together */
#define CHUNK_BYTES_MAX   ((size_t)256 * 1024 * 1024)
#define EVENT_ROOM        ((size_t)32 * 1024 * 1024)
#define SCRATCH_BYTES_MAX ((size_t)128 * 1024 * 1024)
#define DETAIL_BYTES_MAX  (16 * 1024)
#define GONE_SHOWN_MAX    20

/* In the order in which they were first handled, which within a key is the order in which they came. */
static const struct statement find_handled = {
    .name = "sb_find_handled",
    .text = "WITH chosen AS (SELECT DISTINCT event_id FROM ledger WHERE stage = $1 AND outcome <> 'parked'"
            "  AND event_type <> 'unreadable'"
            "  AND ($2::timestamptz IS NULL"
            "   OR day >= ($2::timestamptz AT TIME ZONE 'UTC')::date AND received_at >= $2::timestamptz)"
            "  AND ($3::timestamptz IS NULL"
            "   OR day <= ($3::timestamptz AT TIME ZONE 'UTC')::date AND received_at < $3::timestamptz)"
            "  AND ($4::uuid IS NULL OR event_id = $4::uuid) AND ($5::text IS NULL OR subject = $5)"
            "  AND ($6::text IS NULL OR event_type = $6) LIMIT $7::bigint)"
            " SELECT event_id, subject, event_type, topic, partition, \"offset\", 1 + greatest(max(run) OVER one,"
            "  (SELECT max(run) FROM letter_actions a WHERE a.stage = $1 AND a.event_id = l.event_id)) AS next_run"
            " FROM ledger l JOIN chosen USING (event_id) WHERE stage = $1"
            " WINDOW one AS (PARTITION BY event_id) ORDER BY min(committed_at) OVER one, event_id, run DESC",
    .params = 7,
};

struct found {
    struct replayed *all;
    size_t count;
};

/* --- which ---------------------------------------------------------------------------------------------------- */

static bool same_event(const struct rows *rows, int a, int b)
{
    return strcmp(row_get(rows, a, "event_id"), row_get(rows, b, "event_id")) == 0;
}

/* Rows of one event follow each other. */
static struct found gather(const struct rows *rows, struct arena *arena)
{
    struct found found = { arena_alloc(arena, ((size_t)rows->count + 1) * sizeof(*found.all)), 0 };
    struct replay_place *places = arena_alloc(arena, ((size_t)rows->count + 1) * sizeof(*places));

    for (int row = 0; row < rows->count; row++) {
        places[row] = (struct replay_place){ row_get(rows, row, "topic"), atoi(row_get(rows, row, "partition")),
                                             strtoll(row_get(rows, row, "offset"), NULL, 10) };
        if (row == 0 || !same_event(rows, row - 1, row))
            found.all[found.count++] = (struct replayed){ row_get(rows, row, "event_id"),
                                                          row_get(rows, row, "subject"),
                                                          row_get(rows, row, "event_type"),
                                                          atoi(row_get(rows, row, "next_run")),
                                                          &places[row],
                                                          0 };
        found.all[found.count - 1].place_count++;
    }
    return found;
}

/* -1, or the exit code */
static int find(const struct replay *replay, struct session *session, struct found *ret)
{
    char since[TIME_BYTES], until[TIME_BYTES], most[24];
    struct rows rows;
    struct problem why;

    snprintf(most, sizeof(most), "%d", EVENTS_MAX + 1);
    if (!session_query(session, &find_handled,
                       PARAMS(replay->stage, replay->since_us ? time_print(replay->since_us, since) : NULL,
                              replay->until_us ? time_print(replay->until_us, until) : NULL, replay->id, replay->key,
                              replay->type, most),
                       &rows, &why))
        return command_fail(replay->argv, EXIT_FAILED, "%s", why.text);
    *ret = gather(&rows, session->arena);
    if (ret->count == 0)
        return command_fail(replay->argv, EXIT_FAILED, "the stage %s has handled no event that fits", replay->stage);
    if (ret->count > EVENTS_MAX)
        return command_fail(replay->argv, EXIT_FAILED, "more than %d events fit: take fewer at once", EVENTS_MAX);
    return -1;
}

/* --- their records ----------------------------------------------------------------------------------------------- */

struct item {
    const struct replayed *event;
    size_t at; /* the place that is looked at */
    char *key; /* of the record, when it was read … */
    size_t key_bytes;
    struct buf message; /* … and the event as it shall be sent */
};

struct reading {
    const struct replay *replay;
    struct records *records;
    struct arena *scratch;
    struct item items[CHUNK_MAX];
    size_t bytes;
    bool too_large; /* the items together */
    replay_each *each;
    void *context;
    int64_t gone;
};
struct reading_item {
    struct reading *reading;
    struct item *item;
};

static bool take_record(void *context, const rd_kafka_message_t *record, struct problem *why)
{
    struct reading *reading = ((struct reading_item *)context)->reading;
    struct item *item = ((struct reading_item *)context)->item;
    struct text message = { record->payload, record->len };
    struct event event;

    arena_reset(reading->scratch);
    bool ours = event_read(message, reading->scratch, &event, why) && strcasecmp(event.id, item->event->event_id) == 0;
    if (!ours)
        return true; /* the topic was made anew: it is gone */
    if (!rerun_write(&item->message, message, item->event->run, reading->replay->flags, reading->scratch, why))
        return false;
    item->key = must_alloc(record->key_len + 1);
    item->key_bytes = record->key_len;
    if (record->key_len > 0)
        memcpy(item->key, record->key, record->key_len);
    reading->bytes += item->message.bytes;
    reading->too_large = reading->bytes > CHUNK_BYTES_MAX;
    return !reading->too_large || fail(why, "%zu bytes are too many at once", reading->bytes);
}

/* Reads, for each item that has no message yet, the place it is at; then it is at the next one.  False when it failed.
 */
static bool read_places(struct reading *reading, size_t count, size_t *ret_read, struct problem *why)
{
    struct record_place places[CHUNK_MAX];
    struct reading_item contexts[CHUNK_MAX];

    *ret_read = 0;
    for (size_t i = 0; i < count; i++) {
        struct item *item = &reading->items[i];
        if (item->key != NULL || item->at == item->event->place_count)
            continue;
        const struct replay_place *place = &item->event->places[item->at++];
        contexts[*ret_read] = (struct reading_item){ reading, item };
        places[*ret_read] =
            (struct record_place){ place->topic, place->partition, place->offset, &contexts[*ret_read], false };
        (*ret_read)++;
    }
    return records_at(reading->records, places, *ret_read, take_record, why);
}

static bool read_items(struct reading *reading, const struct replayed *events, size_t count, struct problem *why)
{
    size_t read = count;

    reading->bytes = 0;
    reading->too_large = false;
    for (size_t i = 0; i < count; i++) {
        reading->items[i] = (struct item){ .event = &events[i] };
        buf_init(&reading->items[i].message, EVENT_ROOM);
    }
    while (read > 0)
        if (!read_places(reading, count, &read, why))
            return false;
    return true;
}

static void tell_gone(struct reading *reading, const struct replayed *event)
{
    if (++reading->gone <= GONE_SHOWN_MAX)
        fprintf(stderr, "no longer in Kafka: %s  %s  %s\n", event->event_id, event->type, event->key);
}

static bool give_items(struct reading *reading, size_t count, struct problem *why)
{
    bool done = true;

    for (size_t i = 0; i < count && done; i++) {
        const struct item *item = &reading->items[i];
        if (item->key == NULL)
            tell_gone(reading, item->event);
        else
            done = reading->each(reading->context, item->event, (struct text){ item->key, item->key_bytes },
                                 buf_text(&item->message), why);
    }
    return done;
}

static void free_items(struct reading *reading, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(reading->items[i].key);
        buf_done(&reading->items[i].message);
    }
}

/* Gives each to `each`, in order; fewer at a time where they are large. */
static bool read_all(struct reading *reading, const struct found *found, struct problem *why)
{
    size_t most = CHUNK_MAX;

    for (size_t i = 0; i < found->count;) {
        size_t count = found->count - i < most ? found->count - i : most;
        bool done = read_items(reading, &found->all[i], count, why);
        bool again = !done && reading->too_large && count > 1;
        done = done && give_items(reading, count, why);
        free_items(reading, count);
        if (again)
            most = count / 2;
        else if (!done)
            return false;
        else
            i += count;
    }
    return true;
}

/* --- sending --------------------------------------------------------------------------------------------------- */

struct sending {
    struct rerun_sender *sender;
    struct rerun *reruns;
    size_t count;
};

static bool send_event(void *context, const struct replayed *event, struct text key, struct text message,
                       struct problem *why)
{
    struct sending *sending = context;

    sending->reruns[sending->count++] = (struct rerun){ event->event_id, event->run };
    return rerun_send(sending->sender, key, message, why);
}

static const char *detail_of(const struct replay *replay, size_t events, struct arena *arena)
{
    const struct {
        const char *name, *value;
    } members[] = { { "id", replay->id }, { "key", replay->key }, { "type", replay->type } };
    const struct {
        const char *name;
        int64_t us;
    } times[] = { { "since", replay->since_us }, { "until", replay->until_us } };
    char time[TIME_BYTES];
    struct buf out;

    buf_init(&out, DETAIL_BYTES_MAX);
    buf_printf(&out, "{\"events\":%zu,\"ask_again\":%s,\"resend\":%s", events,
               replay->flags.ask_again ? "true" : "false", replay->flags.resend ? "true" : "false");
    for (size_t i = 0; i < LENGTH(members); i++)
        if (members[i].value) {
            json_name(&out, members[i].name);
            json_write_string(&out, members[i].value);
        }
    for (size_t i = 0; i < LENGTH(times); i++)
        if (times[i].us) {
            json_name(&out, times[i].name);
            json_write_string(&out, time_print(times[i].us, time));
        }
    buf_add_char(&out, '}');
    const char *ret = out.overflowed ? "{}" : arena_copy_text(arena, buf_text(&out));
    buf_done(&out);
    return ret;
}

static bool confirmed(const struct replay *replay, size_t count)
{
    char question[160];

    snprintf(question, sizeof(question), "replay %zu %s of %s%s?", count, plural((int64_t)count, "event", "events"),
             replay->stage, replay->flags.resend ? ", and send their messages once more" : "");
    return replay->yes || operator_confirms(question);
}

static int send_all(const struct replay *replay, struct session *session, struct reading *reading,
                    const struct found *found)
{
    struct sending sending = { .reruns = must_alloc((found->count + 1) * sizeof(*sending.reruns)) };
    struct rerun_end end = { .waited = !replay->no_wait };
    const char *action_id;
    struct problem why;

    if (!confirmed(replay, found->count))
        return command_fail(replay->argv, EXIT_FAILED, "nothing was done");
    if (!operator_record(session, replay->as, "replay", replay->stage, detail_of(replay, found->count, session->arena),
                         &action_id, &why))
        return command_fail(replay->argv, EXIT_FAILED, "%s", why.text);
    sending.sender = rerun_open(session->settings.kafka_brokers, replay->stage, replay->rate, &why);
    reading->each = send_event;
    reading->context = &sending;
    bool sent = sending.sender && read_all(reading, found, &why) && rerun_flush(sending.sender, &why);
    end.sent = (int64_t)sending.count;
    end.gone = reading->gone;
    rerun_close(sending.sender);
    if (!sent)
        return command_fail(replay->argv, EXIT_FAILED, "%s; %" PRId64 " of %zu were sent", why.text, end.sent,
                            found->count);
    if (!replay->no_wait && !rerun_wait(session, replay->stage, sending.reruns, sending.count, &end.outcomes, &why))
        return command_fail(replay->argv, EXIT_FAILED, "they were sent, but %s", why.text);
    return rerun_tell(session, replay->argv, action_id, &end, replay->json);
}

static int try_all(const struct replay *replay, struct session *session, struct reading *reading,
                   const struct found *found)
{
    struct problem why;

    reading->each = replay_dry_event;
    reading->context = replay_dry_start(replay, session, &why);
    if (reading->context == NULL)
        return command_fail(replay->argv, EXIT_FAILED, "%s", why.text);
    bool done = read_all(reading, found, &why);
    return replay_dry_end(reading->context, reading->gone, done ? NULL : &why);
}

static int replay_events(const struct replay *replay, struct session *session)
{
    static struct reading reading;
    struct found found;
    struct problem why;

    int code = find(replay, session, &found);
    if (code >= 0)
        return code;
    reading.replay = replay;
    reading.records = records_open(session->settings.kafka_brokers, &why);
    if (reading.records == NULL)
        return command_fail(replay->argv, EXIT_FAILED, "%s", why.text);
    reading.scratch = arena_new(SCRATCH_BYTES_MAX);
    code = (replay->dry_run ? try_all : send_all)(replay, session, &reading, &found);
    arena_free(reading.scratch);
    records_close(reading.records);
    return code;
}

/* --- options ----------------------------------------------------------------------------------------------------- */

/* -1, or the exit code */
static int read_options(struct replay *replay, int argc, char **argv)
{
    enum { AGAIN = 1, RESEND, DRY_RUN, YES, NO_WAIT, JSON };
    static const struct option options[] = {
        { "id", required_argument, NULL, 'i' },    { "key", required_argument, NULL, 'k' },
        { "type", required_argument, NULL, 't' },  { "since", required_argument, NULL, 's' },
        { "until", required_argument, NULL, 'u' }, { "rate", required_argument, NULL, 'r' },
        { "as", required_argument, NULL, 'a' },    { "ask-again", no_argument, NULL, AGAIN },
        { "resend", no_argument, NULL, RESEND },   { "dry-run", no_argument, NULL, DRY_RUN },
        { "yes", no_argument, NULL, YES },         { "no-wait", no_argument, NULL, NO_WAIT },
        { "json", no_argument, NULL, JSON },       { 0 },
    };
    bool *const flags[] = { NULL,         &replay->flags.ask_again, &replay->flags.resend, &replay->dry_run,
                            &replay->yes, &replay->no_wait,         &replay->json };

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == '?')
            return command_misused(argv, NULL);
        if (option < (int)LENGTH(flags))
            *flags[option] = true;
        else if (option == 'i' || option == 'k' || option == 't' || option == 'a')
            *(option == 'i'   ? &replay->id
              : option == 'k' ? &replay->key
              : option == 't' ? &replay->type
                              : &replay->as) = optarg;
        else if (option == 'r' && (replay->rate = operator_number(optarg, 1, RERUN_RATE_MAX)) < 0)
            return command_misused(argv, "--rate takes a number of events a second");
        else if (option != 'r' && !when_read(optarg, option == 's' ? &replay->since_us : &replay->until_us))
            return command_misused(argv, "--since and --until " WHEN_HELP);
    }
    if (argc - optind != 1)
        return command_misused(argv, "it takes one stage");
    replay->stage = argv[optind];
    if (!operator_stage_is(replay->stage))
        return command_fail(argv, EXIT_WRONG, "there is no stage \"%s\": \"sb topics\" names them", replay->stage);
    if (!replay->id && !replay->key && !replay->type && !replay->since_us && !replay->until_us)
        return command_misused(argv, "say which events: --since, --until, --id, --key or --type");
    if (replay->since_us && replay->until_us && replay->until_us < replay->since_us)
        return command_misused(argv, "--until is before --since");
    if (replay->id && !uuid_is(text_of(replay->id)))
        return command_misused(argv, "--id takes the id of an event");
    return -1;
}

static int replay_run(int argc, char **argv)
{
    struct replay replay = { .rate = RERUN_RATE_DEFAULT, .argv = argv };
    struct session session;

    int code = read_options(&replay, argc, argv);
    if (code >= 0 || (code = operator_open(&session, argv)) >= 0)
        return code;
    return session_close(&session, replay_events(&replay, &session));
}

const struct command command_replay = {
    .name = "replay",
    .summary = "gives events to a stage again, as a new run; --dry-run says what would change",
    .help =
        "Usage: sb replay STAGE WHICH… [--ask-again] [--resend] [--rate N] [--yes] [--no-wait] [--as NAME] [--json]\n"
        "       sb replay STAGE WHICH… --dry-run [--ask-again] [--resend] [--json]\n\n"
        "Takes what the stage has handled from the ledger, the events themselves from Kafka (and says which\n"
        "are no longer there), and sends them through replay.STAGE while the stage runs, in their order\n"
        "within each conversation. The stage handles them afresh: with today's program and rows, and the\n"
        "answers that providers gave then. Rows change only where the event is as new as what they hold; what\n"
        "the stage emits carries the run, so it goes on downstream. Then waits until all are handled, and\n"
        "says how it ended.\n\n"
        "--dry-run starts the stage's own program, beside sb, on the same events: the real handler, real\n"
        "reads, recorded answers; what it would write is executed, compared field by field, and rolled back.\n"
        "Nothing is sent.\n\n"
        "Which events (those that fit all that is said)\n"
        "  --since WHEN, --until WHEN  that came then\n"
        "  --id ID                     this one\n"
        "  --key KEY                   of this conversation\n"
        "  --type TYPE                 of this type\n\n"
        "Options\n"
        "  --ask-again  providers are asked anew what is harmless to repeat: models, transcriptions, downloads\n"
        "  --resend     messages and notes that were sent go out once more; without it none does\n"
        "  --dry-run    what would change, and about what it would cost\n"
        "  --rate N     at most so many events a second (100)\n"
        "  --yes        does not ask whether they are meant\n"
        "  --no-wait    does not wait for the stage\n"
        "  --as NAME    who does it; else $SUDO_USER or $USER, at this host\n"
        "  --json       the answer as JSON; of a dry run a line for each event, then the summary\n\n"
        WHEN_PARAGRAPH "\n"
        "Examples\n"
        "  sb replay analyze --since 2d --dry-run             what a new prompt's reading rules would change\n"
        "  sb replay analyze --since 2d --ask-again --rate 5\n"
        "  sb replay transcribe --key CAL123\n"
        "  sb replay notifier --id 4f1c2d6e-1c8b-5f0e-9d0a-3b7e2a8c5d11 --resend\n\n"
        "Exit codes: 0 done, 1 no event fits, some are no longer in Kafka, were rejected or not handled, 2\n"
        "the command line or a setting is wrong\n",
    .run = replay_run,
};
