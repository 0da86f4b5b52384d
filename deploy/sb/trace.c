/* sb trace: what happened to a conversation, event by event, as a waterfall; with what was asked of providers. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/conversation.h"
#include "deploy/sb/standing.h"
#include "deploy/sb/terminal.h"
#include "deploy/sb/waterfall.h"

#define EVENTS_MAX       1000 /* of a conversation, the last ones; likewise requests */
#define EVENTS_MAX_TEXT  "1000"
#define LINES_MAX        (2 * EVENTS_MAX + 16)
#define COLUMNS          120 /* where standard output is no terminal */
#define CLOCK_COLUMNS    12
#define TOOK_COLUMNS     8
#define BAR_COLUMNS_MIN  16
#define BAR_COLUMNS_MAX  60
#define NOTE_COLUMNS_MIN 24
#define WHAT_COLUMNS_MIN 12
#define WHAT_COLUMNS_MAX 28
#define GAPS_COLUMNS     (5 * 2)
#define LINE_BYTES_MAX   (64 * 1024)
#define JSON_BYTES_MAX   ((size_t)256 * 1024 * 1024)
_Static_assert(EVENTS_MAX == 1000, "EVENTS_MAX_TEXT is its text");

/* clang-format off */
/* `of_all`: how many there are, also those that are too old to be shown. */
static const struct statement find_events = {
    .name = "sb_trace_events",
    .text = "SELECT x.*, " US("received_at") " AS received_us, " US("committed_at") " AS committed_us,"
            " (SELECT string_agg(e->>'type', ', ' ORDER BY at) FROM jsonb_array_elements(x.emits)"
            "  WITH ORDINALITY AS of_event (e, at)) AS emitted_types, to_jsonb(x) - 'of_all' AS json FROM ("
            " SELECT l.*, count(*) OVER () AS of_all, (SELECT jsonb_agg(jsonb_build_object('id', payload::jsonb->'id',"
            "   'type', payload::jsonb->'type', 'topic', topic, 'key', key) ORDER BY number) FROM emitted e"
            "   WHERE e.cause_id = l.event_id AND e.stage = l.stage AND e.run = l.run AND e.day = l.day) AS emits"
            " FROM ledger l WHERE correlation_id = $1"
            " ORDER BY received_at DESC, committed_at DESC, stage DESC LIMIT " EVENTS_MAX_TEXT ") AS x"
            " ORDER BY received_at, committed_at, stage",
    .params = 1,
};
/* ASK_AGAIN is written with what its event did, so it ended before that; ASK_ONCE before its request left. */
static const struct statement find_asks = {
    .name = "sb_trace_asks",
    .text = "SELECT x.*, " US("created_at") " - CASE kind WHEN 'again' THEN took_us ELSE 0 END AS began_us,"
            " to_jsonb(x) - 'of_all' AS json FROM ("
            " SELECT count(*) OVER () AS of_all, ask_id, stage, event_id, run, name, kind, provider, purpose, state, attempt, provider_id,"
            "  provider_status, error_code, error, model, tokens_in, tokens_out, cost_micros, took_us, created_at, updated_at"
            " FROM asks WHERE correlation_id = $1 ORDER BY created_at DESC, ask_id DESC LIMIT " EVENTS_MAX_TEXT ") AS x"
            " ORDER BY created_at, ask_id",
    .params = 1,
};
/* clang-format on */

struct trace_line {
    struct span span;
    const char *stage; /* NULL: a request of the event above */
    const char *what, *note;
    enum colour colour;
    int64_t waited_us, worked_us;
};

struct trace {
    struct session *session;
    const struct conversation *conversation;
    struct rows events, asks, works;
    struct trace_line lines[LINES_MAX];
    size_t count;
};

static bool find(struct trace *trace, struct problem *why)
{
    const char *id = trace->conversation->id, *keys = array_of(&id, 1, trace->session->arena);
    trace->count = 0;
    return session_query(trace->session, &find_events, PARAMS(id), &trace->events, why) &&
           session_query(trace->session, &find_asks, PARAMS(id), &trace->asks, why) &&
           session_query(trace->session, &standing_works, PARAMS(keys), &trace->works, why);
}

/* --- what happened, as lines --------------------------------------------------------------------------------- */

