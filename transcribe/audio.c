/* audio.c: libsndfile reads, libsoxr brings it to 16 kHz. */
#include "transcribe/audio.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sndfile.h>
#include <soxr.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_FRAMES 2048 /* read and resampled at once */
#define HEAD_BYTES   512  /* looked at to see what a file is */
#define SAMPLE_MAX   32767
#define READABLE     "WAV, FLAC, MP3, AU and Opus can"

struct file {
    SNDFILE *sound;
    int fd;
    int error; /* errno of the first read that the disk refused; 0: none */
    SF_INFO info;
};

struct audio {
    struct file file;
    int channel;
    soxr_t resampler; /* NULL: the file has the rate that is wanted */
    bool at_end;
    size_t at, count; /* of `mono`: what is not used yet */
    float frames[CHUNK_FRAMES * AUDIO_CHANNELS_MAX];
    float mono[CHUNK_FRAMES];
};

/* --- what a file is ----------------------------------------------------------------------------------------------- */

/* libsndfile would try many more formats, also ones that are hardly ever used and hardly ever mended.  In Ogg it is
 * given Opus, which voice notes are, and whose head is a first page of one packet; of Vorbis that is cut off it keeps
 * memory. */
static bool is_known(struct text head)
{
    static const struct {
        const char *begins;
        size_t at;
        const char *then;
    } known[] = {
        { "RIFF", 8, "WAVE" }, { "RIFX", 8, "WAVE" }, { "RF64", 8, "WAVE" },
        { ".snd", 0, "" },     { "fLaC", 0, "" },     { "ID3", 0, "" },
        { "OggS", 28, "OpusHead" },
    };
    for (size_t i = 0; i < LENGTH(known); i++) {
        struct text rest = { head.at + known[i].at, head.bytes > known[i].at ? head.bytes - known[i].at : 0 };
        if (text_starts(head, known[i].begins) && text_starts(rest, known[i].then))
            return true;
    }
    /* an MPEG frame: eleven bits of synchronisation, and a layer (ISO 11172-3) */
    const unsigned char *byte = (const unsigned char *)head.at;
    return head.bytes > 1 && byte[0] == 0xFF && (byte[1] & 0xE0) == 0xE0 && (byte[1] & 0x06) != 0;
}

/* What something that is not audio we can read is instead; NULL: nobody knows. */
static const char *other_name(struct text head)
{
    static const struct {
        size_t at;
        const char *there;
        const char *name;
    } others[] = {
        { 4, "ftyp", "MP4 audio, which cannot be read: " READABLE },
        { 0, "OggS", "Ogg audio other than Opus, which cannot be read: " READABLE },
        { 0, "\x1A\x45\xDF\xA3", "WebM, which cannot be read: " READABLE },
        { 0, "FORM", "AIFF audio, which cannot be read: " READABLE },
        { 0, "#!AMR", "AMR audio, which cannot be read: " READABLE },
        { 0, "\x1F\x8B", "a gzip archive, not audio" },
        { 0, "PK\x03\x04", "a zip archive, not audio" },
        { 0, "%PDF", "a PDF document, not audio" },
        { 0, "{", "JSON, not audio" },
    };
    for (size_t i = 0; i < LENGTH(others); i++)
        if (head.bytes > others[i].at &&
            text_starts((struct text){ head.at + others[i].at, head.bytes - others[i].at }, others[i].there))
            return others[i].name;
    return NULL;
}

static const char *markup_name(struct text head)
{
    static const char *const html[] = { "<!doctype html", "<html", "<head", "<body", "<!--" };
    size_t skip = text_starts(head, "\xEF\xBB\xBF") ? 3 : 0;
    while (skip < head.bytes && strchr(" \t\r\n", head.at[skip]) && head.at[skip])
        skip++;
    struct text rest = { head.at + skip, head.bytes - skip };
    for (size_t i = 0; i < LENGTH(html); i++)
        if (rest.bytes >= strlen(html[i]) && strncasecmp(rest.at, html[i], strlen(html[i])) == 0)
            return "an HTML page, not audio";
    return text_starts(rest, "<?xml") || text_starts(rest, "<Error") ? "an XML document, not audio" : NULL;
}

