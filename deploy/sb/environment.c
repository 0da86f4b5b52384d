#include "deploy/sb/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/sb/probe.h"

#define ENV_BYTES_MAX      (64 * 1024)
#define PROVIDER_NAMES_MAX 8
#define URL_BYTES_MAX      512

/* A provider as the sandbox plays it: its keys are the sandbox's defaults (deploy/sandbox/config.py). */
struct provider {
    const char *name;
    const char *key;      /* set by the user: the real provider … */
    const char *base_url; /* … as when this is */
    const char *path;     /* in the sandbox */
    struct {
        const char *name, *value;
    } values[PROVIDER_NAMES_MAX];
};
static const struct provider providers[] = {
    { "callrail",
      "CALLRAIL_API_KEY",
      "CALLRAIL_BASE_URL",
      "/callrail/v3",
      { { "CALLRAIL_API_KEY", "sandbox-callrail-api-key" },
        { "CALLRAIL_ACCOUNT_ID", "ACC5a6dba5a6dba5a6dba5a6dba5a6dba5a" } } },
    { "twilio",
      "TWILIO_AUTH_TOKEN",
      "TWILIO_BASE_URL",
      "/twilio",
      { { "TWILIO_ACCOUNT_SID", "AC5a6dba5a6dba5a6dba5a6dba5a6dba5a" },
        { "TWILIO_AUTH_TOKEN", "sandbox-twilio-auth-token" },
        { "TWILIO_WHATSAPP_FROM", "+14155238886" },
        { "TWILIO_CONTENT_SID_LEAD", "HX5a6dba5a6dba5a6dba5a6dba5a6dba5a" },
        { "TWILIO_CONTENT_SID_WELCOME", "HX5a6dba5a6dba5a6dba5a6dba5a6dba01" },
        { "TWILIO_CONTENT_SID_PLAN", "HX5a6dba5a6dba5a6dba5a6dba5a6dba02" },
        { "TWILIO_CONTENT_SID_REMINDER", "HX5a6dba5a6dba5a6dba5a6dba5a6dba03" },
        { "ADMIN_WHATSAPP_TO", "+12025550111" } } },
    { "gemini", "GEMINI_API_KEY", "GEMINI_BASE_URL", "/gemini", { { "GEMINI_API_KEY", "sandbox-gemini-api-key" } } },
    { "openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", "/openai/v1", { { "OPENAI_API_KEY", "sandbox-openai-api-key" } } },
    { "shunya",
      "SHUNYA_API_KEY",
      "SHUNYA_BASE_URL",
      "/shunya",
      { { "SHUNYA_API_KEY", "sandbox-shunya-api-key" },
        { "SHUNYA_WEBHOOK_SECRET", "sandbox-shunya-webhook-secret" } } },
    { "hubspot",
      "HUBSPOT_ACCESS_TOKEN",
      "HUBSPOT_BASE_URL",
      "/hubspot",
      { { "HUBSPOT_ACCESS_TOKEN", "sandbox-hubspot-access-token" } } },
};

static bool real[LENGTH(providers)]; /* kept, because a test key looks like a given one once it is in the environment */

static bool is_given(const struct provider *provider)
{
    return place_given(provider->key) != NULL || place_given(provider->base_url) != NULL;
}

/* --- the file ------------------------------------------------------------------------------------------------ */

/* A line that both a shell and common/settings_file.c read the same. */
static void add_line(struct buf *file, const char *name, const char *value)
{
    char quote = strchr(value, '\'') ? '"' : '\'';
    buf_printf(file, "export %s=%c", name, quote);
    for (const char *c = value; *c; c++) {
        if (quote == '"' && strchr("\"\\$", *c))
            buf_add_char(file, '\\');
        buf_add_char(file, *c);
    }
    buf_printf(file, "%c\n", quote);
}

/* Where things are: into the environment, and into the file even when the user has set it. */
static void set(struct buf *file, const char *name, const char *value)
{
    const char *given = place_given(name);
    add_line(file, name, given ? given : value);
    setenv(name, given ? given : value, 1);
}

/* Keys: the user's own do not go into the file. */
static void set_key(struct buf *file, const char *name, const char *value)
{
    const char *given = place_given(name);
    if (given == NULL)
        add_line(file, name, value);
    setenv(name, given ? given : value, 1);
}

