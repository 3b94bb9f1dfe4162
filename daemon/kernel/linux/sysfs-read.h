/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reading single things from sysfs and procfs: a value, a link, a directory.
 *
 * Everything here takes a directory descriptor and a relative path. What a kernel would never write (a number with
 * something behind it, a value beyond all bounds) is an error like any other, and the caller decides what unknown means.
 */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "kernel/kernel.h"

/* Reads a value of one line without its newline. Returns 0, -E2BIG (does not fit), -EINVAL (holds a NUL byte), or what
 * the kernel says; -ENOENT and -ENODEV mean that the thing is gone. */
int sysfs_read(int dir_fd, const char *path, char *ret_value, size_t size);

/* Reads a whole number up to @max, in @base 10 or 16 (0x allowed). Returns 0, -EINVAL, -ERANGE or as sysfs_read(). */
int sysfs_read_u64(int dir_fd, const char *path, int base, uint64_t max, uint64_t *ret);

/* Parses such a number from @s up to its end. Returns 0, -EINVAL or -ERANGE. */
int parse_u64(const char *s, int base, uint64_t max, uint64_t *ret);

/* Parses "PREFIXn" with a decimal n below KERNEL_NONE. Returns 0 or -EINVAL. */
int parse_numbered_name(const char *s, const char *prefix, uint32_t *ret);

/* Reads where a symbolic link points to. Returns 0, -E2BIG, or what readlink gives. */
int sysfs_read_link(int dir_fd, const char *path, char *ret_target, size_t size);

/* The same, its last component only. */
int sysfs_read_link_name(int dir_fd, const char *path, char *ret_name, size_t size);

/* Opens a directory for walking or a file for reading line by line. Return 0 or a negative errno. */
int sysfs_open_dir(int dir_fd, const char *path, DIR **ret);
int sysfs_open_file(int dir_fd, const char *path, FILE **ret);

static inline void closedirp(DIR **d) {
        if (*d)
                (void)closedir(*d);
}

static inline void fclosep(FILE **f) {
        if (*f)
                (void)fclose(*f);
}

/* Opens the directory of a PCI function below @sysfs_fd. Returns 0, -ENOENT, or another negative errno. */
int sysfs_open_function(int sysfs_fd, const PciAddress *address, int *ret_fd);

/* The number of the function's VFIO character device: N of vfio-dev/vfioN in its directory; KERNEL_NONE when it has none.
 * Returns 0, or what kept it from being read (sysfs_error_is_trouble()). */
int sysfs_read_cdev(int dir_fd, uint32_t *ret);

/* The NUMA node told by the file @path, KERNEL_NONE when none is told. */
uint32_t sysfs_read_numa_node(int dir_fd, const char *path);

/* Where a read failed: whether the thing itself is gone or was never there, rather than unreadable. */
static inline bool sysfs_error_is_absent(int error) {
        return error == -ENOENT || error == -ENODEV || error == -ENXIO || error == -ENOTDIR;
}

/* Whether a read failed for want of something (memory, descriptors) rather than for what is there: then nothing is known. */
static inline bool sysfs_error_is_trouble(int error) {
        return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -EINTR;
}
