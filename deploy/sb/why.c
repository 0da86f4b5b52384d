/* sb why: where a conversation stands now, a sentence for each stage and each thing that holds it up there. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/conversation.h"
#include "deploy/sb/look.h"
#include "deploy/sb/standing.h"
#include "deploy/sb/terminal.h"
#include "topics.h"

#define KEYS_MAX       64 /* of a conversation, its own and … */
#define MORE_KEYS_MAX  "63"
#define UNREAD_MAX     100 /* events of it that a stage has not finished, looked up in the ledger */
#define FOUND_MAX      256
#define ROWS_MAX       "100"
#define LINE_BYTES_MAX 8192
#define JSON_BYTES_MAX (16 * 1024 * 1024)

/* clang-format off */
static const struct statement find_keys = {
    .name = "sb_why_keys",
    .text = "SELECT DISTINCT subject FROM ledger WHERE correlation_id = $1 AND subject <> $1 LIMIT " MORE_KEYS_MAX,
    .params = 1,
};
/* What was done last, by stage. */
static const struct statement find_done = {
    .name = "sb_why_done",
    .text = "SELECT x.*, " US("committed_at") " AS committed_us, to_jsonb(x) AS json FROM ("
            " SELECT DISTINCT ON (stage) stage, event_id, event_type AS type, run, outcome, why, attempts, tenant,"
            "  committed_at, count(*) OVER (PARTITION BY stage) AS events"
            " FROM ledger WHERE correlation_id = $1 ORDER BY stage, committed_at DESC) AS x",
    .params = 1,
};
/* Given up, and neither done by a later run nor dropped. */
static const struct statement find_dead = {
    .name = "sb_why_dead",
    .text = "SELECT x.*, " US("committed_at") " AS committed_us, to_jsonb(x) AS json FROM ("
            " SELECT DISTINCT ON (stage, event_id) stage, event_id, event_type AS type, run, outcome, why, attempts,"
            "  committed_at"
            " FROM ledger WHERE correlation_id = $1 ORDER BY stage, event_id, run DESC) AS x"
            " WHERE outcome = 'rejected' AND NOT " DROPPED("x") " ORDER BY committed_at LIMIT " ROWS_MAX,
    .params = 1,
};
static const struct statement find_handled = {
    .name = "sb_why_handled",
    .text = "SELECT event_id, run FROM ledger WHERE stage = $1 AND event_id = ANY ($2::uuid[])",
    .params = 2,
};
/* clang-format on */

/* One thing to say of a stage. */
struct finding {
    const char *stage, *state, *sentence, *about; /* `about`: JSON, or NULL */
    enum colour colour;
};

/* Of a conversation's events in Kafka, those that a stage has not handled. */
struct unread {
    const char *id, *type;
    int run;
    int64_t came_us;
};

struct why {
    struct session *session;
    struct arena *arena;
    struct look *look; /* NULL: Kafka could not be asked */
    struct rows instances, circuits;
    const struct conversation *conversation;
    const char *keys[KEYS_MAX]; /* of its events */
    int key_count;
    const char *reading; /* the one whose partitions are being read */
    struct rows works, parked, asks, jobs, done, dead;
    struct unread unread[UNREAD_MAX];
    int unread_count;
    int64_t unread_more;
    struct finding findings[FOUND_MAX];
    size_t count;
};

static void add(struct why *why, struct finding finding)
{
    if (why->count < FOUND_MAX)
        why->findings[why->count++] = finding;
}

/* --- what it is ---------------------------------------------------------------------------------------------- */

static bool find_rows(struct why *why, struct problem *problem)
{
    const char *id = why->conversation->id;
    struct session *session = why->session;
    struct rows keys;

    why->keys[0] = id;
    why->key_count = 1;
    if (!session_query(session, &find_keys, PARAMS(id), &keys, problem))
        return false;
    for (int row = 0; row < keys.count; row++)
        why->keys[why->key_count++] = row_get(&keys, row, "subject");
    const char *of_keys = array_of(why->keys, why->key_count, why->arena), *of_id = array_of(&id, 1, why->arena);
    return session_query(session, &standing_works, PARAMS(of_keys), &why->works, problem) &&
           session_query(session, &standing_parked, PARAMS(of_keys, ROWS_MAX), &why->parked, problem) &&
           session_query(session, &standing_asks, PARAMS(of_id, ROWS_MAX), &why->asks, problem) &&
           session_query(session, &standing_jobs, PARAMS(of_keys, ROWS_MAX), &why->jobs, problem) &&
           session_query(session, &find_done, PARAMS(id), &why->done, problem) &&
           session_query(session, &find_dead, PARAMS(id), &why->dead, problem);
}

