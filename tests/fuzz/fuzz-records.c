/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes record files: the envelope and the kinds of body, the input being a file or a body
 * alone. A body that is taken is written again as it was. */

#include <stdio.h>

#include "state/definition-record.h"
#include "state/level-record.h"
#include "state/prepared-record.h"
#include "state/record.h"
#include "state/reservation-record.h"
#include "state/vm-record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void assert_same(const char *again, const char *body, size_t length) {
        assert(strlen(again) == length && memcmp(again, body, length) == 0);
}

static void try_body(const char *body, size_t length) {
        _cleanup_free_ char *v = NULL, *p = NULL, *r = NULL, *l = NULL;
        _cleanup_(reservation_record_done) ReservationRecord reservation = {};
        _cleanup_(vm_record_done) VmRecord vm = {};
        _cleanup_(definition_record_done) DefinitionRecord definition = {};
        _cleanup_free_ char *d = NULL, *s = NULL;
        PreparedRecord prepared;
        StartedRecord started;
        LevelRecord level;

        if (vm_record_parse(body, length, &vm) >= 0 && vm_record_format(&vm, &v) >= 0)
                assert_same(v, body, length);
        if (reservation_record_parse(body, length, &reservation) >= 0 &&
            reservation_record_format(&reservation, &r) >= 0)
                assert_same(r, body, length);
        if (prepared_record_parse(body, length, &prepared) >= 0 &&
            prepared_record_format(&prepared, &p) >= 0)
                assert_same(p, body, length);
        if (level_record_parse(body, length, &level) >= 0 && level_record_format(&level, &l) >= 0)
                assert_same(l, body, length);
        if (definition_record_parse(body, length, &definition) >= 0 &&
            definition_record_format(&definition, &d) >= 0)
                assert_same(d, body, length);
        if (started_record_parse(body, length, &started) >= 0 &&
            started_record_format(&started, &s) >= 0)
                assert_same(s, body, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const sd_id128_t boot = SD_ID128_NULL;
        _cleanup_free_ char *text = malloc(size + 1), *sealed = NULL;
        size_t length, sealed_length;
        const char *body;

        if (!text)
                return -1;
        memcpy(text, data, size);
        text[size] = '\0';

        try_body(text, size);
        if (record_open(text, size, boot, &body, &length) == RECORD_GOOD) {
                assert(body > text && body + length + 1 == text + size);
                try_body(body, length);
        }

        /* What is sealed can be opened, if it is one line. */
        if (strlen(text) != size || strchr(text, '\n'))
                return 0;
        if (record_seal(boot, text, &sealed, &sealed_length) < 0)
                return -1;
        assert(record_open(sealed, sealed_length, boot, &body, &length) == RECORD_GOOD);
        assert(length == size && memcmp(body, text, size) == 0);
        return 0;
}
