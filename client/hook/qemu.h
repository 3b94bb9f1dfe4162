/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The process of a running domain. libvirt's pid file says which it is, but a pid file may be stale and its number somebody else's by now:
 * the process is held by a pidfd first and looked at then, and if it still lives afterwards, it is the one that was looked at.
 */

#include "lib/failure.h"
#include "lib/parse.h"

/* The folder of the pid files of the libvirtd that calls: the system's, or that of a user's session. Returns @buf. */
#define QEMU_RUN_DIR_SIZE 64
const char *qemu_run_dir(char buf[static QEMU_RUN_DIR_SIZE]);

/* Opens a pidfd of the process that @run_dir/@name.pid names, if it is the QEMU of that domain by its arguments: "-uuid @uuid", or without
 * any -uuid "-name guest=@name". @uuid: as uuid_parse() gives it.
 * Returns the pidfd, or a negative errno (reterr set): -ENOENT (no pid file), -ESRCH (it has ended), -EXDEV (somebody else's), -EBADMSG
 * (no pid in it). */
int qemu_open(const char *run_dir, const char *name, const char *uuid, Failure *reterr);

/* Whether these arguments, each ended by a NUL, are those of the domain's QEMU. */
bool qemu_arguments_match(const char *arguments, size_t length, const char *name, const char *uuid);
