/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The one door of libvirt. Every call has a time limit, --timeout= or 25 seconds: libvirt answers nobody about a domain for which a hook
 * runs. When it is over, the program ends with CLIENT_EXIT_TIMED_OUT.
 */

#include "ctl/ctl.h"

typedef struct Libvirt Libvirt;

/* Connects to ctl->uri, or to LIBVIRT_DEFAULT_URI, or to qemu:///system. @may_change: not read-only. The caller gives *ret back with
 * libvirt_close(). Returns 0 or a negative errno (failure set). */
int libvirt_open(Ctl *ctl, bool may_change, Libvirt **ret);
Libvirt *libvirt_close(Libvirt *lv);
DEFINE_CLEANUP(Libvirt, libvirt_close);

/* Versions are major * 1000000 + minor * 1000 + release; 0: it does not say. */
typedef struct LibvirtVersions {
        char *uri, *hypervisor; /* "qemu:///system", "QEMU" */
        uint64_t library, libvirt, version;
} LibvirtVersions;

/* Returns 0 or a negative errno (failure set). */
int libvirt_get_versions(Ctl *ctl, Libvirt *lv, LibvirtVersions *ret);
void libvirt_versions_done(LibvirtVersions *v);

/* What domains on a q35 machine can have, as XML; NULL: this libvirt does not say. The caller frees it. */
char *libvirt_get_capabilities(Libvirt *lv);

/* Whether this libvirt is a user's own (qemu:///session), and not the host's. */
bool libvirt_is_users(Libvirt *lv);

typedef struct LibvirtDomain {
        char uuid[UUID_STRING_SIZE];
        char *name, *xml; /* xml: of the next start; of one that is not persistent, as it runs */
        char *error;      /* why there is no xml, in libvirt_for_each() */
        bool is_running, is_persistent;
        bool is_saved; /* shut off with a managed save image: its next start is as it was saved, with the XML that it had */
} LibvirtDomain;

void libvirt_domain_done(LibvirtDomain *d);

/* Finds a domain by its UUID, id or name. Returns 0 or a negative errno (failure set). */
int libvirt_find(Ctl *ctl, Libvirt *lv, const char *what, LibvirtDomain *ret);

/* Calls @use with each domain that there is, also where its XML is not to be had; a running one's is as it runs. Stops when it returns a negative errno. Returns that, 0,
 * or a negative errno (failure set). */
int libvirt_for_each(Ctl *ctl, Libvirt *lv, int (*use)(const LibvirtDomain *d, void *userdata),
                     void *userdata);

/* Calls @use with the name of each domain that there is, and whether it runs; asks about none, so that no hook is in the way.
 * Returns 0 or a negative errno (failure set). */
int libvirt_for_each_name(Ctl *ctl, Libvirt *lv,
                          void (*use)(const char *name, bool is_running, void *userdata),
                          void *userdata);

/* The XML of the next start with all secrets in it, to be defined again; wants a connection that may change. The caller frees *ret. */
int libvirt_get_whole_xml(Ctl *ctl, Libvirt *lv, const LibvirtDomain *d, char **ret);

/* Defines a domain anew. Returns 0 or a negative errno (failure set). */
int libvirt_define(Ctl *ctl, Libvirt *lv, const char *xml);
