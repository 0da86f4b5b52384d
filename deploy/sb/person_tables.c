/* person_tables.c: what is a person's in each table, and what becomes of it.  Found by the sets that person.c makes:
 *
 *     person_contacts (tenant, contact_id)    person_calls (tenant, call_id)    person_users (tenant, email, user_id)
 *     person_visits (tenant, appointment_id, session_id)
 *     person_clients (tenant, client_id)      person_meetings (tenant, meeting_id)
 *     person_addresses (address)              phone numbers as written and as WhatsApp addresses, e-mail addresses
 *     person_subjects (subject)               the keys of their events, and what asks are about: calls, leads,
 *                                             appointments, visits, meetings and addresses */
#include "deploy/sb/person.h"

#define OF_CALL    "(tenant, call_id) IN (SELECT tenant, call_id FROM person_calls)"
#define OF_VISIT   "(tenant, session_id) IN (SELECT tenant, session_id FROM person_visits)"
#define OF_APPOINTMENT "(tenant, appointment_id) IN (SELECT tenant, appointment_id FROM person_visits)"
#define OF_CONTACT "(tenant, contact_id) IN (SELECT tenant, contact_id FROM person_contacts)"
#define OF_USER    "(tenant, email) IN (SELECT tenant, email FROM person_users)"
#define OF_CLIENT  "(tenant, client_id) IN (SELECT tenant, client_id FROM person_clients)"
#define OF_MEETING "(tenant, meeting_id) IN (SELECT tenant, meeting_id FROM person_meetings)"
/* What the coach said to others about a client.  Their asks are correlated by the salesperson. */
#define NAMES_CLIENT                                                                                                   \
    "correlation_id IN (SELECT salesperson_email FROM meetings JOIN person_meetings USING (tenant, meeting_id))"       \
    " AND EXISTS (SELECT 1 FROM clients c JOIN person_clients USING (tenant, client_id)"                               \
    "  WHERE position(c.name IN concat(content, answer)) > 0"                                                          \
    "  OR position(c.email IN concat(content, answer)) > 0)"
/* of an analysis */
#define WORDS_BLANKED                                                                                                  \
    "summary = '', evidence = '[]', objections = (SELECT coalesce(jsonb_agg(jsonb_build_object('category',"            \
    " o -> 'category', 'quote', '')), '[]') FROM jsonb_array_elements(objections) AS o)"
#define IN_SUBJECTS " IN (SELECT subject FROM person_subjects)"
#define IN_ADDRESSES " IN (SELECT address FROM person_addresses)"

