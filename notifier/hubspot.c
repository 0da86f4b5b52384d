/* hubspot.c: see hubspot.h.
 *
 * HubSpot has no idempotency key.  A note carries a marker in its last line, made of the meeting and its revision; when
 * it is not known whether one was written, the contact's notes are listed and read (a search would not have it yet) and
 * ours is the one with that marker. */
#include "notifier/hubspot.h"
#include "common/form.h"
#include "common/json.h"
#include "common/tree.h"
#include "notifier/parts.h"

#include <stdlib.h>
#include <string.h>

#define NOTE_TO_CONTACT 202 /* HubSpot's type of that association */
#define BODY_BYTES_MAX  (1024 * 1024)
#define OUTCOME_CHARACTERS_MAX                                                                                         \
    8192 /* escaped, six times as much at most: with the rest below HUBSPOT_NOTE_CHARACTERS_MAX */
#define ID_BYTES_MAX   32
#define NOTE_PAGES_MAX 10  /* of a contact's notes that are looked through */
#define NOTES_AT_ONCE  100 /* as many as HubSpot reads at once */

static const struct statement note_written = {
    .name = "note_written",
    .text = "UPDATE asks SET provider_status = 'delivered', updated_at = now() WHERE ask_id = $1::uuid",
    .params = 1,
};

/* What one of the calls is about. */
struct note_request {
    const struct meeting *meeting;
    const char *outcome;
    const char *contact_id, *note_id;
    struct hubspot_result *result;
};

/* --- JSON and HTML ------------------------------------------------------------------------------------------------ */

static struct text take(struct work *work, struct buf *buf)
{
    struct text text = { arena_copy_text(work_arena(work), buf_text(buf)), buf->bytes };
    buf_done(buf);
    return text;
}

static void add_escaped(struct buf *html, const char *text)
{
    for (const char *at = text; *at; at++) {
        switch (*at) {
        case '&':
            buf_add_string(html, "&amp;");
            break;
        case '<':
            buf_add_string(html, "&lt;");
            break;
        case '>':
            buf_add_string(html, "&gt;");
            break;
        case '"':
            buf_add_string(html, "&quot;");
            break;
        case '\n':
            buf_add_string(html, "<br>");
            break;
        case '\r':
            break;
        default:
            buf_add_char(html, *at);
        }
    }
}

static const char *note_html(struct work *work, const struct note_request *request, const char *marker)
{
    const struct meeting *meeting = request->meeting;
    struct buf html;
    buf_init(&html, BODY_BYTES_MAX);
    buf_add_string(&html, "<strong>");
    add_escaped(&html, clipped(work_arena(work), meeting->title, COACH_TITLE_CHARACTERS_MAX));
    buf_add_string(&html, "</strong>, ");
    add_escaped(&html, meeting->starts);
    buf_add_string(&html, "<br><br>");
    add_escaped(&html, clipped(work_arena(work), request->outcome, OUTCOME_CHARACTERS_MAX));
    buf_add_string(&html, "<br><br>Noted by ");
    add_escaped(&html, meeting->salesperson);
    buf_printf(&html, " through Switchboard, %s", marker);
    return take(work, &html).at;
}

/* The marker stays when a note is changed: it is made of what the note is for. */
static const char *marker_of(struct work *work, const struct meeting *meeting)
{
    return uuid_of(arena_alloc(work_arena(work), UUID_BYTES), "meeting note", meeting->id, meeting->revision, NULL);
}

static bool usable_id(const char *id)
{
    return id && *id && strlen(id) <= ID_BYTES_MAX && strspn(id, "0123456789") == strlen(id);
}

/* --- the contact -------------------------------------------------------------------------------------------------- */

static const char not_understood[] = "HubSpot's answer cannot be understood";

/* It says nothing of whether there is a contact. */
static enum outcome ask_later(struct work *work, const struct note_request *request)
{
    request->result->why = not_understood;
    return retry(work, 0, "%s", not_understood);
}

/* `path` names one contact: its id, or NULL when there is none. */
static enum outcome get_contact(struct work *work, const struct note_request *request, const char *path,
                                const char **ret)
{
    struct http_reply reply;
    TRY(hubspot_http(work, request->result, "GET", path, (struct text){ 0 }, &reply));
    const char *id = tree_string(tree_read(work_arena(work), reply.body), "id");
    if (reply.status != 404 && !usable_id(id))
        return ask_later(work, request);
    *ret = reply.status == 404 ? NULL : id;
    return DONE;
}

