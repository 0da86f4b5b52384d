/* main.c: the transcribe stage: recordings become words. */
#include "transcribe/transcribe.h"

#include <malloc.h>

static struct transcribe transcribe;

#define MINUTE_MS     INT64_C(60000)
#define GIBIBYTE      (INT64_C(1) << 30)
#define OFFSET(field) offsetof(struct transcribe, field)
static const struct setting settings[] = {
    { "TRANSCRIBE_WITH", SET_CHOICE, OFFSET(with), "local", .choices = transcribe_providers,
      .help = "who listens: local is PocketSphinx in this process and needs no key" },
    RECORDINGS_SETTINGS(OFFSET(recordings.store)),
    { "RECORDING_BYTES_MAX", SET_BYTES, OFFSET(recordings.bytes_max), "256MiB", 1024, 16 * GIBIBYTE,
      .help = "a larger recording is refused" },
    { "RECORDING_DURATION_MAX", SET_DURATION, OFFSET(recordings.duration_ms_max), "4h", 1000, 24 * 60 * MINUTE_MS,
      .help = "a longer recording is refused" },
    { "POCKETSPHINX_MODEL_DIR", SET_TEXT, OFFSET(model_dir), "/usr/share/pocketsphinx/model/en-us",
      .help = "of TRANSCRIBE_WITH=local: en-us, en-us.lm.bin, cmudict-en-us.dict; loaded at the first use" },
    { "LOCAL_DECODERS_MAX", SET_COUNT, OFFSET(decoders_max), "1", 1, LOCAL_DECODERS_MOST,
      .help = "recordings PocketSphinx listens to at once: a core and about 100 MiB each" },
    { "OPENAI_API_KEY", SET_SECRET, OFFSET(openai_key), NULL, .help = "needed with TRANSCRIBE_WITH=openai" },
    { "OPENAI_BASE_URL", SET_URL, OFFSET(openai_url), "https://api.openai.com/v1",
      .help = "any OpenAI-compatible server" },
    { "OPENAI_TRANSCRIBE_MODEL", SET_TEXT, OFFSET(openai_model), "whisper-1",
      .help = "the model asked; names that begin with gpt- give no times" },
    { "OPENAI_TRANSCRIBE_TIMEOUT", SET_DURATION, OFFSET(openai_timeout_ms), "10m", 1000, 60 * MINUTE_MS,
      .help = "one answer to at most ten minutes of sound, end to end" },
    SHUNYA_SETTINGS(OFFSET(shunya)),
    { "SHUNYA_LANGUAGE", SET_TEXT, OFFSET(shunya_language), NULL,
      .help = "what is spoken, as ISO 639 says it; without it Shunya finds out" },
    { "TWILIO_ACCOUNT_SID", SET_TEXT, OFFSET(twilio_account), NULL,
      .help = "Twilio's account, which voice notes are fetched with" },
    { "TWILIO_AUTH_TOKEN", SET_SECRET, OFFSET(twilio_token), NULL, .help = "its token; the first of several is used" },
    { "TWILIO_BASE_URL", SET_URL, OFFSET(twilio_url), "https://api.twilio.com", .help = "Twilio's address" },
    { 0 },
};

static bool provider_is_ready(const struct transcribe *opened, struct problem *why)
{
    if (opened->with == TRANSCRIBE_LOCAL)
        return local_ready(opened, why);
    if (opened->with == TRANSCRIBE_SHUNYA)
        return shunya_ready(&opened->shunya, "TRANSCRIBE_WITH", why);
    return opened->openai_key ||
           fail(why, "TRANSCRIBE_WITH is openai but OPENAI_API_KEY is not set; set it, or TRANSCRIBE_WITH=local");
}

static bool fits_bucket(const struct recording_settings *recordings, struct problem *why)
{
    return recordings->store.bucket == NULL || recordings->bytes_max <= RECORDINGS_UPLOAD_BYTES_MAX ||
           fail(why, "RECORDING_BYTES_MAX is more than the 5 GiB that a bucket takes at once");
}

static bool transcribe_open(void *context, struct problem *why)
{
    const struct transcribe *opened = context;
    return provider_is_ready(opened, why) && recordings_prepare(&opened->recordings.store, why) &&
           fits_bucket(&opened->recordings, why);
}

static void transcribe_close(void *context)
{
    (void)context;
    local_close();
}

static bool transcribe_check(void *context, struct buf *out)
{
    const struct transcribe *checked = context;
    struct problem why;
    bool prepared = recordings_prepare(&checked->recordings.store, &why) && fits_bucket(&checked->recordings, &why);
    if (!prepared)
        buf_printf(out, "bad  recordings %s\n", why.text);
    bool recordings = prepared && recordings_check(&checked->recordings.store, out);
    bool provider = provider_is_ready(checked, &why);
    buf_printf(out, provider ? "ok   speech %s\n" : "bad  speech %s\n",
               provider ? transcribe_providers[checked->with] : why.text);
    return recordings && provider;
}

int main(int argc, char **argv)
{
    mallopt(M_ARENA_MAX, 2); /* decoders go from thread to thread, and would leave their scratch in an arena of each */
    return stage_main(argc, argv,
                      &(struct stage){
                          .name = "transcribe",
                          .summary = "writes down what is said, and by whom, in recordings of calls and visits, and in voice notes",
                          .settings = settings,
                          .context = &transcribe,
                          .routes = transcribe_routes,
                          .sweeps = transcribe_sweeps,
                          .open = transcribe_open,
                          .close = transcribe_close,
                          .check = transcribe_check,
                      });
}