/* The messages of a key's partitions; most are somebody else's. */
static void note_unread(void *context, const rd_kafka_message_t *message)
{
    struct why *why = context;
    struct event event;
    struct problem problem;
    bool ours = message->key && text_is((struct text){ message->key, message->key_len }, why->reading);

    if (!ours || !event_read((struct text){ message->payload, message->len }, why->arena, &event, &problem))
        return;
    if (why->unread_count == UNREAD_MAX) {
        why->unread_more++;
        return;
    }
    why->unread[why->unread_count++] = (struct unread){ .id = event.id,
                                                        .type = event.type,
                                                        .run = event.run,
                                                        .came_us = rd_kafka_message_timestamp(message, NULL) * 1000 };
}

/* Offsets are stored now and then: most of what lies beyond them was handled. */
static bool drop_handled(struct why *why, const char *stage, struct problem *problem)
{
    const char *ids[UNREAD_MAX];
    struct rows rows;
    int kept = 0;

    for (int i = 0; i < why->unread_count; i++)
        ids[i] = why->unread[i].id;
    if (!session_query(why->session, &find_handled, PARAMS(stage, array_of(ids, why->unread_count, why->arena)), &rows,
                       problem))
        return false;
    for (int i = 0; i < why->unread_count; i++) {
        bool handled = false;
        for (int row = 0; row < rows.count; row++)
            handled = handled || (strcmp(row_get(&rows, row, "event_id"), why->unread[i].id) == 0 &&
                                  row_integer(&rows, row, "run") == why->unread[i].run);
        if (!handled)
            why->unread[kept++] = why->unread[i];
    }
    why->unread_count = kept;
    return true;
}

static bool find_unread(struct why *why, const char *stage, struct problem *problem)
{
    why->unread_count = 0;
    why->unread_more = 0;
    for (int i = 0; why->look && i < why->key_count; i++) {
        why->reading = why->keys[i];
        if (!look_unfinished_of(why->look, stage, why->reading, note_unread, why, problem))
            return false;
    }
    return why->unread_count == 0 || drop_handled(why, stage, problem);
}

/* --- what is said of it -------------------------------------------------------------------------------------- */

static bool is_of(const struct rows *rows, int row, const char *stage)
{
    return strcmp(row_get(rows, row, "stage"), stage) == 0;
}

static void say_works_and_parked(struct why *why, const char *stage)
{
    for (int row = 0; row < why->works.count; row++)
        if (is_of(&why->works, row, stage)) {
            bool circuit = row_get(&why->works, row, "provider") != NULL;
            add(why, (struct finding){ stage, circuit ? "circuit" : row_get(&why->works, row, "state"),
                                       work_sentence(&why->works, row, why->arena), row_get(&why->works, row, "json"),
                                       YELLOW });
            for (int of = 0; circuit && of < why->circuits.count; of++)
                if (is_of(&why->circuits, of, stage) &&
                    strcmp(row_get(&why->circuits, of, "name"), row_get(&why->works, row, "provider")) == 0)
                    add(why, (struct finding){ stage, "circuit", circuit_sentence(&why->circuits, of, why->arena),
                                               row_get(&why->circuits, of, "json"), RED });
        }
    for (int row = 0; row < why->parked.count; row++)
        if (is_of(&why->parked, row, stage))
            add(why, (struct finding){ stage, "parked", parked_sentence(&why->parked, row, why->arena),
                                       row_get(&why->parked, row, "json"), YELLOW });
}

static void say_dead(struct why *why, const char *stage)
{
    char clock[CLOCK_BYTES];

    for (int row = 0; row < why->dead.count; row++)
        if (is_of(&why->dead, row, stage))
            add(why, (struct finding){
                         stage, "dead",
                         arena_printf(why->arena,
                                      "%s is a dead letter since %s, after attempt %lld: %s (topic dead.%s, event %s)",
                                      row_get(&why->dead, row, "type"),
                                      clock_print(row_integer(&why->dead, row, "committed_us"), clock),
                                      (long long)row_integer(&why->dead, row, "attempts"),
                                      row_get(&why->dead, row, "why"), stage, row_get(&why->dead, row, "event_id")),
                         row_get(&why->dead, row, "json"), RED });
}

