/* coach_chats.c: the recorder's part of WhatsApp chats: twilio.message.received → messages, and chat.received in the
 * conversation of the salesperson whose number it is.  Fields: Twilio's request to an incoming message webhook
 * (twilio.com/docs/messaging/guides/webhook-request). */
#include "common/form.h"
#include "ingest/recorder.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WHATSAPP "whatsapp:"
#define FROM_CHARACTERS_MAX 64          /* as in the schema, as are the next three */
#define TEXT_CHARACTERS_MAX 4096
#define URL_BYTES_MAX 4096
#define MEDIA_TYPE_CHARACTERS_MAX 128
#define MEDIA_MAX 10                    /* of one message: Twilio's own limit */

/* What was said, and how. */
struct said {
    const char *kind;                   /* as in chat.received; also messages.purpose */
    const char *text;                   /* may be NULL */
    const char *media_url, *media_type; /* of a voice note, else NULL */
};

static const char *get(const struct form *form, const char *name)
{
    const char *value = form_get(form, name);
    return value && *value ? value : NULL;
}

/* "+15550100001"; anything else a channel may call somebody by is taken as it is. */
static bool is_e164(const char *number)
{
    size_t digits = number[0] == '+' && number[1] != '0' ? strspn(number + 1, "0123456789") : 0;
    return digits >= 7 && digits <= 15 && !number[1 + digits];
}

static const char *number_of(struct work *work, const char *address)
{
    bool whatsapp = strncmp(address, WHATSAPP, strlen(WHATSAPP)) == 0;
    return recorder_cut(work, whatsapp && is_e164(address + strlen(WHATSAPP)) ? address + strlen(WHATSAPP) : address,
                        FROM_CHARACTERS_MAX);
}

/* --- what was said ------------------------------------------------------------------------------------------------ */

/* The first audio among the media; WhatsApp itself sends one thing a message. */
static bool find_voice(struct work *work, const struct form *form, int media, struct said *ret)
{
    for (int i = 0; i < media; i++) {
        const char *url = get(form, arena_printf(work_arena(work), "MediaUrl%d", i));
        const char *type = get(form, arena_printf(work_arena(work), "MediaContentType%d", i));
        if (!url || !type || strncasecmp(type, "audio/", strlen("audio/")) != 0 || strlen(url) > URL_BYTES_MAX)
            continue;
        ret->media_url = url;
        ret->media_type = recorder_cut(work, type, MEDIA_TYPE_CHARACTERS_MAX);
        return true;
    }
    return false;
}

/* A button and an entry of a list say their own words. */
static const char *words_of(struct work *work, const struct form *form)
{
    static const char *const names[] = { "Body", "ButtonText", "ListTitle" };
    for (size_t i = 0; i < LENGTH(names); i++) {
        const char *text = get(form, names[i]);
        if (text && text[strspn(text, " \t\r\n")])
            return recorder_cut(work, text, TEXT_CHARACTERS_MAX);
    }
    return NULL;
}

/* Places and contacts have no words of their own, and are no media at Twilio. */
static bool is_other(const struct form *form)
{
    static const char *const others[] = { "location", "contacts", "sticker" };
    const char *type = get(form, "MessageType");
    bool other = get(form, "Latitude");
    for (size_t i = 0; i < LENGTH(others); i++)
        other |= type && strcasecmp(type, others[i]) == 0;
    return other;
}

static struct said read_said(struct work *work, const struct form *form)
{
    const char *count = get(form, "NumMedia");
    int media = count ? atoi(count) : 0;
    struct said said = { .text = words_of(work, form) };
    if (find_voice(work, form, media < MEDIA_MAX ? media : MEDIA_MAX, &said))
        said.kind = "voice";
    else
        said.kind = media > 0 || is_other(form) || !said.text ? "media" : "text";
    return said;
}

/* --- who said it -------------------------------------------------------------------------------------------------- */

/* $2: DEFAULT_TENANT.  A number of several companies' people speaks to the one where it was last used: there somebody
 * wrote from it, or registered it.  A row without an e-mail: nobody has the number. */
