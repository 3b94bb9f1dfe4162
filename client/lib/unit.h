/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What systemd says of a unit. */

#include "lib/client.h"

#define AGENT_UNIT "aviommu-libvirt-agent.service"

typedef struct UnitState {
        char load[32], active[32]; /* "loaded", "active" */
} UnitState;

/* Asks the systemd on the bus of @c. Returns 0 or a negative errno: nobody there who could tell. */
int unit_get_state(Client *c, const char *unit, UnitState *ret);