static bool is_plain_text(struct text head)
{
    for (size_t i = 0; i < head.bytes; i++)
        if ((unsigned char)head.at[i] < ' ' && !strchr("\t\r\n", head.at[i]))
            return false;
    return true;
}

static bool head_is_usable(struct text head, struct problem *why)
{
    if (head.bytes == 0)
        return fail(why, "the recording is empty");
    if (is_known(head))
        return true;
    const char *name = markup_name(head) ? markup_name(head) : other_name(head);
    if (name)
        return fail(why, "the recording is %s", name);
    if (is_plain_text(head))
        return fail(why, "the recording is plain text, not audio");
    return fail(why, "the recording has a broken header: it begins like no audio format that can be read");
}

static const char *format_name(int format)
{
    switch (format & SF_FORMAT_TYPEMASK) {
    case SF_FORMAT_WAV:
    case SF_FORMAT_WAVEX:
    case SF_FORMAT_RF64:
        return "wav";
    case SF_FORMAT_FLAC:
        return "flac";
    case SF_FORMAT_MPEG:
        return "mp3";
    case SF_FORMAT_AU:
        return "au";
    case SF_FORMAT_OGG:
        return "ogg";
    }
    return NULL;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* libsndfile's sentences are several, and end in a full stop; some are about itself and not about the file. */
static void say_why(struct problem *why, const char *said)
{
    if (strcasestr(said, "internal error") || strstr(said, "does not exist"))
        said = "nothing can be made of it";
    fail(why, "the recording has a broken header: %.*s", (int)strcspn(said, ".\n"), said);
}

/* What went wrong at opening is in a variable of the library's own, and its MP3 decoder is set up at the first use. */
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

/* libsndfile reads through these, because by itself it takes a read that fails for the end of the file. */
static sf_count_t file_bytes(void *context)
{
    struct file *file = context;
    struct stat facts;
    return fstat(file->fd, &facts) == 0 ? facts.st_size : -1;
}

static sf_count_t file_seek(sf_count_t offset, int whence, void *context)
{
    struct file *file = context;
    return lseek(file->fd, offset, whence);
}

static sf_count_t file_tell(void *context)
{
    return file_seek(0, SEEK_CUR, context);
}

static sf_count_t file_read(void *at, sf_count_t wanted, void *context)
{
    struct file *file = context;
    sf_count_t done = 0;
    while (done < wanted) {
        ssize_t got = read(file->fd, (char *)at + done, (size_t)(wanted - done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && file->error == 0)
            file->error = errno;
        if (got <= 0)
            break;
        done += got;
    }
    return done;
}

static enum audio_result file_unread(const struct file *file, struct problem *why)
{
    fail(why, "could not read the recording's copy: %s", strerror(file->error));
    return AUDIO_UNREAD;
}

static void file_close(struct file *file)
{
    if (file->sound)
        sf_close(file->sound);
    if (file->fd >= 0)
        close(file->fd);
}

static bool file_is_usable(const struct file *file, struct problem *why)
{
    const SF_INFO *info = &file->info;
    if (!format_name(info->format))
        return fail(why, "the recording has a broken header: it begins like another format than it has");
    if (info->channels < 1 || info->channels > AUDIO_CHANNELS_MAX)
        return fail(why, "the recording has %d channels: only mono and stereo can be used", info->channels);
    if (info->samplerate < AUDIO_FILE_RATE_HZ_LEAST || info->samplerate > AUDIO_FILE_RATE_HZ_MAX)
        return fail(why, "the recording has a broken header: %d samples a second", info->samplerate);
    return true;
}

static enum audio_result file_begin(struct file *file, struct problem *why)
{
    static SF_VIRTUAL_IO reading = {
        .get_filelen = file_bytes, .seek = file_seek, .read = file_read, .tell = file_tell
    };
    char bytes[HEAD_BYTES];
    struct text head = { bytes, (size_t)file_read(bytes, sizeof(bytes), file) };
    bool good = head_is_usable(head, why);
    if (good && file_seek(0, SEEK_SET, file) == 0) {
        pthread_mutex_lock(&opening);
        file->sound = sf_open_virtual(&reading, SFM_READ, &file->info, file);
        if (!file->sound)
            say_why(why, sf_strerror(NULL));
        pthread_mutex_unlock(&opening);
        good = file->sound && file_is_usable(file, why);
    }
    return file->error ? file_unread(file, why) : good ? AUDIO_GOOD : AUDIO_BAD;
}

static enum audio_result file_open(struct file *ret, const char *path, struct problem *why)
{
    *ret = (struct file){ .fd = open(path, O_RDONLY | O_CLOEXEC) };
    if (ret->fd < 0) {
        fail(why, "could not open the recording's copy \"%s\": %s", path, strerror(errno));
        return AUDIO_UNREAD;
    }
    enum audio_result result = file_begin(ret, why);
    if (result != AUDIO_GOOD)
        file_close(ret);
    return result;
}

static int64_t count_frames(struct file *file, int64_t frames_max)
{
    int64_t frames = 0;
    float *chunk = must_alloc(CHUNK_FRAMES * AUDIO_CHANNELS_MAX * sizeof(*chunk));
    for (sf_count_t got; frames <= frames_max && (got = sf_readf_float(file->sound, chunk, CHUNK_FRAMES)) > 0;)
        frames += got;
    free(chunk);
    return frames;
}

enum audio_result audio_inspect(const char *path, int64_t duration_ms_max, struct audio_facts *ret, struct problem *why)
{
    struct file file;
    enum audio_result result = file_open(&file, path, why);
    if (result != AUDIO_GOOD)
        return result;
    int64_t frames_max = duration_ms_max * file.info.samplerate / 1000, frames = count_frames(&file, frames_max);
    if (file.error)
        result = file_unread(&file, why);
    else if (frames == 0 && sf_error(file.sound) != SF_ERR_NO_ERROR)
        say_why(why, sf_strerror(file.sound));
    else if (frames == 0)
        fail(why, "the recording is empty: it has a header and no sound");
    else if (frames > frames_max)
        fail(why, "the recording lasts longer than the %lld s of RECORDING_DURATION_MAX",
             (long long)duration_ms_max / 1000);
    else
        *ret = (struct audio_facts){ .format = format_name(file.info.format),
                                     .channels = file.info.channels,
                                     .sample_rate_hz = file.info.samplerate,
                                     .frames = frames,
                                     .duration_s = (double)frames / file.info.samplerate };
    file_close(&file);
    return result != AUDIO_GOOD ? result : frames > 0 && frames <= frames_max ? AUDIO_GOOD : AUDIO_BAD;
}

/* --- one channel -------------------------------------------------------------------------------------------------- */

static bool resampler_open(struct audio *audio, struct problem *why)
{
    soxr_error_t error = NULL;
    soxr_io_spec_t samples = soxr_io_spec(SOXR_FLOAT32_I, SOXR_INT16_I);
    samples.flags |= SOXR_NO_DITHER; /* the same file gives the same samples */
    audio->resampler = soxr_create(audio->file.info.samplerate, AUDIO_RATE_HZ, 1, &error, &samples, NULL, NULL);
    return audio->resampler || fail(why, "could not resample the recording: %s", soxr_strerror(error));
}

enum audio_result audio_open(const char *path, int channel, struct audio **ret, struct problem *why)
{
    struct audio *audio = must_alloc(sizeof(*audio));
    enum audio_result result = file_open(&audio->file, path, why);
    if (result != AUDIO_GOOD) {
        free(audio);
        return result;
    }
    audio->channel = channel;
    if (channel >= audio->file.info.channels) {
        fail(why, "the recording has no channel %d", channel + 1);
        result = AUDIO_BAD;
    } else if (audio->file.info.samplerate != AUDIO_RATE_HZ && !resampler_open(audio, why)) {
        result = AUDIO_UNREAD;
    }
    if (result == AUDIO_GOOD)
        *ret = audio;
    else
        audio_close(audio);
    return result;
}

enum audio_result audio_ended(const struct audio *audio, struct problem *why)
{
    return audio->file.error ? file_unread(&audio->file, why) : AUDIO_GOOD;
}

void audio_close(struct audio *audio)
{
    if (!audio)
        return;
    if (audio->resampler)
        soxr_delete(audio->resampler);
    file_close(&audio->file);
    free(audio);
}

void audio_closep(struct audio **audio)
{
    audio_close(*audio);
    *audio = NULL;
}

/* A file of floating-point samples may hold anything. */
static float in_range(float sample)
{
    if (!isfinite(sample))
        return 0;
    return sample > 1 ? 1 : sample < -1 ? -1 : sample;
}

static void fill(struct audio *audio)
{
    sf_count_t got = sf_readf_float(audio->file.sound, audio->frames, CHUNK_FRAMES);
    audio->at = 0;
    audio->count = got > 0 ? (size_t)got : 0;
    audio->at_end = got <= 0;
    for (size_t i = 0; i < audio->count; i++)
        audio->mono[i] = in_range(audio->frames[i * (size_t)audio->file.info.channels + (size_t)audio->channel]);
}

static size_t convert(struct audio *audio, int16_t *samples, size_t samples_max)
{
    size_t count = audio->count - audio->at < samples_max ? audio->count - audio->at : samples_max;
    for (size_t i = 0; i < count; i++) {
        long sample = lrintf(audio->mono[audio->at + i] * (SAMPLE_MAX + 1));
        samples[i] = (int16_t)(sample > SAMPLE_MAX ? SAMPLE_MAX : sample);
    }
    audio->at += count;
    return count;
}

static size_t resample(struct audio *audio, int16_t *samples, size_t samples_max)
{
    size_t used = 0, made = 0;
    /* no input means the end: the resampler gives what it still holds */
    soxr_process(audio->resampler, audio->at_end ? NULL : audio->mono + audio->at, audio->count - audio->at, &used,
                 samples, samples_max, &made);
    audio->at += used;
    return made;
}

size_t audio_read(struct audio *audio, int16_t *samples, size_t samples_max)
{
    size_t given = 0;
    while (given < samples_max) {
        if (audio->at == audio->count && !audio->at_end)
            fill(audio);
        size_t made = audio->resampler ? resample(audio, samples + given, samples_max - given)
                                       : convert(audio, samples + given, samples_max - given);
        given += made;
        if (audio->at_end && made == 0)
            break;
    }
    return given;
}

/* --- writing FLAC ------------------------------------------------------------------------------------------------- */

struct audio_writer {
    SNDFILE *sound;
};

struct audio_writer *audio_write_open(int fd, struct problem *why)
{
    SF_INFO info = { .samplerate = AUDIO_RATE_HZ, .channels = 1, .format = SF_FORMAT_FLAC | SF_FORMAT_PCM_16 };
    pthread_mutex_lock(&opening);
    SNDFILE *sound = sf_open_fd(fd, SFM_WRITE, &info, SF_FALSE);
    if (!sound)
        fail(why, "could not begin a FLAC file: %s", sf_strerror(NULL));
    pthread_mutex_unlock(&opening);
    if (!sound)
        return NULL;
    struct audio_writer *writer = must_alloc(sizeof(*writer));
    writer->sound = sound;
    return writer;
}

bool audio_write(struct audio_writer *writer, const int16_t *samples, size_t count, struct problem *why)
{
    if (sf_write_short(writer->sound, samples, (sf_count_t)count) == (sf_count_t)count)
        return true;
    return fail(why, "could not write a FLAC file: %s", sf_strerror(writer->sound));
}

bool audio_write_close(struct audio_writer *writer, struct problem *why)
{
    int error = sf_close(writer->sound);
    free(writer);
    return error == 0 || fail(why, "could not write a FLAC file: %s", sf_error_number(error));
}