static struct text search_body(struct work *work, const char *email)
{
    struct buf json;
    buf_init(&json, BODY_BYTES_MAX);
    buf_add_string(&json,
                   "{\"filterGroups\":[{\"filters\":[{\"propertyName\":\"email\",\"operator\":\"EQ\",\"value\":");
    json_write_string(&json, email);
    buf_add_string(&json, "}]}],\"properties\":[\"email\"],\"limit\":2}");
    return take(work, &json);
}

/* By the address: a search, which does not know who came a moment ago, then the contact of that address. */
static enum outcome find_by_email(struct work *work, const struct note_request *request, const char *email,
                                  const char **ret)
{
    struct notifier *notifier = work_context(work);
    struct http_reply reply;
    TRY(pace_wait(work, &notifier->searches, HUBSPOT_SEARCHES_PER_S));
    TRY(hubspot_http(work, request->result, "POST", hubspot_path(work, "/contacts/search"), search_body(work, email),
                     &reply));
    const cJSON *results = tree_get(tree_read(work_arena(work), reply.body), "results");
    if (reply.status != 404 && !cJSON_IsArray(results))
        return ask_later(work, request);
    const char *id = tree_string(cJSON_GetArrayItem(results, 0), "id");
    if (usable_id(id)) {
        *ret = id;
        return DONE;
    }
    struct buf path;
    buf_init(&path, BODY_BYTES_MAX);
    form_encode(&path, email);
    return get_contact(work, request, hubspot_path(work, "/contacts/%s?idProperty=email", take(work, &path).at), ret);
}

/* An id that is known no more (merged, deleted) is looked for by its address. */
static enum outcome find_contact(struct work *work, void *asked, struct answer *ret)
{
    const struct note_request *request = asked;
    const struct meeting *meeting = request->meeting;
    const char *id = NULL;
    if (meeting->hubspot_contact_id)
        TRY(get_contact(work, request, hubspot_path(work, "/contacts/%s", meeting->hubspot_contact_id), &id));
    if (!id && meeting->client_email)
        TRY(find_by_email(work, request, meeting->client_email, &id));
    ret->body = text_of(id ? arena_copy(work_arena(work), id) : "");
    return DONE;
}

/* --- the note ----------------------------------------------------------------------------------------------------- */

/* HubSpot's other form of a time. */
static const char *milliseconds(struct work *work, const char *time)
{
    int64_t us;
    return arena_printf(work_arena(work), "%lld", (long long)(time_read(text_of(time), &us) ? us : now_us()) / 1000);
}

static void add_properties(struct work *work, struct buf *json, const struct note_request *request,
                           const char *timestamp)
{
    json_name(json, "properties");
    buf_add_char(json, '{');
    if (timestamp)
        json_add_string(json, "hs_timestamp", timestamp);
    json_add_string(json, "hs_note_body", note_html(work, request, marker_of(work, request->meeting)));
    buf_add_char(json, '}');
}

static enum outcome create_note(struct work *work, void *asked, struct answer *ret)
{
    const struct note_request *request = asked;
    struct http_reply reply;
    struct buf json;
    buf_init(&json, BODY_BYTES_MAX);
    buf_add_char(&json, '{');
    add_properties(work, &json, request, milliseconds(work, work_event(work)->time));
    buf_printf(&json,
               ",\"associations\":[{\"to\":{\"id\":\"%s\"},\"types\":[{\"associationCategory\":\"HUBSPOT_DEFINED\","
               "\"associationTypeId\":%d}]}]}",
               request->contact_id, NOTE_TO_CONTACT);
    TRY(hubspot_http(work, request->result, "POST", hubspot_path(work, "/notes"), take(work, &json), &reply));
    const char *id = tree_string(tree_read(work_arena(work), reply.body), "id");
    if (reply.status == 404) {
        request->result->why = "HTTP status 404: the contact is not there any more";
        return reject(work, "%s", request->result->why);
    }
    if (!usable_id(id)) {
        request->result->why = not_understood;
        return ask_uncertain(work, "%s", not_understood);
    }
    *ret = (struct answer){ .body = text_of(arena_copy(work_arena(work), id)),
                            .provider_id = arena_copy(work_arena(work), id) };
    return DONE;
}