static const struct statement find_writer = {
    .name = "find_writer",
    .text = "SELECT c.tenant, p.email, EXISTS (SELECT 1 FROM messages m WHERE m.message_id = $3"
            "  AND m.tenant IN (SELECT tenant FROM user_phones WHERE phone = $1 UNION ALL SELECT c.tenant)) AS known"
            " FROM (SELECT 1) AS one"
            " LEFT JOIN LATERAL (SELECT tenant, email FROM user_phones WHERE phone = $1"
            "  ORDER BY greatest(last_received_at, created_at) DESC, tenant LIMIT 1) AS p ON true"
            " JOIN companies c ON c.tenant = coalesce(p.tenant, $2)",
    .params = 3,
};
static const struct statement insert_incoming = {
    .name = "insert_incoming",
    .text = "INSERT INTO messages (tenant, message_id, email, phone, direction, purpose, message, \"timestamp\")"
            " VALUES ($1, $2, $3, $4, 'incoming', $5, $6, $7::timestamptz)",
    .params = 7,
};
static const struct statement note_received = {
    .name = "note_received",
    .text = "UPDATE user_phones SET last_received_at = $3::timestamptz, updated_at = now()"
            " WHERE tenant = $1 AND phone = $2 AND (last_received_at IS NULL OR last_received_at < $3::timestamptz)",
    .params = 3,
};
/* The number last written from receives; what is handled late decides nothing. */
static const struct statement receive_there = {
    .name = "receive_there",
    .text = "UPDATE users SET phone = $3, updated_at = now() WHERE tenant = $1 AND email = $2"
            " AND phone IS DISTINCT FROM $3 AND NOT EXISTS (SELECT 1 FROM user_phones o WHERE o.tenant = $1"
            "  AND o.email = $2 AND o.phone <> $3 AND o.last_received_at > $4::timestamptz)",
    .params = 4,
};

static enum outcome find(struct work *work, const char *number, const char *sid, struct rows *ret)
{
    const struct ingest *ingest = work_context(work);
    TRY(work_query(work, &find_writer, ret, number, ingest->default_tenant, sid));
    if (ret->count > 0)
        return DONE;
    if (!ingest->default_tenant)
        return reject(work, "nobody has this number, and DEFAULT_TENANT is not set: set it to the company that is to "
                            "answer, then retry this");
    return reject(work, "nobody has this number, and DEFAULT_TENANT \"%s\" is no company: name one that is there, or "
                        "make it with \"sb company add\", then retry this", ingest->default_tenant);
}

enum outcome record_twilio_message(struct work *work, const struct event *event)
{
    struct twilio_message_received received;
    struct form *form = arena_alloc(work_arena(work), sizeof(*form));
    struct text body;
    struct rows rows;
    TRY(work_read_data(work, event, twilio_message_received_read, &received));
    TRY(recorder_body(work, received.encoding, received.body, &body));
    if (!form_read(body, work_arena(work), form, work_why(work)))
        return REJECT;
    const char *sid = get(form, "MessageSid") ? get(form, "MessageSid") : get(form, "SmsSid");
    const char *address = get(form, "From");
    if (!sid || !address)
        return reject(work, "%s is missing", sid ? "From" : "MessageSid");
    const char *number = number_of(work, address);
    TRY(find(work, number, sid, &rows));
    bool known = strcmp(row_get(&rows, 0, "known"), "t") == 0;
    if (known && work_run(work) == 0)
        return skip(work, "message %s is known already", sid);

    const char *tenant = row_get(&rows, 0, "tenant"), *email = row_get(&rows, 0, "email");
    struct said said = read_said(work, form);
    work_set_tenant(work, tenant);
    if (!known)
        effect_row(work, &insert_incoming, tenant, sid, email, number, said.kind,
                   said.text && !said.media_url ? said.text : "", received.received_at);
    if (email) {
        effect_row(work, &note_received, tenant, number, received.received_at);
        effect_row(work, &receive_there, tenant, email, number, received.received_at);
    }
    effect_event(work, &EVENT_CHAT_RECEIVED, email ? email : number,
                 &(struct chat_received){ .message_id = sid,
                                          .from = number,
                                          .salesperson = email,
                                          .kind = said.kind,
                                          .text = said.text,
                                          .media_url = said.media_url,
                                          .media_type = said.media_type });
    return DONE;
}