const struct person_table person_tables[] = {
    { "parked", "subject" IN_SUBJECTS, ROW_DELETED, .personal = "subject, message, why",
      .impersonal = "stage, number, event_id, run, topic, day, tenant, attempts, first_at, resume_at, parked_at",
      .why = "what waited is not done any more" },
    { "emitted",
      "key" IN_SUBJECTS " OR cause_id IN (SELECT event_id FROM ledger WHERE subject" IN_SUBJECTS
      " OR correlation_id" IN_SUBJECTS ")",
      ROW_DELETED, .personal = "key, payload", .impersonal = "stage, cause_id, run, day, number, tenant, topic" },
    { "letter_actions", "subject" IN_SUBJECTS, ROW_BLANKED,
      .blank = "subject = CASE WHEN subject" IN_ADDRESSES " THEN 'erased' ELSE subject END,"
               " before = CASE WHEN before IS NOT NULL THEN '' END, after = CASE WHEN after IS NOT NULL THEN '' END",
      .personal = "subject, before, after", .impersonal = "letter_id, stage, event_id, action, run, action_id, done_at",
      .why = "that a dead letter was dealt with: so that it is not open again" },
    { "operator_actions", "EXISTS (SELECT 1 FROM person_addresses WHERE position(address IN what || detail::text) > 0)",
      ROW_BLANKED, .blank = "what = 'erased', detail = '{}'", .personal = "what, detail",
      .impersonal = "action_id, at, who, command", .why = "who of the operators did what, and when" },
    { "ledger", "subject" IN_SUBJECTS " OR correlation_id" IN_SUBJECTS, ROW_BLANKED,
      .blank = "subject = CASE WHEN subject" IN_ADDRESSES " THEN 'erased' ELSE subject END,"
               " correlation_id = CASE WHEN correlation_id" IN_ADDRESSES " THEN 'erased' ELSE correlation_id END,"
               " outcome = CASE outcome WHEN 'parked' THEN 'skipped' ELSE outcome END, why = NULL",
      .personal = "subject, correlation_id, why",
      .impersonal = "stage, event_id, run, day, event_type, topic, partition, offset, tenant, cause_id, outcome,"
                    " attempts, received_at, started_at, worked_us, committed_at, emitted",
      .why = "that an event was handled, how often and how it ended: so that it is not handled again" },
    { "api_operations", "subject" IN_SUBJECTS, ROW_DELETED, .personal = "subject, body",
      .impersonal = "tenant, operation_id, token_id, user_id, operation, fingerprint, status, requested_at, created_at" },
    { "asks",
      "correlation_id" IN_SUBJECTS " OR recipient" IN_ADDRESSES " OR subject" IN_SUBJECTS " OR " NAMES_CLIENT,
      ROW_BLANKED,
      .blank = "recipient = CASE WHEN recipient" IN_ADDRESSES " THEN 'erased ' || ask_id ELSE recipient END,"
               " subject = CASE WHEN subject" IN_ADDRESSES " THEN 'erased' ELSE subject END,"
               " correlation_id = CASE WHEN correlation_id" IN_ADDRESSES " THEN 'erased' ELSE correlation_id END,"
               " content = NULL, answer = NULL, error = NULL",
      .personal = "recipient, subject, correlation_id, content, answer, error",
      .impersonal = "ask_id, stage, event_id, run, name, kind, provider, tenant, purpose, version, resend, state,"
                    " attempt, lease_until, provider_id, provider_status, error_code, model, tokens_in, tokens_out,"
                    " cost_micros, took_us, created_at, updated_at",
      .why = "that somebody was asked, when, at what cost and how it ended; others whom it went to" },
    { "job_results", "job_id IN (SELECT job_id FROM jobs WHERE subject" IN_SUBJECTS ")", ROW_DELETED,
      .personal = "result, error", .impersonal = "job_id, tenant, status, created_at" },
    { "jobs", "subject" IN_SUBJECTS, ROW_DELETED, .personal = "subject, error",
      .impersonal = "job_id, stage, tenant, job_type, provider, provider_job_id, kind, status, attempts, source_time,"
                    " run, submitted_at, next_check_at, finished_at, finished_by, created_at, updated_at",
      .why = "a job whose person was erased is not asked for any more; that it was asked for is among the asks" },
    { "recordings", OF_CALL, ROW_DELETED, .personal = "path, sha256",
      .impersonal = "tenant, call_id, bytes, format, channels, sample_rate_hz, duration_s, recorded_at, removed_at,"
                    " created_at, updated_at" },
    { "call_transcripts", OF_CALL, ROW_DELETED, .personal = "text, segments, search",
      .impersonal = "tenant, call_id, provider, model, language, speakers, words, duration_s, source_time, run,"
                    " created_at, updated_at" },
    { "call_reports", OF_CALL, ROW_DELETED, .personal = "facts",
      .impersonal = "tenant, call_id, event_id, hook, via, reported_at, created_at" },
    { "call_analyses", OF_CALL, ROW_BLANKED,
      .blank = WORDS_BLANKED ", corrections = corrections - ARRAY['summary', 'objections']",
      .personal = "summary, evidence, objections, corrections",
      .impersonal = "tenant, call_id, provider, model, prompt_version, lead_qualification, booking_status,"
                    " call_outcome_category, sentiment_score, sop_score, sop_missed_steps, dropped_without_evidence,"
                    " source_time, run, created_at, updated_at",
      .why = "the figures count it; objections by their kind" },
    { "session_recordings", OF_VISIT, ROW_DELETED, .personal = "path, sha256",
      .impersonal = "tenant, session_id, bytes, format, channels, sample_rate_hz, duration_s, recorded_at, removed_at,"
                    " created_at, updated_at" },
    { "recording_transcripts", OF_VISIT, ROW_DELETED, .personal = "text, segments",
      .impersonal = "tenant, session_id, provider, model, language, speakers, words, duration_s, source_time, run,"
                    " created_at, updated_at" },
    { "recording_analyses", OF_VISIT, ROW_BLANKED, .blank = WORDS_BLANKED, .personal = "summary, evidence, objections",
      .impersonal = "tenant, session_id, provider, model, prompt_version, outcome, sentiment_score, sop_score,"
                    " sop_missed_steps, dropped_without_evidence, source_time, run, created_at, updated_at",
      .why = "the figures count it; objections by their kind" },
    { "recording_sessions", OF_VISIT, ROW_BLANKED, .blank = "audio_url = CASE WHEN audio_url IS NOT NULL THEN '' END",
      .personal = "audio_url",
      .impersonal = "tenant, session_id, appointment_id, rep_user_id, status, started_at, stopped_at, created_at, updated_at",
      .why = "that a visit was recorded, when and by whom" },
    { "appointments", OF_APPOINTMENT, ROW_BLANKED, .blank = "location = NULL, quote = NULL", .personal = "location, quote",
      .impersonal = "tenant, appointment_id, call_id, lead_id, assigned_rep_id, scheduled_start, appointment_date, listed_at,"
                    " service_type, status, outcome, outcome_at, source_time, run, created_at, updated_at",
      .why = "that and when there was a visit, and its outcome" },
    { "calls", OF_CALL, ROW_BLANKED,
      .blank = "customer_number = NULL, customer_name = NULL, recording_url = NULL, version = version + 1",
      .personal = "customer_number, customer_name, recording_url",
      .impersonal = "tenant, call_id, source, status, direction, tracking_number, contact_id, lead_id, csr_user_id,"
                    " answered, voicemail, started_at, duration_s, brought_by, version, created_at, updated_at, call_at,"
                    " callback_done_at, callback_done_by",
      .why = "that there was a call, when, how long, and whom of the company it reached" },
    { "leads", OF_CONTACT, ROW_KEPT, .personal = "",
      .impersonal = "tenant, lead_id, contact_id, status, status_call_at, created_at, updated_at",
      .why = "the figures count it; its contact is nobody" },
    /* the contact's id is made of the phone number, so it is given another one, in all tables */
    { "contact_cards", OF_CONTACT, ROW_BLANKED, .blank = "contact_id = gen_random_uuid(), phone = NULL, name = NULL",
      .personal = "contact_id, phone, name", .impersonal = "tenant, created_at, updated_at",
      .why = "holds calls and leads of one unknown person together" },
    { "meeting_plans", OF_MEETING, ROW_DELETED, .personal = "summary, steps",
      .impersonal = "tenant, meeting_id, plan_version, language, provider, model, prompt_version, source_time, run,"
                    " created_at, updated_at" },
    { "meeting_notes", OF_MEETING, ROW_DELETED, .personal = "outcome, hubspot_contact_id, hubspot_note_id, error",
      .impersonal = "tenant, meeting_id, revision, state, version, source_time, next_check_at, created_at, updated_at",
      .why = "the note at HubSpot is deleted there" },
    { "messages", OF_USER " OR phone" IN_ADDRESSES " OR " OF_CLIENT " OR " OF_MEETING, ROW_DELETED,
      .personal = "email, phone, message",
      .impersonal = "tenant, message_id, client_id, meeting_id, direction, purpose, timestamp, created_at" },
    { "chat_answers", OF_USER " OR " OF_MEETING " OR choices && ARRAY(SELECT meeting_id FROM person_meetings)",
      ROW_DELETED, .personal = "email, waiting",
      .impersonal = "tenant, message_id, act, meeting_id, mode, language, choices, provider, model, prompt_version,"
                    " source_time, run, created_at, updated_at" },
    { "user_phones", OF_USER " OR phone" IN_ADDRESSES, ROW_DELETED, .personal = "phone, email",
      .impersonal = "tenant, last_received_at, stopped_at, created_at, updated_at" },
    { "graph_subscriptions", "mailbox" IN_ADDRESSES, ROW_DELETED, .personal = "mailbox, delta_link, error",
      .impersonal = "tenant, subscription_id, made, state_sha256, expires_at, renew_at, window_at, missed_at, failures,"
                    " next_check_at, created_at, updated_at" },
    { "meetings", OF_MEETING, ROW_BLANKED,
      .blank = "outlook_event_id = NULL, title = '', description = '', last_client_reply = NULL, next_check_at = NULL,"
               " salesperson_phone = CASE WHEN salesperson_phone" IN_ADDRESSES " THEN NULL ELSE salesperson_phone END,"
               " salesperson_email = CASE WHEN salesperson_email" IN_ADDRESSES
               " THEN meeting_id || '@erased.invalid' ELSE salesperson_email END",
      .personal = "outlook_event_id, title, description, last_client_reply, salesperson_phone, salesperson_email",
      .impersonal = "tenant, meeting_id, client_id, start_time, end_time, revision, plan_version, planned_at, status,"
                    " plan_state, plan_sent_version, next_check_at, source_time, created_at, updated_at",
      .why = "that there was a meeting, when, and how it ended; the other one who was in it" },
    { "meeting_clients", OF_MEETING " OR " OF_CLIENT, ROW_KEPT, .personal = "",
      .impersonal = "tenant, meeting_id, client_id, number, created_at", .why = "its client is nobody" },
    /* the client's id is made of the address, so it is given another one, in all tables */
    { "clients", OF_CLIENT, ROW_BLANKED,
      .blank = "client_id = gen_random_uuid(), email = NULL, name = NULL, company = NULL, phone = NULL,"
               " hubspot_contact_id = NULL",
      .personal = "client_id, email, name, company, phone, hubspot_contact_id",
      .impersonal = "tenant, created_at, updated_at", .why = "holds meetings of one unknown person together" },
    { "api_tokens", OF_USER, ROW_DELETED, .personal = "email, label",
      .impersonal = "token_hash, token_id, tenant, role, created_at, expires_at, revoked_at" },
    { "users", OF_USER, ROW_BLANKED,
      .blank = "email = lower(user_id) || '@erased.invalid', name = 'erased', phone = NULL, answers = NULL",
      .personal = "email, name, phone, answers",
      .impersonal = "tenant, user_id, role, registered_at, created_at, updated_at",
      .why = "calls and visits stay attributed to one unknown colleague" },
    { "companies", NULL, ROW_NOBODYS,
      .impersonal = "tenant, name, time_zone, default_region, callrail_keys, callrail_key_count, callrail_account_id,"
                    " callrail_api_key, alert_whatsapp, recordings_days, created_at, updated_at" },
    { "csr_days", NULL, ROW_NOBODYS,
      .impersonal = "tenant, day, csr_user_id, lane, total_calls, answered_calls, missed_calls, booked_calls, hot, warm,"
                    " cold, sentiment_micros, sop_micros, sop_calls" },
    { "csr_months", NULL, ROW_NOBODYS,
      .impersonal = "tenant, month, csr_user_id, lane, total_calls, answered_calls, missed_calls, booked_calls, hot, warm,"
                    " cold, sentiment_micros, sop_micros, sop_calls" },
    { "call_days", NULL, ROW_NOBODYS, .impersonal = "tenant, day, status, to_call, lane, calls" },
    { "lead_counts", NULL, ROW_NOBODYS, .impersonal = "tenant, status, lane, leads" },
    { "objection_days", NULL, ROW_NOBODYS, .impersonal = "tenant, day, csr_user_id, category, lane, calls" },
    { "objection_months", NULL, ROW_NOBODYS, .impersonal = "tenant, month, csr_user_id, category, lane, calls" },
    { "rep_days", NULL, ROW_NOBODYS,
      .impersonal = "tenant, day, rep_user_id, lane, appointments, visits, won, lost, pending" },
    { "rep_months", NULL, ROW_NOBODYS,
      .impersonal = "tenant, month, rep_user_id, lane, appointments, visits, won, lost, pending" },
    { "trend_days", NULL, ROW_NOBODYS,
      .impersonal = "tenant, day, lane, total_calls, answered_calls, missed_calls, booked_calls, appointments, visits,"
                    " won, lost, pending" },
    { "sop_steps", NULL, ROW_NOBODYS, .impersonal = "tenant, number, step, phrases, created_at, updated_at" },
    { "tracking_numbers", NULL, ROW_NOBODYS, .impersonal = "number, tenant, label, created_at, updated_at" },
    { "reconciliations", NULL, ROW_NOBODYS,
      .impersonal = "account, tenant, complete_until, walk_began_at, page, records, next_check_at, failures, why,"
                    " asked_at, hour_requests, day_requests, created_at, updated_at" },
    { "instances", NULL, ROW_NOBODYS,
      .impersonal = "stage, instance, started_at, seen_at, version, pid, host, state",
      .why = "keys of what is handled now, told anew every two seconds; what a stopped one left is forgotten in a day" },
    { "pauses", NULL, ROW_NOBODYS, .impersonal = "kind, name, by, why, since" },
    { "crashes", NULL, ROW_NOBODYS, .impersonal = "stage, event_id, run, count, updated_at" },
    { "restores", NULL, ROW_NOBODYS, .impersonal = "restored_at, backup_at" },
    { "erased", NULL, ROW_NOBODYS, .impersonal = "subject_sha256, until, erased_at" },
    { "schema_migrations", NULL, ROW_NOBODYS, .impersonal = "number, name, sha256, applied_at" },
    { 0 },
};
