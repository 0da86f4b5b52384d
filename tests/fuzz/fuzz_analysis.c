/* What the analyze stage reads from others: a model's analysis, a provider's HTTP answer, and transcripts, which
 * hold any words in any script or bytes that are none. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_handler.h"

#include "analyze/analyze.h"
#include "analyze/spoken_time.h"
#include "analyze/words.h"
#include "common/json.h"

#define ARENA_BYTES_MAX ((size_t)96 << 20)
#define QUOTE_BYTES 300                 /* a longer line is not quoted whole */
#define SESSION "4ff211fb-eae3-5ef7-aefa-adf51bee182f"

/* --- a transcript ------------------------------------------------------------------------------------------------- */

/* What somebody said is evidence, and so is all that the rules quote. */
static void try_transcript(const char *transcript, struct arena *arena)
{
    struct evidence *evidence = evidence_prepare(transcript, arena);
    struct call_analysis analysis;
    enum speaker speaker;
    struct word word;
    size_t longest = 0;

    for (const char *line = transcript; *line;) {
        size_t bytes = strcspn(line, "\n");
        const char *said = arena_copy_text(arena, (struct text){ line, bytes });
        require(evidence_holds(evidence, said, arena) == word_next(turn_said(said, &speaker), &word));
        longest = bytes > longest ? bytes : longest;
        line += bytes + (line[bytes] == '\n');
    }
    rules_analyze(&(struct rules_call){ .transcript = transcript, .started_at = "2026-11-21T09:30", .weekday = 6 },
                  arena, &analysis);
    require(analysis.sentiment_score >= -1 && analysis.sentiment_score <= 1);
    require(strlen(analysis.summary) <= 2000);
    for (size_t i = 0; i < analysis.evidence_count && longest <= QUOTE_BYTES; i++)
        require(evidence_holds(evidence, analysis.evidence[i].quote, arena));
    for (size_t i = 0; i < analysis.objections_count && longest <= QUOTE_BYTES; i++)
        require(evidence_holds(evidence, analysis.objections[i].quote, arena));
    if (analysis.appointment && analysis.appointment->scheduled_start) {
        int64_t us;
        require(time_read(text_of(arena_printf(arena, "%sZ", analysis.appointment->scheduled_start)), &us));
    }
}

/* --- what comes over the wire ------------------------------------------------------------------------------------- */

static struct analyze context = { .gemini_model = "gemini", .openai_model = "gpt", .llm_timeout_ms = 1000 };
static struct http_reply reply;

static enum outcome read_reply(struct work *work, const struct event *event)
{
    struct answer answer = { .body = TEXT("") };
    enum outcome outcome = (context.llm_provider == LLM_GEMINI ? gemini_read : openai_read)(work, &reply, &answer);
    (void)event;
    if (outcome == DONE)
        require(text_is_utf8(answer.body) && answer.model && strlen(answer.model) <= LLM_MODEL_BYTES_MAX &&
              text_is_utf8(text_of(answer.model)) && answer.tokens_in >= 0 && answer.tokens_out >= 0);
    return outcome;
}

static enum outcome answer_query(void *unused, const struct statement *statement, struct params params,
                                 struct arena *arena, struct rows *ret)
{
    static const char *const names[] = { "tenant",    "lead_id",      "status",    "call_local", "weekday",
                                         "started_at", "started_local",
                                         "time_zone", "weekday_name", "company",   "text",    "words",
                                         "corrected_qualification", "corrected_booking", "corrected_category",
                                         "corrected_sentiment", "appointment_id", "sop_steps" };
    static const char *const values[] = {
        "acme",
        NULL,
        "completed",
        "2026-11-21T09:30",
        "6",
        "2026-11-21 14:30:00+00",
        "2026-11-21T09:30",
        "UTC",
        "Saturday",
        "Acme",
        "agent: how can i help\ncustomer: i need someone at ten\nagent: you are booked",
        "12",
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL
    };
    (void)unused, (void)params, (void)arena;
    bool found = strcmp(statement->name, "find_transcript") == 0 || strcmp(statement->name, "find_visit") == 0;
    *ret = (struct rows){ .count = found, .columns = LENGTH(names), .values = values, .names = names };
    return DONE;
}

