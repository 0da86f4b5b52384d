/* api_rows.h: rows that both lists and the answers to changes show: their columns in SQL, and the parts made of them.
 *
 * The columns are those of a row `p`, in a list of a page, in the recorder of the row as it is about to be: so a client
 * that changes something is shown what he will read. */
#pragma once

#include "ingest/api_json.h"

/* A visit that is being recorded for longer was forgotten to be stopped. */
#define SESSION_STALE "interval '4 hours'"

/* clang-format off */
#define LEAD_COLUMNS                                                                                              \
    " p.lead_id, p.tenant, p.status, " API_UTC("p.status_call_at") " AS status_call_at,"                          \
    " " API_UTC("p.created_at") " AS created_at, " API_UTC("p.updated_at") " AS updated_at,"                      \
    " cc.contact_id AS contact_contact_id, cc.phone AS contact_phone, cc.name AS contact_name,"                   \
    " last.call_id AS last_call_call_id, last.status AS last_call_status,"                                        \
    " " API_UTC("last.call_at") " AS last_call_call_at"
#define LEAD_JOINS                                                                                                \
    " LEFT JOIN contact_cards cc ON cc.tenant = p.tenant AND cc.contact_id = p.contact_id"                        \
    " LEFT JOIN LATERAL (SELECT k.call_id, k.status, k.call_at FROM calls k"                                      \
    " WHERE k.tenant = p.tenant AND k.lead_id = p.lead_id ORDER BY k.call_at DESC LIMIT 1) last ON true"

#define APPOINTMENT_COLUMNS                                                                                       \
    " p.appointment_id, p.tenant, p.call_id, p.lead_id, p.assigned_rep_id, p.status, p.outcome,"                  \
    " " API_UTC("p.scheduled_start") " AS scheduled_start, p.service_type, p.location, p.quote,"                  \
    " " API_UTC("p.created_at") " AS created_at, " API_UTC("p.updated_at") " AS updated_at,"                      \
    " cc.contact_id AS contact_contact_id, cc.phone AS contact_phone, cc.name AS contact_name,"                   \
    " u.user_id AS rep_user_id, u.name AS rep_name"
#define APPOINTMENT_JOINS                                                                                         \
    " LEFT JOIN leads l ON l.tenant = p.tenant AND l.lead_id = p.lead_id"                                         \
    " LEFT JOIN contact_cards cc ON cc.tenant = l.tenant AND cc.contact_id = l.contact_id"                        \
    " LEFT JOIN users u ON u.tenant = p.tenant AND u.user_id = p.assigned_rep_id"

#define SESSION_COLUMNS                                                                                           \
    " p.session_id, p.tenant, p.appointment_id, p.rep_user_id, p.status,"                                         \
    " p.status = 'recording' AND p.started_at < now() - " SESSION_STALE " AS stale,"                              \
    " " API_UTC("p.started_at") " AS started_at, " API_UTC("p.stopped_at") " AS stopped_at,"                      \
    " " API_UTC("p.created_at") " AS created_at, " API_UTC("p.updated_at") " AS updated_at"

/* How an event of the call or visit `p` ended last in a stage, or a job that it became did not: asked only while the
 * stage's row is missing, whose column `in_row` then is null.  Its day bounds the ledger's partitions. */
#define LAST_OUTCOME(name, of_stage, of_type, id, in_row)                                                         \
    " LEFT JOIN LATERAL (SELECT e.outcome, e.why FROM ledger e"                                                   \
    " WHERE e.correlation_id = " id " AND e.tenant = p.tenant"                                                    \
    " AND e.stage = '" of_stage "' AND (e.event_type = '" of_type "'"                                             \
    " OR e.event_type IN ('job.finished', 'job.due') AND e.outcome IN ('rejected', 'parked'))"                    \
    " AND e.day >= (p.created_at AT TIME ZONE 'UTC')::date - 1 AND " in_row " IS NULL"                            \
    " ORDER BY e.run DESC, e.committed_at DESC LIMIT 1) " name " ON true"

#define LAST_OUTCOME_COLUMNS                                                                                      \
    " heard.outcome AS transcribe_outcome, heard.why AS transcribe_why,"                                          \
    " understood.outcome AS analyze_outcome, understood.why AS analyze_why"

/* Of our copy of the audio `r`, and of what was heard in it, `t`. */
#define RECORDING_COLUMNS                                                                                         \
    " r.bytes AS recording_bytes, r.sha256 AS recording_sha256, r.format AS recording_format,"                    \
    " r.channels AS recording_channels, r.sample_rate_hz AS recording_sample_rate_hz,"                            \
    " r.duration_s AS recording_duration_s, " API_UTC("r.created_at") " AS recording_created_at,"                     \
    " " API_UTC("r.removed_at") " AS recording_removed_at"
#define TRANSCRIPT_COLUMNS                                                                                        \
    " t.provider AS transcript_provider, t.model AS transcript_model, t.language AS transcript_language,"         \
    " t.text AS transcript_text, t.segments AS transcript_segments, t.speakers AS transcript_speakers,"           \
    " t.words AS transcript_words, t.duration_s AS transcript_duration_s,"                                        \
    " " API_UTC("t.updated_at") " AS transcript_updated_at"
/* clang-format on */

extern const struct api_member api_contact_members[], api_callback_members[], api_analysis_members[],
    api_recording_members[], api_transcript_members[], api_processing_members[];
extern const struct api_part lead_parts[], appointment_parts[], session_parts[];
