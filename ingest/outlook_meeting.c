/* outlook_meeting.c: the body of POST /outlook-webhook, read leniently: scenario tools send what their user drew. */
#include "ingest/outlook_hooks.h"

#include <string.h>
#include <strings.h>

#include "common/email.h"
#include "common/json.h"
#include "common/utf8.h"

#define EMAIL_TEXT_BYTES_MAX 320        /* longer is no address */
#define ZONE_BYTES_MAX 64
#define SHOWN_BYTES_MAX 60              /* of what is wrong */
#define HUBSPOT_ID_DIGITS_MAX 20        /* as in the table */

/* Where reading is, for the pointers of what is wrong. */
struct reader {
    struct arena *arena;
    struct problem *why;
};

/* The member of that name, or of its other one; false when there is none, or null. */
static bool member(struct json_value object, const char *name, const char *other_name, struct json_value *ret)
{
    return (json_find(object, name, ret) && ret->kind != JSON_NULL) ||
           (other_name && json_find(object, other_name, ret) && ret->kind != JSON_NULL);
}

static const char *pointer_to(const struct reader *reader, const char *parent, const char *name)
{
    return arena_printf(reader->arena, "%s/%s", parent, name);
}

/* What is longer is cut between two characters. */
static const char *cut(char *text, size_t bytes_max)
{
    size_t bytes = strlen(text);
    if (bytes > bytes_max) {
        for (bytes = bytes_max; bytes > 0 && ((unsigned char)text[bytes] & 0xC0) == 0x80; bytes--)
            ;
        text[bytes] = '\0';
    }
    return text;
}

/* The beginning of a text, for a reason. */
static const char *beginning(const struct reader *reader, const char *text)
{
    return cut(arena_copy(reader->arena, text), SHOWN_BYTES_MAX);
}

/* A text without blanks around it; NULL when it is missing or empty. */
static bool read_text(const struct reader *reader, struct json_value object, const char *parent, const char *name,
                      const char *other_name, size_t bytes_max, const char **ret)
{
    static const char blanks[] = " \t\r\n";
    struct json_value value;
    *ret = NULL;
    if (!member(object, name, other_name, &value))
        return true;
    char *text = (char *)json_string(value, reader->arena);
    if (!text)
        return fail_at(reader->why, pointer_to(reader, parent, name), "must be a string");
    text += strspn(text, blanks);
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr(blanks, text[bytes - 1]))
        text[--bytes] = '\0';
    *ret = bytes > 0 ? cut(text, bytes_max) : NULL;
    return true;
}

/* --- times ------------------------------------------------------------------------------------------------------- */

/* As RFC 3339, with or without an offset. */
static bool is_time(const struct reader *reader, const char *at)
{
    int64_t us;
    return time_read(text_of(at), &us) || time_read(text_of(arena_printf(reader->arena, "%sZ", at)), &us);
}

static bool read_time(const struct reader *reader, struct json_value meeting, const char *name, const char *other_name,
                      struct meeting_time *ret)
{
    const char *pointer = pointer_to(reader, "/meeting", name);
    struct json_value value;
    *ret = (struct meeting_time){ 0 };
    if (!member(meeting, name, other_name, &value))
        return true;
    if (value.kind == JSON_OBJECT) {
        if (!read_text(reader, value, pointer, "dateTime", "date_time", EMAIL_TEXT_BYTES_MAX, &ret->at) ||
            !read_text(reader, value, pointer, "timeZone", "time_zone", ZONE_BYTES_MAX, &ret->zone))
            return false;
    } else if (!read_text(reader, meeting, "/meeting", name, other_name, EMAIL_TEXT_BYTES_MAX, &ret->at)) {
        return false;
    }
    if (ret->at && !is_time(reader, ret->at))
        return fail_at(reader->why, pointer, "must be a time like 2026-11-27T10:00:00Z, is \"%s\"",
                       beginning(reader, ret->at));
    return true;
}

/* --- people ------------------------------------------------------------------------------------------------------ */

/* An address alone, {address, name}, or Graph's {emailAddress: {address, name}, type}. */
static bool read_person(const struct reader *reader, struct json_value value, const char *pointer,
                        struct meeting_person *ret)
{
    struct json_value address = value;
    const char *type;
    *ret = (struct meeting_person){ 0 };
    if (value.kind == JSON_STRING) {
        ret->email = cut((char *)json_string(value, reader->arena), EMAIL_TEXT_BYTES_MAX);
        return true;
    }
    if (value.kind != JSON_OBJECT)
        return fail_at(reader->why, pointer, "must be an address, or an object with one");
    if (member(value, "emailAddress", NULL, &address) && address.kind != JSON_OBJECT)
        return fail_at(reader->why, pointer_to(reader, pointer, "emailAddress"), "must be an object");
    if (!read_text(reader, address, pointer, "address", "email", EMAIL_TEXT_BYTES_MAX, &ret->email) ||
        !read_text(reader, address, pointer, "name", NULL, MEETING_NAME_BYTES_MAX, &ret->name) ||
        !read_text(reader, value, pointer, "type", NULL, MEETING_NAME_BYTES_MAX, &type))
        return false;
    ret->is_resource = type && (strcasecmp(type, "resource") == 0 || strcasecmp(type, "room") == 0);
    return true;
}

static bool read_organizer(const struct reader *reader, struct json_value meeting, struct meeting_news *ret)
{
    struct meeting_person person = { 0 };
    struct json_value value;
    char email[EMAIL_BYTES];
    if (member(meeting, "organizer", NULL, &value) && !read_person(reader, value, "/meeting/organizer", &person))
        return false;
    if (!person.email)
        return fail_at(reader->why, "/meeting/organizer/address", "is missing");
    if (!email_read(person.email, email))
        return fail_at(reader->why, "/meeting/organizer/address", "must be an e-mail address, is \"%s\"",
                       beginning(reader, person.email));
    ret->organizer = arena_copy(reader->arena, email);
    return true;
}

