/* crypto.c: hashes and message codes by libcrypto, whose SHA uses the processor's own instructions (1 KiB of HMAC-SHA1
 * takes about 1 us where looking the algorithm up at each call takes 2); random bits and comparisons by libsodium. */
#include "common/crypto.h"

#include <assert.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

#define HASH_BLOCK_BYTES  64 /* of SHA-1 and of SHA-256 */
#define UUID_BINARY_BYTES 16

/* Drawn once; changing it would change every id. */
static const char switchboard_namespace[] = "07e31ecd-f14f-4f66-90f8-4d54855e85d0";
static const char uuid_parts_separator = '\x1F';

/* Fetched once: a fetch by name costs more than hashing 1 KiB. */
static EVP_MD *sha1_algorithm;
static EVP_MD *sha256_algorithm;

bool crypto_init(struct problem *why)
{
    if (sodium_init() < 0)
        return fail(why, "could not start libsodium: the system gives no random numbers");
    if (sha1_algorithm == NULL)
        sha1_algorithm = EVP_MD_fetch(NULL, "SHA1", NULL);
    if (sha256_algorithm == NULL)
        sha256_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (sha1_algorithm == NULL || sha256_algorithm == NULL)
        return fail(why, "could not start libcrypto: it has no SHA-1 or no SHA-256 here; "
                         "Twilio and CallRail sign with SHA-1, so a FIPS-only configuration cannot be used");
    return true;
}

/* --- hashes ------------------------------------------------------------------------------------------------------- */

static void must(bool done)
{
    if (!done) {
        log_error("libcrypto failed: memory is out, or crypto_init() was not called");
        abort();
    }
}

static void hash_begin(EVP_MD_CTX *hash, const EVP_MD *algorithm)
{
    must(hash != NULL && algorithm != NULL && EVP_DigestInit_ex2(hash, algorithm, NULL) == 1);
}

static void hash_add(EVP_MD_CTX *hash, const void *at, size_t bytes)
{
    must(bytes == 0 || EVP_DigestUpdate(hash, at, bytes) == 1);
}

static void hash_end(EVP_MD_CTX *hash, uint8_t *ret)
{
    must(EVP_DigestFinal_ex(hash, ret, NULL) == 1);
}

void sha256(struct text message, uint8_t ret[SHA256_BYTES])
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    hash_begin(hash, sha256_algorithm);
    hash_add(hash, message.at, message.bytes);
    hash_end(hash, ret);
    EVP_MD_CTX_free(hash);
}

/* RFC 2104 by hand, over one context used twice: libcrypto's own HMAC object costs twice as much to make as to use. */
static void hmac(const EVP_MD *algorithm, size_t hash_bytes, struct text key, const struct text *parts,
                 size_t part_count, uint8_t *ret)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    uint8_t block[HASH_BLOCK_BYTES] = { 0 };

    if (key.bytes > sizeof(block)) {
        hash_begin(hash, algorithm);
        hash_add(hash, key.at, key.bytes);
        hash_end(hash, block);
    } else if (key.bytes > 0) {
        memcpy(block, key.at, key.bytes);
    }
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36;
    hash_begin(hash, algorithm);
    hash_add(hash, block, sizeof(block));
    for (size_t i = 0; i < part_count; i++)
        hash_add(hash, parts[i].at, parts[i].bytes);
    hash_end(hash, ret);

    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36 ^ 0x5C;
    hash_begin(hash, algorithm);
    hash_add(hash, block, sizeof(block));
    hash_add(hash, ret, hash_bytes);
    hash_end(hash, ret);
    EVP_MD_CTX_free(hash);
    sodium_memzero(block, sizeof(block));
}

void hmac_sha1(struct text key, const struct text *parts, size_t part_count, uint8_t ret[SHA1_BYTES])
{
    hmac(sha1_algorithm, SHA1_BYTES, key, parts, part_count, ret);
}

void hmac_sha256(struct text key, const struct text *parts, size_t part_count, uint8_t ret[SHA256_BYTES])
{
    hmac(sha256_algorithm, SHA256_BYTES, key, parts, part_count, ret);
}

bool secret_equal(const void *a, const void *b, size_t bytes)
{
    return sodium_memcmp(a, b, bytes) == 0;
}

/* --- base64 and hex ----------------------------------------------------------------------------------------------- */

/* By table and not by libsodium, whose base64 takes constant time and with it six times as long: every accepted
 * webhook's body passes through here.  Signatures are compared as printed, so no secret depends on it. */
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_print(const void *at, size_t bytes, char *ret)
{
    const uint8_t *from = at;
    char *to = ret;

    for (; bytes >= 3; bytes -= 3, from += 3) {
        uint32_t group = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        *to++ = base64_digits[group >> 18];
        *to++ = base64_digits[group >> 12 & 63];
        *to++ = base64_digits[group >> 6 & 63];
        *to++ = base64_digits[group & 63];
    }
    if (bytes > 0) {
        uint32_t group = (uint32_t)from[0] << 16 | (bytes == 2 ? (uint32_t)from[1] << 8 : 0);
        *to++ = base64_digits[group >> 18];
        *to++ = base64_digits[group >> 12 & 63];
        *to++ = bytes == 2 ? base64_digits[group >> 6 & 63] : '=';
        *to++ = '=';
    }
    *to = '\0';
    return ret;
}

