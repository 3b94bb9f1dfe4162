/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is kept of a prepared context (PrepareContext): whose it is. Its UUID is in the name of the
 * file. Written and read as state/vm-record.h says. */

#include "state/vm-record.h"

typedef struct PreparedRecord {
        char caller[RECORD_CALLER_SIZE];
        uid_t uid;       /* of the caller */
        uint32_t stored; /* the number of its iommufd in the fd store, 0: not yet */
} PreparedRecord;

/* Returns 0 or -ENOMEM. */
int prepared_record_format(const PreparedRecord *record, char **ret);

/* Returns 0 or -EBADMSG; *ret is set on success only. */
int prepared_record_parse(const char *text, size_t length, PreparedRecord *ret);