/* What is in hand, and waits behind it, has been said. */
static void say_unread(struct why *why, const char *stage)
{
    const char *holdup = holdup_sentence(&why->instances, &why->circuits, stage, why->arena);
    int64_t events = why->unread_count + why->unread_more;
    char age[AGE_BYTES];

    holdup = holdup ? holdup : "its turn comes after what came before it";
    for (int row = 0; row < why->works.count; row++)
        if (is_of(&why->works, row, stage))
            events -= 1 + row_integer(&why->works, row, "behind");
    if (events <= 0)
        return;
    const struct unread *first = &why->unread[0];
    for (int i = 1; i < why->unread_count; i++)
        first = why->unread[i].came_us < first->came_us ? &why->unread[i] : first;
    const char *sentence =
        events < why->unread_count + why->unread_more
            ? arena_printf(why->arena, "%" PRId64 " more of it %s not read yet: %s", events, plural(events, "is", "are"),
                           holdup)
            : arena_printf(why->arena, "%s%s came %s ago and is not handled yet: %s", first->type,
                           events > 1 ? arena_printf(why->arena, " and %" PRId64 " more", events - 1) : "",
                           age_print(now_us() - first->came_us, age), holdup);
    add(why, (struct finding){ stage, "unread", sentence, NULL, YELLOW });
}

static void say_done(struct why *why, const char *stage)
{
    char clock[CLOCK_BYTES];

    for (int row = 0; row < why->done.count; row++) {
        const char *outcome = row_get(&why->done, row, "outcome"), *because = row_get(&why->done, row, "why");
        long long events = (long long)row_integer(&why->done, row, "events");
        if (!is_of(&why->done, row, stage))
            continue;
        add(why,
            (struct finding){ stage, outcome,
                              arena_printf(why->arena, "%s: %s at %s%s%s%s", outcome, row_get(&why->done, row, "type"),
                                           clock_print(row_integer(&why->done, row, "committed_us"), clock),
                                           because ? ": " : "", because ? because : "",
                                           events > 1 ? arena_printf(why->arena, "; %lld events in all", events) : ""),
                              row_get(&why->done, row, "json"), GREEN });
        return;
    }
    add(why, (struct finding){ stage, "nothing", "nothing of it has come here", NULL, FAINT });
}

static bool say_stage(struct why *why, const char *stage, struct problem *problem)
{
    size_t before = why->count;

    if (!find_unread(why, stage, problem))
        return false;
    say_works_and_parked(why, stage);
    say_dead(why, stage);
    say_unread(why, stage);
    for (int row = 0; row < why->asks.count; row++)
        if (is_of(&why->asks, row, stage))
            add(why, (struct finding){ stage, "ask", ask_sentence(&why->asks, row, why->arena),
                                       row_get(&why->asks, row, "json"), YELLOW });
    for (int row = 0; row < why->jobs.count; row++)
        if (is_of(&why->jobs, row, stage))
            add(why, (struct finding){ stage, "job", job_sentence(&why->jobs, row, why->arena),
                                       row_get(&why->jobs, row, "json"), YELLOW });
    if (why->count == before)
        say_done(why, stage);
    return true;
}

/* --- the answer ---------------------------------------------------------------------------------------------- */

/* False also when nothing at all is known of a key that was only guessed. */
static bool is_known(const struct why *why)
{
    for (size_t i = 0; i < why->count; i++)
        if (strcmp(why->findings[i].state, "nothing") != 0)
            return true;
    return false;
}

static void print_readable(const struct why *why)
{
    size_t columns = 0;
    char padding[64] = "";

    for (size_t i = 0; i < why->count; i++)
        columns = strlen(why->findings[i].stage) > columns ? strlen(why->findings[i].stage) : columns;
    printf("%s%s%s%s%s%s\n", colour_begin(BOLD), why->conversation->id, colour_end(),
           why->conversation->found_by ? " (found as: " : "",
           why->conversation->found_by ? why->conversation->found_by : "", why->conversation->found_by ? ")" : "");
    for (size_t i = 0; i < why->count; i++) {
        const struct finding *finding = &why->findings[i];
        bool again = i > 0 && strcmp(why->findings[i - 1].stage, finding->stage) == 0;
        struct buf sentence;
        buf_init(&sentence, LINE_BYTES_MAX);
        terminal_add(&sentence, text_of(finding->sentence), 0);
        snprintf(padding, sizeof(padding), "%-*s", (int)columns, again ? "" : finding->stage);
        printf("  %s  %s%s%s\n", padding, colour_begin(finding->colour), buf_text(&sentence).at, colour_end());
        buf_done(&sentence);
    }
}

