/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The envelope of a record file: a first line that says version, boot and checksum, then the
 * record's own line of JSON.
 *
 *      aviommu-record 3 <boot id, 32 hex digits> <length of the rest> <checksum, 16 hex digits>\n
 *      {...}\n
 *
 * The checksum (64 bits, in the machine's byte order) covers what stands before it and the rest, so that no flipped bit
 * or lost end passes for a record. The first word and the version are where they are in every
 * version to come: a daemon that is older than a record can tell. Pure: text in, verdict out.
 */

#include <systemd/sd-id128.h>

#include "base/macro.h"

/* 1 had no tenants, 2 did not say which reservation a VM was made of, and had no VMs that wait for their definition's VMM. One that is
 * older than this daemon is read; what it lacks is not there. */
#define RECORD_VERSION  3
#define RECORD_SIZE_MAX ((size_t)16 << 20) /* bytes; more is no record */

typedef enum RecordVerdict {
        RECORD_GOOD,
        RECORD_DAMAGED,    /* no envelope, cut off, checksum wrong */
        RECORD_NEWER,      /* of a version that this daemon cannot know */
        RECORD_OTHER_BOOT, /* intact, but of a kernel that is gone */
        _RECORD_VERDICT_MAX,
} RecordVerdict;

const char *record_verdict_to_string(RecordVerdict verdict);

/* The checksum of @length bytes, to tell whether a body says anything new. */
uint64_t record_checksum(const char *text, size_t length);

/* Puts @body (without an end of line) into an envelope; allocated, *ret_length without the final 0.
 * Returns 0 or -ENOMEM. */
int record_seal(sd_id128_t boot_id, const char *body, char **ret, size_t *ret_length);

/* Looks at the envelope of @length bytes of file. With RECORD_GOOD the body is at *ret_body,
 * *ret_body_length bytes of @text. A newer version is not looked into any further: whether it is
 * intact is not this daemon's to say. */
RecordVerdict record_open(const char *text, size_t length, sd_id128_t boot_id,
                          const char **ret_body, size_t *ret_body_length);
