/* What comes in for the sales coach: news of a meeting, and what somebody entered to register, as a form or as JSON;
 * the first byte chooses.  What is read is within its limits and may be a key; the event that keeps it is valid; the
 * page gives back what was entered, and no more markup than it has with nothing. */
#include "tests/fuzz/fuzz.h"

#include "common/crypto.h"
#include "events.h"
#include "ingest/outlook_hooks.h"
#include "ingest/register_page.h"

#define ARENA_BYTES_MAX ((size_t)64 * 1024 * 1024)

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    struct problem why;
    (void)count, (void)arguments;
    log_nothing();
    require(crypto_init(&why));
    return 0;
}

/* --- meetings ----------------------------------------------------------------------------------------------------- */

static void check_text(const char *text, size_t bytes_max)
{
    require(!text || (*text && strlen(text) <= bytes_max && text_is_utf8(text_of(text))));
}

static void check_time(const struct meeting_time *time, struct arena *arena)
{
    int64_t us;
    check_text(time->zone, MEETING_NAME_BYTES_MAX);
    require(!time->at || time_read(text_of(time->at), &us) ||
          time_read(text_of(arena_printf(arena, "%sZ", time->at)), &us));
}

static void try_meeting(struct text input, struct arena *arena)
{
    struct meeting_news news;
    struct problem why = { .text = "" };
    char email[EMAIL_BYTES], again[EMAIL_BYTES];

    if (!outlook_meeting_read(input, arena, &news, &why)) {
        check_reason(&why);
        return;
    }
    require(email_read(news.organizer, email) && strcmp(email, news.organizer) == 0 && email_read(email, again));
    require(news.cancelled || (news.start.at && news.end.at));
    require(news.attendee_count <= MEETING_ATTENDEES_MAX);
    check_text(news.event_id, OUTLOOK_ID_BYTES_MAX);
    check_text(news.title, MEETING_TITLE_BYTES_MAX);
    check_text(news.description, MEETING_DESCRIPTION_BYTES_MAX);
    check_time(&news.start, arena);
    check_time(&news.end, arena);
    for (size_t i = 0; i < news.attendee_count; i++)
        check_text(news.attendees[i].name, MEETING_NAME_BYTES_MAX);
    if (news.client && news.client->hubspot_contact_id)
        require(strspn(news.client->hubspot_contact_id, "0123456789") == strlen(news.client->hubspot_contact_id));
}

/* --- registrations ------------------------------------------------------------------------------------------------ */

static size_t count(struct text in, char wanted)
{
    size_t found = 0;
    for (size_t i = 0; i < in.bytes; i++)
        found += in.at[i] == wanted;
    return found;
}

static void check_page(const struct registration *registration, const struct registration *nothing)
{
    static const struct register_page page = { .company = "Acme" };
    struct buf with, without;
    buf_init(&with, REGISTER_PAGE_BYTES_MAX);
    buf_init(&without, REGISTER_PAGE_BYTES_MAX);
    register_page_form(&with, &page, registration, "notice");
    register_page_form(&without, &page, nothing, "notice");
    require(!with.overflowed && text_is_utf8(buf_text(&with)));
    require(count(buf_text(&with), '<') == count(buf_text(&without), '<'));
    require(count(buf_text(&with), '>') == count(buf_text(&without), '>'));
    require(count(buf_text(&with), '"') == count(buf_text(&without), '"'));
    buf_done(&with);
    buf_done(&without);
}

static void check_event(const struct registration *registration)
{
    struct problem why;
    struct buf data;
    buf_init(&data, EVENT_BYTES_MAX);
    EVENT_REGISTRATION_RECEIVED.write(&data, &(struct registration_received){ .tenant = "acme",
                                                                              .name = registration->name,
                                                                              .email = registration->email,
                                                                              .phone = registration->phone,
                                                                              .received_at = "2026-11-26T07:00:00Z" });
    require(EVENT_REGISTRATION_RECEIVED.check(buf_text(&data), &why));
    buf_done(&data);
}

static void try_registration(struct text input, bool json, struct arena *arena)
{
    struct registration registration, nothing;
    struct problem why = { .text = "" };
    bool readable = json ? registration_read_json(input, arena, &registration, &why)
                         : registration_read_form(input, arena, &registration, &why);
    if (!readable) {
        check_reason(&why);
        return;
    }
    registration_check(&registration, "US", arena);
    require(text_is_utf8(text_of(registration.name)) && !strpbrk(registration.name, "\r\n\t"));
    nothing = registration;
    for (int i = 0; i < REGISTRATION_FIELDS; i++)
        nothing.entered[i] = "";
    check_page(&registration, &nothing);
    if (registration.error_count == 0)
        check_event(&registration);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct text input = { (const char *)data + 1, size - 1 };
    if (size > 0 && data[0] == 'm')
        try_meeting(input, arena);
    else if (size > 0 && size <= REGISTRATION_BODY_BYTES_MAX)
        try_registration(input, data[0] == 'j', arena);
    arena_free(arena);
    return 0;
}
