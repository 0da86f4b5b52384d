/* coach.c: the recorder's part of registrations: registration.received → users, user_phones, salesperson.registered,
 * and meeting.changed `claimed` for what came of theirs while nobody knew them.
 *
 * What a person says of themselves is name and number alone: a user who is there already keeps role and id.  The number
 * is theirs from now on, also when it was another's: who mistyped the address the first time registers again. */
#include "ingest/coach.h"

#include <stdio.h>
#include <stdlib.h>

#define CLAIMS_MAX 200                      /* announced at once, the next ones first */
_Static_assert(CLAIMS_MAX + 8 <= STAGE_EFFECTS_MAX, "all of them are effects of one handler");

/* `id_taken`: by somebody who was erased and whose address this was. */
static const struct statement find_salesperson = {
    .name = "find_salesperson",
    .text = "SELECT u.user_id, u.registered_at IS NULL AS first, u.registered_at > $4::timestamptz AS registered_since,"
            " EXISTS (SELECT 1 FROM user_phones p WHERE p.tenant = u.tenant AND p.email = u.email AND p.phone = $5)"
            " AS knows_phone, CASE WHEN u.registered_at IS NOT NULL AND u.phone <> $5 THEN u.phone END AS replaces,"
            " EXISTS (SELECT 1 FROM users o WHERE o.user_id = $3 AND (o.tenant, o.email) <> ($1, $2)) AS id_taken"
            " FROM companies c LEFT JOIN users u ON u.tenant = c.tenant AND u.email = $2"
            " WHERE c.tenant = $1 AND c.tenant <> 'unassigned'",
    .params = 5,
};
static const struct statement find_unclaimed = {
    .name = "find_unclaimed_meetings",
    .text = "SELECT meeting_id, revision, plan_version FROM meetings"
            " WHERE tenant = $1 AND salesperson_email = $2 AND salesperson_phone IS NULL AND status <> 'cancelled'"
            " AND end_time > $3::timestamptz ORDER BY start_time, meeting_id LIMIT $4::integer",
    .params = 4,
};
static const struct statement write_salesperson = {
    .name = "write_salesperson",
    .text = "INSERT INTO users (tenant, email, user_id, name, phone, role, registered_at)"
            " VALUES ($1, $2, $3, $4, $5, 'rep', $6::timestamptz)"
            " ON CONFLICT (tenant, email) DO UPDATE SET name = EXCLUDED.name, phone = EXCLUDED.phone,"
            " registered_at = EXCLUDED.registered_at, updated_at = now()"
            " WHERE users.registered_at IS NULL OR users.registered_at <= EXCLUDED.registered_at",
    .params = 6,
    .must = 1,
};
/* Whether the person wants messages there, and when it was last written from, is the number's own. */
static const struct statement write_phone = {
    .name = "write_user_phone",
    .text = "INSERT INTO user_phones (tenant, phone, email) VALUES ($1, $2, $3)"
            " ON CONFLICT (tenant, phone) DO UPDATE SET email = EXCLUDED.email, updated_at = now()",
    .params = 3,
    .must = 1,
};
static const struct statement claim_meetings = {
    .name = "claim_meetings",
    .text = "UPDATE meetings SET salesperson_phone = $3, updated_at = now()"
            " WHERE tenant = $1 AND salesperson_email = $2 AND salesperson_phone IS DISTINCT FROM $3"
            " AND status <> 'cancelled' AND end_time > $4::timestamptz",
    .params = 4,
};

static enum outcome announce_claimed(struct work *work, const struct registration_received *registration)
{
    char most[12];
    struct rows rows;
    snprintf(most, sizeof(most), "%d", CLAIMS_MAX);
    TRY(work_query(work, &find_unclaimed, &rows, registration->tenant, registration->email, registration->received_at,
                   most));
    for (int i = 0; i < rows.count; i++)
        effect_event(work, &EVENT_MEETING_CHANGED, registration->email, &(struct meeting_changed){
            .meeting_id = row_get(&rows, i, "meeting_id"),
            .change = "claimed",
            .salesperson = registration->email,
            .known = true,
            .revision = atoll(row_get(&rows, i, "revision")),
            .plan_version = atoll(row_get(&rows, i, "plan_version")),
        });
    return DONE;
}

enum outcome record_registration(struct work *work, const struct event *event)
{
    struct registration_received registration;
    struct rows rows;
    char made_of_address[UUID_BYTES], made_of_event[UUID_BYTES];
    TRY(work_read_data(work, event, registration_received_read, &registration));
    const char *tenant = registration.tenant, *email = registration.email, *phone = registration.phone;
    uuid_of(made_of_address, "user", tenant, email, NULL);
    uuid_of(made_of_event, "user", tenant, email, event->id, NULL);
    TRY(work_query(work, &find_salesperson, &rows, tenant, email, made_of_address, registration.received_at, phone));
    if (rows.count == 0)
        return reject(work, "there is no company \"%s\"", tenant);
    work_set_tenant(work, tenant);
    const char *known_as = row_get(&rows, 0, "user_id"), *since = row_get(&rows, 0, "registered_since");
    if (since && *since == 't')
        return skip(work, "the person has registered again since");
    const char *user_id = known_as                                  ? known_as
                          : *row_get(&rows, 0, "id_taken") == 't' ? made_of_event
                                                                    : made_of_address;
    effect_row(work, &write_salesperson, tenant, email, user_id, registration.name, phone, registration.received_at);
    effect_row(work, &write_phone, tenant, phone, email);
    effect_row(work, &claim_meetings, tenant, email, phone, registration.received_at);
    effect_event(work, &EVENT_SALESPERSON_REGISTERED, email, &(struct salesperson_registered){
        .email = email,
        .user_id = user_id,
        .name = registration.name,
        .phone = phone,
        .first = *row_get(&rows, 0, "first") == 't',
        .has_phone_is_new = true, .phone_is_new = *row_get(&rows, 0, "knows_phone") != 't',
        .replaces = row_get(&rows, 0, "replaces"),
    });
    return announce_claimed(work, &registration);
}