static void write_json(const struct why *why, struct buf *out)
{
    json_separate(out);
    buf_add_char(out, '{');
    json_add_string(out, "conversation", why->conversation->id);
    json_add_string(out, "found_as", why->conversation->found_by);
    json_name(out, "stands");
    buf_add_char(out, '[');
    for (size_t i = 0; i < why->count; i++) {
        const struct finding *finding = &why->findings[i];
        json_separate(out);
        buf_add_char(out, '{');
        json_add_string(out, "stage", finding->stage);
        json_add_string(out, "state", finding->state);
        json_add_string(out, "sentence", finding->sentence);
        json_name(out, "about");
        buf_add_string(out, finding->about ? finding->about : "null");
        buf_add_char(out, '}');
    }
    buf_add_string(out, "]}");
}

/* --- the command --------------------------------------------------------------------------------------------- */

static bool say_all(struct why *why, const struct conversations *found, struct buf *json, bool *ret_known,
                    struct problem *problem)
{
    for (size_t i = found->count; i-- > 0;) {
        why->conversation = &found->found[i];
        why->count = 0;
        if (!find_rows(why, problem))
            return false;
        for (const struct stage_topics *stage = stage_topics; stage->stage; stage++)
            if (!say_stage(why, stage->stage, problem))
                return false;
        if (!is_known(why) && why->conversation->found_by == NULL)
            continue;
        *ret_known = true;
        if (json)
            write_json(why, json);
        else
            print_readable(why);
    }
    return true;
}

static int answer(struct why *why, const char *given, bool as_json, char **argv)
{
    struct conversations found;
    struct problem problem;
    struct buf json;
    bool known = false;

    if (!conversations_find(why->session, given, &found, &problem) ||
        !session_query(why->session, &standing_instances, PARAMS(), &why->instances, &problem) ||
        !session_query(why->session, &standing_circuits, PARAMS(), &why->circuits, &problem))
        return command_fail(argv, EXIT_FAILED, "%s", problem.text);
    if (found.count == 0) /* nothing of it was handled: it may still wait somewhere */
        found = (struct conversations){ .found = { { .id = given } }, .count = 1 };
    buf_init(&json, JSON_BYTES_MAX);
    buf_add_char(&json, '[');
    bool good = say_all(why, &found, as_json ? &json : NULL, &known, &problem);
    if (good && known && as_json)
        printf("%s]\n", buf_text(&json).at);
    buf_done(&json);
    if (!good)
        return command_fail(argv, EXIT_FAILED, "%s", problem.text);
    if (known)
        conversations_tell_left_out(&found, as_json ? stderr : stdout);
    return known ? EXIT_FINE : conversations_none(argv, given);
}

static int why_run(int argc, char **argv)
{
    static struct why why;
    struct session session;
    struct problem problem;
    const char *given;
    bool json;

    int code = conversation_open(argc, argv, &session, &given, &json);
    if (code >= 0)
        return code;
    why.session = &session;
    why.arena = session.arena;
    if (session.settings.kafka_brokers == NULL)
        fail(&problem, "KAFKA_BROKERS is not set");
    else
        why.look = look_new(session.settings.kafka_brokers, &problem);
    code = answer(&why, given, json, argv);
    if (why.look == NULL)
        code = command_fail(argv, EXIT_FAILED, "%s; what no stage has read yet is not told", problem.text);
    look_free(why.look);
    return session_close(&session, code);
}

const struct command command_why = {
    .name = "why",
    .summary = "tells where a conversation stands now, stage by stage",
    .help =
        "Usage: sb why KEY [--json]\n\n"
        "KEY is the key of a conversation's events (a call, an address), or whatever `sb trace` takes. A sentence for "
        "each stage and each\n"
        "thing that holds it up there: done; waiting after which attempt, for what, until when; parked; behind an "
        "open circuit; a dead\n"
        "letter, and the reason; not read yet, and why; a request of which nobody knows how it ended; a provider's "
        "job that goes on. Works\n"
        "are told of by their stage every 2 s, once they are there for a second.\n\n"
        "Examples\n"
        "  sb why CAL123\n"
        "  sb why +12025550188\n"
        "  sb why CAL123 --json | jq -r '.[].stands[] | select(.state == \"dead\") | .about.event_id'\n\n"
        "Exit codes: 0 told, 1 nothing is known by that key, or Kafka or the database cannot be asked, 2 the command "
        "line or a setting is\n"
        "wrong\n",
    .run = why_run,
};
