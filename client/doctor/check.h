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