/* Which of these notes has our marker; *ret NULL: none. */
static enum outcome read_notes(struct work *work, const struct note_request *request, const char *const *ids, int count,
                               const char **ret)
{
    const char *marker = marker_of(work, request->meeting);
    const cJSON *item;
    struct http_reply reply;
    struct buf json;
    buf_init(&json, BODY_BYTES_MAX);
    buf_add_string(&json, "{\"properties\":[\"hs_note_body\"],\"inputs\":[");
    for (int i = 0; i < count; i++) {
        json_separate(&json);
        buf_printf(&json, "{\"id\":\"%s\"}", ids[i]);
    }
    buf_add_string(&json, "]}");
    TRY(hubspot_http(work, request->result, "POST", hubspot_path(work, "/notes/batch/read"), take(work, &json),
                     &reply));
    const cJSON *results = tree_get(tree_read(work_arena(work), reply.body), "results");
    if (!cJSON_IsArray(results))
        return retry(work, 0, "HubSpot's notes cannot be read");
    cJSON_ArrayForEach(item, results)
    {
        const char *body = tree_string(tree_get(item, "properties"), "hs_note_body"), *id = tree_string(item, "id");
        if (body && usable_id(id) && strstr(body, marker))
            *ret = id;
    }
    return DONE;
}

/* The id of an association's other end: a number at version 4, text at others. */
static const char *associated_id(struct work *work, const cJSON *item)
{
    int64_t number = tree_count(item, "toObjectId");
    const char *id =
        number ? arena_printf(work_arena(work), "%lld", (long long)number) : tree_string(item, "toObjectId");
    id = id ? id : tree_string(item, "id");
    return usable_id(id) ? id : NULL;
}

static enum outcome look_through_page(struct work *work, const struct note_request *request, const cJSON *results,
                                      const char **ret)
{
    const char *ids[NOTES_AT_ONCE];
    const cJSON *item;
    int count = 0;
    cJSON_ArrayForEach(item, results)
    {
        const char *id = associated_id(work, item);
        if (id)
            ids[count++] = id;
        if (count == NOTES_AT_ONCE || (count > 0 && !item->next)) {
            TRY(read_notes(work, request, ids, count, ret));
            count = 0;
        }
    }
    return count > 0 ? read_notes(work, request, ids, count, ret) : DONE;
}

static enum outcome look_for_note(struct work *work, void *asked, struct answer *ret, bool *ret_found)
{
    const struct note_request *request = asked;
    const char *after = NULL, *id = NULL;
    for (int page = 0; page < NOTE_PAGES_MAX && !id && (page == 0 || after); page++) {
        struct http_reply reply;
        TRY(hubspot_http(work, request->result, "GET", hubspot_associations_path(work, request->contact_id, after),
                         (struct text){ 0 }, &reply));
        const cJSON *answer = tree_read(work_arena(work), reply.body), *results = tree_get(answer, "results");
        if (reply.status == 404)
            return DONE;
        if (!cJSON_IsArray(results))
            return retry(work, 0, "HubSpot's list of notes cannot be read");
        TRY(look_through_page(work, request, results, &id));
        after = tree_string(tree_get(tree_get(answer, "paging"), "next"), "after");
    }
    if (id)
        *ret = (struct answer){ .body = text_of(arena_copy(work_arena(work), id)),
                                .provider_id = arena_copy(work_arena(work), id) };
    *ret_found = id != NULL;
    return DONE;
}

static enum outcome change_note(struct work *work, void *asked, struct answer *ret)
{
    const struct note_request *request = asked;
    struct http_reply reply;
    struct buf json;
    buf_init(&json, BODY_BYTES_MAX);
    buf_add_char(&json, '{');
    add_properties(work, &json, request, NULL);
    buf_add_char(&json, '}');
    TRY(hubspot_http(work, request->result, "PATCH", hubspot_path(work, "/notes/%s", request->note_id),
                     take(work, &json), &reply));
    if (reply.status == 404) {
        request->result->why = "the note is not in HubSpot any more";
        return reject(work, "%s", request->result->why);
    }
    ret->body = text_of(request->note_id);
    return DONE;
}

