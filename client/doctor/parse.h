/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reading what kernel and firmware write: pure, from bytes in memory. */

#include "base/macro.h"

/* What a .config says of CONFIG_@symbol: 'y', 'm', or 'n', also for what it does not name. */
char kconfig_get(const char *config, const char *symbol);

/* Whether a text is the .config of a kernel at all. */
bool kconfig_is_one(const char *text);

/* Calls @each for the words of a kernel command line up to "--"; quotes hold words together and are left out. */
void command_line_for_each(const char *line, void (*each)(const char *word, void *userdata),
                           void *userdata);

/* Whether @word is "@name=...@value...", values separated by commas. */
bool command_line_has(const char *word, const char *name, const char *value);

typedef struct IvrsSummary {
        bool is_damaged;   /* ends in the midst of something, or its sum is wrong */
        unsigned n_iommus; /* by segment and PCI function */
        bool has_features; /* IVHD kinds 11h or 40h, which tell EFR */
} IvrsSummary;

/* Returns 0 or -EBADMSG: no IVRS table. */
int ivrs_summarize(const uint8_t *data, size_t size, IvrsSummary *ret);

typedef enum VscState {
        VSC_PRESENT,
        VSC_HIDDEN, /* @size is too small to tell */
        VSC_ABSENT,
        VSC_DISABLED, /* it is there, and one of its BARs is not enabled */
} VscState;

/* Looks for the VSC capability of an AMD IOMMU in PCI configuration space. Spec: 48882, vIOMMU; capability id 09h */
VscState vsc_find(const uint8_t *config, size_t size);

/* The vendor in /proc/cpuinfo. Returns false where it does not say. */
bool processor_vendor(const char *text, char *ret, size_t size);

/* Whether some interrupt in /proc/interrupts goes through a remapping chip. */
bool interrupts_are_remapped(const char *text);

/* The soft limit of locked memory in /proc/PID/limits, in bytes; UINT64_MAX: unlimited. Returns 0 or -EINVAL. */
int limits_get_memlock(const char *text, uint64_t *ret);

/* Whether the parameter "ids" of vfio-pci ("VENDOR:DEVICE..." with commas between) names a function's ids. */
bool vfio_ids_have(const char *ids, uint16_t vendor_id, uint16_t device_id);

/* The uid of @user in /etc/passwd; -1: it is not there. */
int64_t users_find(const char *text, const char *user);

/* The argument after "-uuid" (also in "-uuid=..." and commas behind it) in /proc/PID/cmdline. Returns false for none. */
bool arguments_find_uuid(const char *arguments, size_t size, char *ret, size_t ret_size);
