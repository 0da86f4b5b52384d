/* doctor_findings.c: checks that are one question to Postgres each; what is of a use case bears its name. */
#include "deploy/sb/doctor.h"

#define WEEK "now() - interval '7 days'"
#define MINUTE_OF(time) "to_char(" time ", 'YYYY-MM-DD HH24:MI')"
#define PLURAL(count, one, more) "CASE " count " WHEN 1 THEN '" one "' ELSE '" more "' END"
#define COUNTED(one, more) "count(*) || ' ' || " PLURAL("count(*)", one, more) /* of the rows: "3 calls" */
#define IS_ARE PLURAL("count(*)", "is", "are")
#define ASK(name_, text_) { .name = "sb_doctor_" name_, .text = text_ }

const struct doctor_finding doctor_findings[] = {
    { "circuits", NULL, DOCTOR_BAD, "no provider fails for everyone",
      "mend what the reason says; the stage tries by itself until it succeeds",
      ASK("circuits",
          "SELECT format('%s asks %s no more: %s (since %s, %s %s)', stage, c ->> 'provider', c ->> 'why',"
          " left(c ->> 'since', 16), c ->> 'waiting',"
          " " PLURAL("(c ->> 'waiting')::bigint", "event waits", "events wait") ") AS what"
          " FROM instances, jsonb_array_elements(state -> 'circuits') AS c"
          " WHERE seen_at > now() - interval '1 minute' AND c ->> 'paused' IS DISTINCT FROM 'true'") },
    { "paused", NULL, DOCTOR_UNKNOWN, "nothing is paused", "\"sb resume\" lets it go on",
      ASK("paused",
          "SELECT format('the %s %s is paused since %s by %s%s', kind, name, " MINUTE_OF("since") ", by,"
          " CASE WHEN why = '' THEN '' ELSE ': ' || why END) AS what FROM pauses ORDER BY since") },
    { "refused", NULL, DOCTOR_BAD, "no webhook was refused within a day",
      "\"sb verify PROVIDER\" with such a request tells which key or address would have matched",
      ASK("refused",
          "SELECT format('%s of %s on %s %s refused, last at %s: %s', r ->> 'count', r ->> 'source', r ->> 'path',"
          " " PLURAL("(r ->> 'count')::bigint", "was", "were") ","
          " left(r ->> 'last_at', 16), r ->> 'explanation') AS what"
          " FROM instances, jsonb_array_elements(state -> 'refused') AS r"
          " WHERE stage = 'ingest' AND (r ->> 'last_at')::timestamptz > now() - interval '1 day'"
          " ORDER BY r ->> 'last_at' DESC") },
    { "uncertain", NULL, DOCTOR_BAD, "what became of every message and job is known",
      "look at the provider whether it went out, and tell whom it was for if it did not",
      ASK("uncertain",
          "SELECT format('%s \"%s\" to %s may or may not have gone out, the oldest at %s', count(*), purpose, provider,"
          " " MINUTE_OF("min(updated_at)") ") AS what"
          " FROM asks WHERE state = 'uncertain' GROUP BY purpose, provider") },
    { "overdue", NULL, DOCTOR_BAD, "no request waits beyond its lease",
      "is the stage alive, and its event parked? It looks the thing up before it asks again",
      ASK("overdue",
          "SELECT format('%s of %s to %s had no answer since %s', " COUNTED("request", "requests") ","
          " stage, provider, " MINUTE_OF("min(lease_until)") ") AS what"
          " FROM asks WHERE state = 'sent' AND lease_until < now() - interval '5 minutes' GROUP BY stage, provider") },
    { "jobs", NULL, DOCTOR_BAD, "no job of a provider is overdue",
      "does its webhook lead to PUBLIC_URL (\"heard\", \"refused\")? A live stage asks by itself, and gives up after"
      " a day",
      ASK("jobs",
          "SELECT format('%s (%s) that %s gave to %s %s overdue, the oldest for %s min%s: \"sb why %s\"',"
          " " COUNTED("job", "jobs") ", job_type, stage, provider, " IS_ARE ","
          " floor(extract(epoch FROM now() - min(submitted_at)) / 60),"
          " CASE WHEN min(next_check_at) < now() - interval '2 minutes' THEN ', and nobody asks any more' ELSE '' END,"
          " (array_agg(subject ORDER BY submitted_at))[1]) AS what"
          " FROM jobs WHERE next_check_at IS NOT NULL AND (submitted_at < now() - interval '15 minutes'"
          " OR next_check_at < now() - interval '2 minutes') GROUP BY job_type, stage, provider") },
    { "asked for", NULL, DOCTOR_UNKNOWN, "providers tell when their jobs have ended",
      "set PUBLIC_URL, or mend the way from the provider to it",
      ASK("asked_for",
          "SELECT format('the webhooks of %s of %s of %s in a day were late or never came: they were asked for',"
          " count(*) FILTER (WHERE finished_by = 'sweep'), " COUNTED("job", "jobs") ", provider)"
          " AS what FROM jobs WHERE finished_at > now() - interval '1 day' GROUP BY provider"
          " HAVING count(*) FILTER (WHERE finished_by = 'sweep') * 2 > count(*)") },
    { "blocked", NULL, DOCTOR_BAD, "no message of this week is blocked", "set what the reason names, for the next ones",
      ASK("blocked",
          "SELECT format('%s of %s %s blocked: %s', " COUNTED("message", "messages") ", coalesce(tenant, 'nobody'),"
          " " IS_ARE ", error) AS what"
          " FROM asks WHERE kind = 'once' AND provider_status = 'blocked' AND created_at > " WEEK
          " GROUP BY tenant, error ORDER BY count(*) DESC LIMIT 20") },
    { "undelivered", NULL, DOCTOR_BAD, "every message of this week that was reported on arrived",
      "Twilio's page on the error code tells: a number without WhatsApp, a template that is not approved",
      ASK("undelivered",
          "SELECT format('%s of %s %s not delivered: error %s', " COUNTED("message", "messages") ","
          " coalesce(tenant, 'nobody'), " PLURAL("count(*)", "was", "were") ", coalesce(error_code, 'unknown')) AS what"
          " FROM asks WHERE kind = 'once' AND created_at > " WEEK
          " AND provider_status IN ('failed', 'undelivered') GROUP BY tenant, error_code ORDER BY count(*) DESC"
          " LIMIT 20") },
    { "notes", "coach", DOCTOR_BAD, "every note of this week is in HubSpot",
      "mend what the reason says; then whoever writes \"done\" once more, or \"sb replay\" of that message, has it noted",
      ASK("notes",
          "SELECT format('%s of %s %s refused: %s', " COUNTED("note", "notes") ", tenant,"
          " " PLURAL("count(*)", "was", "were") ", error) AS what FROM meeting_notes"
          " WHERE state = 'refused' AND updated_at > " WEEK " GROUP BY tenant, error ORDER BY count(*) DESC LIMIT 20") },
    { "notes that wait", "coach", DOCTOR_UNKNOWN, "no note waits for HubSpot",
      "they are tried again by themselves, for a week; those in a dead letter by \"sb dlq retry notifier\"",
      ASK("notes_that_wait",
          "SELECT format('%s of %s %s since %s%s: %s', " COUNTED("note", "notes") ", tenant,"
          " " PLURAL("count(*)", "waits", "wait") ", " MINUTE_OF("min(created_at)") ","
          " ', ' || nullif(count(*) FILTER (WHERE next_check_at IS NULL), 0) || ' of them in a dead letter',"
          " (array_agg(error ORDER BY created_at))[1]) AS what FROM meeting_notes WHERE state = 'waiting' GROUP BY tenant") },
    { "reminders", "coach", DOCTOR_BAD, "every meeting that is over was asked about in time",
      "is the notifier alive, and what does its circuit or pause say? What is due goes out as fast as the sender may",
      ASK("reminders",
          "SELECT format('%s of %s %s due since %s', " COUNTED("meeting", "meetings") ", tenant,"
          " " IS_ARE ", " MINUTE_OF("min(next_check_at)") ") AS what"
          " FROM meetings WHERE next_check_at < now() - interval '5 minutes' GROUP BY tenant") },
    { "parked", NULL, DOCTOR_UNKNOWN, "no event waits for a later try",
      "they are tried again by themselves, for RETRY_AGE_MAX",
      ASK("parked",
          "SELECT format('%s of %s %s since %s: %s', " COUNTED("event", "events") ", stage,"
          " " PLURAL("count(*)", "waits", "wait") ", " MINUTE_OF("min(first_at)") ","
          " (array_agg(why ORDER BY first_at))[1]) AS what FROM parked GROUP BY stage") },
    { "spool", NULL, DOCTOR_BAD, "every accepted webhook is in Kafka",
      "it empties itself when Kafka is back; what Kafka refused for good is set aside, with the reason in the log",
      ASK("spool",
          "SELECT format('%s %s in the spool of %s (since %s), %s set aside', spool ->> 'messages',"
          " " PLURAL("(spool ->> 'messages')::bigint", "message waits", "messages wait") ","
          " instance, coalesce(left(spool ->> 'since', 16), 'now'), spool ->> 'aside') AS what"
          " FROM (SELECT instance, state -> 'spool' AS spool FROM instances WHERE stage = 'ingest') AS told"
          " WHERE jsonb_typeof(spool) = 'object'"
          " AND (spool ->> 'messages')::bigint + (spool ->> 'aside')::bigint > 0") },
    { "partitions", NULL, DOCTOR_BAD, "the ledger has its partitions, and none that is over",
      "something holds a lock on the table for long (a backup?): pg_stat_activity shows it; a stage tries each minute",
      ASK("partitions",
          "SELECT format('the partition %s is missing', name) AS what FROM"
          " (SELECT t || to_char((now() AT TIME ZONE 'UTC')::date + n, '_YYYYMMDD') AS name"
          "  FROM unnest(ARRAY['ledger', 'emitted']) AS t, generate_series(0, 1) AS n) AS wanted"
          " WHERE to_regclass(name) IS NULL"
          " UNION ALL SELECT format('the partition %s should have been dropped', c.relname)"
          " FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
          " WHERE inhparent = 'emitted'::regclass AND c.relname ~ '_\\d{8}$'"
          " AND to_date(right(c.relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - 4") },

    { "no end", "calls", DOCTOR_BAD, "every call that began this week has ended",
      "are CallRail's post-call webhooks on for the company? It sends nothing twice: its list of calls has the end",
      ASK("no_end",
          "SELECT format('%s of %s began and never ended, the oldest at %s', " COUNTED("call", "calls") ", tenant,"
          " " MINUTE_OF("min(call_at)") ") AS what"
          " FROM calls WHERE status IN ('ringing', 'in_progress') AND updated_at < now() - interval '2 hours'"
          " AND call_at > " WEEK " GROUP BY tenant") },
    { "reconciled", "calls", DOCTOR_BAD, "CallRail is asked for calls that never arrived, and answers",
      "mend what the reason says; it is asked again by itself",
      ASK("reconciled",
          "SELECT format('CallRail was asked %s %s in vain for the calls of account %s: %s (again at %s)', failures,"
          " " PLURAL("failures", "time", "times") ", account, why,"
          " " MINUTE_OF("next_check_at") ") AS what FROM reconciliations WHERE failures > 0"
          " UNION ALL SELECT format('the calls of account %s were last looked through to the end at %s%s', account,"
          " " MINUTE_OF("complete_until") ", ': ' || why)"
          " FROM reconciliations WHERE failures = 0 AND complete_until < now() - interval '1 day'") },
    { "fetched", "calls", DOCTOR_UNKNOWN, "every call of this week was brought by its webhooks",
      "was the door away, or are CallRail's webhooks off for the company?",
      ASK("fetched",
          "SELECT format('the webhooks of %s of %s of %s never came; the last one was fetched at %s',"
          " count(*) FILTER (WHERE brought_by = 'fetch'), " COUNTED("call", "calls") ", tenant,"
          " " MINUTE_OF("max(created_at) FILTER (WHERE brought_by = 'fetch')") ") AS what"
          " FROM calls WHERE source = 'callrail' AND call_at > " WEEK " GROUP BY tenant"
          " HAVING count(*) FILTER (WHERE brought_by = 'fetch') > 0") },
    { "unassigned", "calls", DOCTOR_BAD, "every number that was called has a company",
      "give it to its company with \"sb number add\"; its calls move with it",
      ASK("unassigned",
          "SELECT format('%s came to %s, which is nobody''s', " COUNTED("call", "calls") ","
          " coalesce(tracking_number, 'no number')) AS what"
          " FROM calls WHERE tenant = 'unassigned' GROUP BY tracking_number ORDER BY count(*) DESC LIMIT 20") },
    { "no transcript", "calls", DOCTOR_BAD, "every recorded call of this week has its transcript",
      "is transcribe alive? \"dead letters\" tells of recordings that could not be fetched or read",
      ASK("no_transcript",
          "SELECT format('%s of %s with a recording and no transcript, the oldest of %s', " COUNTED("call", "calls") ","
          " c.tenant, " MINUTE_OF("min(c.call_at)") ") AS what"
          " FROM calls c LEFT JOIN call_transcripts t USING (tenant, call_id)"
          " WHERE c.recording_url IS NOT NULL AND t.call_id IS NULL AND c.updated_at < now() - interval '1 hour'"
          " AND c.call_at > " WEEK " GROUP BY c.tenant") },
    { "no analysis", "calls", DOCTOR_BAD, "every transcript of this week was understood",
      "is analyze alive, and its model's key good? \"dead letters\" tells of answers that could not be used",
      ASK("no_analysis",
          "SELECT format('%s of %s without an analysis', " COUNTED("transcript", "transcripts") ", t.tenant) AS what"
          " FROM call_transcripts t LEFT JOIN call_analyses a USING (tenant, call_id) WHERE a.call_id IS NULL"
          " AND t.updated_at BETWEEN " WEEK " AND now() - interval '1 hour' GROUP BY t.tenant") },
    { "no appointment", "calls", DOCTOR_BAD, "every booked call made its appointment",
      "no event of theirs tells why: look at the log of analyze at that time",
      ASK("no_appointment",
          "SELECT format('%s of %s made no appointment, the last was understood at %s',"
          " " COUNTED("booked call", "booked calls") ", a.tenant, " MINUTE_OF("max(a.updated_at)") ") AS what"
          " FROM call_analyses a LEFT JOIN appointments p USING (tenant, call_id)"
          " WHERE a.booking_status = 'booked' AND p.call_id IS NULL AND a.updated_at > " WEEK " GROUP BY a.tenant") },
    { "nobody told", "calls", DOCTOR_BAD, "somebody was told of every booked or hot call",
      "set ADMIN_WHATSAPP_TO, or give the company's reps a phone number",
      ASK("nobody_told",
          "SELECT format('nobody was told of %s of %s', " COUNTED("call", "calls") ", coalesce(tenant, 'nobody'))"
          " AS what"
          " FROM ledger WHERE stage = 'notifier' AND outcome = 'skipped' AND why LIKE 'nobody to tell%'"
          " AND day > (" WEEK ")::date GROUP BY tenant") },
    { "no recording", "calls", DOCTOR_UNKNOWN, "answered calls come with their recordings",
      "turn call recording on in CallRail for the company",
      ASK("no_recording",
          "SELECT format('%s of %s of %s came without a recording',"
          " count(*) FILTER (WHERE recording_url IS NULL), " COUNTED("answered call", "answered calls") ", tenant)"
          " AS what"
          " FROM calls WHERE answered AND status = 'completed' AND customer_number IS NOT NULL"
          " AND call_at > " WEEK " AND updated_at < now() - interval '1 hour' GROUP BY tenant"
          " HAVING count(*) FILTER (WHERE recording_url IS NULL) * 2 > count(*)") },
    { "unattributed", "calls", DOCTOR_UNKNOWN, "who took the calls is known",
      "give users the e-mail that CallRail knows them by, or the number they answer (\"sb user set\" … --answers)",
      ASK("unattributed",
          "SELECT format('it is not known who took %s of %s of %s',"
          " count(*) FILTER (WHERE csr_user_id IS NULL), " COUNTED("answered call", "answered calls") ", tenant)"
          " AS what"
          " FROM calls WHERE answered AND tenant <> 'unassigned' AND call_at > " WEEK " GROUP BY tenant"
          " HAVING count(*) FILTER (WHERE csr_user_id IS NULL) > 0") },
    { "invented quotes", "calls", DOCTOR_UNKNOWN, "models quote what was said",
      "another model, or look at its answers (asks.answer)",
      ASK("invented",
          "SELECT format('%s %s of %s (%s) found in no transcript and dropped, in %s',"
          " sum(dropped_without_evidence), " PLURAL("sum(dropped_without_evidence)", "quote", "quotes") ","
          " provider, coalesce(model, 'no model'), " COUNTED("call", "calls") ") AS what"
          " FROM call_analyses WHERE dropped_without_evidence > 0 AND updated_at > " WEEK
          " GROUP BY provider, model") },
    { "graph", "coach", DOCTOR_BAD, "Microsoft Graph tells of the coach's calendar, or none is watched",
      "mend what the reason says (the application needs Calendars.Read with an administrator's consent, and"
      " PUBLIC_URL/graph/notify must answer Microsoft); it is tried again by itself",
      ASK("graph",
          "SELECT format('the calendar of %s is not watched%s%s (tried %s %s, again at %s)', mailbox,"
          " coalesce(' since ' || " MINUTE_OF("expires_at") ", ''), coalesce(': ' || error, ''), failures,"
          " " PLURAL("failures", "time", "times") ","
          " " MINUTE_OF("next_check_at") ") AS what FROM graph_subscriptions"
          " WHERE coalesce(expires_at, '-infinity') <= now() AND updated_at < now() - interval '10 seconds'"
          " UNION ALL SELECT format('the subscription to the calendar of %s could not be looked after %s %s, and"
          " ends at %s: %s (again at %s)', mailbox, failures, " PLURAL("failures", "time", "times") ","
          " " MINUTE_OF("expires_at") ", error,"
          " " MINUTE_OF("next_check_at") ")"
          " FROM graph_subscriptions WHERE failures > 0 AND expires_at > now()"
          " UNION ALL SELECT format('changes of the calendar of %s that were not told of since %s are not read yet',"
          " mailbox, " MINUTE_OF("missed_at") ") FROM graph_subscriptions"
          " WHERE missed_at < now() - interval '1 hour'") },
    { 0 },
};