static enum outcome delete_note(struct work *work, void *asked, struct answer *ret)
{
    const struct note_request *request = asked;
    struct http_reply reply;
    TRY(hubspot_http(work, request->result, "DELETE", hubspot_path(work, "/notes/%s", request->note_id),
                     (struct text){ 0 }, &reply));
    ret->body = text_of(request->note_id); /* 404: it is gone */
    return DONE;
}

/* --- asking, and what is made of how it ended --------------------------------------------------------------------- */

/* False: `ret` says how it ended. */
static bool asked(struct work *work, const char *name, const struct ask *ask_of, struct hubspot_result *ret,
                  struct answer *answer)
{
    enum outcome outcome = ask(work, name, ask_of, answer);
    if (outcome == DONE)
        return true;
    ret->end = outcome == RETRY ? HUBSPOT_LATER : HUBSPOT_REFUSED;
    if (!ret->why)
        ret->why = arena_copy(work_arena(work), work_why(work)->text);
    return false;
}

static struct ask again(struct work *work, const struct note_request *request,
                        enum outcome (*call)(struct work *work, void *asked, struct answer *ret))
{
    const struct notifier *notifier = work_context(work);
    return (struct ask){ .kind = ASK_AGAIN,
                         .provider = "hubspot",
                         .no_circuit = true,
                         .unrecorded = true,
                         .timeout_ms = notifier->hubspot_timeout_ms,
                         .call = call,
                         .request = (void *)request };
}

void hubspot_change_note(struct work *work, const struct meeting *meeting, const char *note_id, const char *outcome,
                         struct hubspot_result *ret)
{
    const struct note_request request = { .meeting = meeting, .outcome = outcome, .note_id = note_id, .result = ret };
    const struct ask ask = again(work, &request, change_note);
    struct answer answer;
    if (asked(work, "hubspot_change", &ask, ret, &answer))
        ret->note_id = note_id;
}

void hubspot_delete_note(struct work *work, const char *note_id, struct hubspot_result *ret)
{
    const struct note_request request = { .note_id = note_id, .result = ret };
    const struct ask ask = again(work, &request, delete_note);
    struct answer answer;
    asked(work, "hubspot_delete", &ask, ret, &answer);
}

static bool contact_found(struct work *work, struct note_request *request)
{
    const struct ask ask = again(work, request, find_contact);
    struct hubspot_result *result = request->result;
    struct answer answer;
    if (!asked(work, "hubspot_contact", &ask, result, &answer))
        return false;
    bool found = answer.body.bytes > 0;
    if (found)
        request->contact_id = result->contact_id = answer.body.at;
    else
        result->end = HUBSPOT_NO_CONTACT;
    return found;
}

static void describe_written(struct work *work, const struct meeting *meeting, const char *recipient,
                             const struct answer *answer)
{
    effect_row(work, &note_written, answer->ask_id);
    effect_event(work, &EVENT_DELIVERY_CHANGED, recipient,
                 &(struct delivery_changed){ .delivery_id = answer->ask_id,
                                             .channel = "hubspot",
                                             .purpose = "note",
                                             .subject_id = meeting->id,
                                             .message_id = answer->provider_id,
                                             .status = "delivered" });
}

void hubspot_create_note(struct work *work, const struct meeting *meeting, const char *outcome, const char *version,
                         struct hubspot_result *ret)
{
    const struct notifier *notifier = work_context(work);
    struct note_request request = { .meeting = meeting, .outcome = outcome, .result = ret };
    struct answer answer;
    if (!contact_found(work, &request))
        return;
    const struct ask ask = {
        .kind = ASK_ONCE,
        .provider = "hubspot",
        .no_circuit = true,
        .recipient = meeting->client_email ? meeting->client_email : meeting->client_id,
        .purpose = "note",
        .subject = meeting->id,
        .version = arena_printf(work_arena(work), "%s/%s", meeting->revision, version),
        .content = outcome,
        .timeout_ms = notifier->hubspot_timeout_ms,
        .call = create_note,
        .look_up = look_for_note,
        .request = &request,
    };
    if (!asked(work, "hubspot_note", &ask, ret, &answer))
        return;
    ret->note_id = answer.provider_id;
    describe_written(work, meeting, ask.recipient, &answer);
    if (answer.recorded) /* the words may have been changed while it was not known whether the first were written */
        hubspot_change_note(work, meeting, ret->note_id, outcome, ret);
}
