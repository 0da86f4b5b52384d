/* twilio.c: one message through Twilio's Messages API (twilio.com/docs/messaging/api/message-resource).
 *
 * Twilio has no idempotency key.  What tells us of a message whose answer was lost: its status callback, whose
 * address carries our id; else the list of messages to that number, in which ours is the one with our words and a
 * sid that we do not know. */
#include "notifier/notifier.h"
#include "common/form.h"
#include "common/json.h"
#include "common/tree.h"

#include <string.h>

#define TWILIO_ANSWER_BYTES_MAX (4 * 1024 * 1024)
#define TWILIO_PAGE_MAX         "1000" /* messages to one number since a day: as many as Twilio lists at once */
#define TWILIO_BODY_BYTES_MAX   (64 * 1024)
#define TWILIO_SID_BYTES_MAX    64 /* as in the schemas; theirs have 34 */

/* Codes with which a message is refused for good, and that say nothing of any other. */
static const char *const codes_for_good[] = {
    "21211",                                          /* no phone number */
    "21614",                                          /* not a mobile one */
    "63003",                                          /* not on WhatsApp */
    "63024",                                          /* cannot be written to */
    TWILIO_OPTED_OUT, TWILIO_OUTSIDE_WINDOW, "63018", /* WhatsApp's own limit of conversations that a business begins */
};

/* A row for each message to that number that is known to be another one; all at once, or a report that comes in between
 * would make ours another one.  `day`: in UTC, as Twilio counts, the one before when our clock was just past midnight.
 */
static const struct statement find_sent = {
    .name = "find_sent",
    .text = "SELECT ours.provider_id, to_char(ours.day, 'YYYY-MM-DD') AS day, other.provider_id AS other"
            " FROM (SELECT *, (created_at - interval '1 hour') AT TIME ZONE 'UTC' AS day FROM asks WHERE ask_id = "
            "$1::uuid) AS ours"
            " LEFT JOIN asks AS other ON other.kind = 'once' AND other.recipient = $2 AND other.provider = 'twilio'"
            " AND other.provider_id IS NOT NULL AND other.updated_at >= date_trunc('day', ours.day) AT TIME ZONE 'UTC'",
    .params = 2,
};

static void add_field(struct buf *form, const char *name, const char *value)
{
    if (form->bytes > 0)
        buf_add_char(form, '&');
    form_encode(form, name);
    buf_add_char(form, '=');
    form_encode(form, value);
}

const char *twilio_number(const char *address)
{
    return text_starts(text_of(address), "whatsapp:") ? address + strlen("whatsapp:") : address;
}

const char *twilio_address(struct work *work, const char *number)
{
    return text_starts(text_of(number), "whatsapp:") ? number : arena_printf(work_arena(work), "whatsapp:%s", number);
}

/* A template's variable may hold neither line breaks nor many blanks in a row, and not be empty; at most so many
 * characters, cut between two of them. */
static const char *variable(struct arena *arena, const char *value)
{
    char *copy = arena_copy(arena, value), *end = copy;
    int characters = 0;
    for (const char *at = value; *at; at++) {
        bool blank = (unsigned char)*at <= ' ' || *at == 0x7f;
        if (blank && (end == copy || end[-1] == ' '))
            continue;
        if (((unsigned char)*at & 0xC0) != 0x80 && ++characters > WHATSAPP_VARIABLE_CHARACTERS_MAX)
            break;
        *end++ = blank ? ' ' : *at;
    }
    if (end > copy && end[-1] == ' ')
        end--;
    *end = '\0';
    return *copy ? copy : "-";
}

const char *twilio_variables(struct work *work, const char *const *variables)
{
    const char *lines = variable(work_arena(work), variables[0]);
    for (int i = 1; variables[i]; i++)
        lines = arena_printf(work_arena(work), "%s\n%s", lines, variable(work_arena(work), variables[i]));
    return lines;
}