static void try_event(stage_handler *handle, const struct event_type *type, const char *data)
{
    static const struct stage stage = { .name = "analyze", .context = &context };
    static const struct work_probe probe = { .query = answer_query, .ask = give_answer };
    const struct event event = { .subject = "CAL1", .data = text_of(data) };
    struct buf effects;

    if (try_handler(&stage, &probe, handle, type, event, &effects) && effects.bytes > 0)
        require(!effects.overflowed && text_is_utf8(buf_text(&effects)) && !strstr(effects.at, "\nevent unreadable "));
    buf_done(&effects);
}

static void try_call(stage_handler *handle)
{
    try_event(handle, &EVENT_CALL_TRANSCRIBED,
                "{\"call_id\":\"CAL1\",\"provider\":\"local\",\"segments\":1,\"words\":12}");
}

static void try_visit(stage_handler *handle)
{
    try_event(handle, &EVENT_VISIT_TRANSCRIBED,
                "{\"session_id\":\"" SESSION "\",\"provider\":\"local\",\"segments\":1,\"words\":12}");
}

static void try_reply(int provider, struct text body)
{
    static const long statuses[] = { 200, 200, 200, 400, 429, 500 };
    context.llm_provider = provider;
    reply = (struct http_reply){
        .result = HTTP_ANSWERED, .status = 200, .body = body, .content_type = "", .retry_after_ms = -1
    };
    if (body.bytes > 0)
        reply.status = statuses[(unsigned char)body.at[body.bytes - 1] % LENGTH(statuses)];
    try_call(read_reply);
}

static void try_analysis(struct text json, struct arena *arena)
{
    struct call_analysis analysis, again;
    struct problem why = { .text = "" };
    struct buf written;

    buf_init(&written, ARENA_BYTES_MAX);
    if (call_analysis_read(json, arena, &analysis, &why)) {
        call_analysis_write(&written, &analysis);
        require(call_analysis_read(buf_text(&written), arena, &again, &why));
    } else {
        check_reason(&why);
    }
    buf_done(&written);
    answer_body = json;
    context.llm_provider = LLM_GEMINI;
    if (text_is_utf8(json))
        try_call(analyze_call);
}

static void try_visit_analysis(struct text json)
{
    answer_body = json;
    context.llm_provider = LLM_GEMINI;
    if (text_is_utf8(json))
        try_visit(analyze_visit);
}

/* --- what Shunya's jobs give -------------------------------------------------------------------------------------- */

static struct job job = { .job_id = "33333333-3333-4333-8333-333333333333",
                          .tenant = "acme",
                          .provider_job_id = "job-1",
                          .status = "running",
                          .source_time = "2026-11-21T14:30:00Z",
                          .result_status = "completed" };

static enum outcome finish_job(struct work *work, const struct event *event)
{
    (void)event;
    return (strcmp(job.kind, "visit") == 0 ? finish_visit : finish_call)(work, &job);
}

/* It was valid UTF-8 and JSON before it became a row. */
static void try_result(const char *kind, const char *subject, struct text json)
{
    struct json_value value;
    struct problem why;

    if (!json_parse(json, &value, &why))
        return;
    job.kind = kind;
    job.subject = subject;
    job.result = json;
    try_call(finish_job);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    struct problem why;
    (void)count, (void)arguments;
    require(crypto_init(&why));
    return 0;
}

/* The first byte chooses what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    if (size > 0) {
        struct text rest = { (const char *)data + 1, size - 1 };
        if (data[0] == 'a')
            try_analysis(rest, arena);
        else if (data[0] == 'v')
            try_visit_analysis(rest);
        else if (data[0] == 'c')
            try_result("call", "CAL1", rest);
        else if (data[0] == 'w')
            try_result("visit", SESSION, rest);
        else if (data[0] == 'g' || data[0] == 'o')
            try_reply(data[0] == 'g' ? LLM_GEMINI : LLM_OPENAI, rest);
        else
            try_transcript(arena_copy_text(arena, rest), arena);
    }
    arena_free(arena);
    return 0;
}
