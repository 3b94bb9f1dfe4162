/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is kept of a reservation (Reserve). Its token is in the name of the file. Written and read
 * as state/vm-record.h says. */

#include "state/vm-record.h"

typedef struct ReservationRecord {
        uid_t uid;
        uint64_t deadline_usec; /* CLOCK_MONOTONIC */
        char tier[RECORD_WORD_SIZE], handover[RECORD_WORD_SIZE];
        PciAddress *functions;
        size_t n_functions;
        RecordCharge *charges;
        size_t n_charges;
        char tenant[RECORD_TENANT_SIZE]; /* "": none */
} ReservationRecord;

/* Zero-initialize; frees the lists. */
void reservation_record_done(ReservationRecord *record);

/* Returns 0 or -ENOMEM. */
int reservation_record_format(const ReservationRecord *record, char **ret);

/* Returns 0, -EBADMSG, -ENOMEM; *ret is set on success only. */
int reservation_record_parse(const char *text, size_t length, ReservationRecord *ret);
