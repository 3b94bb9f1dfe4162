/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One method call on its way: authorised first, then handled, then answered when the work is done. A caller may have so many
 * of them open; who leaves takes his with him.
 */

#include "bus/bus.h"

/* Handles an authorised call: answers it, or has it answered later. A negative errno (with call->problem for refusals) is
 * answered for it. */
typedef int (*BusHandler)(BusCall *call);

struct BusCall {
        Bus *bus;
        sd_bus_message *message;
        Caller *caller;
        uid_t uid;
        const AuthzCaller *who; /* uid and groups, while the handler runs */
        const AccessMethod *method;
        AccessDemand demand; /* that polkit was asked about; empty for who passes without */
        BusHandler handler;
        Problem problem;
        BusCall *next, **link;
};

/* Starts a call: what a vtable's method returns. @interface: without "org.aviommu1."; with the message's member it says which
 * actions it takes (policy/access.h). Returns 1 (an answer will come) or a negative errno with @error. */
int bus_call_start(Bus *bus, sd_bus_message *m, const char *interface, BusHandler handler,
                   sd_bus_error *error);

/* The same for a method whose arguments may be as long as 2 MiB rather than 256 KiB. */
int bus_call_start_large(Bus *bus, sd_bus_message *m, const char *interface, BusHandler handler,
                         sd_bus_error *error);

/* Has the request know the groups of who calls. For handlers. Returns 0 or -ENOMEM. */
int bus_call_name_groups(const BusCall *call, VmRequest *request);

/* The unique name of who calls. */
const char *bus_call_get_sender(const BusCall *call);

/* Answers and ends the call. bus_call_reply() takes nothing over; @reply may be NULL for an empty one. */
void bus_call_reply(BusCall *call, sd_bus_message *reply);
void bus_call_fail(BusCall *call, int r, const Problem *problem);

/* An OperationAnswer for calls without results: @userdata is the BusCall. */
void bus_call_answer_empty(void *userdata, int r, const Problem *problem);

/* The VM that the call's object path names; -ENOENT with call->problem when it is not there (any more). */
int bus_call_get_vm(BusCall *call, Vm **ret);

/* The same with the host IOMMU of a .../viommu/N path. */
int bus_call_get_viommu(BusCall *call, Vm **ret_vm, uint32_t *ret_host_iommu);

/* Reads the PCI address of a string argument; -EINVAL with the problem. */
int bus_read_address(sd_bus_message *m, PciAddress *ret, Problem *reterr_problem);

/* A name has vanished: its open calls are forgotten, nobody would hear the answers. */
void bus_calls_name_vanished(Bus *bus, const char *name);
/* Has what is known of a name followed, though it has not called (since the daemon started). Returns 0 or -ENOMEM. */
int bus_caller_expect(Bus *bus, const char *name);

bool bus_is_caller(const Bus *bus, const char *name);
void bus_calls_end(Bus *bus);
