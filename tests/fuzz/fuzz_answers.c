/* Whatever comes back from a provider, headers and body, byte by byte: the request ends, and so does its handler, with
 * what it makes of it or with a reason.  The first byte chooses who answers so: Twilio to a message or with its list of
 * messages, HubSpot to a note or with those it has, the host of a recording, OpenAI to an upload, Shunya to an order, or
 * Microsoft Graph: with a calendar's event or a page of it, or to a subscription or with those it has. */
#include "tests/fuzz/fuzz.h"

#include "common/crypto.h"
#include "common/stage/runtime.h"
#include "ingest/graph.h"
#include "notifier/notifier.h"
#include "tests/unit/scripted_server.h"
#include "transcribe/audio.h"
#include "transcribe/transcribe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define EFFECTS_BYTES_MAX    ((size_t)32 << 20)
#define TIMEOUT_MS           10000 /* the other side hangs up long before */
#define SPOKEN_SAMPLES       (AUDIO_RATE_HZ / 2)
#define TWILIO_SID_BYTES_MAX 64
#define ASK_ID               "33333333-3333-4333-8333-333333333333"
#define RECORDING                                                                                                      \
    "{\"path\":\"spoken.flac\",\"bytes\":44,\"sha256\":\"00\",\"format\":\"flac\",\"channels\":1,\"sample_rate_hz\":"  \
    "16000,\"duration_s\":0.5}"
#define TRANSCRIPT                                                                                                     \
    "{\"provider\":\"openai\",\"model\":\"m\",\"segments\":[{\"speaker\":\"agent\",\"start_s\":0,\"end_s\":1,"         \
    "\"text\":\"yes\"}]}"

static struct server server;
static struct text answer_bytes; /* under the server's mutex */
static struct notifier notifier;
static struct transcribe transcribe;
static struct ingest ingest;
static char who;

/* --- the other side ----------------------------------------------------------------------------------------------- */

static bool server_behave(const struct exchange *exchange)
{
    pthread_mutex_lock(&exchange->server->mutex);
    server_send(exchange->fd, answer_bytes.at, answer_bytes.bytes);
    pthread_mutex_unlock(&exchange->server->mutex);
    return false;
}

/* These stand before libc's: an answer may name any place on earth, and nobody is called there. */
int connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    const struct sockaddr_in *to = (const struct sockaddr_in *)address;
    if (address->sa_family == AF_INET && to->sin_addr.s_addr == htonl(INADDR_LOOPBACK) &&
        to->sin_port == htons(server.port))
        return (int)syscall(SYS_connect, fd, address, bytes);
    errno = ECONNREFUSED;
    return -1;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    (void)node, (void)service, (void)hints, (void)ret;
    return EAI_NONAME;
}

/* --- the handlers ------------------------------------------------------------------------------------------------- */

static struct work *trying;
static stage_handler *tried;

static enum outcome watched(struct work *work, const struct event *event)
{
    trying = work;
    return tried(work, event);
}

/* A meeting that is over. */
static const char *const meeting_names[] = {
    "meeting_id", "tenant", "title", "salesperson_email", "phone", "starts", "client_id", "client", "company",
    "client_email", "hubspot_contact_id", "revision", "plan_version", "status", "plan_state", "plan_sent_version",
    "due", "begun", "ended", "tomorrow_s", "made_version", "summary", "step1", "step2", "step3", "provider",
    "note_state", "note_outcome", "hubspot_note_id", "note_version", "note_source_time", "note_newer", "note_due",
    "note_age_s"
};
static const char *const meeting_values[LENGTH(meeting_names)] = {
    ASK_ID, "acme", "Roof", "ana@acme.test", "+15550100147", "Monday", ASK_ID, "Bo", NULL,
    "bo@lee.test", NULL, "1", "1", "reminder_sent", NULL, NULL,
    "t", "t", "t", "60", NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, "f", "f", NULL
};

/* A subscription that is not there yet, or whose calendar is to be read. */
static const char *const subscription_names[] = { "now_us",     "next_check_at", "subscription_id", "state_sha256",
                                                  "delta_link", "expires_us",    "renew_us",        "window_us",
                                                  "missed_us",  "made",          "failures",        "has_company" };
static const char *const absent_subscription[LENGTH(subscription_names)] = {
    "1795242589000000", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "0", "0", "t"
};
static const char *const missed_subscription[LENGTH(subscription_names)] = {
    "1795242589000000", NULL, "S1", NULL, "http://elsewhere.test/page", "1795342589000000", "1795342589000000", NULL,
    "1795242589000000", "1", "0", "t"
};

