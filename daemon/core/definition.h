/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A definition: a VM that is asked for again and again, kept over reboots under its UUID. It is a request that CreateVm would take,
 * without what belongs to one start (leash, reservation, prepared context). Plain data and decisions over it; core/definitions.c
 * keeps them.
 */

#include "base/problem.h"
#include "config/config.h"
#include "core/request.h"
#include "state/definition-record.h"
#include "state/record.h"

#define DEFINITION_REASON_SIZE RECORD_REASON_SIZE

typedef struct Definition Definition;

struct Definition {
        VmRequest vm; /* its uid: the owner's, who also owns the VMs */
        bool autostart;
        uint64_t number; /* definitions are started at boot in the order of these */

        RecordVerdict
                verdict; /* RECORD_DAMAGED, RECORD_NEWER: there is a file, and this is all that is known */
        bool started; /* in this boot, or it is not to be: the next start is its user's */
        char reason
                [DEFINITION_REASON_SIZE]; /* why it was refused when it was started last; "": it was not */
        bool awaits_functions;            /* it was refused at boot for what may be there yet */
        bool retry;                       /* and is to be tried again */

        bool is_new;      /* not on file yet */
        bool busy;        /* its file is being written or removed */
        Definition *next; /* what is being written in its place */
};

/* What is asked for a definition to become. */
typedef struct DefinitionRequest {
        VmRequest vm; /* of a change: its functions are those to add */
        bool has_memory;
        bool has_autostart, autostart;
        PciAddress *removed; /* functions to take out, of a change */
        size_t n_removed;
} DefinitionRequest;

void definition_request_init(DefinitionRequest *request);
void definition_request_done(DefinitionRequest *request);

/* Adds a function to take out. Returns 0 or -ENOMEM. */
int definition_request_remove_function(DefinitionRequest *request, const PciAddress *address);

/* Allocates a definition of nothing. NULL for want of memory. */
Definition *definition_new(sd_id128_t uuid);
Definition *definition_free(Definition *definition);
DEFINE_CLEANUP(Definition, definition_free);

/* What *request asks for, checked as far as that can be without looking at the host. Returns 0 with a definition without a number, which is
 * the caller's; the refusal of what no VM could be made of (reterr_problem set); -ENOMEM. */
int definition_from_request(const DefinitionRequest *request, uid_t owner_uid, const Config *config,
                            Definition **ret, Problem *reterr_problem);

/* The same for @definition with the changes of *request. A function to take out that is not there is -ENODEV; what belongs to the
 * hardware tier alone goes with it. */
int definition_change(const Definition *definition, const DefinitionRequest *request,
                      const Config *config, Definition **ret, Problem *reterr_problem);

/* What is written of it; and what is read, with its words understood. Return 0, -EBADMSG, -ENOMEM. */
int definition_save(const Definition *definition, DefinitionRecord *ret);
int definition_load(const DefinitionRecord *record, Definition **ret);

/* What it is called: its name, or else its UUID in @buf. */
const char *definition_get_name(const Definition *definition,
                                char buf[static SD_ID128_UUID_STRING_MAX]);
