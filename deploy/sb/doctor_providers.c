/* doctor_providers.c: keys and addresses; every provider that has a key is asked for something that changes nothing. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/http_client.h"
#include "deploy/sb/doctor.h"

#define ASK_MS           10000
#define ANSWER_BYTES_MAX (4 * 1024 * 1024)

struct provider_keys {
    const char *twilio, *callrail, *gemini, *openai, *shunya, *hubspot;
};
#define AT(field) offsetof(struct provider_keys, field)
static const struct setting keys_table[] = {
    { "TWILIO_AUTH_TOKEN", SET_SECRET, AT(twilio), NULL, .help = "Twilio's token" },
    { "CALLRAIL_API_KEY", SET_SECRET, AT(callrail), NULL, .help = "CallRail's key" },
    { "GEMINI_API_KEY", SET_SECRET, AT(gemini), NULL, .help = "Gemini's key" },
    { "OPENAI_API_KEY", SET_SECRET, AT(openai), NULL, .help = "OpenAI's key" },
    { "HUBSPOT_ACCESS_TOKEN", SET_SECRET, AT(hubspot), NULL, .help = "HubSpot's token" },
    { "SHUNYA_API_KEY", SET_SECRET, AT(shunya), NULL, .help = "Shunya's key" },
    { 0 },
};

/* What is asked of one provider. */
struct question {
    const char *provider, *key_setting, *other_setting; /* what a refusal, and what "not found" is about */
    const char *url;
    const char *header; /* with the key */
    const char *user, *password;
    bool absent; /* it is asked for what it cannot have: whoever knows the key answers 404 */
};

static void judge(struct doctor *doctor, const struct question *question, const struct http_reply *reply,
                  const struct problem *why)
{
    if (reply->result != HTTP_ANSWERED)
        doctor_say(doctor, DOCTOR_BAD, "is the network there, and is its …_BASE_URL right?", "%s: %s",
                   question->provider, why->text);
    else if (question->absent ? reply->status == 404 : reply->status / 100 == 2)
        doctor_say(doctor, DOCTOR_OK, NULL, "%s answers, and knows the key", question->provider);
    else if (reply->status == 401 || reply->status == 403 || reply->status == 400)
        doctor_say(doctor, DOCTOR_BAD, arena_printf(doctor->arena, "set %s to a valid key", question->key_setting),
                   "%s refuses our key (HTTP status %ld)", question->provider, reply->status);
    else if (reply->status == 404)
        doctor_say(doctor, DOCTOR_BAD, arena_printf(doctor->arena, "mend %s", question->other_setting),
                   "%s does not know what is asked for (HTTP status 404)", question->provider);
    else
        doctor_say(doctor, reply->status == 429 ? DOCTOR_UNKNOWN : DOCTOR_BAD,
                   "wait, or look at the provider's status page", "%s answers with HTTP status %ld",
                   question->provider, reply->status);
}

static void ask_provider(struct doctor *doctor, struct http_client *client, const struct question *question)
{
    const char *headers[] = { question->header, NULL };
    struct http_request request = { .method = "GET",
                                    .url = question->url,
                                    .headers = question->header ? headers : NULL,
                                    .basic_user = question->user,
                                    .basic_password = question->password,
                                    .timeout_ms = ASK_MS,
                                    .answer_bytes_max = ANSWER_BYTES_MAX };
    struct http_reply reply;
    struct problem why = { 0 };

    http_call(client, &request, doctor->arena, &reply, &why);
    judge(doctor, question, &reply, &why);
}

static const char *first_of(struct doctor *doctor, const char *keys)
{
    return arena_copy_text(doctor->arena, (struct text){ keys, strcspn(keys, ",") });
}

