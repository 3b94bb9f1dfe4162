/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A connection to the bus on which aviommud is, and calls to it: with a time limit, progress, and a way to stop them.
 */

#include <poll.h>
#include <systemd/sd-bus.h>

#include "lib/failure.h"
#include "lib/names.h"
#include "lib/parse.h"

#define VM_PATH_SIZE (sizeof(AVIOMMU_VM_PATH) + 32)

typedef struct Client {
        sd_bus *bus;
        char *address;         /* NULL: the system bus */
        bool interactive;      /* polkit may ask for a password */
        bool quiet;            /* no progress, no notices */
        bool has_changed;      /* a call that changes something has been answered with success */
        bool only_looks;       /* calls do not start a daemon that is not there */
        uint64_t timeout_usec; /* 0: what each call thinks right */
        int stop_fd; /* what makes it readable ends a call, with -EINTR and the connection closed; 0: nothing does */
} Client;

typedef struct CallOptions {
        const char *what; /* for the progress line: "creating the VM" */
        const char *uuid; /* the VM that the call is about; NULL: none */
        const char *function;
        bool is_change; /* may take as long as it takes unless the user says otherwise */
        bool can_be_stopped; /* Ctrl-C asks the VM to cancel its operation, instead of ending us; wants @uuid */
} CallOptions;

/* Connects to @address, or to the system bus when it is NULL. The caller gives @c back with client_done().
 * Returns 0 or a negative errno (reterr set). */
int client_connect(Client *c, Failure *reterr);

/* Disconnects. @c can be connected again. */
void client_done(Client *c);

/* A new method call to aviommud. Returns 0 or a negative errno (reterr set). */
int client_new_call(Client *c, const char *path, const char *interface, const char *member,
                    sd_bus_message **ret, Failure *reterr);

/* Sends @call and waits for the answer. @options may be NULL. @ret_reply may be NULL when the answer holds nothing.
 * Returns 0, or a negative errno (reterr set) for every error reply, for silence and for a lost connection. */
int client_call(Client *c, sd_bus_message *call, const CallOptions *options,
                sd_bus_message **ret_reply, Failure *reterr);

/* Handles what the bus has sent and then waits for more, for one of @extra to become ready (its revents are set), or
 * for @timeout_usec (UINT64_MAX: no limit). @n_extra is at most 2. Returns 0 or a negative errno. */
int client_wait(Client *c, struct pollfd *extra, size_t n_extra, uint64_t timeout_usec);

/* All properties of an interface of an object, for reply_read_fields() to read.
 * Returns 0 or a negative errno (reterr set). */
int client_get_properties(Client *c, const char *path, const char *interface,
                          const CallOptions *options, sd_bus_message **ret_reply, Failure *reterr);

/* The object path of the VM of a UUID in the form that uuid_parse() gives. Returns @buf. */
char *vm_path(const char *uuid, char buf[static VM_PATH_SIZE]);
#define VM_PATH(uuid) vm_path((uuid), (char[VM_PATH_SIZE]){})

/* CLOCK_MONOTONIC in microseconds. */
uint64_t now_usec(void);
