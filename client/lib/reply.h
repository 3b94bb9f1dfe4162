/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reading answers: dictionaries into structs, and the arrays that the API returns in several places. An answer of another
 * form than documented is -EBADMSG everywhere, keys that are not known here are skipped, and strings point into the
 * message.
 */

#include <systemd/sd-bus.h>

#include "base/macro.h"

/* Where the value of a key goes. */
typedef struct ReplyField {
        const char *name;
        const char *
                signature; /* the variant's; a basic type is stored at @offset, others go through @read */
        size_t offset;
        int (*read)(sd_bus_message *m, void *field); /* gets the address at @offset */
} ReplyField;

/* Reads an a{sv}. Fields that are not in it keep what they had. Returns 0, -EBADMSG, -ENOMEM. */
int reply_read_fields(sd_bus_message *m, const ReplyField *fields, size_t n_fields, void *object);

/* sd_bus_message_*() results: 0 for success, -EBADMSG when the message is of another form. */
int reply_check(int r);

/* Reads an array: enters it, calls @read_one until the end, leaves it. @contents is the element's signature.
 * Returns 0, -EBADMSG, or what @read_one returned. */
int reply_read_array(sd_bus_message *m, const char *contents,
                     int (*read_one)(sd_bus_message *m, void *userdata), void *userdata);

/* as */
typedef struct StringList {
        const char **items;
        size_t n;
} StringList;

int reply_read_strings(sd_bus_message *m, void *string_list);
void string_list_done(StringList *l);

/* a(sstt): what a host has and has given away */
typedef struct Resource {
        const char *kind, *scope;
        uint64_t capacity, used;
} Resource;

typedef struct ResourceList {
        Resource *items;
        size_t n;
} ResourceList;

int reply_read_resources(sd_bus_message *m, void *resource_list);
void resource_list_done(ResourceList *l);

/* a(sst): what a VM holds */
typedef struct Charge {
        const char *kind, *scope;
        uint64_t amount;
} Charge;

typedef struct ChargeList {
        Charge *items;
        size_t n;
} ChargeList;

int reply_read_charges(sd_bus_message *m, void *charge_list);
void charge_list_done(ChargeList *l);

/* a(ssss): the functions of a VM: address, host IOMMU, guest device id, and a last one: the state, or in a plan the
 * group */
typedef struct VmFunction {
        const char *address, *host_iommu, *guest_device_id, *last;
} VmFunction;

typedef struct VmFunctionList {
        VmFunction *items;
        size_t n;
} VmFunctionList;

int reply_read_vm_functions(sd_bus_message *m, void *vm_function_list);
void vm_function_list_done(VmFunctionList *l);