static void ask_twilio(struct doctor *doctor, struct http_client *client, const char *tokens)
{
    const char *account = doctor_setting(doctor, "TWILIO_ACCOUNT_SID");

    if (tokens == NULL || account == NULL)
        return; /* "messages" tells of it */
    ask_provider(doctor, client,
                 &(struct question){ .provider = "twilio",
                                     .key_setting = "TWILIO_AUTH_TOKEN and TWILIO_ACCOUNT_SID",
                                     .other_setting = "TWILIO_ACCOUNT_SID",
                                     .url = arena_printf(doctor->arena,
                                                         "%s/2010-04-01/Accounts/%s/Messages.json?PageSize=1",
                                                         doctor_setting(doctor, "TWILIO_BASE_URL"), account),
                                     .user = account,
                                     .password = first_of(doctor, tokens) });
}

static void ask_callrail(struct doctor *doctor, struct http_client *client, const char *keys)
{
    const char *account = doctor_setting(doctor, "CALLRAIL_ACCOUNT_ID");

    if (keys == NULL || account == NULL)
        return; /* "missing calls" tells of it */
    ask_provider(doctor, client,
                 &(struct question){ .provider = "callrail",
                                     .key_setting = "CALLRAIL_API_KEY",
                                     .other_setting = "CALLRAIL_ACCOUNT_ID",
                                     .url = arena_printf(doctor->arena, "%s/a/%s/calls.json?per_page=1",
                                                         doctor_setting(doctor, "CALLRAIL_BASE_URL"), account),
                                     .header = arena_printf(doctor->arena, "Authorization: Token token=\"%s\"",
                                                            first_of(doctor, keys)) });
}

static void ask_gemini(struct doctor *doctor, struct http_client *client, const char *keys)
{
    if (keys == NULL)
        return;
    ask_provider(doctor, client,
                 &(struct question){ .provider = "gemini",
                                     .key_setting = "GEMINI_API_KEY",
                                     .other_setting = "GEMINI_MODEL",
                                     .url = arena_printf(doctor->arena, "%s/v1beta/models/%s",
                                                         doctor_setting(doctor, "GEMINI_BASE_URL"),
                                                         doctor_setting(doctor, "GEMINI_MODEL")),
                                     .header = arena_printf(doctor->arena, "x-goog-api-key: %s",
                                                            first_of(doctor, keys)) });
}

static void ask_openai(struct doctor *doctor, struct http_client *client, const char *keys)
{
    if (keys == NULL)
        return;
    ask_provider(doctor, client,
                 &(struct question){ .provider = "openai",
                                     .key_setting = "OPENAI_API_KEY",
                                     .other_setting = "OPENAI_MODEL",
                                     .url = arena_printf(doctor->arena, "%s/models/%s",
                                                         doctor_setting(doctor, "OPENAI_BASE_URL"),
                                                         doctor_setting(doctor, "OPENAI_MODEL")),
                                     .header = arena_printf(doctor->arena, "Authorization: Bearer %s",
                                                            first_of(doctor, keys)) });
}

/* A contact is read; whether notes may be written shows when one is ("notes" tells of what was refused). */
static void ask_hubspot(struct doctor *doctor, struct http_client *client, const char *tokens)
{
    if (tokens == NULL)
        return;
    ask_provider(doctor, client,
                 &(struct question){ .provider = "hubspot",
                                     .key_setting = "HUBSPOT_ACCESS_TOKEN (scopes crm.objects.contacts.read and .write)",
                                     .other_setting = "HUBSPOT_CRM_PATH",
                                     .url = arena_printf(doctor->arena, "%s%s/contacts?limit=1",
                                                         doctor_setting(doctor, "HUBSPOT_BASE_URL"),
                                                         doctor_setting(doctor, "HUBSPOT_CRM_PATH")),
                                     .header = arena_printf(doctor->arena, "Authorization: Bearer %s",
                                                            first_of(doctor, tokens)) });
}

/* It has nothing that could be listed: a job that nobody has. */
static void ask_shunya(struct doctor *doctor, struct http_client *client, const char *keys)
{
    const char *url = doctor_setting(doctor, "SHUNYA_BASE_URL");

    if (keys == NULL || url == NULL)
        return;
    ask_provider(doctor, client,
                 &(struct question){ .provider = "shunya",
                                     .key_setting = "SHUNYA_API_KEY",
                                     .other_setting = "SHUNYA_BASE_URL",
                                     .url = arena_printf(doctor->arena, "%s/api/v1/jobs/none", url),
                                     .header = arena_printf(doctor->arena, "Authorization: Bearer %s",
                                                            first_of(doctor, keys)),
                                     .absent = true });
}

