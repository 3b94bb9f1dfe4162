/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A context's descriptors in the fd store. On a worker: each call waits for the service manager.
 *
 * A descriptor that is stored keeps what hangs on it alive. So it is taken out first, and closed then.
 */

#include <systemd/sd-id128.h>

#include "state/fdstore.h"
#include "vm/context.h"

/* Keeps what of @ctx is open and not kept yet, and @leash_pidfd in place of the leash that is kept (-1: leaves that as it is).
 * Returns 0 or a negative errno with reterr_problem. */
int context_store(FdStore *store, sd_id128_t uuid, const VmContext *ctx, int leash_pidfd,
                  Problem *reterr_problem);

/* Take out one function's descriptor; those of all functions; and all there is of a VM, its leash included. */
int context_unstore_function(FdStore *store, sd_id128_t uuid, const PciAddress *function,
                             Problem *reterr_problem);
int context_unstore_functions(FdStore *store, sd_id128_t uuid, const VmContext *ctx,
                              Problem *reterr_problem);
int context_unstore(FdStore *store, sd_id128_t uuid, const VmContext *ctx, Problem *reterr_problem);
