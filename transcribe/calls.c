/* calls.c: call.recorded → call.transcribed: the recording is copied, and its words are written down. */
#include "transcribe/transcribe.h"

#include "common/json.h"

#include <string.h>

static const struct statement find_recorded_call = {
    .name = "find_recorded_call",
    .text = "SELECT c.tenant, r.path FROM calls c LEFT JOIN recordings r USING (tenant, call_id)"
            " WHERE c.source = 'callrail' AND c.call_id = $1",
    .params = 1,
};
static const struct statement upsert_recording = {
    .name = "upsert_recording",
    .text = "INSERT INTO recordings AS r (tenant, call_id, path, bytes, sha256, format, channels, sample_rate_hz, "
            "duration_s)"
            " VALUES ($1, $2, $3, $4::bigint, $5, $6, $7::integer, $8::integer, $9::double precision)"
            " ON CONFLICT (tenant, call_id) DO UPDATE SET path = EXCLUDED.path, bytes = EXCLUDED.bytes, sha256 = "
            "EXCLUDED.sha256,"
            " format = EXCLUDED.format, channels = EXCLUDED.channels, sample_rate_hz = EXCLUDED.sample_rate_hz,"
            " duration_s = EXCLUDED.duration_s, updated_at = now()"
            " WHERE (r.path, r.sha256) IS DISTINCT FROM (EXCLUDED.path, EXCLUDED.sha256)",
    .params = 9,
};
static const struct statement upsert_transcript = {
    .name = "upsert_transcript",
    .text = "INSERT INTO call_transcripts AS t (tenant, call_id, provider, model, language, text, segments, speakers, "
            "words, duration_s,"
            " source_time, run)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::integer, $9::integer, $10::double precision, "
            "$11::timestamptz, $12::integer)"
            " ON CONFLICT (tenant, call_id) DO UPDATE SET provider = EXCLUDED.provider, model = EXCLUDED.model,"
            " language = EXCLUDED.language, text = EXCLUDED.text, segments = EXCLUDED.segments, speakers = "
            "EXCLUDED.speakers,"
            " words = EXCLUDED.words, duration_s = EXCLUDED.duration_s, source_time = EXCLUDED.source_time, run = "
            "EXCLUDED.run,"
            " updated_at = now()"
            " WHERE (EXCLUDED.source_time, EXCLUDED.run) >= (t.source_time, t.run)",
    .params = 12,
};

const char *const transcribe_providers[] = { [TRANSCRIBE_LOCAL] = "local", [TRANSCRIBE_OPENAI] = "openai", NULL };

enum outcome transcribe_go_on(struct work *work)
{
    return daemon_stopping() || work_cancelled(work) ? retry(work, 0, "the daemon is to end before this is done")
                                                     : DONE;
}

static enum outcome ask_for_words(struct work *work, const struct transcribe_request *request, struct transcript *ret,
                                  int64_t *ret_took_us)
{
    const struct transcribe *transcribe = work_context(work);
    struct answer answer;
    struct problem why;
    int64_t began = monotonic_us();
    TRY(ask(work, "transcribe",
            &(struct ask){
                .kind = ASK_AGAIN,
                .provider = transcribe_providers[transcribe->with],
                .timeout_ms = transcribe->openai_timeout_ms,
                .call = transcribe->with == TRANSCRIBE_LOCAL ? local_transcribe : openai_transcribe,
                .request = (void *)request,
            },
            &answer));
    *ret_took_us = answer.recorded ? -1 : monotonic_us() - began;
    if (!transcript_read(answer.body, work_arena(work), ret, &why))
        return reject_problem(work, &why);
    if (!transcript_fits(ret))
        return reject(work, "the transcript is larger than %d segments or %d bytes", TRANSCRIPT_SEGMENTS_MAX,
                      TRANSCRIPT_TEXT_BYTES_MAX);
    return DONE;
}

static const char *decimal(struct work *work, double number)
{
    struct buf text;
    buf_init(&text, 64);
    json_write_number(&text, number);
    const char *copy = arena_copy_text(work_arena(work), buf_text(&text));
    buf_done(&text);
    return copy;
}

static void describe(struct work *work, const struct event *event, const char *call_id,
                     const struct recording *recording, const struct transcript *transcript, int64_t took_us)
{
    struct arena *arena = work_arena(work);
    const char *tenant = work_tenant(work);
    int words = transcript_words(transcript), speakers = transcript_speakers(transcript);
    effect_row(work, &upsert_recording, tenant, call_id, recording->path,
               arena_printf(arena, "%lld", (long long)recording->bytes), recording->sha256, recording->format,
               arena_printf(arena, "%d", recording->channels), arena_printf(arena, "%d", recording->sample_rate_hz),
               decimal(work, recording->duration_s));
    effect_row(work, &upsert_transcript, tenant, call_id, transcript->provider, transcript->model, transcript->language,
               transcript_lines(transcript, arena), transcript_segments_json(transcript, arena),
               arena_printf(arena, "%d", speakers), arena_printf(arena, "%d", words),
               decimal(work, recording->duration_s), event->time, arena_printf(arena, "%d", work_run(work)));
    effect_event(work, &EVENT_CALL_TRANSCRIBED, call_id,
                 &(struct call_transcribed){
                     .call_id = call_id,
                     .provider = transcript->provider,
                     .model = transcript->model,
                     .language = transcript->language,
                     .has_duration_s = true,
                     .duration_s = recording->duration_s,
                     .segments = (int64_t)transcript->count,
                     .words = words,
                     .has_speakers = true,
                     .speakers = speakers,
                     .has_took_ms = took_us >= 0,
                     .took_ms = took_us / 1000,
                 });
}

static enum outcome transcribe_call(struct work *work, const struct event *event)
{
    const struct transcribe *transcribe = work_context(work);
    struct call_recorded call;
    TRY(work_read_data(work, event, call_recorded_read, &call));
    struct rows rows;
    TRY(work_query(work, &find_recorded_call, &rows, call.call_id));
    if (rows.count == 0)
        return reject(work, "call \"%s\" is not there", call.call_id);
    work_set_tenant(work, row_get(&rows, 0, "tenant"));

    struct recording recording;
    TRY(recording_get(work,
                      &(struct recording_wanted){ .settings = &transcribe->recordings,
                                                  .tenant = work_tenant(work),
                                                  .call_id = call.call_id,
                                                  .url = call.recording_url,
                                                  .known_path = row_get(&rows, 0, "path") },
                      &recording));
    struct transcript transcript;
    int64_t took_us;
    TRY(ask_for_words(work, &(struct transcribe_request){ call.call_id, &recording }, &transcript, &took_us));
    describe(work, event, call.call_id, &recording, &transcript, took_us);
    return DONE;
}

const struct route transcribe_routes[] = {
    { .type = &EVENT_CALL_RECORDED, .handle = transcribe_call },
    { 0 },
};