/* A digit's value and one more; 0 is no digit. */
static const uint8_t base64_values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

/* Reads `digits` (2, 3 or 4) digits into the upper bits of 24; false when one is none or bits that mean nothing are
 * set. */
static bool base64_group(const uint8_t *at, size_t digits, uint32_t *ret)
{
    uint32_t group = 0;

    for (size_t i = 0; i < digits; i++) {
        uint8_t value = base64_values[at[i]];
        if (value == 0)
            return false;
        group |= (uint32_t)(value - 1) << (18 - 6 * i);
    }
    *ret = group;
    return digits == 4 || (group & (digits == 3 ? 0xFF : 0xFFFF)) == 0;
}

bool base64_read(struct text text, void *ret, size_t room, size_t *ret_bytes)
{
    if (text.at == NULL || text.bytes % 4 != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < text.bytes && text.at[text.bytes - 1 - padding] == '=')
        padding++;
    size_t bytes = text.bytes / 4 * 3 - padding;
    if (bytes > room)
        return false;

    const uint8_t *from = (const uint8_t *)text.at;
    uint8_t *to = ret;
    uint32_t group;
    size_t left = bytes;
    for (; left >= 3; left -= 3, from += 4) {
        if (!base64_group(from, 4, &group))
            return false;
        *to++ = (uint8_t)(group >> 16);
        *to++ = (uint8_t)(group >> 8);
        *to++ = (uint8_t)group;
    }
    if (left > 0) {
        if (!base64_group(from, left + 1, &group))
            return false;
        *to++ = (uint8_t)(group >> 16);
        if (left == 2)
            *to++ = (uint8_t)(group >> 8);
    }
    *ret_bytes = bytes;
    return true;
}

char *hex_print(const void *at, size_t bytes, char *ret)
{
    return sodium_bin2hex(ret, 2 * bytes + 1, at, bytes);
}

bool hex_read(struct text text, void *ret, size_t bytes)
{
    size_t read;

    return text.at != NULL && text.bytes == 2 * bytes &&
           sodium_hex2bin(ret, bytes, text.at, text.bytes, NULL, &read, NULL) == 0 && read == bytes;
}

/* --- ids ---------------------------------------------------------------------------------------------------------- */

static bool uuid_dash_at(size_t place)
{
    return place == 8 || place == 13 || place == 18 || place == 23;
}

static char *uuid_print(uint8_t binary[UUID_BINARY_BYTES], unsigned version, char *ret)
{
    char digits[2 * UUID_BINARY_BYTES + 1];
    const char *from = digits;

    binary[6] = (uint8_t)((binary[6] & 0x0F) | version << 4);
    binary[8] = (uint8_t)((binary[8] & 0x3F) | 0x80); /* the variant of RFC 9562 */
    hex_print(binary, UUID_BINARY_BYTES, digits);
    for (size_t i = 0; i < UUID_BYTES - 1; i++)
        ret[i] = uuid_dash_at(i) ? '-' : *from++;
    ret[UUID_BYTES - 1] = '\0';
    return ret;
}

bool uuid_is(struct text text)
{
    if (text.at == NULL || text.bytes != UUID_BYTES - 1)
        return false;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.at[i];
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (uuid_dash_at(i) ? c != '-' : !digit)
            return false;
    }
    return true;
}

static EVP_MD_CTX *uuid5_begin(const char *namespace_uuid)
{
    uint8_t binary[UUID_BINARY_BYTES];
    size_t read;

    assert(uuid_is(text_of(namespace_uuid)));
    sodium_hex2bin(binary, sizeof(binary), namespace_uuid, UUID_BYTES - 1, "-", &read, NULL);
    assert(read == sizeof(binary));
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    hash_begin(hash, sha1_algorithm);
    hash_add(hash, binary, sizeof(binary));
    return hash;
}

static char *uuid5_end(EVP_MD_CTX *hash, char *ret)
{
    uint8_t digest[SHA1_BYTES];

    hash_end(hash, digest);
    EVP_MD_CTX_free(hash);
    return uuid_print(digest, 5, ret);
}

char *uuid5(const char *namespace_uuid, struct text name, char *ret)
{
    EVP_MD_CTX *hash = uuid5_begin(namespace_uuid);
    hash_add(hash, name.at, name.bytes);
    return uuid5_end(hash, ret);
}

char *uuid_of(char *ret, const char *first_part, ...)
{
    EVP_MD_CTX *hash = uuid5_begin(switchboard_namespace);
    const char *part = first_part;
    va_list parts;

    va_start(parts, first_part);
    while (part != NULL) {
        hash_add(hash, part, strlen(part));
        part = va_arg(parts, const char *);
        if (part != NULL)
            hash_add(hash, &uuid_parts_separator, 1);
    }
    va_end(parts);
    return uuid5_end(hash, ret);
}

char *uuid_random(char *ret)
{
    uint8_t binary[UUID_BINARY_BYTES];

    randombytes_buf(binary, sizeof(binary));
    return uuid_print(binary, 4, ret);
}
