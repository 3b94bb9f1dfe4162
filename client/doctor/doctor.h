/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Looks a host over and shows what was found. */

#include "doctor/finding.h"
#include "lib/client.h"
#include "lib/output.h"

typedef struct DoctorOptions {
        unsigned tier;    /* what keeps the host from this one; 0: all that there is to say */
        const char *root; /* the tree to look at; "/" */
        bool quiet;       /* leave out what is fine, and the last line */
} DoctorOptions;

/* Shows the findings on @o. @ret_has_fault: whether one is a fault. The exit code is the caller's to make.
 * Returns 0, or a negative errno when @options->root cannot be opened (reterr set). */
int doctor_run(Client *c, const DoctorOptions *options, Output *o, bool *ret_has_fault,
               Failure *reterr);

/* The two forms of the output. */
void findings_print(const Findings *f, const DoctorOptions *options, Output *o);
void findings_json(const Findings *f, const DoctorOptions *options, Output *o);
