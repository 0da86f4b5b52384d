/* local.c: speech to text in this process, by PocketSphinx: nobody else hears the call, and no key is needed.
 *
 * Each utterance (speech.h) is decoded whole: PocketSphinx then knows the level of all of it before its first word, and
 * nothing of one utterance has an effect on the next, so the same recording always gives the same words.  Its model, 80
 * MB, is loaded at the first use; a decoder is for one thread at a time, so there is a small pool of them. */
#include "transcribe/transcribe.h"

#include "common/log.h"
#include "transcribe/speech.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <pocketsphinx.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if !__has_include(<pocketsphinx/endpointer.h>) /* before 5.0, whose base was a library of its own */
#define POCKETSPHINX_BEFORE_5
#include <sphinxbase/err.h>
#endif

#define LOCAL_MODEL     "pocketsphinx"
#define LOCAL_LANGUAGE  "en"
#define DENSITIES       "2"         /* instead of 4 … */
#define STATES_MAX      "5000"      /* … and of 30,000: the same words of our test calls in two thirds of the time */
#define WAIT_MS         500         /* between looks whether the daemon is to end */
#define WORDS_BYTES_MAX (16 * 1024) /* of one utterance */

/* --- the model ---------------------------------------------------------------------------------------------------- */

static const char *const model_files[] = { "en-us", "en-us.lm.bin", "cmudict-en-us.dict" };

bool local_ready(const struct transcribe *transcribe, struct problem *why)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < LENGTH(model_files); i++) {
        snprintf(path, sizeof(path), "%s/%s", transcribe->model_dir, model_files[i]);
        if (access(path, R_OK) != 0)
            return fail(why,
                        "could not find PocketSphinx's model \"%s\": %s; install the package pocketsphinx-en-us, or "
                        "say where it is "
                        "with POCKETSPHINX_MODEL_DIR",
                        path, strerror(errno));
    }
    return true;
}

/* What PocketSphinx complains of while it loads; later it complains of every cough. */
static _Thread_local struct problem *listening;

PRINTF_LIKE(3, 4) static void hear(void *unused, err_lvl_t level, const char *format, ...)
{
    char said[256];
    va_list arguments;
    (void)unused;
    if (level < ERR_ERROR || !listening)
        return;
    va_start(arguments, format);
    vsnprintf(said, sizeof(said), format, arguments);
    va_end(arguments);
    fail(listening, "%.*s", (int)strcspn(said, "\n"), said);
    if (level == ERR_FATAL) /* it ends the process now */
        log_error("pocketsphinx gives up", LOG_TEXT("why", listening->text));
}

static ps_decoder_t *load(const char *const paths[LENGTH(model_files)])
{
#ifdef POCKETSPHINX_BEFORE_5
    cmd_ln_t *config = cmd_ln_init(NULL, ps_args(), TRUE, "-hmm", paths[0], "-lm", paths[1], "-dict", paths[2], "-topn",
                                   DENSITIES, "-maxhmmpf", STATES_MAX, "-remove_silence", "no", NULL);
    ps_decoder_t *decoder = config ? ps_init(config) : NULL;
    if (config)
        cmd_ln_free_r(config);
#else
    ps_config_t *config = ps_config_init(NULL);
    ps_config_set_str(config, "hmm", paths[0]);
    ps_config_set_str(config, "lm", paths[1]);
    ps_config_set_str(config, "dict", paths[2]);
    ps_config_set_str(config, "topn", DENSITIES);
    ps_config_set_str(config, "maxhmmpf", STATES_MAX);
    ps_decoder_t *decoder = ps_init(config);
    ps_config_free(config);
#endif
    return decoder;
}

static ps_decoder_t *decoder_new(const struct transcribe *transcribe, struct arena *arena, struct problem *why)
{
    const char *paths[LENGTH(model_files)];
    struct problem said = { .text = "it does not say why" };
    int64_t began = monotonic_us();
    if (!local_ready(transcribe, why))
        return NULL;
    for (size_t i = 0; i < LENGTH(model_files); i++)
        paths[i] = arena_printf(arena, "%s/%s", transcribe->model_dir, model_files[i]);
    err_set_logfp(NULL); /* where it would print its configuration */
    err_set_callback(hear, NULL);
    listening = &said;
    ps_decoder_t *decoder = load(paths);
    listening = NULL;
    if (decoder)
        log_info("pocketsphinx loaded its model", LOG_INT("took_ms", (monotonic_us() - began) / 1000));
    else
        fail(why, "could not load PocketSphinx's model in \"%s\": %s", transcribe->model_dir, said.text);
    return decoder;
}

/* --- the decoders ------------------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t given_back;
    ps_decoder_t *idle[LOCAL_DECODERS_MOST];
    int idle_count, count;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .given_back = PTHREAD_COND_INITIALIZER };

static void wait_a_while(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);         /* the wall clock may be set back by hours */
    until.tv_nsec += WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_clockwait(&pool.given_back, &pool.lock, CLOCK_MONOTONIC, &until);
}

