/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What several deciders say or ask alike. */

#include "doctor/facts.h"
#include "doctor/finding.h"

/* The command that leads into the firmware's setup. */
#define MEND_FIRMWARE "systemctl reboot --firmware-setup"

/* Loads a module, whose device nodes the service may open only when it has been started after them. */
#define MEND_MODULE "modprobe %s && systemctl restart aviommud"

/* "the list of functions: sentence"; for what the daemon does not tell. */
void finding_add_unanswered(Findings *out, FindingId id, const char *what, const Failure *failure);

/* For what only root may read: adds a line unchecked, with the command that makes it seen. */
void finding_add_unreadable(Findings *out, FindingId id, const char *path, int error);

/* Whether the processor is AMD's, or of Hygon, who make theirs after it. Not known counts as AMD's. */
bool facts_is_amd(const Facts *facts);
