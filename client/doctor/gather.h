/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Gathering the facts: nothing is judged here. What cannot be read is a fact too, with its errno. */

#include "doctor/facts.h"
#include "lib/client.h"

/* No file is read beyond this. */
#define BLOB_SIZE_MAX ((size_t)4 * 1024 * 1024)

/* Reads a whole file below @root_fd, by a path without a leading "/". Larger ones are -EFBIG, what is no file -EINVAL. */
void blob_read(int root_fd, const char *path, Blob *ret);

/* The same, but of a larger file what it begins with. */
void blob_read_head(int root_fd, const char *path, Blob *ret);

/* The same as blob_read() of one that gzip has compressed; a damaged one is -EBADMSG. */
void blob_read_gzip(int root_fd, const char *path, Blob *ret);

void blob_done(Blob *b);

/* Everything that the daemon and systemd tell. Asks what the caller may ask, and keeps the failures of the rest. */
void gather_bus(Client *c, BusFacts *ret);

void gather_kernel(int root_fd, KernelFacts *ret);
void gather_firmware(int root_fd, const BusFacts *bus, FirmwareFacts *ret);
void gather_nodes(int root_fd, NodeFacts *ret);
/* @is_this_host: the processes are those that run here. @daemon: its process id; 0: not known. */
void gather_holders(int root_fd, bool is_this_host, uint32_t daemon, HolderFacts *ret);

/* Runs QEMU and libvirt's daemon, below @root, with --version, a clean environment and a time limit. */
void gather_libvirt(int root_fd, const char *root, LibvirtFacts *ret);

/* All of it. @root is "/" but for tests and for trees that were copied from another host. */
void gather_facts(Client *c, int root_fd, const char *root, Facts *ret);
