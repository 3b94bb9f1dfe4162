/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The directory of records: one file per object, written whole or not at all, and named after what
 * it is about.
 *
 *      DIR/vm-<uuid, 32 hex digits>          a VM
 *      DIR/prepared-<uuid>                   a prepared context
 *      DIR/reservation-<token>               a reservation
 *      DIR/level-<index of the host IOMMU>   a kernel level that was probed
 *      DIR/bus-<id of the bus>               which bus the names of callers are of
 *      DIR/started-<uuid>                    what came of a definition's start in this boot
 *      DIR/damaged/<name>                    what could not be read, set aside for an administrator
 *
 * A file is written under another name ("." in front) and renamed. No fsync: what the records are
 * about ends with the kernel, and the directory is on /run. The cost of a write does not depend on
 * how many records there are.
 *
 * A lasting store is another directory, of what outlives the boot:
 *
 *      DIR/definition-<uuid>                 a VM that is to be there again
 *
 * There a write and a removal are on the disk when they return, so they may take long.
 *
 * Used from the event loop's thread only; but what a lasting store writes and removes, any thread may, each record in one at a
 * time.
 */

#include <systemd/sd-id128.h>

#include "base/macro.h"
#include "state/record.h"

typedef enum RecordKind {
        RECORD_VM,
        RECORD_PREPARED,
        RECORD_RESERVATION,
        RECORD_LEVEL,
        RECORD_BUS,
        RECORD_STARTED,
        RECORD_DEFINITION,
        _RECORD_KIND_MAX,
} RecordKind;

const char *record_kind_to_string(RecordKind kind);

typedef struct StateStore StateStore;

/* Opens the directory, which must exist, be the caller's own and closed to others (0700), and keeps it from others until it is freed; makes
 * damaged/ when it is first needed.
 * Returns 0, -ENOENT, -ENOTDIR, -EPERM (another's, or open to others), -EBUSY (it is open already), or what opening gave. */
int state_store_open(const char *path, StateStore **ret);

/* The same for a lasting store. */
int state_store_open_lasting(const char *path, StateStore **ret);
StateStore *state_store_free(StateStore *store);
DEFINE_CLEANUP(StateStore, state_store_free);

const char *state_store_get_path(const StateStore *store);

/* Writes a record in place of the one before. @body: one line of JSON, no end of line. On failure
 * the old one is still there, whole, and nothing is left of the new one; but where the directory of a lasting store cannot be
 * synchronized, which of both is there after a crash is not known. Returns 0, -ENOSPC,
 * -EDQUOT, -EROFS, -EIO, -EFBIG, -ENOMEM, ... */
int state_store_write(StateStore *store, RecordKind kind, sd_id128_t id, const char *body);

/* Removes a record. One that is not there is fine. Returns 0, -EROFS, -EIO, ... */
int state_store_remove(StateStore *store, RecordKind kind, sd_id128_t id);

/* What one file of the directory turned out to be. */
typedef struct StateEntry {
        RecordKind kind;
        sd_id128_t id;
        RecordVerdict verdict;
        const char *body; /* RECORD_GOOD: until the callback returns */
        size_t body_length;
} StateEntry;

/* Returns 0 or a negative errno, which ends the reading. */
typedef int (*StateEntryFound)(void *userdata, const StateEntry *entry);

/* Reads every record, in no order. Left-over temporary files are removed; files that are no records
 * at all by their name are left alone. What cannot be read (a directory, another's file, -EIO, more
 * than RECORD_SIZE_MAX) counts as damaged. Returns 0, what the callback returned, or what reading
 * the directory gave. */
int state_store_read(StateStore *store, StateEntryFound found, void *userdata);

/* Moves a record to damaged/, in place of an earlier one of that name there. Returns 0 or a
 * negative errno. */
int state_store_set_aside(StateStore *store, RecordKind kind, sd_id128_t id);
