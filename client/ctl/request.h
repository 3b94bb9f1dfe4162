/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The request of CreateVm and Plan, and what a definition is made of, as the command line gives it. */

#include <systemd/sd-bus.h>

#include "base/pci-address.h"
#include "lib/parse.h"

typedef struct RequestFunction {
        char address[PCI_ADDRESS_STRING_SIZE];
        char guest_device_id[GUEST_DEVICE_ID_STRING_SIZE]; /* "": the daemon chooses */
        char vf_token[UUID_STRING_SIZE];                   /* "": none */
        bool is_managed;
} RequestFunction;

typedef struct Request {
        const char *name, *tier, *handover, *reservation, *tenant; /* NULL: not said */
        RequestFunction *functions;
        size_t n_functions;
        bool has_memory, has_guest_domains;
        bool is_prepared; /* the context that was prepared for it is taken over */
        uint64_t memory_bytes;
        uint32_t n_guest_domains;
        int leash_pidfd;  /* -1: none */
        bool is_held;     /* --hold: the leash is our own bus name */
        bool is_reported; /* --leash=agent */
        /* Of definitions alone. */
        bool has_autostart, is_autostart;
        RequestFunction *removed; /* modify: functions to take out, their addresses alone */
        size_t n_removed;
} Request;

void request_done(Request *q);

/* Reads "FUNCTION" or "FUNCTION=GUEST_BDF". Returns 0 or -EINVAL. */
int request_function_parse(const char *s, RequestFunction *ret);

/* Appends the request as a{sv}. Returns 0 or a negative errno. */
int request_append(const Request *q, sd_bus_message *m);

/* The same for ModifyDefinition: the functions are those to add. Returns 0 or a negative errno. */
int request_append_changes(const Request *q, sd_bus_message *m);

/* Appends what AttachDevice takes: the first function, and as a{sv} its options, the others, and of @q the memory. Returns 0 or a
 * negative errno. */
int request_append_attach(const Request *q, const RequestFunction *functions, size_t n_functions,
                          sd_bus_message *m);