/* The next of the lines; NULL after the last. */
static const char *next_variable(struct work *work, const char **lines)
{
    const char *line = *lines;
    if (!line)
        return NULL;
    size_t bytes = strcspn(line, "\n");
    *lines = line[bytes] ? line + bytes + 1 : NULL;
    return arena_copy_text(work_arena(work), (struct text){ line, bytes });
}

static const char *variables_json(struct work *work, const char *lines)
{
    struct buf json;
    buf_init(&json, TWILIO_BODY_BYTES_MAX);
    buf_add_char(&json, '{');
    const char *line;
    for (int i = 1; (line = next_variable(work, &lines)); i++) {
        json_name(&json, arena_printf(work_arena(work), "%d", i));
        json_write_string(&json, line);
    }
    buf_add_char(&json, '}');
    const char *text = arena_copy_text(work_arena(work), buf_text(&json));
    buf_done(&json);
    return text;
}

static struct text message_form(struct work *work, const struct twilio_message *sending)
{
    const struct notifier *notifier = work_context(work);
    struct arena *arena = work_arena(work);
    struct buf form;
    buf_init(&form, TWILIO_BODY_BYTES_MAX);
    add_field(&form, "To", sending->recipient);
    add_field(&form, "From", twilio_address(work, notifier->whatsapp_from));
    if (sending->by_template) {
        add_field(&form, "ContentSid", sending->message->content_sid);
        add_field(&form, "ContentVariables", variables_json(work, ask_content(work)));
    } else {
        add_field(&form, "Body", ask_content(work));
    }
    if (notifier->public_url)
        add_field(&form, "StatusCallback",
                  arena_printf(arena, "%s/twilio-status?delivery=%s", notifier->public_url, ask_id(work)));
    struct text text = { arena_copy_text(arena, buf_text(&form)), form.bytes };
    buf_done(&form);
    return text;
}

const char *twilio_missing(const struct notifier *notifier)
{
    return !notifier->twilio_account ? "TWILIO_ACCOUNT_SID" : !notifier->twilio_token ? "TWILIO_AUTH_TOKEN" : NULL;
}

/* The first of the tokens, which may be several while they are rotated. */
static const char *token(struct work *work, const struct notifier *notifier)
{
    return arena_copy_text(work_arena(work),
                           (struct text){ notifier->twilio_token, strcspn(notifier->twilio_token, ",") });
}

/* A status and a sid, which is no sid when it is longer than any. */
static void read_message(struct work *work, const cJSON *json, struct answer *ret)
{
    const char *sid = tree_string(json, "sid");
    bool usable = sid && sid[0] && strlen(sid) <= TWILIO_SID_BYTES_MAX;
    *ret = (struct answer){ .body = text_of(arena_copy(work_arena(work), tree_string(json, "status"))),
                            .provider_id = usable ? arena_copy(work_arena(work), sid) : NULL };
}

const char *twilio_status(const struct answer *answer)
{
    return delivery_status_rank(answer->body.at) >= 0 ? answer->body.at : "accepted";
}

static void read_refusal(struct work *work, const struct http_reply *reply, struct twilio_message *ret)
{
    int64_t code = tree_count(tree_read(work_arena(work), reply->body), "code");
    if (reply->status < 400 || reply->status >= 500 || code == 0)
        return;
    ret->code = arena_printf(work_arena(work), "%lld", (long long)code);
    for (size_t i = 0; i < LENGTH(codes_for_good); i++)
        ret->for_good = ret->for_good || strcmp(ret->code, codes_for_good[i]) == 0;
}

enum outcome twilio_send(struct work *work, void *request, struct answer *ret)
{
    const struct notifier *notifier = work_context(work);
    struct twilio_message *sending = request;
    const struct http_request http = {
        .method = "POST",
        .url = arena_printf(work_arena(work), "%s/2010-04-01/Accounts/%s/Messages.json", notifier->twilio_url,
                            notifier->twilio_account),
        .headers = (const char *const[]){ "Content-Type: application/x-www-form-urlencoded", NULL },
        .body = message_form(work, sending),
        .basic_user = notifier->twilio_account,
        .basic_password = token(work, notifier),
        .timeout_ms = notifier->twilio_timeout_ms,
        .answer_bytes_max = TWILIO_ANSWER_BYTES_MAX,
    };
    struct http_reply reply;
    sending->ask_id = arena_copy(work_arena(work), ask_id(work));
    TRY(work_http_any(work, &http, &reply));
    read_refusal(work, &reply, sending);
    TRY(work_http_judge(work, &reply));
    read_message(work, tree_read(work_arena(work), reply.body), ret);
    return ret->provider_id
               ? DONE
               : ask_uncertain(work, "twilio answered HTTP status %ld without a message sid", reply.status);
}

