/* whatsapp.c: WhatsApp through Twilio's Messages API (twilio.com/docs/messaging/api/message-resource).
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
#define TWILIO_PAGE_MAX "1000"          /* messages to one number since a day: as many as Twilio lists at once */
#define TWILIO_BODY_BYTES_MAX (64 * 1024)
#define TWILIO_SID_BYTES_MAX 64         /* as in the schemas; theirs have 34 */

/* A row for each message to that number that is known to be another one; all at once, or a report that comes in between would make ours
 * another one.  `day`: in UTC, as Twilio counts, the one before when our clock was just past midnight. */
static const struct statement find_sent = {
    .name = "find_sent",
    .text = "SELECT ours.provider_id, to_char(ours.day, 'YYYY-MM-DD') AS day, other.provider_id AS other"
            " FROM (SELECT *, (created_at - interval '1 hour') AT TIME ZONE 'UTC' AS day FROM asks WHERE ask_id = $1::uuid) AS ours"
            " LEFT JOIN asks AS other ON other.kind = 'once' AND other.recipient = $2 AND other.provider = 'twilio'"
            " AND other.provider_id IS NOT NULL AND other.updated_at >= date_trunc('day', ours.day) AT TIME ZONE 'UTC'",
    .params = 2,
};
/* What the answer says of it; reports may have said more already. */
static const struct statement note_accepted = {
    .name = "note_accepted",
    .text = "UPDATE asks SET provider_status = $2, updated_at = now()"
            " WHERE ask_id = $1::uuid AND coalesce(delivery_status_rank(provider_status),"
            " 0) < delivery_status_rank($2)",
    .params = 2,
};
static const struct statement find_message = {
    .name = "find_message",
    .text = "SELECT ask_id, provider_status FROM asks WHERE kind = 'once' AND recipient = $1 AND purpose = $2"
            " AND subject = $3 AND version = $4"
            " ORDER BY resend DESC LIMIT 1",
    .params = 4,
};
/* Nothing was asked; the row shows why. */
static const struct statement insert_blocked = {
    .name = "insert_blocked",
    .text = "INSERT INTO asks (ask_id, stage, event_id, run, name, kind, provider, tenant, correlation_id, recipient,"
            " purpose, subject,"
            " version, content, state, provider_status, error)"
            " VALUES ($1::uuid, 'notifier', $2::uuid, $3::integer, $4, 'once', 'twilio', $5, $6, $7, $8, $9, $10,"
            " $11, 'refused',"
            " 'blocked', $12)"
            " ON CONFLICT DO NOTHING",
    .params = 12,
};

static void add_field(struct buf *form, const char *name, const char *value)
{
    if (form->bytes > 0)
        buf_add_char(form, '&');
    form_encode(form, name);
    buf_add_char(form, '=');
    form_encode(form, value);
}

/* Twilio's form of an address; a setting may have it already. */
static const char *address(struct work *work, const char *number)
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

static const char *variables_json(struct work *work, const struct whatsapp_message *message)
{
    struct buf json;
    buf_init(&json, TWILIO_BODY_BYTES_MAX);
    buf_add_char(&json, '{');
    for (int i = 0; message->variables[i]; i++) {
        json_name(&json, arena_printf(work_arena(work), "%d", i + 1));
        json_write_string(&json, variable(work_arena(work), message->variables[i]));
    }
    buf_add_char(&json, '}');
    const char *text = arena_copy_text(work_arena(work), buf_text(&json));
    buf_done(&json);
    return text;
}