/* The next decoder that is free, waited for; RETRY when the daemon is to end or none can be made. */
static enum outcome decoder_take(struct work *work, ps_decoder_t **ret)
{
    const struct transcribe *transcribe = work_context(work);
    enum outcome outcome;
    struct problem why;
    pthread_mutex_lock(&pool.lock);
    while ((outcome = transcribe_go_on(work)) == DONE && pool.idle_count == 0 && pool.count >= transcribe->decoders_max)
        wait_a_while();
    if (outcome == DONE && pool.idle_count == 0) {
        ps_decoder_t *decoder = decoder_new(transcribe, work_arena(work), &why);
        if (decoder) {
            pool.idle[pool.idle_count++] = decoder;
            pool.count++;
        } else {
            outcome = retry(work, 0, "%s", why.text);
        }
    }
    if (outcome == DONE)
        *ret = pool.idle[--pool.idle_count];
    pthread_mutex_unlock(&pool.lock);
    return outcome;
}

static void decoder_give_back(ps_decoder_t **decoder)
{
    if (!*decoder)
        return;
    pthread_mutex_lock(&pool.lock);
    pool.idle[pool.idle_count++] = *decoder;
    pthread_cond_signal(&pool.given_back);
    pthread_mutex_unlock(&pool.lock);
}

void local_close(void)
{
    pthread_mutex_lock(&pool.lock);
    for (; pool.idle_count > 0; pool.count--)
        ps_free(pool.idle[--pool.idle_count]);
    pthread_mutex_unlock(&pool.lock);
}

/* --- what is said ------------------------------------------------------------------------------------------------- */

/* "good(2)" is another way to say "good"; "<sil>", "[NOISE]" and "++COUGH++" are no words. */
static void add_word(struct buf *words, const char *word)
{
    size_t bytes = strcspn(word, "(");
    if (strchr("<[+", word[0]) || bytes == 0)
        return;
    if (words->bytes > 0)
        buf_add_char(words, ' ');
    buf_add(words, word, bytes);
}

static void decode(ps_decoder_t *decoder, const struct utterance *utterance, struct buf *words, double *ret_confidence)
{
    double sum = 0;
    size_t before, count = 0;
    buf_clear(words);
    ps_start_stream(decoder);
    ps_start_utt(decoder);
    ps_process_raw(decoder, utterance->samples, utterance->count, false, true);
    ps_end_utt(decoder);
    for (ps_seg_t *at = ps_seg_iter(decoder); at; at = ps_seg_next(at)) {
        before = words->bytes;
        add_word(words, ps_seg_word(at));
        if (words->bytes == before)
            continue;
        sum += logmath_exp(ps_get_logmath(decoder), ps_seg_prob(at, NULL, NULL, NULL));
        count++;
    }
    *ret_confidence = count ? round(fmin(sum / (double)count, 1) * 100) / 100 : 0;
}

static enum outcome transcribe_channel(struct work *work, ps_decoder_t *decoder, const struct recording *recording,
                                       int channel, struct buf *words, struct transcript *transcript)
{
    struct problem why;
    struct utterance utterance;
    CLEANUP(audio_closep) struct audio *audio = NULL;
    enum audio_result result = audio_open(recording->file, channel, &audio, &why);
    if (result != AUDIO_GOOD)
        return recording_refuse(work, result, &why);
    CLEANUP(utterances_freep) struct utterances *utterances = utterances_new(audio);
    while (utterances_next(utterances, &utterance)) {
        struct segment segment = { .speaker = transcript_speaker(channel, recording->channels),
                                   .start_s = utterance.start_s,
                                   .end_s = utterance.end_s,
                                   .has_confidence = true };
        TRY(transcribe_go_on(work));
        decode(decoder, &utterance, words, &segment.confidence);
        segment.text = words->bytes > 0 ? words->at : "";
        transcript_add(transcript, &segment, work_arena(work));
    }
    result = audio_ended(audio, &why);
    return result == AUDIO_GOOD ? DONE : recording_refuse(work, result, &why);
}

enum outcome local_transcribe(struct work *work, void *request, struct answer *ret)
{
    const struct transcribe_request *wanted = request;
    struct transcript transcript = { .provider = "local", .language = LOCAL_LANGUAGE, .model = LOCAL_MODEL };
    CLEANUP(decoder_give_back) ps_decoder_t *decoder = NULL;
    CLEANUP(buf_done) struct buf words;
    buf_init(&words, WORDS_BYTES_MAX);
    TRY(decoder_take(work, &decoder));
    for (int channel = 0; channel < wanted->recording->channels; channel++)
        TRY(transcribe_channel(work, decoder, wanted->recording, channel, &words, &transcript));
    transcript_sort(&transcript);
    ret->body = transcript_write(&transcript, work_arena(work));
    ret->model = LOCAL_MODEL;
    return DONE;
}
