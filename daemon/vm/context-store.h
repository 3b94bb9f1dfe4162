/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A context's descriptors in the fd store. On a worker: each call waits for the service manager.
 *
 * A descriptor that is stored keeps what hangs on it alive. So it is taken out first, and closed then. What is stored has a number, which the
 * record must say before anybody counts on it: the next daemon lets go of what no record names.
 */

#include "state/fdstore.h"
#include "vm/context.h"

/* Keeps what of @ctx is open and not kept yet, and @leash_pidfd (-1: none), whose number is *ret_leash_stored then.
 * Returns 0 or a negative errno with reterr_problem; what was kept until then has its number. */
int context_store(FdStore *store, VmContext *ctx, int leash_pidfd, uint32_t *ret_leash_stored,
                  Problem *reterr_problem);

/* Take out one function's descriptor; those of all functions; and the iommufd with them. What is out has no number any more. */
int context_unstore_function(FdStore *store, ContextFunction *function, Problem *reterr_problem);
int context_unstore_functions(FdStore *store, VmContext *ctx, Problem *reterr_problem);
int context_unstore(FdStore *store, VmContext *ctx, Problem *reterr_problem);

/* The same for any other: a leash, a prepared context. */
int descriptor_unstore(FdStore *store, uint32_t *stored, Problem *reterr_problem);
