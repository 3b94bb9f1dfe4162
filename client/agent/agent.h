/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The agent: follows libvirt's domains, keeps a context associated with those that want one, charges what is plugged in and out
 * while they run, and reports them. Lives on an event loop, which never waits for libvirt.
 */

#include <systemd/sd-event.h>

#include "base/macro.h"
#include "domain/config.h"

typedef struct Agent Agent;

typedef struct AgentOptions {
        const LibvirtConfig *config; /* lives as long as the agent */
        const char *bus_address;     /* NULL: the system bus; likewise */
        const char *runtime_folder;  /* what is to be known until the next boot; NULL: nothing is */
} AgentOptions;

/* Returns 0 or a negative errno, which has been logged. */
int agent_new(sd_event *event, const AgentOptions *options, Agent **ret);

/* Returns 0; -ETIMEDOUT when a call into libvirt does not return: the process can only end. */
int agent_free(Agent *agent);