/* How many older ones are not among the rows. */
static int64_t left_out_of(const struct rows *rows)
{
    return rows->count > 0 ? row_integer(rows, 0, "of_all") - rows->count : 0;
}

static const char *join(struct arena *arena, const char *before, const char *after)
{
    return *before ? arena_printf(arena, "%s, %s", before, after) : after;
}

static const char *event_note(const struct rows *rows, int row, struct arena *arena)
{
    const char *note = "", *outcome = row_get(rows, row, "outcome"), *why = row_get(rows, row, "why");
    const char *types = row_get(rows, row, "emitted_types");
    long long attempts = (long long)row_integer(rows, row, "attempts"), run = (long long)row_integer(rows, row, "run");
    long long emitted = (long long)row_integer(rows, row, "emitted");

    if (strcmp(outcome, "done") != 0)
        note = why && *why ? arena_printf(arena, "%s: %s", outcome, why) : outcome;
    if (attempts > 1)
        note = join(arena, note, arena_printf(arena, "%lld attempts", attempts));
    if (run > 0)
        note = join(arena, note, arena_printf(arena, "run %lld", run));
    if (types)
        note = join(arena, note, arena_printf(arena, "\u2192 %s", types));
    else if (emitted > 0)
        note = join(arena, note, arena_printf(arena, "\u2192 %lld %s", emitted, plural(emitted, "event", "events")));
    return note;
}

static void add_event(struct trace *trace, int row)
{
    const struct rows *rows = &trace->events;
    int64_t end_us = row_integer(rows, row, "committed_us"), worked_us = row_integer(rows, row, "worked_us");
    int64_t begin_us = row_integer(rows, row, "received_us");
    const char *outcome = row_get(rows, row, "outcome");

    begin_us = begin_us < end_us ? begin_us : end_us; /* Kafka's clock is another */
    int64_t work_us = end_us - worked_us > begin_us ? end_us - worked_us : begin_us;
    trace->lines[trace->count++] = (struct trace_line){
        .span = { begin_us, work_us, end_us },
        .stage = row_get(rows, row, "stage"),
        .what = row_get(rows, row, "event_type"),
        .note = event_note(rows, row, trace->session->arena),
        .colour = strcmp(outcome, "rejected") == 0 ? RED
                  : strcmp(outcome, "parked") == 0 ? YELLOW
                                                   : GREEN,
        .waited_us = work_us - begin_us,
        .worked_us = worked_us,
    };
}

static const char *ask_note(const struct rows *rows, int row, struct arena *arena)
{
    const char *note = row_get(rows, row, "state"), *status = row_get(rows, row, "provider_status");
    const char *error = row_get(rows, row, "error"), *model = row_get(rows, row, "model");
    long long attempts = (long long)row_integer(rows, row, "attempt"),
              in = (long long)row_integer(rows, row, "tokens_in"),
              out = (long long)row_integer(rows, row, "tokens_out");
    double cost = (double)row_integer(rows, row, "cost_micros") / 1e6;

    if (error)
        note = arena_printf(arena, "%s: %s", note, error);
    if (status)
        note = join(arena, note, status);
    if (attempts > 1)
        note = join(arena, note, arena_printf(arena, "%lld attempts", attempts));
    if (model)
        note = join(arena, note, model);
    if (in || out)
        note = join(arena, note, arena_printf(arena, "%lld + %lld tokens", in, out));
    return cost > 0 ? join(arena, note, arena_printf(arena, "$%.4f", cost)) : note;
}

static void add_ask(struct trace *trace, int row, const char *stage)
{
    const struct rows *rows = &trace->asks;
    struct arena *arena = trace->session->arena;
    int64_t began_us = row_integer(rows, row, "began_us"), took_us = row_integer(rows, row, "took_us");
    const char *state = row_get(rows, row, "state");
    const char *what = row_get(rows, row, "purpose") ? row_get(rows, row, "purpose") : row_get(rows, row, "name");

    trace->lines[trace->count++] = (struct trace_line){
        .span = { began_us, began_us, began_us + took_us },
        .stage = stage,
        .what = arena_printf(arena, "%s %s", row_get(rows, row, "provider"), what),
        .note = ask_note(rows, row, arena),
        .colour = strcmp(state, "answered") == 0 ? CYAN : YELLOW,
        .worked_us = took_us,
    };
}