static void look_at_providers(struct doctor *doctor)
{
    struct http_client_settings settings = { .connections_max = 4,
                                             .connections_per_host_max = 2,
                                             .user_agent = "Switchboard" };
    struct provider_keys keys;
    struct problem why;
    size_t before = doctor->line_count;

    if (!doctor_setting(doctor, "TWILIO_BASE_URL") || !doctor_setting(doctor, "GEMINI_BASE_URL") ||
        !doctor_setting(doctor, "CALLRAIL_BASE_URL")) {
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL,
                   "the daemons that ask them are not on this machine, or cannot read their settings");
        return;
    }
    struct http_client *client = settings_read(keys_table, &keys, &why) ? http_client_start(&settings, &why) : NULL;
    if (client == NULL) {
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "%s", why.text);
        return;
    }
    ask_twilio(doctor, client, keys.twilio);
    ask_callrail(doctor, client, keys.callrail);
    ask_gemini(doctor, client, keys.gemini);
    ask_openai(doctor, client, keys.openai);
    ask_hubspot(doctor, client, keys.hubspot);
    ask_shunya(doctor, client, keys.shunya);
    http_client_stop(client);
    if (doctor->line_count == before)
        doctor_say(doctor, DOCTOR_OK, NULL, "none has a key: messages are blocked, speech and analysis are done here");
}

/* --- what call tracking needs -------------------------------------------------------------------------------- */

/* Without a key to check them by, every webhook of CallRail is refused. */
static void look_at_signing_keys(struct doctor *doctor)
{
    static const struct statement find_keyless = {
        .name = "sb_find_keyless",
        .text = "SELECT coalesce(string_agg(tenant, ', ' ORDER BY tenant), '') AS tenants FROM companies"
                " WHERE callrail_keys IS NULL AND tenant <> 'unassigned'",
    };
    struct rows rows;

    if (doctor_setting(doctor, "INGEST_LISTEN") == NULL)
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "ingest is not on this machine, or cannot read its settings");
    else if (doctor_setting(doctor, "CALLRAIL_SIGNING_KEY"))
        doctor_say(doctor, DOCTOR_OK, NULL, "webhooks of every company can be let in");
    else if (doctor_query(doctor, &find_keyless, PARAMS(), &rows))
        doctor_say(doctor, DOCTOR_BAD, "set CALLRAIL_SIGNING_KEY, or the company's own (\"sb company set\" … --callrail-keys)",
                   "CALLRAIL_SIGNING_KEY is not set: CallRail's webhooks are refused, but for companies with a key of"
                   " their own; without one: %s", row_get(&rows, 0, "tenants"));
}

/* What a webhook did not bring, nobody brings but who asks. */
static void look_at_missing_calls(struct doctor *doctor)
{
    if (doctor_setting(doctor, "INGEST_LISTEN") == NULL)
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "ingest is not on this machine, or cannot read its settings");
    else if (doctor_setting(doctor, "CALLRAIL_API_KEY"))
        doctor_say(doctor, DOCTOR_OK, NULL, "CallRail is asked for calls whose webhooks never came");
    else
        doctor_say(doctor, DOCTOR_UNKNOWN, "set CALLRAIL_API_KEY and CALLRAIL_ACCOUNT_ID",
                   "CALLRAIL_API_KEY is not set: a call whose webhooks do not reach the door is lost, but for companies"
                   " with an account of their own (companies.callrail_account_id)");
}

