/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is asked of the daemon for a VM or a function, parsed but not judged. Plain data. */

#include <systemd/sd-id128.h>

#include "base/pci-address.h"
#include "base/tenant.h"
#include "vm/vm-types.h"

typedef struct FunctionRequest {
        PciAddress address;
        bool has_guest_id;
        GuestDeviceId guest_id;
        bool has_vf_token;
        uint8_t vf_token[16];
        bool managed; /* libvirt binds it to vfio-pci */
} FunctionRequest;

typedef struct VmRequest {
        sd_id128_t uuid;
        char *name;    /* NULL: the UUID */
        uid_t uid;     /* who asks */
        gid_t *groups; /* that he is in, as the bus saw when he connected */
        size_t n_groups;
        char tenant[TENANT_SIZE]; /* "": none */
        bool has_tier;
        VmTier tier;
        bool has_handover;
        VmHandover handover;
        FunctionRequest *functions;
        size_t n_functions;
        uint64_t memory; /* bytes */
        bool has_guest_domains;
        uint32_t guest_domains; /* per vIOMMU */
        bool for_later;         /* a reservation, not a VM */
        bool prepared;          /* the iommufd is to be a prepared one */
        char *reservation;      /* token, or NULL */
        LeashKind leash;        /* LEASH_PIDFD, LEASH_CALLER, LEASH_AGENT, LEASH_DEFINITION */
        int leash_pidfd;        /* -1: to follow by SetLeash */
} VmRequest;

void vm_request_init(VmRequest *request);
void vm_request_done(VmRequest *request);

/* What of @request is the same at each start, into *ret (just initialized): not leash, reservation and prepared context. Returns 0 or
 * -ENOMEM. */
int vm_request_copy(const VmRequest *request, VmRequest *ret);

int vm_request_add_function(VmRequest *request, const FunctionRequest *function);

/* Copies the groups of who asks. Returns 0 or -ENOMEM. */
int vm_request_set_groups(VmRequest *request, const gid_t *groups, size_t n_groups);
