/* `.env`, values and their ranges, what is said of wrong and unknown ones, and what --help shows. */
#include "common/log.h"
#include "common/settings.h"
#include "common/settings_file.h"
#include "common/settings_source.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has a macro named fail */

#define PRINT_BYTES_MAX (64 * 1024)

struct sample {
    const char *text, *secret, *url, *listen;
    int choice;
    int64_t count, bytes, duration, any_duration;
    bool on;
};

static const char *const colours[] = { "red", "green", "blue", NULL };

#define SAMPLE(field) offsetof(struct sample, field)
static const struct setting table[] = {
    { "SB_TEXT", SET_TEXT, SAMPLE(text), "recordings", .help = "a folder" },
    { "SB_SECRET", SET_SECRET, SAMPLE(secret), NULL, .help = "a key" },
    { "SB_URL", SET_URL, SAMPLE(url), "https://speech.example", .help = "an address" },
    { "SB_LISTEN", SET_LISTEN, SAMPLE(listen), "127.0.0.1:0", .help = "where to listen" },
    { "SB_CHOICE", SET_CHOICE, SAMPLE(choice), "green", .choices = colours, .help = "a colour" },
    { "SB_COUNT", SET_COUNT, SAMPLE(count), "64", 1, 1000, .help = "how many" },
    { "SB_BYTES", SET_BYTES, SAMPLE(bytes), "16MiB", 1, 1 << 30, .help = "how large" },
    { "SB_DURATION", SET_DURATION, SAMPLE(duration), "30s", 1000, 600000, .help = "how long" },
    { "SB_ANY_DURATION", SET_DURATION, SAMPLE(any_duration), NULL, .help = "how long, without a default" },
    { "SB_SWITCH", SET_SWITCH, SAMPLE(on), "off", .help = "whether" },
    { 0 }
};

static const char *env_path;

static void write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static void use_env_file(const char *content)
{
    struct problem why;
    write_file(env_path, content);
    if (!settings_load_file(env_path, &why))
        fail_msg("%s", why.text);
}

static int forget(void **state)
{
    (void)state;
    for (const struct setting *setting = table; setting->name; setting++)
        unsetenv(setting->name);
    use_env_file("");
    return 0;
}

/* --- .env --------------------------------------------------------------------------------------------------------- */

static void reads_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *value;
    } cases[] = {
        { "KEY=value", "value" },
        { "  KEY = value \t", "value" },
        { "export KEY=value", "value" },
        { "export\tKEY=value", "value" },
        { "KEY=", "" },
        { "KEY= # nothing", "" },
        { "KEY=#nothing", "" },
        { "KEY=a b  c # comment", "a b  c" },
        { "KEY=a#b", "a#b" },
        { "KEY=a=b", "a=b" },
        { "KEY='a # b'", "a # b" },
        { "KEY='a\\n\"$b'   # comment", "a\\n\"$b" },
        { "KEY=\"a\\n\\t\\r\\\"\\\\\\$b\\x # '\"", "a\n\t\r\"\\$b\\x # '" },
        { "KEY=\"\"", "" },
        { "KEY=''", "" },
        { "KEY=it's", "it's" },
        { "KEY=value\r", "value" },
        { "KEY=\"value\"\r", "value" },
        { "KEY=grüße", "grüße" },
        { "\xef\xbb\xbfKEY=value", "value" },
        { "# comment\n\n \t\n\r\nKEY=value\nother=1\n", "value" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char content[256];
        static struct settings_file file;
        struct problem why;
        strcpy(content, cases[i].line);
        if (!settings_file_parse(content, strlen(content), &file, &why))
            fail_msg("%s: %s", cases[i].line, why.text);
        assert_string_equal(file.entries[0].name, "KEY");
        assert_string_equal(file.entries[0].value, cases[i].value);
    }
}

