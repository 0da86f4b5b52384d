/* coach_note.c: what came of a meeting: kept here, noted on the client's contact in HubSpot, and what is said of it.
 *
 * The meeting is completed whatever HubSpot does.  A note that was written is changed or withdrawn there; the meeting
 * stays completed then, since a status only moves forward, and "done …" writes a new note. */
#include "notifier/hubspot.h"

#include <stdlib.h>
#include <string.h>

#define WAIT_MS_LEAST  (60 * 1000) /* longer than the lease of a request whose end is not known */
#define WAIT_MS_MOST   (60 * 60 * 1000)
#define WAIT_DAYS_MOST 7 /* then it is given up */
#define DAY_S          (24 * 60 * 60)

/* $3 the person's words. */
static const struct statement complete_meeting = {
    .name = "complete_meeting",
    .text =
        "UPDATE meetings SET status = CASE status WHEN 'cancelled' THEN status ELSE 'completed' END, last_client_reply "
        "= $3,"
        " next_check_at = NULL, updated_at = now() WHERE meeting_id = $1::uuid AND revision = $2::integer",
    .params = 3,
    .must = 1,
};
/* $11 after how long one that waits is tried again: by Postgres' clock, since ours may be off. */
static const struct statement write_note = {
    .name = "write_note",
    .text =
        "INSERT INTO meeting_notes (tenant, meeting_id, revision, outcome, state, hubspot_contact_id, hubspot_note_id, "
        "error, version,"
        " source_time, next_check_at) VALUES ($1, $2::uuid, $3::integer, $4, $5, $6, $7, $8, $9::integer, "
        "$10::timestamptz,"
        " now() + $11::interval)"
        " ON CONFLICT (tenant, meeting_id, revision) DO UPDATE SET outcome = EXCLUDED.outcome, state = EXCLUDED.state,"
        " hubspot_contact_id = coalesce(EXCLUDED.hubspot_contact_id, meeting_notes.hubspot_contact_id),"
        " hubspot_note_id = EXCLUDED.hubspot_note_id, error = EXCLUDED.error, version = EXCLUDED.version, updated_at = "
        "now(),"
        " source_time = greatest(EXCLUDED.source_time, meeting_notes.source_time), next_check_at = "
        "EXCLUDED.next_check_at",
    .params = 11,
};

/* How the states are called in the table, and how it is said. */
struct noted {
    const char *state;
    const char *said;
};

static bool is(const char *state, const char *wanted)
{
    return state && strcmp(state, wanted) == 0;
}

static bool has_token(struct work *work)
{
    const struct notifier *notifier = work_context(work);
    return notifier->hubspot_token != NULL;
}

/* After how long a note that waits is tried again. */
static const char *again_after(struct work *work, const struct meeting *meeting, const struct hubspot_result *result)
{
    int64_t wait_ms = meeting->note.age_s * 1000 / 2;
    wait_ms = wait_ms < WAIT_MS_LEAST ? WAIT_MS_LEAST : wait_ms > WAIT_MS_MOST ? WAIT_MS_MOST : wait_ms;
    if (result->later_ms > wait_ms)
        wait_ms = result->later_ms;
    if (result->tomorrow)
        wait_ms = meeting->tomorrow_s * 1000 + WAIT_MS_LEAST;
    return arena_printf(work_arena(work), "%lld ms", (long long)wait_ms);
}

static struct noted noted_as(struct work *work, const struct meeting *meeting, const struct hubspot_result *result)
{
    struct arena *arena = work_arena(work);
    switch (result->end) {
    case HUBSPOT_DONE:
        return (struct noted){ "logged", "your note is in HubSpot." };
    case HUBSPOT_NO_CONTACT:
        return (struct noted){ "no_contact",
                               arena_printf(arena,
                                            "%s is not among the contacts in HubSpot, so your note is kept here alone.",
                                            meeting->client ? meeting->client : "the client") };
    case HUBSPOT_REFUSED:
        return (struct noted){
            "refused",
            arena_printf(arena, "HubSpot did not take your note, so it is kept here alone. The reason: %s", result->why)
        };
    case HUBSPOT_LATER:
        break;
    }
    return (struct noted){ "waiting",
                           "HubSpot cannot take your note just now. It is kept here, and follows by itself." };
}

static struct hubspot_result write_to_hubspot(struct work *work, const struct meeting *meeting, const char *note_id,
                                              const char *outcome, const char *version)
{
    struct hubspot_result result = { .end = HUBSPOT_DONE };
    if (note_id)
        hubspot_change_note(work, meeting, note_id, outcome, &result);
    else
        hubspot_create_note(work, meeting, outcome, version, &result);
    result.note_id = result.note_id ? result.note_id : note_id;
    return result;
}

