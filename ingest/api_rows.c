#include "ingest/api_rows.h"

const struct api_member api_contact_members[] = {
    { "contact_id", API_STRING }, { "phone", API_STRING }, { "name", API_STRING }, { 0 }
};
const struct api_member api_recording_members[] = {
    { "bytes", API_INTEGER },     { "sha256", API_STRING },          { "format", API_STRING },
    { "channels", API_INTEGER },  { "sample_rate_hz", API_INTEGER }, { "duration_s", API_NUMBER },
    { "created_at", API_STRING }, { "removed_at", API_STRING },      { 0 },
};
const struct api_member api_transcript_members[] = {
    { "provider", API_STRING },   { "model", API_STRING },     { "language", API_STRING }, { "text", API_STRING },
    { "segments", API_JSON },     { "speakers", API_INTEGER }, { "words", API_INTEGER },   { "duration_s", API_NUMBER },
    { "updated_at", API_STRING }, { 0 },
};
const struct api_member api_processing_members[] = {
    { "state", API_STRING }, { "stage", API_STRING }, { "reason", API_STRING }, { 0 }
};
const struct api_member api_callback_members[] = {
    { "state", API_STRING }, { "age_s", API_INTEGER }, { "done_at", API_STRING }, { "done_by", API_STRING }, { 0 }
};
const struct api_member api_analysis_members[] = {
    { "lead_qualification", API_STRING },
    { "booking_status", API_STRING },
    { "call_outcome_category", API_STRING },
    { "sentiment_score", API_NUMBER },
    { "objections", API_JSON },
    { "sop_score", API_NUMBER },
    { "sop_missed_steps", API_JSON },
    { "summary", API_STRING },
    { "evidence", API_JSON },
    { "dropped_without_evidence", API_INTEGER },
    { "corrections", API_JSON },
    { "provider", API_STRING },
    { "model", API_STRING },
    { "prompt_version", API_STRING },
    { "updated_at", API_STRING },
    { 0 },
};
