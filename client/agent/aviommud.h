/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * aviommud as the agent sees it: whether it is there, which VMs come and go, and calls to it that are answered later. Contexts
 * that it has prepared hang on the name that this connection has on the bus.
 */

#include <systemd/sd-bus.h>
#include <systemd/sd-id128.h>

#include "base/macro.h"
#include "domain/domain.h"

typedef struct Aviommud Aviommud;

typedef struct AviommudObserver {
        void *userdata;
        void (*presence)(void *userdata,
                         bool there); /* each time another one comes, and when it goes */
        void (*vm_added)(void *userdata, sd_id128_t uuid);
        void (*vm_removed)(void *userdata, sd_id128_t uuid, const char *reason);
} AviommudObserver;

/* @error is NULL for success; @reply is to be read then. Not called any more after aviommud_close(). */
typedef void (*AviommudAnswer)(void *userdata, sd_id128_t uuid, const sd_bus_error *error,
                               sd_bus_message *reply);

/* Connects to @address, NULL for the system bus, and serves it from @event, which ends when the bus goes away. Returns 0 or a negative errno. */
int aviommud_open(sd_event *event, const char *address, const AviommudObserver *observer,
                  Aviommud **ret);
Aviommud *aviommud_close(Aviommud *a);
DEFINE_CLEANUP(Aviommud, aviommud_close);

/* "VmExists" and the like; the whole name of an error that is not aviommud's. */
const char *aviommud_error_name(const sd_bus_error *error);

/* Calls. Each returns 0, or a negative errno: then there will be no answer. */

/* The reply is h. */
int aviommud_prepare(Aviommud *a, sd_id128_t uuid, AviommudAnswer answer, void *userdata);

/* A context that was prepared: nobody wants it, or it was used and nobody has admitted who uses it. */
int aviommud_forget(Aviommud *a, sd_id128_t uuid, AviommudAnswer answer, void *userdata);

/* The properties of a VM: the reply is a{sv}. */
int aviommud_get_vm(Aviommud *a, sd_id128_t uuid, AviommudAnswer answer, void *userdata);

/* A domain that runs already: only counted, and for as long as it is reported. */
typedef struct AviommudVm {
        const char *name;   /* NULL: the UUID */
        const char *tenant; /* "": none */
        DomainTier tier;
        const DomainFunction *functions; /* @n of them, those of @indexes; without guest ids */
        const size_t *indexes;
        size_t n;
        uint64_t memory; /* bytes; 0: not known */
} AviommudVm;

int aviommud_create(Aviommud *a, sd_id128_t uuid, const AviommudVm *vm, AviommudAnswer answer,
                    void *userdata);

/* All of @functions or none. @memory: bytes that the VM has, 0: not said. */
int aviommud_attach(Aviommud *a, sd_id128_t uuid, const DomainFunction *functions,
                    const size_t *indexes, size_t n, uint64_t memory, AviommudAnswer answer,
                    void *userdata);
int aviommud_detach(Aviommud *a, sd_id128_t uuid, const PciAddress *address, AviommudAnswer answer,
                    void *userdata);
int aviommud_report(Aviommud *a, const sd_id128_t *uuids, size_t n, AviommudAnswer answer,
                    void *userdata);
