/* coach.c: chat.received of kind voice → chat.transcribed: a voice note is fetched at Twilio, listened to, and its
 * words are the message.
 *
 * A note is somebody's voice and is wanted for seconds: it is in memory, and while it is read in a file without a name;
 * neither the database nor the copies of recordings ever hold it.
 *
 * Whoever sent it waits for an answer.  So what cannot be heard (no speech, no audio that can be read, gone at Twilio,
 * too large) is a note of no words, which the coach answers; a dead letter is only what an operator can mend. */
#include "transcribe/transcribe.h"

#include "common/log.h"
#include "common/utf8.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define TWILIO_ORIGIN "https://api.twilio.com"
#define NOTE_BYTES_MAX (6 * 1024 * 1024)        /* in base64 it fits an answer: half an hour and more of Opus */
#define TEXT_CHARACTERS_MAX 4096                /* as in the schema */
#define LATE_US (60 * INT64_C(1000000))         /* Twilio may tell of a note before it has it */
#define LATE_AGAIN_MS 1000

_Static_assert(BASE64_BYTES(NOTE_BYTES_MAX) <= ASK_ANSWER_BYTES_MAX + 1, "a note fits an answer");

static const struct statement find_note = {
    .name = "find_note",
    .text = "SELECT message FROM messages WHERE tenant = $1 AND message_id = $2 AND direction = 'incoming'",
    .params = 2,
};
static const struct statement update_note = {
    .name = "update_note",
    .text = "UPDATE messages SET message = $3 WHERE tenant = $1 AND message_id = $2 AND direction = 'incoming'",
    .params = 3,
    .must = 1,
};

struct note {
    const struct chat_received *chat;
    const struct event *event;
    struct text audio;          /* base64 */
    bool cannot_be_heard;       /* work_why() says why */
};

/* --- fetching it -------------------------------------------------------------------------------------------------- */

static enum outcome cannot_be_heard(struct note *note)
{
    note->cannot_be_heard = true;
    return REJECT;
}

static enum outcome judge(struct work *work, struct note *note, const struct http_reply *reply)
{
    long status = reply->status;
    int64_t sent_us;
    if (status >= 200 && status <= 299)
        return DONE;
    bool gone = status == 404 || status == 410;
    if (gone && time_read(text_of(note->event->time), &sent_us) && now_us() - sent_us < LATE_US)
        return retry(work, LATE_AGAIN_MS, "Twilio does not have the note yet (HTTP status %ld)", status);
    if (status == 401 || status == 403)
        return retry(work, 0, "Twilio refuses our credentials (HTTP status %ld): check TWILIO_ACCOUNT_SID and"
                     " TWILIO_AUTH_TOKEN", status);
    if (status == 408 || status == 425 || status == 429 || status >= 500)
        return retry(work, reply->retry_after_ms > 0 ? reply->retry_after_ms : 0,
                     "could not fetch the note at Twilio: HTTP status %ld", status);
    reject(work, "the note cannot be fetched at Twilio: HTTP status %ld", status);
    return cannot_be_heard(note);
}

static enum outcome fetch(struct work *work, void *request, struct answer *ret)
{
    const struct transcribe *transcribe = work_context(work);
    struct note *note = request;
    struct arena *arena = work_arena(work);
    const char *url = note->chat->media_url;
    bool ours = http_leads_to(url, transcribe->twilio_url) || http_leads_to(url, TWILIO_ORIGIN);
    const struct http_request http = {
        .method = "GET",
        .url = url,
        .headers = (const char *const[]){ "Accept: audio/*, */*;q=0.1", NULL },
        .basic_user = ours ? transcribe->twilio_account : NULL,
        .basic_password = ours ? arena_copy_text(arena, (struct text){ transcribe->twilio_token,
                                                                       strcspn(transcribe->twilio_token, ", ") })
                               : NULL,
        .timeout_ms = transcribe->recordings.store.timeout_ms,
        .stall_timeout_ms = transcribe->recordings.store.stall_timeout_ms,
        .answer_bytes_max = NOTE_BYTES_MAX,
        .outside = true,        /* Twilio leads on to whoever stores it; there our credentials do not go */
    };
    struct http_reply reply = { 0 };
    enum outcome outcome = work_http_any(work, &http, &reply);
    if (outcome == REJECT)
        return cannot_be_heard(note);
    TRY(outcome);
    TRY(judge(work, note, &reply));
    char *audio = arena_alloc(arena, BASE64_BYTES(reply.body.bytes));
    ret->body = text_of(base64_print(reply.body.at ? reply.body.at : "", reply.body.bytes, audio));
    return DONE;
}

/* --- listening ---------------------------------------------------------------------------------------------------- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static bool write_all(int fd, const char *at, size_t bytes, struct problem *why)
{
    while (bytes > 0) {
        ssize_t written = write(fd, at, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return fail(why, "could not write the note into a file: %s", strerror(errno));
        at += written;
        bytes -= (size_t)written;
    }
    return true;
}

/* Into a file that has no name, because the libraries that read audio want one. */
static int put_aside(struct work *work, const struct note *note)
{
    const struct transcribe *transcribe = work_context(work);
    char *bytes = arena_alloc(work_arena(work), note->audio.bytes + 1);
    size_t count;
    if (!base64_read(note->audio, bytes, note->audio.bytes, &count))
        return -1;
    int fd = recordings_scratch(&transcribe->recordings.store, work_why(work));
    if (fd >= 0 && !write_all(fd, bytes, count, work_why(work)))
        close_fd(&fd);
    return fd;
}