static void look_at_messages(struct doctor *doctor)
{
    static const char *const needed[] = { "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_WHATSAPP_FROM",
                                          "TWILIO_CONTENT_SID_LEAD" };
    size_t before = doctor->line_count;

    if (doctor_setting(doctor, "TWILIO_BASE_URL") == NULL) {
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "notifier is not on this machine, or cannot read its settings");
        return;
    }
    for (size_t i = 0; i < LENGTH(needed); i++)
        if (doctor_setting(doctor, needed[i]) == NULL)
            doctor_say(doctor, DOCTOR_BAD, "set it, or switch the company's messages off (\"sb company set\" … --alerts off)",
                       "%s is not set: messages are blocked", needed[i]);
    if (doctor_setting(doctor, "PUBLIC_URL") == NULL)
        doctor_say(doctor, DOCTOR_BAD, "set it to the address at which providers reach ingest",
                   "PUBLIC_URL is not set: Twilio is not told where to report what became of a message");
    if (doctor->line_count == before)
        doctor_say(doctor, DOCTOR_OK, NULL, "messages can be sent, and are reported on");
}

/* --- what the sales coach needs -------------------------------------------------------------------------------- */

/* Salespeople who come to /register, and meetings of people nobody knows. */
static void look_at_default_company(struct doctor *doctor)
{
    static const struct statement find_default = {
        .name = "sb_find_default_company",
        .text = "SELECT EXISTS (SELECT 1 FROM companies WHERE tenant = $1 AND tenant <> 'unassigned') AS known",
        .params = 1,
    };
    const char *tenant = doctor_setting(doctor, "DEFAULT_TENANT");
    struct rows rows;

    if (doctor_setting(doctor, "INGEST_LISTEN") == NULL)
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "ingest is not on this machine, or cannot read its settings");
    else if (tenant == NULL)
        doctor_say(doctor, DOCTOR_OK, NULL, "there is none: /register and /outlook-webhook name it in their path");
    else if (!doctor_query(doctor, &find_default, PARAMS(tenant), &rows))
        return;
    else if (*row_get(&rows, 0, "known") == 't')
        doctor_say(doctor, DOCTOR_OK, NULL, "\"%s\" is there", tenant);
    else
        doctor_say(doctor, DOCTOR_BAD, "add it with \"sb company add\", or mend DEFAULT_TENANT",
                   "there is no company \"%s\": nobody can register at /register", tenant);
}

/* What the coach can only say by an approved template, or cannot write down elsewhere. */
static void look_at_coach(struct doctor *doctor)
{
    static const struct {
        const char *setting, *lacking;
    } needed[] = {
        { "TWILIO_CONTENT_SID_WELCOME", "nobody who registers is welcomed" },
        { "TWILIO_CONTENT_SID_PLAN", "who has not written for a day is not told of a plan, which follows when they write" },
        { "TWILIO_CONTENT_SID_REMINDER", "who has not written for a day is not asked how the meeting went" },
        { "HUBSPOT_ACCESS_TOKEN", "notes of meetings are kept here alone" },
    };
    static const struct statement count_coached = {
        .name = "sb_count_coached",
        .text = "SELECT count(*) AS people FROM user_phones",
    };
    size_t before = doctor->line_count;
    struct rows rows;

    if (doctor_setting(doctor, "TWILIO_BASE_URL") == NULL) {
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "notifier is not on this machine, or cannot read its settings");
        return;
    }
    if (!doctor_query(doctor, &count_coached, PARAMS(), &rows))
        return;
    if (strcmp(row_get(&rows, 0, "people"), "0") == 0) {
        doctor_say(doctor, DOCTOR_OK, NULL, "nobody is coached here");
        return;
    }
    for (size_t i = 0; i < LENGTH(needed); i++)
        if (doctor_setting(doctor, needed[i].setting) == NULL)
            doctor_say(doctor, DOCTOR_BAD, "set it", "%s is not set: %s", needed[i].setting, needed[i].lacking);
    if (doctor->line_count == before)
        doctor_say(doctor, DOCTOR_OK, NULL, "it can write to whoever has not written for a day, and note in HubSpot");
}

const struct doctor_check doctor_provider_checks[] = {
    { "providers", NULL, look_at_providers },
    { "signing keys", "calls", look_at_signing_keys },
    { "missing calls", "calls", look_at_missing_calls },
    { "messages", "calls", look_at_messages },
    { "default company", "coach", look_at_default_company },
    { "templates", "coach", look_at_coach },
    { 0 },
};
