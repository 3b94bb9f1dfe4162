/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which domains are still to be started since the host was booted: decided once, at the first look at libvirt, and kept in a file
 * of the runtime directory, which goes with the boot. A domain leaves the list before it is started: no crash of ours starts it
 * a second time.
 */

#include <systemd/sd-id128.h>

#include "base/macro.h"

#define STARTS_MAX 65536

typedef struct Starts {
        char *path; /* NULL: no folder, nothing is ever started */
        bool decided;
        sd_id128_t *uuids;
        size_t n;
} Starts;

/* Reads what an earlier agent of this boot has left in @folder (NULL: there is none). Lines that are no UUID are skipped.
 * Returns 0 or a negative errno; then there is nothing to give back. */
int starts_open(Starts *starts, const char *folder);
void starts_done(Starts *starts);

bool starts_has(const Starts *starts, sd_id128_t uuid);

/* These are to be started, @n at most STARTS_MAX. Returns 0, or a negative errno and nothing has changed. */
int starts_decide(Starts *starts, const sd_id128_t *uuids, size_t n);

/* Takes one off. Returns 0 (also when it is not on it), or a negative errno: it must not be started then. */
int starts_remove(Starts *starts, sd_id128_t uuid);
