/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the parser of the ACPI IVRS table. Whatever the bytes are, aliases come in ordered ranges. */

#include <errno.h>

#include "kernel/linux/ivrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check_alias(uint16_t segment _unused_, uint16_t first, uint16_t last,
                       uint16_t alias _unused_, void *userdata) {
        size_t *n = userdata;

        assert(first <= last);
        (*n)++;
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        size_t n = 0;
        int r = ivrs_for_each_alias(data, size, check_alias, &n);

        assert(r == 0 || r == -EBADMSG);
        assert(n <= size / 8); /* no entry that tells of an alias is shorter */
        return 0;
}
