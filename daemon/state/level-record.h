/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a probe has found out about a host IOMMU, so that the next daemon need not reset a function for it. The name of the file has its index.
 * Written and read as state/vm-record.h says. */

#include "base/macro.h"

#define RECORD_LEVEL_REASON_SIZE 192

typedef struct LevelRecord {
        char host_iommu[32]; /* the class device's name, "ivhd0" */
        char level[16];      /* a word of inventory/kernel-level.h */
        char reason[RECORD_LEVEL_REASON_SIZE];
} LevelRecord;

/* Returns 0 or -ENOMEM. */
int level_record_format(const LevelRecord *record, char **ret);

/* Returns 0 or -EBADMSG; *ret is set on success only. */
int level_record_parse(const char *text, size_t length, LevelRecord *ret);