static bool is_of(const struct rows *asks, int ask, const struct rows *events, int event)
{
    static const char *const columns[] = { "event_id", "stage", "run" };
    for (size_t i = 0; i < LENGTH(columns); i++)
        if (strcmp(row_get(asks, ask, columns[i]), row_get(events, event, columns[i])) != 0)
            return false;
    return true;
}

/* What is being handled now has no row in the ledger yet, nor have its requests an event here. */
static void add_present(struct trace *trace, const bool *asks_shown)
{
    int64_t first_us = left_out_of(&trace->events) ? row_integer(&trace->events, 0, "received_us") : 0;

    for (int row = 0; row < trace->asks.count; row++)
        if (!asks_shown[row] && row_integer(&trace->asks, row, "began_us") >= first_us) /* else of one that is left out */
            add_ask(trace, row, row_get(&trace->asks, row, "stage"));
    for (int row = 0; row < trace->works.count && trace->count < LINES_MAX; row++) {
        int64_t since_us = row_integer(&trace->works, row, "since_us"), now = now_us();
        int64_t running_us = row_integer(&trace->works, row, "running_since_us");
        trace->lines[trace->count++] = (struct trace_line){
            .span = { since_us, running_us, now },
            .stage = row_get(&trace->works, row, "stage"),
            .what = row_get(&trace->works, row, "type"),
            .note = work_sentence(&trace->works, row, trace->session->arena),
            .colour = YELLOW,
            .waited_us = (running_us ? running_us : now) - since_us,
            .worked_us = running_us ? now - running_us : 0,
        };
    }
}

static void make_lines(struct trace *trace)
{
    bool asks_shown[EVENTS_MAX] = { false };

    for (int event = 0; event < trace->events.count; event++) {
        add_event(trace, event);
        for (int ask = 0; ask < trace->asks.count; ask++)
            if (!asks_shown[ask] && is_of(&trace->asks, ask, &trace->events, event)) {
                asks_shown[ask] = true;
                add_ask(trace, ask, NULL);
            }
    }
    add_present(trace, asks_shown);
}

/* --- for a person -------------------------------------------------------------------------------------------- */

struct layout {
    int stage, what, bar, note;
};

static struct layout lay_out(const struct trace *trace)
{
    struct layout layout = { .stage = 5, .what = WHAT_COLUMNS_MIN };
    int columns = terminal_columns() ? terminal_columns() : COLUMNS;

    for (size_t i = 0; i < trace->count; i++) {
        int what = (int)strlen(trace->lines[i].what) + (trace->lines[i].stage ? 0 : 2);
        int stage = trace->lines[i].stage ? (int)strlen(trace->lines[i].stage) : 0;
        layout.what = what > layout.what ? what : layout.what;
        layout.stage = stage > layout.stage ? stage : layout.stage;
    }
    layout.what = layout.what < WHAT_COLUMNS_MAX ? layout.what : WHAT_COLUMNS_MAX;
    int left = columns - CLOCK_COLUMNS - layout.stage - layout.what - 2 * TOOK_COLUMNS - GAPS_COLUMNS;
    if (left < BAR_COLUMNS_MIN) { /* the picture comes before the whole name */
        int more = BAR_COLUMNS_MIN - left;
        more = more < layout.what - WHAT_COLUMNS_MIN ? more : layout.what - WHAT_COLUMNS_MIN;
        layout.what -= more;
        left += more;
    }
    layout.bar = left / 2 < BAR_COLUMNS_MIN ? BAR_COLUMNS_MIN : left / 2 > BAR_COLUMNS_MAX ? BAR_COLUMNS_MAX : left / 2;
    layout.note = left - layout.bar - 2 < NOTE_COLUMNS_MIN && terminal_is() ? 0 : left - layout.bar - 2;
    return layout;
}