/* Whether a listed message says what ours said: its very words, or each of the template's variables. */
static bool says_the_same(struct work *work, const char *said, bool by_template, const char *body)
{
    const char *line;
    if (!said || !by_template)
        return said && strcmp(said, body) == 0;
    while ((line = next_variable(work, &said)))
        if (!strstr(body, line))
            return false;
    return true;
}

static bool is_another(const struct rows *sent, const char *sid)
{
    for (int i = 0; i < sent->count; i++) {
        const char *other = row_get(sent, i, "other");
        if (other && strcmp(other, sid) == 0)
            return true;
    }
    return false;
}

static enum outcome list_messages(struct work *work, const char *recipient, const char *day, const cJSON **ret)
{
    const struct notifier *notifier = work_context(work);
    struct buf query;
    buf_init(&query, TWILIO_BODY_BYTES_MAX);
    add_field(&query, "To", recipient);
    add_field(&query, "DateSent>", day);
    add_field(&query, "PageSize", TWILIO_PAGE_MAX);
    const struct http_request http = {
        .method = "GET",
        .url = arena_printf(work_arena(work), "%s/2010-04-01/Accounts/%s/Messages.json?%s", notifier->twilio_url,
                            notifier->twilio_account, query.at),
        .basic_user = notifier->twilio_account,
        .basic_password = token(work, notifier),
        .timeout_ms = notifier->twilio_timeout_ms,
        .answer_bytes_max = TWILIO_ANSWER_BYTES_MAX,
    };
    buf_done(&query);
    struct http_reply reply;
    TRY(work_http(work, &http, &reply));
    *ret = tree_get(tree_read(work_arena(work), reply.body), "messages");
    if (!cJSON_IsArray(*ret)) /* it does not say that ours is not there: it would be sent twice */
        return retry(work, 0, "twilio's list of messages cannot be read");
    return DONE;
}

static enum outcome look_for(struct work *work, const struct twilio_search *lost, bool by_template, struct answer *ret,
                             bool *ret_found)
{
    struct rows sent;
    TRY(work_query(work, &find_sent, &sent, lost->ask_id, lost->recipient));
    if (sent.count == 0)
        return reject(work, "the row of the message is gone");
    if (row_get(&sent, 0, "provider_id")) { /* a status callback told us */
        *ret = (struct answer){ .body = TEXT("accepted"), .provider_id = row_get(&sent, 0, "provider_id") };
        *ret_found = true;
        return DONE;
    }
    const cJSON *messages, *item;
    TRY(list_messages(work, lost->recipient, row_get(&sent, 0, "day"), &messages));
    cJSON_ArrayForEach(item, messages)
    {
        const char *sid = tree_string(item, "sid"), *body = tree_string(item, "body");
        if (sid && body && !is_another(&sent, sid) && says_the_same(work, lost->content, by_template, body)) {
            read_message(work, item, ret);
            *ret_found = true;
            return DONE;
        }
    }
    return DONE;
}

enum outcome twilio_look_up(struct work *work, void *request, struct answer *ret, bool *ret_found)
{
    const struct twilio_message *sending = request;
    const struct twilio_search lost = { ask_id(work), sending->recipient, ask_content(work), false };
    return look_for(work, &lost, sending->by_template, ret, ret_found);
}

/* Whether it was a text its row does not say: one is found by its lines, too. */
enum outcome twilio_find(struct work *work, void *request, struct answer *ret)
{
    struct twilio_search *lost = request;
    return look_for(work, lost, true, ret, &lost->found);
}
