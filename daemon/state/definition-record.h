/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is kept of a definition, for as long as it is not taken back: a VM that is asked for again after each boot. And what is kept
 * of its starts in this boot. Written and read as state/vm-record.h says; words are kept as words.
 */

#include "state/vm-record.h"

typedef struct RecordDefinedFunction {
        PciAddress address;
        bool has_guest_id;
        GuestDeviceId guest_id; /* 0 without */
        bool has_vf_token;
        uint8_t vf_token[16]; /* 0 without */
        bool managed;
} RecordDefinedFunction;

typedef struct DefinitionRecord {
        sd_id128_t uuid;
        uint64_t number; /* definitions are started in the order of these */
        uid_t owner_uid;
        char name[RECORD_NAME_SIZE]; /* "": the UUID */
        char tier[RECORD_WORD_SIZE];
        char handover[RECORD_WORD_SIZE]; /* "": what goes with the tier */
        uint64_t memory;                 /* bytes */
        bool has_guest_domains;
        uint32_t guest_domains; /* 0 without */
        bool autostart;
        RecordDefinedFunction *functions;
        size_t n_functions;
        char tenant[RECORD_TENANT_SIZE]; /* "": none */
} DefinitionRecord;

/* Zero-initialize; frees the list. */
void definition_record_done(DefinitionRecord *record);

/* Returns 0 or -ENOMEM. */
int definition_record_format(const DefinitionRecord *record, char **ret);

/* Returns 0, -EBADMSG, -ENOMEM; *ret is set on success only. */
int definition_record_parse(const char *text, size_t length, DefinitionRecord *ret);

/* That a definition has been started in this boot, or is not to be; its UUID is in the name of the file. */
typedef struct StartedRecord {
        bool refused;
        char reason[RECORD_REASON_SIZE]; /* why it was refused */
        char awaits
                [RECORD_WORD_SIZE]; /* "functions": to be tried again when they change; "": not */
} StartedRecord;

/* Returns 0 or -ENOMEM. */
int started_record_format(const StartedRecord *record, char **ret);

/* Returns 0 or -EBADMSG; *ret is set on success only. */
int started_record_parse(const char *text, size_t length, StartedRecord *ret);
