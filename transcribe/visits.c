/* visits.c: visit.recorded → visit.transcribed: what calls.c does for a call, for a visit's recording session. */
#include "transcribe/transcribe.h"

static const struct statement find_recorded_visit = {
    .name = "find_recorded_visit",
    .text = "SELECT s.tenant, s.audio_url AS url, r.path, r.duration_s, r.removed_at"
            " FROM recording_sessions s LEFT JOIN session_recordings r USING (tenant, session_id)"
            " WHERE s.session_id = $1::uuid",
    .params = 1,
};
static const struct statement upsert_session_recording = {
    .name = "upsert_session_recording",
    .text = UPSERT_RECORDING("session_recordings", "session_id"),
    .params = 9,
};
static const struct statement upsert_session_transcript = {
    .name = "upsert_session_transcript",
    .text = UPSERT_TRANSCRIPT("recording_transcripts", "session_id"),
    .params = 12,
};

static void announce(struct work *work, const char *id, const struct transcribed *transcribed)
{
    const struct transcript *transcript = transcribed->transcript;
    effect_event(work, &EVENT_VISIT_TRANSCRIBED, id,
                 &(struct visit_transcribed){
                     .session_id = id,
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

const struct conversation_kind visit_kind = {
    .name = "visit",
    .find = &find_recorded_visit,
    .upsert_recording = &upsert_session_recording,
    .upsert_transcript = &upsert_session_transcript,
    .announce = announce,
};

enum outcome transcribe_visit(struct work *work, const struct event *event)
{
    struct visit_recorded visit;
    TRY(work_read_data(work, event, visit_recorded_read, &visit));
    return transcribe_conversation(
        work, &(struct conversation){ &visit_kind, .id = visit.session_id, .url = visit.audio_url });
}