static enum outcome answer_query(void *unused, const struct statement *statement, struct params params,
                                 struct arena *arena, struct rows *ret)
{
    static const char *const names[] = { "tenant", "company",       "alert_whatsapp",  "rep_phone",
                                         "url",    "path",          "duration_s",      "provider_id",
                                         "day",    "customer_name", "customer_number", "service_type",
                                         "starts", "count",         "event_id",        "run",
                                         "other",  "stopped",       "open",            "begun",
                                         "live",   "removed_at",    "salesperson_email", "begun_with" };
    static const char *const values[] = { "acme",       "Acme", "t",  "+15550100147", NULL, NULL, NULL,   NULL,
                                          "2026-11-21", NULL,   NULL, NULL,           NULL, "0",  ASK_ID, "1",
                                          "SM1",        "f",    "t",  NULL,           "1",  NULL,
                                          "ana@acme.test", NULL };
    (void)unused, (void)params, (void)arena;
    if (strcmp(statement->name, "find_meeting") == 0) {
        *ret = (struct rows){
            .count = 1, .columns = LENGTH(meeting_names), .values = meeting_values, .names = meeting_names
        };
        return DONE;
    }
    if (strcmp(statement->name, "find_subscription") == 0) {
        *ret = (struct rows){ .count = 1,
                              .columns = LENGTH(subscription_names),
                              .values = who == 'c' ? missed_subscription : absent_subscription,
                              .names = subscription_names };
        return DONE;
    }
    bool known = strcmp(statement->name, "find_message") != 0 && strcmp(statement->name, "job_find") != 0;
    *ret = (struct rows){ .count = known, .columns = LENGTH(names), .values = values, .names = names };
    return DONE;
}

/* What is asked of whoever was chosen is really asked; the other one answers well. */
static enum outcome make_ask(void *unused, const char *name, const struct ask *ask, struct arena *arena,
                             struct answer *ret)
{
    bool found, recording = strcmp(name, "recording") == 0, words = strncmp(name, "transcri", 8) == 0;
    bool note = strcmp(ask->provider, "hubspot") == 0;
    bool of_hubspot = who == 'h' || who == 'n', looks = who == 'l' || who == 'n' || who == 'k';
    (void)unused, (void)arena;
    *ret = (struct answer){ .body = recording ? TEXT(RECORDING)
                                    : words   ? TEXT(TRANSCRIPT)
                                              : TEXT(""),
                            .ask_id = ASK_ID };
    if ((recording && who != 'r') || (words && who == 'r') || note != of_hubspot)
        return DONE;
    trying->asking = ASK_ID;
    trying->asking_content = ask->content;
    trying->asked = ask;
    enum outcome outcome =
        looks && ask->look_up ? ask->look_up(trying, ask->request, ret, &found) : ask->call(trying, ask->request, ret);
    trying->asking = NULL;
    trying->asked = NULL;
    require(outcome != DONE || !ret->provider_id ||
          (ret->provider_id[0] && strlen(ret->provider_id) <= TWILIO_SID_BYTES_MAX));
    ret->ask_id = ASK_ID;
    return outcome;
}

static void try_handler(const struct stage *stage, stage_handler *handle, const struct event_type *type,
                        const char *data)
{
    static const struct work_probe probe = { .query = answer_query, .ask = make_ask };
    const struct event event = { .id = "886313e1-3b8a-5372-9b90-0c9aee199e5d",
                                 .source = "/test",
                                 .type = type->name,
                                 .subject = "CAL1",
                                 .time = "2026-11-21T14:30:00Z",
                                 .data = text_of(data) };
    struct problem why = { .text = "" };
    struct buf message, effects;

    tried = handle;
    buf_init(&message, EVENT_BYTES_MAX);
    buf_init(&effects, EFFECTS_BYTES_MAX);
    event_write(&message, &event, type, NULL);
    if (work_try(stage, watched, buf_text(&message), &probe, &effects, &why) == DONE)
        require(effects.bytes > 0 && !effects.overflowed && text_is_utf8(buf_text(&effects)) &&
              !strstr(effects.at, "\nevent unreadable "));
    else
        check_reason(&why);
    buf_done(&message);
    buf_done(&effects);
}

static void tell_of_a_call(void)
{
    static const struct stage stage = { .name = "notifier", .context = &notifier };
    try_handler(
        &stage, tell_of_call, &EVENT_CALL_ANALYZED,
        "{\"call_id\":\"CAL1\",\"provider\":\"rules\",\"lead_qualification\":\"hot\",\"booking_status\":\"booked\","
        "\"call_outcome_category\":\"other\",\"sentiment_score\":0,\"summary\":\"A heater leaks.\"}");
}

static void note_a_meeting(void)
{
    static const struct stage stage = { .name = "notifier", .context = &notifier };
    try_handler(&stage, tell_answer, &EVENT_CHAT_ANSWERED,
                "{\"message_id\":\"SM1\",\"from\":\"+15550100147\",\"act\":\"complete\",\"meeting_id\":\"" ASK_ID
                "\",\"outcome\":\"Signed.\"}");
}

static void read_an_event(void)
{
    static const struct stage stage = { .name = "ingest", .context = &ingest };
    try_handler(&stage, record_graph_change, &EVENT_GRAPH_CHANGE_RECEIVED,
                "{\"subscription_id\":\"S1\",\"change\":\"updated\",\"event_id\":\"E1\","
                "\"received_at\":\"2026-11-21T14:30:00Z\",\"item\":\"{}\"}");
}

