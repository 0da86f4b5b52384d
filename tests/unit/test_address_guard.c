/* Which addresses a request from outside may reach: a table of them, and the exceptions a person may list. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "common/address_guard.h"

#include <setjmp.h>
#include <cmocka.h>

static struct sockaddr_storage address_of(const char *text, uint16_t port)
{
    struct sockaddr_storage storage = { 0 };
    struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
        memcpy(&storage, &ipv4, sizeof(ipv4));
    else if (inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1)
        memcpy(&storage, &ipv6, sizeof(ipv6));
    else
        fail_msg("not an address: %s", text);
    return storage;
}

static void judges_addresses(void **state)
{
    (void)state;
    static const char *const special[] = {
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.255",
        "192.0.2.1",
        "192.31.196.1",
        "192.52.193.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "192.175.48.1",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.255",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.254",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "::ffff:169.254.169.254",
        "::ffff:0:8.8.8.8",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "64:ff9b:0:0:1::8.8.8.8",
        "100::1",
        "100:0:0:1::1",
        "1fff:ffff::1",
        "2001::1",
        "2001:0:808:808::1" /* Teredo */,
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "2002:a9fe:a9fe::1",
        "2002:c0a8:101::1",
        "2620:4f:8000::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "ffff::1",
    };
    static const char *const public[] = {
        "1.1.1.1",         "8.8.8.8",
        "9.255.255.255",   "11.0.0.0",
        "100.63.255.255",  "100.128.0.0",
        "126.255.255.255", "128.0.0.0",
        "169.253.255.255", "169.255.0.0",
        "172.15.255.255",  "172.32.0.0",
        "191.255.255.255", "192.0.1.0",
        "192.0.3.0",       "192.167.255.255",
        "192.169.0.0",     "198.17.255.255",
        "198.20.0.0",      "203.0.112.255",
        "203.0.114.0",     "223.255.255.255",
        "::ffff:8.8.8.8",  "64:ff9b::8.8.8.8",
        "2001:200::1",     "2001:4860:4860::8888",
        "2001:db7::1",     "2001:db9::1",
        "2002:808:808::1", "2606:4700::1111",
        "2620:4f:8001::1", "2a00:1450::1",
        "3ffe::1",         "3fff:1000::1",
    };
    for (size_t i = 0; i < LENGTH(special); i++) {
        struct sockaddr_storage address = address_of(special[i], 80);
        if (!address_is_special((struct sockaddr *)&address))
            fail_msg("%s was taken for a public address", special[i]);
    }
    for (size_t i = 0; i < LENGTH(public); i++) {
        struct sockaddr_storage address = address_of(public[i], 80);
        if (address_is_special((struct sockaddr *)&address))
            fail_msg("%s was taken for a special address", public[i]);
    }
}

static void refuses_other_families(void **state)
{
    (void)state;
    struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "/run/secret" };
    struct address_guard *guard = address_guard_new(NULL, NULL);
    assert_true(address_is_special((struct sockaddr *)&local));
    assert_false(address_guard_allows(guard, (struct sockaddr *)&local, "secret:80"));
    address_guard_free(guard);
}

static void lets_through_what_is_listed(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        uint16_t port;
        const char *authority;
        bool allowed;
    } cases[] = {
        { "127.0.0.1", 9000, "127.0.0.1:9000", true },
        { "127.0.0.1", 9000, "anything.example:9000", true }, /* the address counts, however it was named */
        { "::ffff:127.0.0.1", 9000, "[::ffff:7f00:1]:9000", true },
        { "127.0.0.1", 9001, "127.0.0.1:9001", false },
        { "127.0.0.2", 9000, "127.0.0.2:9000", false },
        { "10.0.0.5", 80, "10.0.0.5:80", true },
        { "fd00::5", 8080, "[fd00::5]:8080", true },
        { "fd00::6", 8080, "[fd00::6]:8080", false },
        { "172.20.0.3", 8080, "sandbox:8080", true }, /* a name: wherever it leads */
        { "172.20.0.3", 8081, "sandbox:8081", false },
        { "172.20.0.3", 8080, "sandbox.example:8080", false },
        { "172.20.0.3", 8080, "172.20.0.3:8080", false },
        { "8.8.8.8", 443, "dns.google:443", true }, /* public: needs no entry */
    };
    struct problem why;
    struct address_guard *guard = address_guard_new("127.0.0.1:9000, 10.0.0.5:80,[fd00::5]:8080,,Sandbox:8080,", &why);
    assert_non_null(guard);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct sockaddr_storage address = address_of(cases[i].address, cases[i].port);
        if (address_guard_allows(guard, (struct sockaddr *)&address, cases[i].authority) != cases[i].allowed)
            fail_msg("%s as %s should be %s", cases[i].address, cases[i].authority,
                     cases[i].allowed ? "allowed" : "refused");
    }
    address_guard_free(guard);
}

static void names_an_entry_it_cannot_read(void **state)
{
    (void)state;
    static const char *const bad[] = { "127.0.0.1",     "127.0.0.1:",  "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1",
                                       "127.0.0.1:80x", ":80",         "[::1:80",     "[::1]",           "::1:80",
                                       "[10.0.0.1]:80", "http://a:80", "a b",         "10.0.0.0/8:80" };
    for (size_t i = 0; i < LENGTH(bad); i++) {
        struct problem why = { 0 };
        if (address_guard_new(bad[i], &why) != NULL)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(strstr(why.text, "must be host:port"));
    }
    char many[65 * 16 + 1] = "";
    for (int i = 0; i < 65; i++)
        sprintf(many + strlen(many), "10.0.0.%d:80,", i);
    struct problem why = { 0 };
    assert_null(address_guard_new(many, &why));
    assert_non_null(strstr(why.text, "more than 64"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_addresses),
        cmocka_unit_test(refuses_other_families),
        cmocka_unit_test(lets_through_what_is_listed),
        cmocka_unit_test(names_an_entry_it_cannot_read),
    };
    return cmocka_run_group_tests_name("address guard", tests, NULL, NULL);
}
