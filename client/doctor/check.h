/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The deciders: from facts to findings, one file for each subject. They look at nothing else. */

#include "doctor/facts.h"
#include "doctor/finding.h"

void check_daemon(const Facts *facts, Findings *out);
void check_firmware(const Facts *facts, Findings *out);
void check_kernel(const Facts *facts, Findings *out);
void check_nodes(const Facts *facts, Findings *out);
void check_functions(const Facts *facts, Findings *out);
void check_memory(const Facts *facts, Findings *out);
void check_libvirt(const Facts *facts, Findings *out);
void check_leftovers(const Facts *facts, Findings *out);

/* All of them, in this order. */
void check_all(const Facts *facts, Findings *out);

/* The command that leads into the firmware's setup. */
#define MEND_FIRMWARE "systemctl reboot --firmware-setup"

/* "the list of functions: sentence"; for what the daemon does not tell. */
void finding_add_unanswered(Findings *out, FindingId id, const char *what, const Failure *failure);

/* For what only root may read: adds a line unchecked, with the command that makes it seen. */
void finding_add_unreadable(Findings *out, FindingId id, const char *path, int error);

/* Whether the processor is AMD's, or of Hygon, who make theirs after it. Not known counts as AMD's. */
bool facts_is_amd(const Facts *facts);