static struct text message_form(struct work *work, const struct whatsapp_message *message)
{
    const struct notifier *notifier = work_context(work);
    struct arena *arena = work_arena(work);
    struct buf form;
    buf_init(&form, TWILIO_BODY_BYTES_MAX);
    add_field(&form, "To", address(work, message->to));
    add_field(&form, "From", address(work, notifier->whatsapp_from));
    add_field(&form, "ContentSid", message->content_sid);
    add_field(&form, "ContentVariables", variables_json(work, message));
    if (notifier->public_url)
        add_field(&form, "StatusCallback",
                  arena_printf(arena, "%s/twilio-status?delivery=%s", notifier->public_url, ask_id(work)));
    struct text text = { arena_copy_text(arena, buf_text(&form)), form.bytes };
    buf_done(&form);
    return text;
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

static enum outcome twilio_send(struct work *work, void *request, struct answer *ret)
{
    const struct notifier *notifier = work_context(work);
    const struct http_request http = {
        .method = "POST",
        .url = arena_printf(work_arena(work), "%s/2010-04-01/Accounts/%s/Messages.json", notifier->twilio_url,
                            notifier->twilio_account),
        .headers = (const char *const[]){ "Content-Type: application/x-www-form-urlencoded", NULL },
        .body = message_form(work, request),
        .basic_user = notifier->twilio_account,
        .basic_password = token(work, notifier),
        .timeout_ms = notifier->twilio_timeout_ms,
        .answer_bytes_max = TWILIO_ANSWER_BYTES_MAX,
    };
    struct http_reply reply;
    TRY(work_http(work, &http, &reply));
    read_message(work, tree_read(work_arena(work), reply.body), ret);
    return ret->provider_id
               ? DONE
               : ask_uncertain(work, "twilio answered HTTP status %ld without a message sid", reply.status);
}

/* Whether a listed message says what ours says: each variable stands in its text. */
static bool says_the_same(struct work *work, const struct whatsapp_message *message, const char *body)
{
    for (int i = 0; message->variables[i]; i++)
        if (!strstr(body, variable(work_arena(work), message->variables[i])))
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

static enum outcome twilio_look_up(struct work *work, void *request, struct answer *ret, bool *ret_found)
{
    const struct notifier *notifier = work_context(work);
    const struct whatsapp_message *message = request;
    struct rows sent;
    const char *recipient = address(work, message->to);
    TRY(work_query(work, &find_sent, &sent, ask_id(work), recipient));
    if (sent.count == 0)
        return reject(work, "the row of the message is gone");
    if (row_get(&sent, 0, "provider_id")) {     /* a status callback told us */
        *ret = (struct answer){ .body = TEXT("accepted"), .provider_id = row_get(&sent, 0, "provider_id") };
        *ret_found = true;
        return DONE;
    }
    struct buf query;
    buf_init(&query, TWILIO_BODY_BYTES_MAX);
    add_field(&query, "To", recipient);
    add_field(&query, "DateSent>", row_get(&sent, 0, "day"));
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
    const cJSON *messages = tree_get(tree_read(work_arena(work), reply.body), "messages"), *item;
    if (!cJSON_IsArray(messages))       /* it does not say that ours is not there: it would be sent twice */
        return retry(work, 0, "twilio's list of messages cannot be read");
    cJSON_ArrayForEach(item, messages) {
        const char *sid = tree_string(item, "sid"), *body = tree_string(item, "body");
        if (sid && body && !is_another(&sent, sid) && says_the_same(work, message, body)) {
            read_message(work, item, ret);
            *ret_found = true;
            return DONE;
        }
    }
    return DONE;
}

static const char *missing_setting(const struct notifier *notifier, const struct whatsapp_message *message)
{
    return !notifier->twilio_account   ? "TWILIO_ACCOUNT_SID"
           : !notifier->twilio_token   ? "TWILIO_AUTH_TOKEN"
           : !notifier->whatsapp_from  ? "TWILIO_WHATSAPP_FROM"
           : !message->content_sid     ? message->content_setting
                                       : NULL;
}

static enum outcome block(struct work *work, const struct whatsapp_message *message, const char *recipient,
                          const char *missing)
{
    const struct event *event = work_event(work);
    struct arena *arena = work_arena(work);
    const char *error = arena_printf(arena, "%s is not set", missing);
    struct rows rows;
    TRY(work_query(work, &find_message, &rows, recipient, message->purpose, message->subject, message->version));
    const char *status = rows.count > 0 ? row_get(&rows, 0, "provider_status") : "blocked";
    if (!status || strcmp(status, "blocked") != 0)
        return skip(work, "%s, but the message was sent before", error);
    const char *id = rows.count > 0 ? row_get(&rows, 0, "ask_id")
                                    : uuid_of(arena_alloc(arena, UUID_BYTES), "blocked", recipient, message->purpose,
                                              message->subject, message->version, NULL);
    effect_row(work, &insert_blocked, id, event->id, arena_printf(arena, "%d", work_run(work)), message->purpose,
               work_tenant(work), event->correlation_id, recipient, message->purpose, message->subject,
               message->version, message->content, error);
    effect_event(work, &EVENT_DELIVERY_CHANGED, recipient,
                 &(struct delivery_changed){ .delivery_id = id,
                                             .channel = "whatsapp",
                                             .purpose = message->purpose,
                                             .subject_id = message->subject,
                                             .status = "blocked" });
    return DONE;
}

enum outcome whatsapp_send(struct work *work, const struct whatsapp_message *message)
{
    const struct notifier *notifier = work_context(work);
    const char *recipient = address(work, message->to);
    const char *missing = missing_setting(notifier, message);
    if (missing)
        return block(work, message, recipient, missing);
    struct answer answer;
    TRY(ask(work, message->purpose, &(struct ask){
        .kind = ASK_ONCE,
        .provider = "twilio",
        .recipient = recipient,
        .purpose = message->purpose,
        .subject = message->subject,
        .version = message->version,
        .content = message->content,
        .timeout_ms = notifier->twilio_timeout_ms,
        .call = twilio_send,
        .look_up = twilio_look_up,
        .request = (void *)message,
    }, &answer));
    const char *status = delivery_status_rank(answer.body.at) >= 0 ? answer.body.at : "accepted";
    effect_row(work, &note_accepted, answer.ask_id, status);
    effect_event(work, &EVENT_DELIVERY_CHANGED, recipient,
                 &(struct delivery_changed){ .delivery_id = answer.ask_id,
                                             .channel = "whatsapp",
                                             .purpose = message->purpose,
                                             .subject_id = message->subject,
                                             .message_id = answer.provider_id,
                                             .status = status });
    return DONE;
}
