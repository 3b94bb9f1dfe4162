/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define WORD "aviommu-record "

/* Word, version, boot id, length and checksum, with the end of line and the final 0. */
#define HEADER_SIZE (sizeof(WORD) + 10 + 1 + 32 + 1 + 20 + 1 + 16 + 1)

const char *record_verdict_to_string(RecordVerdict verdict) {
        switch (verdict) {
        case RECORD_GOOD:
                return "good";
        case RECORD_NEWER:
                return "newer";
        case RECORD_OTHER_BOOT:
                return "other-boot";
        default:
                return "damaged";
        }
}

#define CHECKSUM_INITIAL UINT64_C(0xcbf29ce484222325)

/* Every step is one to one for what was before and for what is added, so that no single change gets lost. */
static uint64_t checksum_add(uint64_t sum, uint64_t word) {
        sum = (sum ^ word) * UINT64_C(0x100000001b3);
        return sum ^ (sum >> 29);
}

/* As FNV-1a, but eight bytes at a time: a start with many VMs spends its time here. */
static uint64_t checksum(uint64_t sum, const char *p, size_t n) {
        uint64_t word;

        for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
                memcpy(&word, p, sizeof(word));
                sum = checksum_add(sum, word);
        }
        for (; n > 0; p++, n--)
                sum = checksum_add(sum, (uint8_t)*p);
        return sum;
}

uint64_t record_checksum(const char *text, size_t length) {
        return checksum(CHECKSUM_INITIAL, text, length);
}

/* Writes the first line, for @length bytes at @rest. Returns how long it is. */
static size_t header_format(int version, sd_id128_t boot_id, const char *rest, size_t length,
                            char buf[static HEADER_SIZE]) {
        uint64_t sum = CHECKSUM_INITIAL;
        int n;

        n = snprintf(buf, HEADER_SIZE, WORD "%i %s %zu ", version, SD_ID128_TO_STRING(boot_id),
                     length);
        sum = checksum(checksum(sum, buf, (size_t)n), rest, length);
        n += snprintf(buf + n, HEADER_SIZE - (size_t)n, "%016" PRIx64 "\n", sum);
        return (size_t)n;
}

int record_seal(sd_id128_t boot_id, const char *body, char **ret, size_t *ret_length) {
        size_t length = strlen(body) + 1, header_length;
        char *text, *rest;

        text = malloc(HEADER_SIZE + length);
        if (!text)
                return -ENOMEM;

        rest = text + HEADER_SIZE;
        memcpy(rest, body, length);
        rest[length - 1] = '\n';
        header_length = header_format(RECORD_VERSION, boot_id, rest, length, text);
        memmove(text + header_length, rest, length);
        text[header_length + length] = '\0';

        *ret = text;
        *ret_length = header_length + length;
        return 0;
}

/* Reads the version, a decimal number of any size. Returns how many digits it has, 0 if there is
 * none; @ret_newer says whether it is above our own. */
static size_t version_read(const char *p, size_t length, bool *ret_newer) {
        static const char own[] = { '0' + RECORD_VERSION };
        size_t n = 0;

        while (n < length && p[n] >= '0' && p[n] <= '9')
                n++;
        if (n == 0 || p[0] == '0' || n == length || p[n] != ' ')
                return 0;
        *ret_newer = n > 1 || p[0] > own[0];
        return n;
}

RecordVerdict record_open(const char *text, size_t length, sd_id128_t boot_id,
                          const char **ret_body, size_t *ret_body_length) {
        const size_t word_length = strlen(WORD);
        char header[HEADER_SIZE], id[33] = "";
        size_t rest_length;
        const char *end, *rest;
        sd_id128_t boot;
        bool newer;

        if (length < word_length || memcmp(text, WORD, word_length) != 0 ||
            version_read(text + word_length, length - word_length, &newer) == 0)
                return RECORD_DAMAGED;
        if (newer)
                return RECORD_NEWER;

        /* What the line says is known once the boot id is: it is what would be written for what
         * follows. */
        end = memchr(text, '\n', length);
        if (!end || (size_t)(end - text) < word_length + 2 + 32)
                return RECORD_DAMAGED;
        rest = end + 1;
        rest_length = length - (size_t)(rest - text);
        memcpy(id, text + word_length + 2, 32);
        if (sd_id128_from_string(id, &boot) < 0 ||
            header_format(text[word_length] - '0', boot, rest, rest_length, header) !=
                    (size_t)(rest - text) ||
            memcmp(header, text, (size_t)(rest - text)) != 0)
                return RECORD_DAMAGED;

        /* Nothing but one line: what was sealed had no end of line in it. */
        if (memchr(rest, '\n', rest_length) != rest + rest_length - 1)
                return RECORD_DAMAGED;
        if (!sd_id128_equal(boot, boot_id))
                return RECORD_OTHER_BOOT;

        *ret_body = rest;
        *ret_body_length = rest_length - 1;
        return RECORD_GOOD;
}