static void names_the_wrong_line(void **state)
{
    (void)state;
    static const struct {
        const char *content, *why;
    } cases[] = {
        { "A=1\nnonsense\n", "line 2: expected NAME=value" },
        { "A B=1", "line 1: expected NAME=value" },
        { "=1", "line 1: expected NAME=value" },
        { "1A=1", "line 1: expected NAME=value" },
        { "A-B=1", "line 1: expected NAME=value" },
        { "export=1\nexport A", "line 2: expected NAME=value" },
        { "\n\nA='1", "line 3: the single quote is not closed" },
        { "A=\"1\\\"", "line 1: the double quote is not closed" },
        { "A=\"1\\", "line 1: the double quote is not closed" },
        { "A=\"1\nB=2\"", "line 1: the double quote is not closed" },
        { "A='1'2", "line 1: something follows" },
        { "A=\"1\"#2", "line 1: something follows" },
        { "A=1\r\nB=2\r\nA=3", "line 3: A is set already on line 1" },
        { "A=1\nB=\xff\n", "line 2: it is not UTF-8 text" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char content[256];
        static struct settings_file file;
        struct problem why;
        strcpy(content, cases[i].content);
        assert_false(settings_file_parse(content, strlen(content), &file, &why));
        if (strncmp(why.text, cases[i].why, strlen(cases[i].why)) != 0)
            fail_msg("wanted: %s\ngot: %s", cases[i].why, why.text);
    }
}

static void refuses_what_it_cannot_hold(void **state)
{
    (void)state;
    struct problem why;
    static struct settings_file file;
    char with_nul[] = "A=1\nB=\0\n";
    assert_false(settings_file_parse(with_nul, sizeof(with_nul) - 1, &file, &why));
    assert_string_equal(why.text, "line 2: it is not UTF-8 text");

    struct buf many;
    buf_init(&many, 1 << 20);
    for (int i = 0; i <= SETTINGS_FILE_NAMES_MAX; i++)
        buf_printf(&many, "N%d=1\n", i);
    assert_false(settings_file_parse(many.at, many.bytes, &file, &why));
    assert_string_equal(why.text, "line 513: there are more than 512 settings");

    buf_clear(&many);
    while (many.bytes <= SETTINGS_FILE_BYTES_MAX)
        buf_add_string(&many, "# a long comment\n");
    write_file(env_path, many.at);
    assert_false(settings_load_file(env_path, &why));
    assert_non_null(strstr(why.text, "it is larger than 64 KiB"));
    buf_done(&many);

    assert_true(settings_load_file("/nowhere/.env", &why));
    assert_false(settings_load_file("/", &why));
    assert_non_null(strstr(why.text, "could not read /"));
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static struct sample read_sample(void)
{
    struct sample sample;
    struct problem why;
    memset(&sample, 0x55, sizeof(sample));
    if (!settings_read(table, &sample, &why))
        fail_msg("%s", why.text);
    return sample;
}

static void gives_defaults(void **state)
{
    (void)state;
    struct sample sample = read_sample();
    assert_string_equal(sample.text, "recordings");
    assert_null(sample.secret);
    assert_string_equal(sample.url, "https://speech.example");
    assert_string_equal(sample.listen, "127.0.0.1:0");
    assert_int_equal(sample.choice, 1);
    assert_int_equal(sample.count, 64);
    assert_int_equal(sample.bytes, 16 << 20);
    assert_int_equal(sample.duration, 30000);
    assert_int_equal(sample.any_duration, 0);
    assert_false(sample.on);
}

static void environment_wins_over_the_file(void **state)
{
    (void)state;
    use_env_file("SB_TEXT=file\nSB_COUNT=5\nSB_BYTES=\nSB_SECRET=hush\n");
    setenv("SB_COUNT", "6", 1);
    struct sample sample = read_sample();
    assert_string_equal(sample.text, "file");
    assert_int_equal(sample.count, 6);
    assert_int_equal(sample.bytes, 16 << 20);
    assert_string_equal(sample.secret, "hush");
    setenv("SB_COUNT", "", 1); /* there, and empty: hides the file's */
    setenv("SB_SECRET", "", 1);
    sample = read_sample();
    assert_int_equal(sample.count, 64);
    assert_null(sample.secret);
}

static void takes_good_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        size_t offset;
        int64_t wanted;
    } cases[] = {
        { "SB_COUNT", "1", SAMPLE(count), 1 },
        { "SB_COUNT", "1000", SAMPLE(count), 1000 },
        { "SB_BYTES", "1", SAMPLE(bytes), 1 },
        { "SB_BYTES", "64KiB", SAMPLE(bytes), 65536 },
        { "SB_BYTES", "2 mib", SAMPLE(bytes), 2 << 20 },
        { "SB_BYTES", "1GiB", SAMPLE(bytes), 1 << 30 },
        { "SB_DURATION", "1000ms", SAMPLE(duration), 1000 },
        { "SB_DURATION", "45", SAMPLE(duration), 45000 },
        { "SB_DURATION", "10m", SAMPLE(duration), 600000 },
        { "SB_ANY_DURATION", "0", SAMPLE(any_duration), 0 },
        { "SB_ANY_DURATION", "7d", SAMPLE(any_duration), 604800000 },
        { "SB_ANY_DURATION", "2h", SAMPLE(any_duration), 7200000 },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        setenv(cases[i].name, cases[i].value, 1);
        struct sample sample = read_sample();
        assert_int_equal(*(int64_t *)((char *)&sample + cases[i].offset), cases[i].wanted);
        unsetenv(cases[i].name);
    }
    static const char *const on[] = { "on", "true", "1", "ON", "off", "false", "0", "Off" };
    for (size_t i = 0; i < LENGTH(on); i++) {
        setenv("SB_SWITCH", on[i], 1);
        assert_int_equal(read_sample().on, i < 4);
    }
    setenv("SB_CHOICE", "Blue", 1);
    assert_int_equal(read_sample().choice, 2);
    setenv("SB_URL", "http://127.0.0.1:8080/base//", 1);
    assert_string_equal(read_sample().url, "http://127.0.0.1:8080/base");
    static const char *const listens[] = { "0.0.0.0:5000", "[::1]:65535", "localhost:0" };
    for (size_t i = 0; i < LENGTH(listens); i++) {
        setenv("SB_LISTEN", listens[i], 1);
        assert_string_equal(read_sample().listen, listens[i]);
    }
}

