/* calls.c: call.recorded → call.transcribed: the recording is copied, and its words are written down. */
#include "transcribe/transcribe.h"

static const struct statement find_recorded_call = {
    .name = "find_recorded_call",
    .text = "SELECT c.tenant, c.recording_url AS url, r.path, r.duration_s, r.removed_at"
            " FROM calls c LEFT JOIN recordings r USING (tenant, call_id)"
            " WHERE c.source = 'callrail' AND c.call_id = $1",
    .params = 1,
};
static const struct statement upsert_recording = {
    .name = "upsert_recording",
    .text = UPSERT_RECORDING("recordings", "call_id"),
    .params = 9,
};
static const struct statement upsert_transcript = {
    .name = "upsert_transcript",
    .text = UPSERT_TRANSCRIPT("call_transcripts", "call_id"),
    .params = 12,
};

static void announce(struct work *work, const char *id, const struct transcribed *transcribed)
{
    const struct transcript *transcript = transcribed->transcript;
    effect_event(work, &EVENT_CALL_TRANSCRIBED, id,
                 &(struct call_transcribed){
                     .call_id = id,
                     .provider = transcript->provider,
                     .model = transcript->model,
                     .language = transcript->language,
                     .has_duration_s = true,
                     .duration_s = transcribed->duration_s,
                     .segments = (int64_t)transcript->count,
                     .words = transcribed->words,
                     .has_speakers = true,
                     .speakers = transcribed->speakers,
                     .has_took_ms = transcribed->took_us >= 0,
                     .took_ms = transcribed->took_us / 1000,
                 });
}

const struct conversation_kind call_kind = {
    .name = "call",
    .find = &find_recorded_call,
    .upsert_recording = &upsert_recording,
    .upsert_transcript = &upsert_transcript,
    .announce = announce,
};

enum outcome transcribe_call(struct work *work, const struct event *event)
{
    struct call_recorded call;
    TRY(work_read_data(work, event, call_recorded_read, &call));
    return transcribe_conversation(work,
                                   &(struct conversation){ &call_kind, .id = call.call_id, .url = call.recording_url });
}
