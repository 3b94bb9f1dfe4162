/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The configuration of hook and agent, libvirt.conf (aviommu-libvirt(5)). */

#include "base/macro.h"

typedef enum Unasked {
        UNASKED_ACCOUNT, /* what a domain that asks nothing takes is counted */
        UNASKED_IGNORE,
        UNASKED_REFUSE, /* a domain with PCI hostdevs has to ask */
        _UNASKED_MAX,
} Unasked;

typedef struct LibvirtConfig {
        Unasked unasked;
        bool down_refuses_asked; /* the daemon is down or slow: a domain that asks does not start */
        bool down_refuses_unasked; /* nor one that does not */
        uint64_t timeout_usec;     /* for all that one hook does */
        bool start_domains;        /* the agent starts domains with autostart that need a context */
        char *uri;                 /* libvirt's, for the agent; NULL: qemu:///system */
        uint64_t report_usec;      /* between two reports of the agent */
} LibvirtConfig;

void libvirt_config_init(LibvirtConfig *config);
void libvirt_config_done(LibvirtConfig *config);

/* Reads @path over the defaults; a file that is not there is fine. Returns 0; -EINVAL with a sentence in *reterr (allocated) that names file and
 * line; another errno of reading. On failure *config is as before. */
int libvirt_config_read(const char *path, LibvirtConfig *config, char **reterr);