static void print_line(const struct trace_line *line, const struct waterfall *waterfall, const struct layout *layout)
{
    char clock[CLOCK_BYTES], waited[AGE_BYTES], worked[AGE_BYTES];
    struct buf out;

    buf_init(&out, LINE_BYTES_MAX);
    buf_printf(&out, "%s%s%s  ", colour_begin(FAINT), clock_ms(line->span.begin_us, clock), colour_end());
    terminal_add_cell(&out, text_of(line->stage ? line->stage : ""), layout->stage);
    buf_add_string(&out, line->stage ? "  " : "    ");
    terminal_add_cell(&out, text_of(line->what), layout->what - (line->stage ? 0 : 2));
    buf_printf(&out, "  %s", colour_begin(line->colour));
    waterfall_add(waterfall, &out, &line->span);
    buf_printf(&out, "%s  %*s  %*s", colour_end(), TOOK_COLUMNS, line->stage ? took_print(line->waited_us, waited) : "",
               TOOK_COLUMNS, took_print(line->worked_us, worked));
    if (*line->note && layout->note == 0)
        buf_printf(&out, "\n%*s", CLOCK_COLUMNS + 2 + layout->stage, "");
    if (*line->note)
        buf_add_string(&out, "  ");
    terminal_add(&out, text_of(line->note), terminal_is() ? layout->note : 0);
    printf("%s\n", buf_text(&out).at);
    buf_done(&out);
}

static void print_totals(const struct trace *trace)
{
    int64_t waited_us = 0, worked_us = 0, asked_us = 0, first_us = INT64_MAX, last_us = 0, tokens = 0, cost_micros = 0;
    char waited[AGE_BYTES], worked[AGE_BYTES], asked[AGE_BYTES], all[AGE_BYTES];

    for (size_t i = 0; i < trace->count; i++) {
        const struct trace_line *line = &trace->lines[i];
        first_us = line->span.begin_us < first_us ? line->span.begin_us : first_us;
        last_us = line->span.end_us > last_us ? line->span.end_us : last_us;
        waited_us += line->waited_us;
        worked_us += line->stage ? line->worked_us : 0;
    }
    for (int row = 0; row < trace->asks.count; row++) {
        asked_us += row_integer(&trace->asks, row, "took_us");
        tokens += row_integer(&trace->asks, row, "tokens_in") + row_integer(&trace->asks, row, "tokens_out");
        cost_micros += row_integer(&trace->asks, row, "cost_micros");
    }
    int events = trace->events.count, asks = trace->asks.count;
    printf("%d %s in %s: waited %s, worked %s; %d %s, %s at providers", events, plural(events, "event", "events"),
           took_print(last_us - first_us, all), took_print(waited_us, waited), took_print(worked_us, worked), asks,
           plural(asks, "request", "requests"), took_print(asked_us, asked));
    if (tokens)
        printf(", %" PRId64 " tokens, $%.4f", tokens, (double)cost_micros / 1e6);
    printf("\n");
    int64_t older = left_out_of(&trace->events), older_asks = left_out_of(&trace->asks);
    if (older || older_asks)
        printf("… %" PRId64 " older %s and %" PRId64 " older %s are left out\n", older, plural(older, "event", "events"),
               older_asks, plural(older_asks, "request", "requests"));
}

static void print_readable(const struct trace *trace)
{
    const struct conversation *conversation = trace->conversation;
    struct layout layout = lay_out(trace);
    struct span *spans = must_alloc((trace->count + 1) * sizeof(*spans));
    char gap[AGE_BYTES];

    for (size_t i = 0; i < trace->count; i++)
        spans[i] = trace->lines[i].span;
    struct waterfall *waterfall = waterfall_new(spans, trace->count, layout.bar);
    const char *tenant = NULL;
    for (int row = 0; row < trace->events.count; row++)
        tenant = row_get(&trace->events, row, "tenant") ? row_get(&trace->events, row, "tenant") : tenant;
    printf("%s%s%s%s%s (found as: %s)\n", colour_begin(BOLD), conversation->id, colour_end(), tenant ? " of " : "",
           tenant ? tenant : "", conversation->found_by);
    printf("%s%-*s  %-*s  %-*s  %-*s  %*s  %*s%s\n", colour_begin(FAINT), CLOCK_COLUMNS, "came", layout.stage, "stage",
           layout.what, "event", layout.bar, "", TOOK_COLUMNS, "waited", TOOK_COLUMNS, "worked", colour_end());
    for (size_t i = 0; i < trace->count; i++) {
        int64_t gap_us = trace->lines[i].stage ? waterfall_gap_before(waterfall, spans[i].begin_us) : 0;
        if (gap_us)
            printf("%s… nothing for %s%s\n", colour_begin(FAINT), took_print(gap_us, gap), colour_end());
        print_line(&trace->lines[i], waterfall, &layout);
    }
    print_totals(trace);
    waterfall_free(waterfall);
    free(spans);
}

