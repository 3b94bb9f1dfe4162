/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the names of stored descriptors: one that is taken is what would be written. */

#include "state/fd-name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *s = strndup((const char *)data, size);
        uint32_t id;

        if (!s)
                return -1;
        if (fd_name_parse(s, &id) >= 0)
                assert(streq(FD_NAME_STRING(id), s));
        return 0;
}
