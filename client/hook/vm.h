/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's calls that the hook makes for its domain's VM, each within the time that is left. */

#include "hook/hook.h"
#include "lib/reply.h"

/* What CreateVm is asked for. */
typedef struct VmRequest {
        DomainTier tier;
        const char *handover;
        bool is_running; /* its functions are on vfio-pci already, whatever the XML says of that */
        bool nameless;   /* its UUID is name enough */
        int leash_pidfd; /* -1: none */
} VmRequest;

/* Returns 0, or a negative errno (reterr set). */
int vm_create(Hook *h, const VmRequest *request, Failure *reterr);
/* Whether CreateVm would take the request now, with a prepared context and without: it goes by the UUID. Nothing comes of it. Returns as
 * vm_create() would. */
int vm_plan(Hook *h, const VmRequest *request, Failure *reterr);
int vm_set_leash(Hook *h, int pidfd, Failure *reterr);
int vm_destroy(Hook *h, bool force, Failure *reterr);

/* The VM as the daemon shows it; the strings are of the message. */
typedef struct VmView {
        sd_bus_message *message;
        const char *name, *tenant, *tier, *handover, *state, *leash, *operation;
        VmFunctionList functions;
        ChargeList charges;
} VmView;

/* Returns 0, or a negative errno (reterr set; exit_code is CLIENT_EXIT_NOT_FOUND where there is no such VM). */
int vm_look(Hook *h, VmView *ret, Failure *reterr);
void vm_view_done(VmView *v);

/* Adds the functions of the domain that the VM has not, all or none. Returns 0, also for none; or a negative errno (reterr set). */
int vm_attach(Hook *h, const VmView *v, Failure *reterr);

/* Whether the domain has every function that the VM has. */
bool vm_view_is_within(const VmView *v, const Domain *d);

/* Whether the VM is what a CreateVm of this request makes. */
bool vm_view_is_of(const VmView *v, const Hook *h, const VmRequest *request);

/* Sleeps, but no longer than there is time. Returns whether there is some left. */
bool hook_pause(Hook *h, uint64_t usec);

/* What a failed call means for the domain. */
HookOutcome hook_outcome_of(const Failure *f, int error);

/* Whether the failure says that there is no such VM. */
static inline bool failure_is_no_vm(const Failure *f) {
        return f->exit_code == CLIENT_EXIT_NOT_FOUND &&
               (streq(f->name, "NoSuchVm") || streq(f->name, DBUS_ERROR_PREFIX "UnknownObject"));
}
