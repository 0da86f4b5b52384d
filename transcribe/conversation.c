/* conversation.c: the way of a call's or a visit's recording: it is copied, listened to, and its words are written
 * down; at once, or when a job of Shunya's brings them. */
#include "transcribe/transcribe.h"

#include "common/json.h"

#include <stdlib.h>
#include <string.h>

const char *const transcribe_providers[] = {
    [TRANSCRIBE_LOCAL] = "local", [TRANSCRIBE_OPENAI] = "openai", [TRANSCRIBE_SHUNYA] = "shunya", NULL
};

enum outcome transcribe_go_on(struct work *work)
{
    return daemon_stopping() || work_cancelled(work) ? retry(work, 0, "the daemon is to end before this is done")
                                                     : DONE;
}

static enum outcome listen_to(struct work *work, void *request, struct answer *ret)
{
    const struct transcribe *transcribe = work_context(work);
    const struct transcribe_request *wanted = request;
    TRY(recording_bring(work, &transcribe->recordings.store, wanted->recording));
    return transcribe->with == TRANSCRIBE_LOCAL ? local_transcribe(work, request, ret)
                                                : openai_transcribe(work, request, ret);
}

static enum outcome ask_for_words(struct work *work, const struct transcribe_request *request, struct text *ret,
                                  struct answer *answer)
{
    const struct transcribe *transcribe = work_context(work);
    TRY(ask(work, "transcribe",
            &(struct ask){
                .kind = ASK_AGAIN,
                .provider = transcribe_providers[transcribe->with],
                .timeout_ms = transcribe->openai_timeout_ms,
                .call = listen_to,
                .request = (void *)request,
            },
            answer));
    *ret = answer->body;
    return DONE;
}

static enum outcome read_words(struct work *work, int with, struct text words, struct transcript *ret)
{
    struct problem why;
    bool read = with == TRANSCRIBE_SHUNYA ? shunya_transcript_of(words, work_arena(work), ret, &why)
                                          : transcript_read(words, work_arena(work), ret, &why);
    if (!read)
        return reject_problem(work, &why);
    if (!transcript_fits(ret))
        return reject(work, "the transcript is larger than %d segments or %d bytes", TRANSCRIPT_SEGMENTS_MAX,
                      TRANSCRIPT_TEXT_BYTES_MAX);
    return DONE;
}

/* --- what is written ---------------------------------------------------------------------------------------------- */

static const char *decimal(struct work *work, double number)
{
    struct buf text;
    buf_init(&text, 64);
    json_write_number(&text, number);
    const char *copy = arena_copy_text(work_arena(work), buf_text(&text));
    buf_done(&text);
    return copy;
}

#define RECORDING_PARAMS(work, conversation, recording)                                                                \
    PARAMS(work_tenant(work), (conversation)->id, (recording)->path,                                                   \
           arena_printf(work_arena(work), "%lld", (long long)(recording)->bytes), (recording)->sha256,                 \
           (recording)->format, arena_printf(work_arena(work), "%d", (recording)->channels),                           \
           arena_printf(work_arena(work), "%d", (recording)->sample_rate_hz), decimal(work, (recording)->duration_s))

static void describe_transcript(struct work *work, const struct conversation *conversation,
                                const struct transcript *transcript, double duration_s, int64_t took_us)
{
    struct arena *arena = work_arena(work);
    const struct transcribed transcribed = {
        .transcript = transcript,
        .words = transcript_words(transcript),
        .speakers = transcript_speakers(transcript),
        .duration_s = duration_s,
        .took_us = took_us,
    };
    effect_row(work, conversation->kind->upsert_transcript, work_tenant(work), conversation->id, transcript->provider,
               transcript->model, transcript->language, transcript_lines(transcript, arena),
               transcript_segments_json(transcript, arena), arena_printf(arena, "%d", transcribed.speakers),
               arena_printf(arena, "%d", transcribed.words), decimal(work, duration_s), work_source_time(work),
               arena_printf(arena, "%d", work_source_run(work)));
    conversation->kind->announce(work, conversation->id, &transcribed);
}

/* --- the way ------------------------------------------------------------------------------------------------------ */

/* Its row; the company is the row's, whatever the event says. */
static enum outcome find(struct work *work, const struct conversation *conversation, struct rows *ret)
{
    TRY(work_query(work, conversation->kind->find, ret, conversation->id));
    if (ret->count == 0)
        return reject(work, "%s \"%s\" is not there", conversation->kind->name, conversation->id);
    work_set_tenant(work, row_get(ret, 0, "tenant"));
    return DONE;
}

