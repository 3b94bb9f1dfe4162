/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What several deciders say or ask alike. */

#include "doctor/facts.h"
#include "doctor/finding.h"

/* The command that leads into the firmware's setup. */
#define MEND_FIRMWARE "systemctl reboot --firmware-setup"

/* The command that changes the kernel's command line. */
#define MEND_COMMAND_LINE "editor /etc/default/grub && update-grub"

/* Loads a module, whose device nodes the service may open only when it has been started after them. */
#define MEND_MODULE "modprobe %s && systemctl restart aviommud"

/* "the list of functions: sentence"; for what the daemon does not tell. */
void finding_add_unanswered(Findings *out, FindingId id, const char *what, const Failure *failure);

/* For what only root may read: adds a line unchecked, with the command that makes it seen. */
void finding_add_unreadable(Findings *out, FindingId id, const char *path, int error);

/* Whose processor it may be: what cannot be read may be any. One without a vendor is none of x86, such as ARM's. */
bool facts_may_be_x86(const Facts *facts);

/* AMD's, or of Hygon, who make theirs after it. */
bool facts_may_be_amd(const Facts *facts);

/* Intel's, or of others whose IOMMUs are made after it. */
bool facts_may_be_intel(const Facts *facts);

/* Whether the kernel was booted with "@name=...@value..."; false too where that cannot be read. */
bool facts_command_line_has(const Facts *facts, const char *name, const char *value);
