/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The part of the admission decision that concerns functions: what they are, who has them, their groups, guest ids. */

#include "core/admission.h"

/* Judges @requests against the host and against what the VM has (@existing), and adds them to @ret.
 * Returns 0, a negative errno with reterr_problem, or -ENOMEM. */
int admission_plan_functions(const AdmissionView *view, const VmContext *existing,
                             const FunctionRequest *requests, size_t n_requests, VmContext *ret,
                             Problem *reterr_problem);