/* They are the meeting's, or stand beside it. */
static bool read_attendees(const struct reader *reader, struct json_value whole, struct json_value meeting,
                           struct meeting_news *ret)
{
    struct json_value list, value;
    struct json_scan scan;
    bool inside = member(meeting, "attendees", NULL, &list);
    const char *place = inside ? "/meeting/attendees" : "/attendees";
    if (!inside && !member(whole, "attendees", NULL, &list))
        return true;
    if (list.kind != JSON_ARRAY)
        return fail_at(reader->why, place, "must be an array");
    struct meeting_person *people = arena_alloc(reader->arena, MEETING_ATTENDEES_MAX * sizeof(*people));
    json_enter(&scan, list);
    while (ret->attendee_count < MEETING_ATTENDEES_MAX && json_element(&scan, &value)) {
        const char *pointer = arena_printf(reader->arena, "%s/%zu", place, ret->attendee_count);
        if (!read_person(reader, value, pointer, &people[ret->attendee_count++]))
            return false;
    }
    ret->attendees = people;
    return true;
}

/* HubSpot's ids are numbers, and are written as such or as text. */
static bool read_hubspot_id(const struct reader *reader, struct json_value client, const char **ret)
{
    struct json_value value;
    if (!member(client, "hubspot_contact_id", NULL, &value))
        return true;
    const char *id = value.kind == JSON_STRING ? json_string(value, reader->arena)
                                               : arena_copy_text(reader->arena, value.raw);
    if (*id == '\0')
        return true;
    size_t digits = strspn(id, "0123456789");
    if (digits == 0 || digits > HUBSPOT_ID_DIGITS_MAX || id[digits] != '\0')
        return fail_at(reader->why, "/client/hubspot_contact_id", "must be a number, is \"%s\"",
                       beginning(reader, id));
    *ret = id;
    return true;
}

static bool read_client(const struct reader *reader, struct json_value whole, struct meeting_news *ret)
{
    struct json_value value;
    if (!member(whole, "client", NULL, &value))
        return true;
    if (value.kind != JSON_OBJECT)
        return fail_at(reader->why, "/client", "must be an object");
    struct meeting_client *client = arena_alloc(reader->arena, sizeof(*client));
    ret->client = client;
    return read_text(reader, value, "/client", "name", NULL, MEETING_NAME_BYTES_MAX, &client->name) &&
           read_text(reader, value, "/client", "email", "address", EMAIL_TEXT_BYTES_MAX, &client->email) &&
           read_text(reader, value, "/client", "company", NULL, MEETING_NAME_BYTES_MAX, &client->company) &&
           read_text(reader, value, "/client", "phone", NULL, EMAIL_TEXT_BYTES_MAX, &client->phone) &&
           read_hubspot_id(reader, value, &client->hubspot_contact_id);
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static bool read_state(const struct reader *reader, struct json_value meeting, struct meeting_news *ret)
{
    struct json_value value;
    const char *status;
    if (!read_text(reader, meeting, "/meeting", "status", NULL, MEETING_NAME_BYTES_MAX, &status))
        return false;
    ret->cancelled = status && (strcasecmp(status, "cancelled") == 0 || strcasecmp(status, "canceled") == 0);
    if (!member(meeting, "isCancelled", "is_cancelled", &value))
        return true;
    if (value.kind != JSON_TRUE && value.kind != JSON_FALSE)
        return fail_at(reader->why, "/meeting/isCancelled", "must be true or false");
    ret->cancelled |= value.kind == JSON_TRUE;
    return true;
}

static bool read_id(const struct reader *reader, struct json_value meeting, struct meeting_news *ret)
{
    if (!read_text(reader, meeting, "/meeting", "id", NULL, OUTLOOK_ID_BYTES_MAX + 1, &ret->event_id))
        return false;
    if (ret->event_id && strlen(ret->event_id) > OUTLOOK_ID_BYTES_MAX)
        return fail_at(reader->why, "/meeting/id", "must have at most %d bytes", OUTLOOK_ID_BYTES_MAX);
    return true;
}

static bool has_times(const struct reader *reader, const struct meeting_news *news)
{
    if (news->cancelled && news->event_id)
        return true;
    if (!news->start.at)
        return fail_at(reader->why, "/meeting/start_time", "is missing");
    return news->end.at || news->cancelled || fail_at(reader->why, "/meeting/end_time", "is missing");
}

bool outlook_meeting_read(struct text body, struct arena *arena, struct meeting_news *ret, struct problem *why)
{
    const struct reader reader = { arena, why };
    struct json_value whole, meeting;
    struct meeting_news news = { 0 };
    if (!json_parse(body, &whole, why))
        return false;
    if (!member(whole, "meeting", NULL, &meeting) || meeting.kind != JSON_OBJECT)
        return fail_at(why, "/meeting", "must be an object");
    bool good = read_id(&reader, meeting, &news) && read_organizer(&reader, meeting, &news) &&
                read_state(&reader, meeting, &news) &&
                read_text(&reader, meeting, "/meeting", "title", "subject", MEETING_TITLE_BYTES_MAX, &news.title) &&
                read_text(&reader, meeting, "/meeting", "description", "bodyPreview", MEETING_DESCRIPTION_BYTES_MAX,
                          &news.description) &&
                read_time(&reader, meeting, "start_time", "start", &news.start) &&
                read_time(&reader, meeting, "end_time", "end", &news.end) && has_times(&reader, &news) &&
                read_attendees(&reader, whole, meeting, &news) && read_client(&reader, whole, &news);
    if (good)
        *ret = news;
    return good;
}