/* The copy is made; its row, and what comes of the words when they are there. */
static enum outcome listen(struct work *work, const struct conversation *conversation, struct recording *recording)
{
    const struct transcribe *transcribe = work_context(work);
    const struct transcribe_request request = { conversation->id, conversation->url, recording };
    struct transcript transcript;
    struct answer answer = { 0 };
    struct text words;
    int64_t began = monotonic_us();
    TRY(transcribe->with == TRANSCRIBE_SHUNYA ? shunya_order(work, conversation, &request, &words, &answer)
                                              : ask_for_words(work, &request, &words, &answer));
    int64_t took_us = answer.recorded ? -1 : monotonic_us() - began;
    effect_row_params(work, conversation->kind->upsert_recording, RECORDING_PARAMS(work, conversation, recording));
    if (!words.at)
        return DONE; /* a job brings them */
    TRY(read_words(work, transcribe->with, words, &transcript));
    describe_transcript(work, conversation, &transcript, recording->duration_s, took_us);
    return DONE;
}

/* A copy that nobody could make words of has its row too, at once or when it is given up: it can be played, and its time
 * ends as that of others. */
enum outcome transcribe_conversation(struct work *work, const struct conversation *conversation)
{
    const struct transcribe *transcribe = work_context(work);
    struct rows rows;
    CLEANUP(recording_done) struct recording recording = { .fd = -1 };
    TRY(find(work, conversation, &rows));
    TRY(recording_get(work,
                      &(struct recording_wanted){ .settings = &transcribe->recordings,
                                                  .tenant = work_tenant(work),
                                                  .id = conversation->id,
                                                  .url = conversation->url,
                                                  .known_path = row_get(&rows, 0, "path"),
                                                  .removed = row_get(&rows, 0, "removed_at") != NULL },
                      &recording));
    enum outcome outcome = listen(work, conversation, &recording);
    return outcome == DONE ? DONE
                           : noting_params(work, outcome, conversation->kind->upsert_recording,
                                           RECORDING_PARAMS(work, conversation, &recording));
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

static const struct conversation_kind *const kinds[] = { &call_kind, &visit_kind };

static enum outcome conversation_of(struct work *work, const struct job *job, struct conversation *ret)
{
    *ret = (struct conversation){ .id = job->subject };
    for (size_t i = 0; i < LENGTH(kinds); i++)
        if (strcmp(kinds[i]->name, job->kind) == 0)
            ret->kind = kinds[i];
    return ret->kind ? DONE : reject(work, "nobody here knows what a \"%s\" is", job->kind);
}

static enum outcome finish(struct work *work, const struct job *job)
{
    struct conversation conversation;
    struct rows rows;
    struct transcript transcript;
    TRY(conversation_of(work, job, &conversation));
    TRY(find(work, &conversation, &rows));
    TRY(read_words(work, TRANSCRIBE_SHUNYA, job->result, &transcript));
    const char *duration_s = row_get(&rows, 0, "duration_s");
    describe_transcript(work, &conversation, &transcript, duration_s ? atof(duration_s) : 0, -1);
    return DONE;
}

static enum outcome again(struct work *work, const struct job *job)
{
    struct conversation conversation;
    struct rows rows;
    TRY(conversation_of(work, job, &conversation));
    TRY(find(work, &conversation, &rows));
    conversation.url = row_get(&rows, 0, "url");
    return transcribe_conversation(work, &conversation);
}

static bool asks_shunya(struct work *work)
{
    const struct transcribe *transcribe = work_context(work);
    return transcribe->with == TRANSCRIBE_SHUNYA;
}

const struct job_type transcription_jobs = {
    .name = "transcription",
    .provider = "shunya",
    .is_asked = asks_shunya,
    .check = shunya_check_transcription,
    .read = shunya_read,
    .finish = finish,
    .again = again,
};

static enum outcome job_has_finished(struct work *work, const struct event *event)
{
    return job_finished(work, event, &transcription_jobs);
}

static enum outcome job_is_due(struct work *work, const struct event *event)
{
    return job_due(work, event, &transcription_jobs);
}

const struct route transcribe_routes[] = {
    { .type = &EVENT_CALL_RECORDED, .handle = transcribe_call },
    { .type = &EVENT_VISIT_RECORDED, .handle = transcribe_visit },
    { .type = &EVENT_CHAT_RECEIVED, .handle = transcribe_note },
    { .type = &EVENT_JOB_FINISHED, .handle = job_has_finished },
    { .type = &EVENT_JOB_DUE, .handle = job_is_due },
    { .type = &EVENT_RECORDING_DUE, .handle = transcribe_retention },
    { 0 },
};

static const struct statement find_due_jobs = JOB_DUE_STATEMENT("transcribe");
const struct sweep transcribe_sweeps[] = {
    { .name = "jobs", .every_ms = JOB_SWEEP_MS, .due = &find_due_jobs, .type = &EVENT_JOB_DUE },
    { .name = "retention",
      .every_ms = RETENTION_SWEEP_MS,
      .due = &find_expired_recordings,
      .type = &EVENT_RECORDING_DUE },
    { 0 },
};
