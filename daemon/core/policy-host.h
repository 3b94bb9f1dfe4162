/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the configuration says that this host cannot keep: things that it does not have, reserves beyond its memory. Such a
 * configuration is used all the same: a host loses IOMMUs and memory, and its VMs have to go on. */

#include "config/config.h"
#include "inventory/inventory.h"
#include "ledger/ledger.h"

/* Calls @found with a sentence for each, which names file and line. @ledger has the capacities. Pure. */
void policy_check_host(const Config *config, const Inventory *inventory, const Ledger *ledger,
                       void (*found)(void *userdata, const char *text), void *userdata);

/* A ConfigReport that logs what keeps nothing from being used. */
void log_config_warning(void *userdata, bool is_warning, const char *text);