static void refuses_wrong_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *takes;
    } cases[] = {
        { "SB_COUNT", "0", "number, 1 to 1000" },
        { "SB_COUNT", "1001", "number, 1 to 1000" },
        { "SB_COUNT", "-1", "number, 1 to 1000" },
        { "SB_COUNT", "many", "number, 1 to 1000" },
        { "SB_COUNT", "5x", "number, 1 to 1000" },
        { "SB_COUNT", "+5", "number, 1 to 1000" },
        { "SB_COUNT", "99999999999999999999", "number, 1 to 1000" },
        { "SB_BYTES", "64KB", "size, 1B to 1GiB" },
        { "SB_BYTES", "1.5MiB", "size, 1B to 1GiB" },
        { "SB_BYTES", "9000000000000TiB", "size, 1B to 1GiB" },
        { "SB_DURATION", "5 parsecs", "duration, 1s to 10m" },
        { "SB_DURATION", "999ms", "duration, 1s to 10m" },
        { "SB_DURATION", "601", "duration, 1s to 10m" },
        { "SB_ANY_DURATION", "5", "duration" },
        { "SB_ANY_DURATION", "-5s", "duration" },
        { "SB_CHOICE", "pink", "red, green or blue" },
        { "SB_SWITCH", "yes", "on or off" },
        { "SB_URL", "speech.example", "http(s)://host" },
        { "SB_URL", "https://", "http(s)://host" },
        { "SB_URL", "https:///path", "http(s)://host" },
        { "SB_URL", "https://user:hush@host", "http(s)://host" },
        { "SB_URL", "https://host/?q=1", "http(s)://host" },
        { "SB_LISTEN", "5000", "address:port" },
        { "SB_LISTEN", ":5000", "address:port" },
        { "SB_LISTEN", "0.0.0.0:65536", "address:port" },
        { "SB_LISTEN", "0.0.0.0:http", "address:port" },
        { "SB_LISTEN", "::1:5000", "address:port" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct sample sample;
        struct problem why;
        char wanted[256];
        setenv(cases[i].name, cases[i].value, 1);
        assert_false(settings_read(table, &sample, &why));
        snprintf(wanted, sizeof(wanted), "%s is \"%s\" in the environment; it takes: %s", cases[i].name, cases[i].value,
                 cases[i].takes);
        assert_string_equal(why.text, wanted);
        unsetenv(cases[i].name);
    }
}

