/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is kept of a VM so that the next daemon can take it on: plain data, and the words that it is
 * written in.
 *
 * A record is one line of JSON. What stands in it is meant for the same boot of the same kernel:
 * object ids, group numbers and the monotonic clock. Words (state, tier, resource...) are kept as
 * words: their meaning is other rooms' business. Integrity, version and boot are the envelope's
 * (state/record.h).
 */

#include <systemd/sd-id128.h>

#include "base/macro.h"
#include "base/pci-address.h"
#include "base/tenant.h"

typedef struct RecordFunction {
        PciAddress address;
        uint32_t host_iommu, group; /* UINT32_MAX: none */
        GuestDeviceId guest_id;
        bool has_vf_token;
        uint8_t vf_token[16];
        bool managed;
        bool pending;  /* being attached: not granted yet */
        bool draining; /* being detached */
        bool attached;
        bool handed_over;               /* the daemon keeps no descriptor of it */
        uint32_t device_id, vdevice_id; /* 0: not there */
        uint32_t
                stored; /* the number of its descriptor in the fd store (state/fd-name.h), 0: none */
} RecordFunction;

typedef struct RecordViommu {
        uint32_t host_iommu, segment, numa_node;
        uint32_t viommu_id; /* 0: not there */
        uint64_t vfmmio_offset;
        bool pending, draining;
} RecordViommu;

typedef struct RecordMapping {
        uint64_t iova, length; /* bytes */
        bool pending, draining;
} RecordMapping;

#define RECORD_WORD_SIZE   24
#define RECORD_NAME_SIZE   129
#define RECORD_CALLER_SIZE 256 /* a bus name */
#define RECORD_REASON_SIZE 512
#define RECORD_TENANT_SIZE TENANT_SIZE

typedef struct RecordCharge {
        char resource[RECORD_WORD_SIZE];
        uint32_t scope;
        uint64_t amount;
} RecordCharge;

typedef struct VmRecord {
        sd_id128_t uuid;
        char name[RECORD_NAME_SIZE];
        uid_t owner_uid;
        char state[RECORD_WORD_SIZE];
        char end_reason[RECORD_WORD_SIZE]; /* "": it is not ending */
        char state_reason[RECORD_REASON_SIZE];
        char tier[RECORD_WORD_SIZE], handover[RECORD_WORD_SIZE];
        char leash[RECORD_WORD_SIZE];
        char leash_caller[RECORD_CALLER_SIZE];
        uint64_t deadline_usec; /* CLOCK_MONOTONIC, for a VM without a leash; 0: no clock */
        bool shared;            /* the iommufd has been given to somebody */
        bool confirmed;         /* ConfirmContext */
        bool confirming;        /* it may be half done */
        uint64_t memory;        /* bytes */
        uint32_t guest_domains;
        uint32_t ioas_id, hwpt_id;             /* 0: not there */
        uint32_t iommufd_stored, leash_stored; /* numbers in the fd store, 0: none */
        RecordFunction *functions;
        size_t n_functions;
        RecordViommu *viommus;
        size_t n_viommus;
        RecordMapping *mappings;
        size_t n_mappings;
        RecordCharge *charges;
        size_t n_charges;
        char tenant[RECORD_TENANT_SIZE];       /* "": none */
        char reservation[SD_ID128_STRING_MAX]; /* the token that it has used up; "": none */
} VmRecord;

/* Zero-initialize; frees the lists. */
void vm_record_done(VmRecord *record);

/* Writes the record as one line of JSON without its end of line, allocated. Returns 0 or
 * -ENOMEM. */
int vm_record_format(const VmRecord *record, char **ret);

/* Reads what vm_record_format() wrote, of @length bytes, and nothing else: a member that is
 * missing, twice there, unknown or in another place, of another type, out of range or too long is
 * -EBADMSG, and so is a list of more than RECORD_LIST_MAX. What is read is written again as the
 * same text.
 * Returns 0, -EBADMSG, -ENOMEM; *ret is set on success only. */
#define RECORD_LIST_MAX 65536
int vm_record_parse(const char *text, size_t length, VmRecord *ret);
