/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One call of the hook by libvirt: what it was told, what it found out, and how it goes on. */

#include "domain/decide.h"
#include "domain/domain.h"
#include "hook/judge.h"
#include "hook/watch.h"
#include "lib/client.h"

typedef struct Hook {
        const char *name, *reason; /* as libvirt gives them; reason: why it is over */
        const char *config_path, *run_dir;
        HookTask task;
        Watch watch;

        LibvirtConfig config;
        Domain domain;
        DomainDecision decision;
        char uuid[UUID_STRING_SIZE];
        HookAsks asks;
        Client client;
} Hook;

/* ---- admit.c ---- */

/* Before it is known whether it will run here: what CreateVm would say. Says why only when it is refused. */
HookOutcome hook_ask(Hook *h);

/* Before it runs. Says why when the outcome is not HOOK_DONE. */
HookOutcome hook_admit(Hook *h);

/* The same for what libvirt has taken from the pool of a network since then. */
HookOutcome hook_complete(Hook *h);

/* For one that runs already and that the daemon does not know: counts what it has, with its life on the process of @pidfd. A domain that is to
 * be left alone is. Returns 0 or a negative errno (reterr set). */
int hook_admit_late(Hook *h, int pidfd, Failure *reterr);

/* ---- life.c ---- */

/* What comes of it is said, and changes nothing for the domain. */
void hook_leash(Hook *h);
void hook_take_back(Hook *h);

/* ---- say.c ---- */

/* Writes to stderr, which libvirt shows when the hook fails. @text may have several lines; of what came from elsewhere nothing steers a
 * terminal. */
void hook_say(const char *text);

/* The same, and to the system's log: of a hook that succeeds libvirt shows nothing. */
void hook_warn(const char *format, ...) _printf_(1, 2);

/* The same for what is as it should be. */
void hook_note(const char *format, ...) _printf_(1, 2);

/* "20 s (TimeoutSec=)": how long this call of the hook may take. */
#define HOOK_TIMEOUT_SIZE ((size_t)40)
const char *hook_timeout(Hook *h, char buf[static HOOK_TIMEOUT_SIZE]);
#define HOOK_TIMEOUT(h) hook_timeout((h), (char[HOOK_TIMEOUT_SIZE]){})

/* Lines, gathered. A failed allocation loses some of them. */
typedef struct Lines {
        char *text;
        size_t length;
} Lines;

void lines_add(Lines *l, const char *format, ...) _printf_(2, 3);
void lines_done(Lines *l);
