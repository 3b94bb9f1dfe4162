/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the verbs of `aviommuctl libvirt` share. */

#include "ctl/complete.h"
#include "ctl/libvirt-abilities.h"
#include "ctl/plan.h"
#include "domain/decide.h"

int verb_libvirt_check(Ctl *ctl, int argc, char **argv);
int verb_libvirt_plan(Ctl *ctl, int argc, char **argv);
int verb_libvirt_apply(Ctl *ctl, int argc, char **argv);
int verb_libvirt_status(Ctl *ctl, int argc, char **argv);

/* ---- a domain: libvirt-domain.c ---- */

/* The domains that a word may become (Program.complete). */
int libvirt_complete(Ctl *ctl, const char *name, const Candidates *c);

typedef struct Subject {
        LibvirtDomain libvirt;
        LibvirtConfig config;
        Domain domain;
        DomainDecision decision;
        char *unreadable; /* why the domain, or its request, cannot be read, and then it has neither; NULL: it can */
        bool is_users; /* the libvirt is a user's own, and so are its hooks; else they are root's */
} Subject;

/* Finds @what and reads it and the configuration. Returns 0, or a negative errno (failure set). */
int subject_get(Ctl *ctl, Libvirt *lv, const char *what, Subject *ret);
void subject_done(Subject *s);

/* The configuration of hook and agent. Returns 0 or a negative errno (failure set). */
int config_get(Ctl *ctl, LibvirtConfig *ret);

/* What the domain asks for, for people; the caller frees it. */
char *subject_asks(const Subject *s);

/* ---- what the daemon would say: libvirt-ask.c ---- */

/* Reads s->libvirt's XML: the domain and, by s->config, what becomes of it; or why it cannot be read. */
void subject_read(Subject *s);

/* Asks the daemon what it would say to the hook about a candidate; VmExists means one of the domain's own UUID. The caller gives *ret back
 * with plan_done(). Returns 0, also for a refusal, or a negative errno (failure set). */
int subject_plan(Ctl *ctl, const Subject *s, DomainTier tier, Plan *ret);

/* ---- the host: libvirt-host.c ---- */

typedef struct HostParts {
        Verdict hook, agent;
        char hook_text[160], agent_text[160];
} HostParts;

/* Whether hook and agent are where they belong and run. */
void host_parts_find(Ctl *ctl, const LibvirtVersions *versions, HostParts *ret);

/* ---- a difference: libvirt-diff.c ---- */

/* What is different in @after, in the form of `diff -u` without its head; "" where nothing is. The caller frees it. */
char *diff_texts(const char *before, const char *after);