/* A key the user has in .env alone must reach the sandbox and the sample day too, which read the environment. */
static void pass_on(const char *name)
{
    const char *given = place_given(name);
    if (given)
        setenv(name, given, 1);
}

/* `sandbox`: its address; NULL: the provider is the user's own, or there is none. */
static void set_provider(struct buf *file, const struct provider *provider, const char *sandbox)
{
    char url[URL_BYTES_MAX];

    for (size_t i = 0; i < PROVIDER_NAMES_MAX && provider->values[i].name; i++) {
        if (sandbox == NULL)
            pass_on(provider->values[i].name);
        else
            set_key(file, provider->values[i].name, provider->values[i].value);
    }
    if (sandbox == NULL)
        return;
    snprintf(url, sizeof(url), "%s%s", sandbox, provider->path);
    set(file, provider->base_url, url);
}

static void set_folder(struct buf *file, const struct place *place, const char *name, const char *folder)
{
    char path[PATH_MAX];
    path_print(path, "%s/%s", place->run, folder);
    set(file, name, path);
}

/* A key that the user gave is there to be used. */
static const char *model_provider(void)
{
    return place_given("GEMINI_API_KEY") ? "gemini" : place_given("OPENAI_API_KEY") ? "openai" : "rules";
}

static void set_addresses(struct buf *file, const struct environment_settings *settings, const char *sandbox)
{
    const struct place_settings *listens = settings->listens;
    char host[128], ingest[URL_BYTES_MAX];

    listen_address(listens->ingest_listen, host, sizeof(host));
    snprintf(ingest, sizeof(ingest), strchr(host, ':') ? "http://[%s]:%d" : "http://%s:%d", host,
             listen_port(listens->ingest_listen));
    set(file, "DATABASE_URL", settings->database_url);
    set(file, "KAFKA_BROKERS", settings->kafka_brokers);
    set(file, "INGEST_LISTEN", listens->ingest_listen);
    set(file, "TRANSCRIBE_METRICS_LISTEN", listens->transcribe_listen);
    set(file, "ANALYZE_METRICS_LISTEN", listens->analyze_listen);
    set(file, "NOTIFIER_METRICS_LISTEN", listens->notifier_listen);
    set(file, "INGEST_URL", ingest);
    set(file, "PUBLIC_URL", ingest);
    if (sandbox) {
        set(file, "SANDBOX_URL", sandbox);
        set(file, "RECORDING_PRIVATE_ALLOWED", settings->sandbox_listen); /* it serves the sample day's recording */
    }
}

bool environment_make(const struct place *place, const struct environment_settings *settings, struct problem *why)
{
    char path[PATH_MAX], sandbox[URL_BYTES_MAX];
    struct buf file;

    snprintf(sandbox, sizeof(sandbox), "http://%s", settings->sandbox_listen ? settings->sandbox_listen : "");
    const char *sandbox_url = settings->sandbox_listen ? sandbox : NULL;
    buf_init(&file, ENV_BYTES_MAX);
    buf_add_string(&file, "# Written by `sb up`: what it told its parts.  For a shell:  . .run/env\n");
    set_addresses(&file, settings, sandbox_url);
    set_folder(&file, place, "STATE_DIR", "state");
    set_folder(&file, place, "RECORDINGS_DIR", "recordings");
    set_folder(&file, place, "SPOOL_DIR", "spool");
    set(&file, "LLM_PROVIDER", model_provider());
    set(&file, "TRANSCRIBE_WITH", "local");
    set_key(&file, "CALLRAIL_SIGNING_KEY", "sandbox-callrail-signing-key");
    set_key(&file, "OUTLOOK_WEBHOOK_SECRET", "sandbox-outlook-webhook-secret");
    for (size_t i = 0; i < LENGTH(providers); i++) {
        real[i] = is_given(&providers[i]);
        set_provider(&file, &providers[i], real[i] ? NULL : sandbox_url);
    }
    path_print(path, "%s/env", place->run);
    bool good = file_write(path, buf_text(&file), 0600, why);
    buf_done(&file);
    return good;
}

void environment_describe(bool sandbox, struct buf *out)
{
    for (size_t i = 0; i < LENGTH(providers); i++)
        buf_printf(out, "%s%s %s", i ? ", " : "", providers[i].name,
                   real[i]   ? "your own"
                   : sandbox ? "sandbox"
                             : "none");
    buf_printf(out, "; model %s, speech %s", getenv("LLM_PROVIDER"), getenv("TRANSCRIBE_WITH"));
}