/* Writes the note under that version, and describes its row.  `time`: of the message it is from. */
static struct noted log_note(struct work *work, const struct meeting *meeting, const char *note_id, const char *outcome,
                             const char *version, const char *time)
{
    struct hubspot_result result = { .end = HUBSPOT_DONE };
    struct noted noted = { "no_token", "HubSpot is not connected, so your note is kept here alone." };
    if (has_token(work)) {
        result = write_to_hubspot(work, meeting, note_id, outcome, version);
        if (result.end == HUBSPOT_LATER && meeting->note.age_s > WAIT_DAYS_MOST * DAY_S)
            result.end = HUBSPOT_REFUSED;
        noted = noted_as(work, meeting, &result);
    }
    effect_row(work, &write_note, meeting->tenant, meeting->id, meeting->revision, outcome, noted.state,
               result.contact_id, result.note_id, result.why, version, time,
               is(noted.state, "waiting") ? again_after(work, meeting, &result) : NULL);
    return noted;
}

/* What the person says now: the meeting is over with it. */
static struct noted complete_with(struct work *work, const struct meeting *meeting, const char *note_id,
                                  const char *outcome, const char *version)
{
    effect_row(work, &complete_meeting, meeting->id, meeting->revision, outcome);
    return log_note(work, meeting, note_id, outcome, version, work_event(work)->time);
}

static const char *next_version(struct work *work, const struct meeting *meeting)
{
    return arena_printf(work_arena(work), "%d", meeting->note.version ? atoi(meeting->note.version) + 1 : 1);
}

/* What was noted stands, and so does what was said then: this is a message of before. */
static bool is_old(const struct meeting *meeting)
{
    return meeting->note.state && meeting->note.newer;
}

const char *note_complete(struct work *work, const struct meeting *meeting, const char *outcome)
{
    bool logged = is(meeting->note.state, "logged");
    if (is_old(meeting))
        return NULL;
    if (logged || is(meeting->note.state, "waiting"))
        return arena_printf(
            work_arena(work),
            "%s is completed already%s. Write \"change\" and other words to change the note, \"undo\" to"
            " take it back.",
            meeting->about, logged ? ", and noted in HubSpot" : "");
    struct noted noted = complete_with(work, meeting, NULL, outcome, next_version(work, meeting));
    return arena_printf(work_arena(work), "%s is completed, %s %s", meeting->about,
                        is(noted.state, "logged") ? "and" : "but", noted.said);
}

const char *note_amend(struct work *work, const struct meeting *meeting, const char *outcome)
{
    const char *state = meeting->note.state;
    if (is_old(meeting))
        return NULL;
    if (!state || is(state, "withdrawn"))
        return arena_printf(work_arena(work), "There is no note of %s to change. Write \"done\" and what came of it.",
                            meeting->about);
    /* one that was not written yet keeps the version under which it is being written */
    const char *version = is(state, "waiting") ? meeting->note.version : next_version(work, meeting);
    struct noted noted = complete_with(work, meeting, meeting->note.hubspot_note_id, outcome, version);
    return arena_printf(work_arena(work), "The note of %s is changed, %s %s", meeting->about,
                        is(noted.state, "logged") ? "and" : "but", noted.said);
}

/* Why it cannot be taken back from HubSpot; NULL: it was, or never was there. */
static const char *not_taken_back(struct work *work, const struct meeting *meeting)
{
    struct hubspot_result result = { .end = HUBSPOT_DONE };
    const char *note_id = meeting->note.hubspot_note_id;
    if (!note_id)
        return is(meeting->note.state, "waiting") ? "it is on its way to HubSpot" : NULL;
    if (!has_token(work))
        return "HubSpot is not connected";
    hubspot_delete_note(work, note_id, &result);
    return result.end == HUBSPOT_DONE ? NULL : result.why;
}

const char *note_undo(struct work *work, const struct meeting *meeting)
{
    if (is_old(meeting))
        return NULL;
    if (!meeting->note.state || is(meeting->note.state, "withdrawn"))
        return arena_printf(work_arena(work), "There is no note of %s to take back.", meeting->about);
    const char *reason = not_taken_back(work, meeting);
    if (reason)
        return arena_printf(work_arena(work), "The note of %s could not be taken back: %s. Please try again later.",
                            meeting->about, reason);
    effect_row(work, &write_note, meeting->tenant, meeting->id, meeting->revision, meeting->note.outcome, "withdrawn",
               NULL, NULL, NULL, next_version(work, meeting), work_event(work)->time, NULL);
    return arena_printf(work_arena(work),
                        "The note of %s is taken back. Write \"done\" and other words to note it anew.",
                        meeting->about);
}

const char *note_try_again(struct work *work, const struct meeting *meeting)
{
    struct noted noted = log_note(work, meeting, meeting->note.hubspot_note_id, meeting->note.outcome,
                                  meeting->note.version, meeting->note.source_time);
    return is(noted.state, "waiting") ? NULL : arena_printf(work_arena(work), "%s: %s", meeting->about, noted.said);
}
