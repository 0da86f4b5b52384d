/* The store of recordings: the folder and the bucket alike keep, open, find and remove; what a bucket's answers mean;
 * and what leaves for it. */
#include "common/recordings.h"

#include "common/crypto.h"
#include "tests/unit/scripted_server.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#define AUDIO  "RIFF, and what somebody said"
#define SECRET "the secret of the bucket"
#define PATH   "acme/0a1b.wav"

static struct server server;
static struct http_client *client;
static struct arena *arena;
static struct problem why;
static char folder[] = "/tmp/recordings.XXXXXX";
static struct recordings in_folder, in_bucket;

/* --- the other side: one object, and answers that are asked for by their status ---------------------------------- */

static struct {
    char request[8192]; /* the last */
    char content[256];
    struct text object; /* absent: none */
} bucket;

static bool server_behave(const struct exchange *exchange)
{
    int fd = exchange->fd, status = 0;
    snprintf(bucket.request, sizeof(bucket.request), "%s", exchange->request);
    char *end = strstr(bucket.request, "\r\n\r\n");
    if (end)
        end[2] = '\0';
    if (sscanf(exchange->request, "%*s /bucket/acme/status-%d", &status) == 1) {
        char line[32], xml[256];
        const char *code = strstr(exchange->request, "code-");
        snprintf(line, sizeof(line), "%d Indeed", status);
        snprintf(xml, sizeof(xml), "<Error><Code>%.*s</Code></Error>", code ? (int)strcspn(code + 5, ". ") : 0,
                 code ? code + 5 : "");
        return server_answer(fd, line, "", strncmp(exchange->request, "HEAD", 4) == 0 ? TEXT("") : text_of(xml));
    }
    if (strncmp(exchange->request, "PUT ", 4) == 0) {
        snprintf(bucket.content, sizeof(bucket.content), "%s", exchange->body);
        bucket.object = text_of(bucket.content);
        return server_answer(fd, "200 OK", "", TEXT(""));
    }
    if (strncmp(exchange->request, "DELETE ", 7) == 0) {
        bucket.object = (struct text){ NULL, 0 };
        return server_printf(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    }
    if (bucket.object.at == NULL)
        return server_printf(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    if (strncmp(exchange->request, "HEAD ", 5) == 0)
        return server_printf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bucket.object.bytes);
    return server_answer(fd, "200 OK", "", bucket.object);
}

/* --- both stores -------------------------------------------------------------------------------------------------- */

static int begin(void **state)
{
    (void)state;
    static char url[64];
    arena = arena_new(16 * 1024 * 1024);
    server_start(&server);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    if (!mkdtemp(folder) || !crypto_init(&why))
        return -1;
    in_folder = (struct recordings){
        .dir = folder, .region = "us-east-1", .timeout_ms = 5000, .stall_timeout_ms = 300
    };
    in_bucket = in_folder;
    in_bucket.bucket = "bucket";
    in_bucket.url = url;
    in_bucket.access_key = "AKIA";
    in_bucket.secret_key = SECRET;
    const struct http_client_settings settings = { .connections_max = 4, .connections_per_host_max = 4 };
    client = http_client_start(&settings, &why);
    return client ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    http_client_stop(client);
    server_stop(&server);
    int removed = system(arena_printf(arena, "rm -rf '%s'", folder));
    arena_free(arena);
    return removed;
}

static const char *put_aside(const char *content)
{
    const char *name = arena_printf(arena, "%s/acme/aside.part", folder);
    mkdir(arena_printf(arena, "%s/acme", folder), 0700);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    return name;
}

static const char *hash_of(const char *content)
{
    uint8_t digest[SHA256_BYTES];
    sha256(text_of(content), digest);
    return hex_print(digest, sizeof(digest), arena_alloc(arena, 2 * SHA256_BYTES + 1));
}

static enum recordings_result keep(const struct recordings *recordings, const char *path)
{
    const char *name = put_aside(AUDIO);
    int fd = open(name, O_RDONLY);
    enum recordings_result result = recordings_keep(
        recordings, client, arena,
        &(struct recordings_file){
            .fd = fd, .name = name, .bytes = strlen(AUDIO), .sha256 = hash_of(AUDIO), .format = "wav" },
        path, &why);
    close(fd);
    return result;
}

static const char *content_of(const struct recordings *recordings, const char *path)
{
    char content[256] = "";
    int fd = -1;
    assert_int_equal(recordings_open(recordings, client, arena, path, &fd, &why), RECORDINGS_DONE);
    assert_true(pread(fd, content, sizeof(content) - 1, 0) >= 0);
    close(fd);
    return arena_copy(arena, content);
}

static void keeps_opens_and_removes(void **state)
{
    (void)state;
    const struct recordings *const stores[] = { &in_folder, &in_bucket };
    for (size_t i = 0; i < LENGTH(stores); i++) {
        int fd;
        assert_int_equal(recordings_look(stores[i], client, arena, PATH, &why), RECORDINGS_ABSENT);
        assert_int_equal(recordings_open(stores[i], client, arena, PATH, &fd, &why), RECORDINGS_ABSENT);
        for (int times = 0; times < 2; times++) { /* the same again changes nothing */
            assert_int_equal(keep(stores[i], PATH), RECORDINGS_DONE);
            assert_int_equal(recordings_look(stores[i], client, arena, PATH, &why), RECORDINGS_DONE);
            assert_string_equal(content_of(stores[i], PATH), AUDIO);
        }
        assert_int_equal(recordings_remove(stores[i], client, arena, PATH, &why), RECORDINGS_DONE);
        assert_int_equal(recordings_look(stores[i], client, arena, PATH, &why), RECORDINGS_ABSENT);
        assert_int_equal(recordings_remove(stores[i], client, arena, PATH, &why),
                         stores[i]->bucket ? RECORDINGS_DONE : RECORDINGS_ABSENT);
    }
}

static void takes_no_path_that_leads_elsewhere(void **state)
{
    (void)state;
    const struct recordings *const stores[] = { &in_folder, &in_bucket };
    static const char *const paths[] = { "",     ".",    "..",      "/etc/passwd", "../x",       "a/../../x",
                                         "a//b", "a/",   "a/.b",    "a/b?c=d",     "a/b#c",      "a/%2e%2e/b",
                                         "a b",  "a\nb", "-x",      "a/\xc3\xa4" };
    int before = server_count(&server, &server.requests), fd;
    for (size_t i = 0; i < LENGTH(stores); i++)
        for (size_t j = 0; j < LENGTH(paths); j++) {
            assert_int_equal(recordings_look(stores[i], client, arena, paths[j], &why), RECORDINGS_ABSENT);
            assert_int_equal(recordings_open(stores[i], client, arena, paths[j], &fd, &why), RECORDINGS_ABSENT);
            assert_int_equal(recordings_remove(stores[i], client, arena, paths[j], &why), RECORDINGS_ABSENT);
        }
    assert_int_equal(server_count(&server, &server.requests), before);
    assert_int_equal(symlink("/etc/passwd", arena_printf(arena, "%s/link.wav", folder)), 0);
    assert_int_equal(recordings_open(&in_folder, client, arena, "link.wav", &fd, &why), RECORDINGS_ABSENT);
}

static void knows_a_missing_folder_from_a_missing_file(void **state)
{
    (void)state;
    struct recordings away = in_folder;
    int fd;
    away.dir = "/nonexistent/recordings";
    assert_int_equal(recordings_reach(&in_folder, client, arena, &why), RECORDINGS_DONE);
    assert_int_equal(recordings_reach(&away, client, arena, &why), RECORDINGS_AWAY);
    assert_int_equal(recordings_look(&away, client, arena, PATH, &why), RECORDINGS_AWAY);
    assert_int_equal(recordings_open(&away, client, arena, PATH, &fd, &why), RECORDINGS_AWAY);
    assert_int_equal(recordings_remove(&away, client, arena, PATH, &why), RECORDINGS_AWAY);
    assert_non_null(strstr(why.text, "RECORDINGS_DIR"));
}

/* --- the bucket --------------------------------------------------------------------------------------------------- */

static void signs_what_it_sends(void **state)
{
    (void)state;
    assert_int_equal(keep(&in_bucket, PATH), RECORDINGS_DONE);
    assert_non_null(strstr(bucket.request, "PUT /bucket/" PATH " HTTP/1.1\r\n"));
    assert_non_null(strstr(bucket.request, arena_printf(arena, "x-amz-content-sha256: %s\r\n", hash_of(AUDIO))));
    assert_non_null(strstr(bucket.request, "Content-Type: audio/wav\r\n"));
    assert_non_null(strstr(bucket.request, "Credential=AKIA/"));
    assert_non_null(strstr(bucket.request, "/us-east-1/s3/aws4_request"));
    /* what is sent otherwise, or not at all, must not be signed: libcurl 7.88 signs an "Expect:" that it leaves out */
    assert_non_null(strstr(bucket.request, "SignedHeaders=accept;content-type;host;x-amz-content-sha256;x-amz-date,"));
    assert_null(strstr(bucket.request, SECRET));
    recordings_remove(&in_bucket, client, arena, PATH, &why);
}

static void judges_answers(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum recordings_result wanted;
        const char *said;
    } cases[] = {
        { "acme/status-404-code-NoSuchKey.wav", RECORDINGS_ABSENT, "does not have the recording" },
        { "acme/status-404-code-NoSuchBucket.wav", RECORDINGS_REFUSED, "there is no bucket \"bucket\"" },
        { "acme/status-403-code-SignatureDoesNotMatch.wav", RECORDINGS_REFUSED, 
          "403 SignatureDoesNotMatch): check AWS" },
        { "acme/status-400-code-AuthorizationHeaderMalformed.wav", RECORDINGS_REFUSED, "RECORDINGS_S3_REGION" },
        { "acme/status-400-code-RequestTimeout.wav", RECORDINGS_AWAY, "400 RequestTimeout" },
        { "acme/status-301-code-PermanentRedirect.wav", RECORDINGS_REFUSED, "PermanentRedirect" },
        { "acme/status-503-code-SlowDown.wav", RECORDINGS_AWAY, "503 SlowDown" },
        { "acme/status-500.wav", RECORDINGS_AWAY, "(HTTP status 500)" },
        { "acme/status-429.wav", RECORDINGS_AWAY, "429" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        int fd = -1;
        enum recordings_result got = recordings_open(&in_bucket, client, arena, cases[i].path, &fd, &why);
        if (got != cases[i].wanted || !strstr(why.text, cases[i].said))
            fail_msg("%s: got %d with \"%s\"", cases[i].path, got, why.text);
        assert_int_equal(recordings_remove(&in_bucket, client, arena, cases[i].path, &why), cases[i].wanted);
        assert_null(strstr(why.text, SECRET));
    }
    struct recordings away = in_bucket;
    away.url = "http://127.0.0.1:1";
    assert_int_equal(recordings_look(&away, client, arena, PATH, &why), RECORDINGS_AWAY);
    assert_int_equal(keep(&away, PATH), RECORDINGS_AWAY);
}

static void leaves_no_file_behind(void **state)
{
    (void)state;
    assert_int_equal(keep(&in_bucket, PATH), RECORDINGS_DONE);
    content_of(&in_bucket, PATH);
    DIR *listing = opendir(folder);
    for (struct dirent *entry; (entry = readdir(listing));)
        assert_null(strstr(entry->d_name, "scratch"));
    closedir(listing);
}

static void a_piece_is_of_the_recording_that_was_kept(void **state)
{
    (void)state;
    struct http_request request = recordings_piece(&in_bucket, arena, PATH, 5, 10);
    struct http_reply reply = { .result = HTTP_ANSWERED, .status = 206, .bytes = 10 };
    assert_string_equal(request.headers[1], "Range: bytes=5-14");
    assert_int_equal(recordings_judge_piece(&in_bucket, &reply, 10, &why), RECORDINGS_DONE);
    assert_int_equal(recordings_judge_piece(&in_bucket, &reply, 11, &why), RECORDINGS_AWAY);
    reply.status = 416;
    assert_int_equal(recordings_judge_piece(&in_bucket, &reply, 10, &why), RECORDINGS_AWAY);
    assert_non_null(strstr(why.text, "another recording"));
}

static void settings_go_together(void **state)
{
    (void)state;
    struct recordings wrong = in_bucket;
    assert_true(recordings_ready(&in_folder, &why) && recordings_ready(&in_bucket, &why));
    wrong.bucket = NULL;
    assert_false(recordings_ready(&wrong, &why));
    wrong.bucket = "two/names";
    assert_false(recordings_ready(&wrong, &why));
    wrong = in_bucket;
    wrong.secret_key = NULL;
    assert_false(recordings_ready(&wrong, &why));
    assert_non_null(strstr(why.text, "AWS_SECRET_ACCESS_KEY"));
    wrong = in_bucket;
    wrong.url = NULL;
    wrong.region = "eu-central-1";
    assert_string_equal(recordings_piece(&wrong, arena, PATH, 0, 1).url,
                        "https://s3.eu-central-1.amazonaws.com/bucket/" PATH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_opens_and_removes),
        cmocka_unit_test(takes_no_path_that_leads_elsewhere),
        cmocka_unit_test(knows_a_missing_folder_from_a_missing_file),
        cmocka_unit_test(signs_what_it_sends),
        cmocka_unit_test(judges_answers),
        cmocka_unit_test(leaves_no_file_behind),
        cmocka_unit_test(a_piece_is_of_the_recording_that_was_kept),
        cmocka_unit_test(settings_go_together),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