static void names_file_and_line_of_a_wrong_value(void **state)
{
    (void)state;
    struct sample sample;
    struct problem why;
    char wanted[256];
    use_env_file("# first\nSB_COUNT=none\n");
    assert_false(settings_read(table, &sample, &why));
    snprintf(wanted, sizeof(wanted), "SB_COUNT is \"none\" on line 2 of %s; it takes: number, 1 to 1000", env_path);
    assert_string_equal(why.text, wanted);
}

static void shows_no_wrong_secret_and_no_binary(void **state)
{
    (void)state;
    struct sample sample;
    struct problem why;
    setenv("SB_SECRET", "hush\xff", 1);
    assert_false(settings_read(table, &sample, &why));
    assert_null(strstr(why.text, "hush"));
    setenv("SB_SECRET", "hush", 1);
    setenv("SB_TEXT", "\xff", 1);
    assert_false(settings_read(table, &sample, &why));
    assert_string_equal(why.text, "SB_TEXT is \"not text\" in the environment; it takes: text");
    unsetenv("SB_TEXT");
    /* cut before, not in, the ü */
    setenv("SB_COUNT", "12345678901234567890123456789012345678901234567890123456789ü0", 1);
    assert_false(settings_read(table, &sample, &why));
    assert_true(text_is_utf8(text_of(why.text)));
    assert_non_null(strstr(why.text, "56789\" in"));
}

static void stops_for_a_missing_required_one(void **state)
{
    (void)state;
    static const struct setting required[] = {
        { "SB_NEEDED", SET_TEXT, SAMPLE(text), NULL, .required = true, .help = "a thing" }, { 0 }
    };
    struct sample sample;
    struct problem why;
    assert_false(settings_read(required, &sample, &why));
    assert_string_equal(why.text, "SB_NEEDED is not set (a thing): give it in the environment or in .env");
}

static void collect(void *context, const char *name, const char *value)
{
    buf_printf(context, "%s=%s ", name, value);
}

static void gives_all_of_a_prefix(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, PRINT_BYTES_MAX);
    use_env_file("KAFKA_PROP_A=file\nKAFKA_PROP_B=file\nKAFKA_PROP_C=\nKAFKA_BROKERS=x\n");
    setenv("KAFKA_PROP_A", "environment", 1);
    setenv("KAFKA_PROP_D", "", 1);
    settings_each("KAFKA_PROP_", collect, &out);
    assert_string_equal(out.at, "KAFKA_PROP_A=environment KAFKA_PROP_B=file ");
    unsetenv("KAFKA_PROP_A");
    unsetenv("KAFKA_PROP_D");
    buf_done(&out);
}

/* --- what is said ------------------------------------------------------------------------------------------------- */

/* Standard error of settings_report_unknown(). */
static void report_into(char *ret, size_t room)
{
    int ends[2], before = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_init("test", LOG_INFO);
    settings_report_unknown();
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[1]);
    size_t bytes = 0;
    for (ssize_t got; (got = read(ends[0], ret + bytes, room - 1 - bytes)) > 0;)
        bytes += (size_t)got;
    close(ends[0]);
    ret[bytes] = 0;
}

static void reports_unknown_names(void **state)
{
    (void)state;
    char report[8192];
    read_sample();
    use_env_file("SB_TXT=1\nSB_TEXT=1\nKAFKA_PROP_SASL_MECHANISM=PLAIN\nHUBSPOT_ACCESS_TOKEN=x\n\n"
                 "TWILIO_AUTH_TOKN=hush\nFAR_AWAY=1\n");
    report_into(report, sizeof(report));
    assert_non_null(strstr(report, "\"setting\":\"SB_TXT\",\"line\":1,\"nearest\":\"SB_TEXT\""));
    assert_non_null(strstr(report, "\"setting\":\"TWILIO_AUTH_TOKN\",\"line\":6,\"nearest\":\"TWILIO_AUTH_TOKEN\""));
    assert_non_null(strstr(report, "\"setting\":\"FAR_AWAY\",\"line\":7,\"nearest\":null"));
    assert_null(strstr(report, "KAFKA_PROP"));
    assert_null(strstr(report, "HUBSPOT"));
    assert_null(strstr(report, "hush"));
}