static void look_after_a_calendar(void)
{
    static const struct stage stage = { .name = "ingest", .context = &ingest };
    try_handler(&stage, look_after_subscription, &EVENT_SUBSCRIPTION_DUE, "{\"mailbox\":\"coach@acme.test\"}");
}

/* A copy that was kept is not fetched again. */
static void forget_copies(void)
{
    char path[FUZZ_PATH_BYTES];
    snprintf(path, sizeof(path), "%s/acme", fuzz_folder);
    DIR *listing = opendir(path);
    for (struct dirent *entry; listing && (entry = readdir(listing));)
        unlinkat(dirfd(listing), entry->d_name, 0);
    if (listing)
        closedir(listing);
}

static void hear_a_call(void)
{
    static const struct stage stage = { .name = "transcribe", .context = &transcribe };
    char data[128];
    transcribe.with = who == 'j' ? TRANSCRIBE_SHUNYA : TRANSCRIBE_OPENAI;
    snprintf(data, sizeof(data), "{\"call_id\":\"CAL1\",\"recording_url\":\"http://127.0.0.1:%u/call.wav\"}",
             server.port);
    try_handler(&stage, transcribe_routes[0].handle, &EVENT_CALL_RECORDED, data);
    forget_copies();
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

/* Half a second of what is loud. */
static void record_something(void)
{
    static int16_t samples[SPOKEN_SAMPLES];
    char path[FUZZ_PATH_BYTES];
    struct problem why;

    for (size_t i = 0; i < SPOKEN_SAMPLES; i++)
        samples[i] = i / 20 % 2 ? 8000 : -8000;
    snprintf(path, sizeof(path), "%s/spoken.flac", fuzz_folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct audio_writer *writer = audio_write_open(fd, &why);
    require(writer && audio_write(writer, samples, SPOKEN_SAMPLES, &why) && audio_write_close(writer, &why));
    close(fd);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static char url[64], allowed[64];
    struct problem why;

    (void)count, (void)arguments;
    require(crypto_init(NULL));
    log_nothing();
    fuzz_folder_make();
    record_something();
    server_start(&server);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    snprintf(allowed, sizeof(allowed), "127.0.0.1:%u", server.port);
    notifier = (struct notifier){ .twilio_account = "AC1",
                                  .twilio_token = "token",
                                  .twilio_url = url,
                                  .whatsapp_from = "+14155238886",
                                  .content_lead = "HX1",
                                  .hubspot_token = "pat",
                                  .hubspot_url = url,
                                  .hubspot_path = "/crm/v3/objects",
                                  .hubspot_timeout_ms = TIMEOUT_MS,
                                  .messages = PACE_NEW,
                                  .searches = PACE_NEW,
                                  .twilio_timeout_ms = TIMEOUT_MS };
    ingest = (struct ingest){ .public_url = "https://sb.test",
                              .default_tenant = "acme",
                              .coach_mailbox = "coach@acme.test",
                              .graph_tenant_id = "T1",
                              .graph_client_id = "C1",
                              .graph_client_secret = "secret",
                              .graph_url = url,
                              .graph_login_url = url };
    transcribe = (struct transcribe){ .with = TRANSCRIBE_OPENAI,
                                      .openai_key = "sk",
                                      .shunya = { .key = "sk", .url = url, .timeout_ms = TIMEOUT_MS },
                                      .openai_url = url,
                                      .openai_model = "whisper-1",
                                      .openai_timeout_ms = TIMEOUT_MS,
                                      .recordings = { .store = { .dir = fuzz_folder,
                                                                 .timeout_ms = TIMEOUT_MS,
                                                                 .stall_timeout_ms = TIMEOUT_MS },
                                                      .bytes_max = 1 << 20,
                                                      .duration_ms_max = 10000 } };
    runtime.http = http_client_start(
        &(struct http_client_settings){
            .connections_max = 8, .connections_per_host_max = 8, .allowed_private = allowed, .user_agent = "fuzz" },
        &why);
    require(runtime.http != NULL);
    return 0;
}

static void answer_with(struct text bytes)
{
    pthread_mutex_lock(&server.mutex);
    answer_bytes = bytes;
    pthread_mutex_unlock(&server.mutex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    who = strchr("slrwjhngcmk", data[0]) && data[0] ? (char)data[0] : 's';
    answer_with((struct text){ (const char *)data + 1, size - 1 });
    if (who == 's' || who == 'l')
        tell_of_a_call();
    else if (who == 'h' || who == 'n')
        note_a_meeting();
    else if (who == 'g')
        read_an_event();
    else if (who == 'c' || who == 'm' || who == 'k')
        look_after_a_calendar();
    else
        hear_a_call();
    answer_with((struct text){ NULL, 0 }); /* a connection that the client gave up may be answered yet */
    return 0;
}