/* --- for a program ------------------------------------------------------------------------------------------- */

static void write_rows(struct buf *out, const char *name, const struct rows *rows)
{
    json_name(out, name);
    buf_add_char(out, '[');
    for (int row = 0; row < rows->count; row++) {
        json_separate(out);
        buf_add_string(out, row_get(rows, row, "json"));
    }
    buf_add_char(out, ']');
}

static void write_trace(struct buf *out, const struct trace *trace)
{
    json_separate(out);
    buf_add_char(out, '{');
    json_add_string(out, "conversation", trace->conversation->id);
    json_add_string(out, "found_as", trace->conversation->found_by);
    write_rows(out, "events", &trace->events);
    write_rows(out, "asks", &trace->asks);
    write_rows(out, "in_work", &trace->works);
    json_add_bool(out, "whole", !left_out_of(&trace->events) && !left_out_of(&trace->asks));
    buf_add_char(out, '}');
}

/* --- the command --------------------------------------------------------------------------------------------- */

static bool trace_all(struct session *session, const struct conversations *found, bool json, struct problem *why)
{
    static struct trace trace;
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    buf_add_char(&out, '[');
    bool good = true;
    for (size_t i = found->count; good && i-- > 0;) { /* the newest last: nearest to the eye */
        trace.session = session;
        trace.conversation = &found->found[i];
        good = find(&trace, why);
        make_lines(&trace);
        if (good && json)
            write_trace(&out, &trace);
        else if (good && trace.count)
            print_readable(&trace);
        if (good && !json && i > 0)
            printf("\n");
    }
    if (good && json)
        printf("%s]\n", buf_text(&out).at);
    buf_done(&out);
    if (good && !json && found->left_out)
        printf("\n");
    if (good)
        conversations_tell_left_out(found, json ? stderr : stdout);
    return good;
}

static int trace_run(int argc, char **argv)
{
    struct session session;
    struct conversations found;
    struct problem why;
    const char *given;
    bool json;

    int code = conversation_open(argc, argv, &session, &given, &json);
    if (code >= 0)
        return code;
    if (!conversations_find(&session, given, &found, &why))
        return session_close(&session, command_fail(argv, EXIT_FAILED, "%s", why.text));
    if (found.count == 0)
        return session_close(&session, conversations_none(argv, given));
    bool good = trace_all(&session, &found, json, &why);
    return session_close(&session, good ? EXIT_FINE : command_fail(argv, EXIT_FAILED, "%s", why.text));
}

const struct command command_trace = {
    .name = "trace",
    .summary = "shows what happened to a conversation, event by event, as a waterfall",
    .help =
        "Usage: sb trace ID [--json]\n\n"
        "ID is a call or another key (a visit's session, a salesperson's address), the id of an event, a message's or "
        "job's id at its\n"
        "provider, the id of a request, a contact, a lead or a meeting, or a phone number; a phone number shows its "
        "ten newest\n"
        "conversations, and a long one its newest 1,000 events. For each event that a stage handled: when it came, how "
        "long it waited and\n"
        "was worked on, how often it was tried, how it ended, what it emitted; below it what was asked of providers, "
        "with time, tokens\n"
        "and cost. A bar's thin part is waiting, its block is work; pauses are shortened. All from the ledger, which "
        "keeps it for\n"
        "LEDGER_DAYS; what was emitted is known by type for two days.\n\n"
        "Examples\n"
        "  sb trace CAL123\n"
        "  sb trace +12025550188\n"
        "  sb trace SM0123456789abcdef0123456789abcdef       a message, by Twilio's sid\n"
        "  sb trace CAL123 --json | jq '.[].asks[] | {provider, took_us, cost_micros}'\n\n"
        "Exit codes: 0 shown, 1 nothing is known by that id or the database cannot be asked, 2 the command line or a "
        "setting is wrong\n",
    .run = trace_run,
};