static void says_what_to_give_for_supabase(void **state)
{
    (void)state;
    char report[8192];
    use_env_file("SUPABASE_URL=https://x.supabase.co\n");
    report_into(report, sizeof(report));
    assert_non_null(
        strstr(report, "\"setting\":\"SUPABASE_URL\",\"remark\":\"give Supabase's Postgres as DATABASE_URL\""));
    assert_null(strstr(report, "SUPABASE_ANON_KEY"));
}

static void prints_help_within_its_columns(void **state)
{
    (void)state;
    static const struct setting wide[] = {
        { "SB_NEEDED", SET_TEXT, SAMPLE(text), NULL, .required = true,
          .help =
              "a thing that takes many words to explain, so many that they do not fit into one line of a terminal of a "
              "common width, grüße" },
        { 0 }
    };
    struct buf out;
    buf_init(&out, PRINT_BYTES_MAX);
    settings_print(table, NULL, &out);
    settings_print(wide, NULL, &out);
    assert_non_null(
        strstr(out.at, "  SB_DURATION                        duration, 1s to 10m           30s\n      how long\n"));
    assert_non_null(strstr(out.at, "  SB_SECRET                          secret                        not set\n"));
    assert_non_null(strstr(out.at, "  SB_NEEDED                          text                          required\n"));
    char *copy = must_copy(out.at);
    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n"))
        if (strlen(line) > 100)
            fail_msg("too wide: %s", line);
    free(copy);
    buf_done(&out);
}

static void prints_current_values_without_secrets(void **state)
{
    (void)state;
    char wanted[256];
    use_env_file("SB_SECRET=hush\n");
    setenv("SB_DURATION", "90", 1);
    struct sample sample = read_sample();
    struct buf out;
    buf_init(&out, PRINT_BYTES_MAX);
    settings_print(table, &sample, &out);
    snprintf(wanted, sizeof(wanted), "  SB_SECRET                          «set» (%s, line 1)\n", env_path);
    assert_non_null(strstr(out.at, wanted));
    assert_non_null(strstr(out.at, "  SB_DURATION                        90s (environment)\n"));
    assert_non_null(strstr(out.at, "  SB_BYTES                           16MiB (default)\n"));
    assert_non_null(strstr(out.at, "  SB_CHOICE                          green (default)\n"));
    assert_non_null(strstr(out.at, "  SB_SWITCH                          off (default)\n"));
    assert_null(strstr(out.at, "hush"));
    buf_done(&out);
}

#define PER_TEST(function) cmocka_unit_test_setup(function, forget)

int main(void)
{
    static char path[] = "/tmp/test_settings.XXXXXX";
    close(mkstemp(path));
    env_path = path;
    const struct CMUnitTest tests[] = {
        PER_TEST(reads_lines),
        PER_TEST(names_the_wrong_line),
        PER_TEST(refuses_what_it_cannot_hold),
        PER_TEST(gives_defaults),
        PER_TEST(environment_wins_over_the_file),
        PER_TEST(takes_good_values),
        PER_TEST(refuses_wrong_values),
        PER_TEST(names_file_and_line_of_a_wrong_value),
        PER_TEST(shows_no_wrong_secret_and_no_binary),
        PER_TEST(stops_for_a_missing_required_one),
        PER_TEST(gives_all_of_a_prefix),
        PER_TEST(reports_unknown_names),
        PER_TEST(says_what_to_give_for_supabase),
        PER_TEST(prints_help_within_its_columns),
        PER_TEST(prints_current_values_without_secrets),
    };
    int failed = cmocka_run_group_tests_name("settings", tests, NULL, NULL);
    unlink(path);
    return failed;
}
