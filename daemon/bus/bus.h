/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The D-Bus face of the manager: connection, name, objects, signals. The only room with object vtables; nothing includes it
 * but main.
 */

#include <systemd/sd-bus.h>

#include "core/manager.h"
#include "policy/authz.h"

typedef struct Bus Bus;
typedef struct BusCall BusCall;
typedef struct Caller Caller;

#define BUS_NAME      "org.aviommu1"
#define BUS_PATH      "/org/aviommu1"
#define BUS_PATH_HOST "/org/aviommu1/host"
#define BUS_PATH_VM   "/org/aviommu1/vm"

struct Bus {
        sd_bus *bus;
        Manager *manager;
        Authz *authz;
        Caller *callers;
        BusCall *calls;
        sd_event_source *capacity_timer;
        bool capacity_pending;
        bool stopping; /* main is taking the manager down */
        uint64_t capacity_sent_usec;
};

/* Puts the manager on the bus: objects first, then the name. @bus: zeroed. @address: NULL for the system bus. @extra: registers
 * more objects, NULL for none. Returns 0 or a negative errno; bus_stop() is due in either case. */
int bus_start(Bus *bus, Manager *manager, const char *address, int (*extra)(Bus *bus));

/* Ends all calls that wait and closes the connection. The manager may go on without. */
void bus_stop(Bus *bus);