/* Shunya is asked by address, and a note's opens to us alone. */
static enum transcribe_provider listener(const struct transcribe *transcribe)
{
    return transcribe->with == TRANSCRIBE_OPENAI ? TRANSCRIBE_OPENAI : TRANSCRIBE_LOCAL;
}

static enum outcome listen_to(struct work *work, void *request, struct answer *ret)
{
    const struct transcribe *transcribe = work_context(work);
    struct note *note = request;
    struct audio_facts facts;
    CLEANUP(close_fd) int fd = put_aside(work, note);
    if (fd < 0)
        return retry(work, 0, "%s", arena_copy(work_arena(work), work_why(work)->text));
    const char *file = arena_printf(work_arena(work), "/proc/self/fd/%d", fd);
    enum audio_result result = audio_inspect(file, transcribe->recordings.duration_ms_max, &facts, work_why(work));
    if (result == AUDIO_BAD)
        return cannot_be_heard(note);
    if (result == AUDIO_UNREAD)
        return retry(work, 0, "%s", arena_copy(work_arena(work), work_why(work)->text));
    struct recording recording = { .file = file,
                                   .fd = fd,
                                   .format = facts.format,
                                   .channels = facts.channels,
                                   .sample_rate_hz = facts.sample_rate_hz,
                                   .duration_s = facts.duration_s };
    struct transcribe_request wanted = { note->chat->message_id, note->chat->media_url, &recording };
    return listener(transcribe) == TRANSCRIBE_LOCAL ? local_transcribe(work, &wanted, ret)
                                                    : openai_transcribe(work, &wanted, ret);
}

/* One line of what was said. */
static const char *words_of(const struct transcript *transcript, struct arena *arena)
{
    struct buf words;
    buf_init(&words, TRANSCRIPT_TEXT_BYTES_MAX * 2);
    for (size_t i = 0; i < transcript->count; i++)
        buf_printf(&words, "%s%s", i ? " " : "", transcript->segments[i].text);
    size_t bytes = words.bytes ? utf8_prefix(words.at, words.at + words.bytes, TEXT_CHARACTERS_MAX) : 0;
    const char *copy = bytes ? arena_copy_text(arena, (struct text){ words.at, bytes }) : "";
    buf_done(&words);
    return copy;
}

/* Two asks, so that it is not fetched again when only the listening failed. */
static enum outcome hear(struct work *work, struct note *note, struct transcript *ret)
{
    const struct transcribe *transcribe = work_context(work);
    struct answer answer;
    TRY(ask(work, "note",
            &(struct ask){ .kind = ASK_AGAIN,
                           .provider = "twilio",
                           .no_circuit = true,  /* a wrong token of Twilio's must not hold up calls and visits */
                           .unrecorded = true,  /* nobody's voice is kept */
                           .timeout_ms = transcribe->recordings.store.timeout_ms,
                           .call = fetch,
                           .request = note },
            &answer));
    note->audio = answer.body;
    TRY(ask(work, "transcribe",
            &(struct ask){ .kind = ASK_AGAIN,
                           .provider = transcribe_providers[listener(transcribe)],
                           .timeout_ms = transcribe->openai_timeout_ms,
                           .call = listen_to,
                           .request = note },
            &answer));
    if (!transcript_read(answer.body, work_arena(work), ret, work_why(work)))
        return REJECT;
    return DONE;
}

static void announce(struct work *work, const struct note *note, const char *text, const struct transcript *transcript)
{
    effect_event(work, &EVENT_CHAT_TRANSCRIBED, note->event->subject,
                 &(struct chat_transcribed){ .message_id = note->chat->message_id,
                                             .from = note->chat->from,
                                             .salesperson = note->chat->salesperson,
                                             .text = text,
                                             .provider = transcript ? transcript->provider : NULL,
                                             .model = transcript ? transcript->model : NULL });
}

enum outcome transcribe_note(struct work *work, const struct event *event)
{
    const struct transcribe *transcribe = work_context(work);
    struct chat_received chat;
    struct transcript transcript = { 0 };
    struct rows rows;
    TRY(work_read_data(work, event, chat_received_read, &chat));
    if (strcmp(chat.kind, "voice") != 0 || !chat.media_url)
        return skip(work, "this is no voice note");
    TRY(work_query(work, &find_note, &rows, work_tenant(work), chat.message_id));
    if (rows.count == 0)
        return reject(work, "message \"%s\" is not there", chat.message_id);
    struct note note = { .chat = &chat, .event = event };
    const char *known = row_get(&rows, 0, "message");
    if (*known && !event->ask_again) {          /* a replay: Twilio may not have the note any more */
        announce(work, &note, known, NULL);
        return DONE;
    }
    if (!transcribe->twilio_account || !transcribe->twilio_token)
        return reject(work, "the note cannot be fetched: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, then retry"
                            " this");
    enum outcome outcome = hear(work, &note, &transcript);
    if (outcome != DONE && !note.cannot_be_heard)
        return outcome;
    if (note.cannot_be_heard)
        log_warning("a voice note cannot be heard", LOG_TEXT("message_id", chat.message_id),
                    LOG_TEXT("why", work_why(work)->text));
    const char *text = words_of(&transcript, work_arena(work));
    effect_row(work, &update_note, work_tenant(work), chat.message_id, text);
    announce(work, &note, text, note.cannot_be_heard ? NULL : &transcript);
    return DONE;
}
