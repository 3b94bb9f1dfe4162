/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* /org/aviommu1/simulation, org.aviommu1.Simulation: see dbus/org.aviommu1.Simulation.xml. */

#include "bus/bus-simulation.h"

#include <errno.h>

#include "bus/bus-call.h"
#include "kernel/sim/sim.h"

static const struct {
        const char *name;
        SimLimit limit;
} limits[] = {
        { "guest-ids", SIM_LIMIT_GUEST_IDS },         { "trans-devids", SIM_LIMIT_TRANS_DEVIDS },
        { "domain-ids", SIM_LIMIT_HOST_DOMAIN_IDS },  { "memlock", SIM_LIMIT_PINNED_BYTES },
        { "contiguous", SIM_LIMIT_CONTIGUOUS_BYTES },
};

/* What was unplugged, to be put back as it was. */
static PciFunctionInfo *unplugged;
static size_t n_unplugged;

static int done(BusCall *call, int r) {
        if (r < 0)
                return r == -ENOENT ? problem_set(&call->problem, PROBLEM_NO_SUCH_FUNCTION,
                                                  "The simulated host has no such thing.")
                                    : r;
        bus_call_reply(call, NULL);
        return 0;
}

static int plug(BusCall *call) {
        PciAddress address;
        int r;

        r = bus_read_address(call->message, &address, &call->problem);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_unplugged; i++)
                if (pci_address_equal(&unplugged[i].address, &address)) {
                        r = sim_plug(call->bus->manager->kernel, unplugged + i);
                        if (r >= 0)
                                unplugged[i] = unplugged[--n_unplugged];
                        return done(call, r);
                }
        return done(call, -ENOENT);
}

static int unplug(BusCall *call) {
        const PciFunctionInfo *info;
        PciFunctionInfo *grown;
        PciAddress address;
        int r;

        r = bus_read_address(call->message, &address, &call->problem);
        if (r < 0)
                return r;
        info = inventory_find_function(call->bus->manager->inventory, &address);
        grown = info ? reallocarray(unplugged, n_unplugged + 1, sizeof(*grown)) : NULL;
        if (!grown)
                return info ? -ENOMEM : done(call, -ENOENT);

        unplugged = grown;
        unplugged[n_unplugged] = *info;
        r = sim_unplug(call->bus->manager->kernel, &address);
        n_unplugged += r >= 0;
        return done(call, r);
}

static int set_driver(BusCall *call) {
        const char *driver;
        PciAddress address;
        int r;

        r = bus_read_address(call->message, &address, &call->problem);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "s", &driver);
        return r < 0 ? r : done(call, sim_set_driver(call->bus->manager->kernel, &address, driver));
}

static int set_limit(BusCall *call) {
        const char *name;
        uint64_t value;
        int r;

        r = sd_bus_message_read(call->message, "st", &name, &value);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(limits); i++)
                if (streq(name, limits[i].name))
                        return done(call, sim_set_limit(call->bus->manager->kernel, limits[i].limit,
                                                        KERNEL_NONE, value));
        return problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT, "There is no limit \"%.32s\".",
                           name);
}

static int inject_fault(BusCall *call) {
        const char *op;
        uint32_t nth;
        int32_t error;
        int r;

        r = sd_bus_message_read(call->message, "sui", &op, &nth, &error);
        return r < 0 ? r
                     : done(call, sim_inject_fault(call->bus->manager->kernel, *op ? op : NULL, nth,
                                                   error));
}

static int set_delay(BusCall *call) {
        const char *op;
        uint64_t usec;
        int r;

        r = sd_bus_message_read(call->message, "st", &op, &usec);
        return r < 0 ? r
                     : done(call, sim_set_delay(call->bus->manager->kernel, *op ? op : NULL, usec));
}

static int counters(BusCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        SimCounters c;
        int r;

        sim_get_counters(call->bus->manager->kernel, &c);
        const struct {
                const char *name;
                uint64_t value;
        } values[] = {
                { "contexts", c.contexts },
                { "open-cdevs", c.open_cdevs },
                { "bound-functions", c.bound_functions },
                { "ioas", c.ioas },
                { "devices", c.devices },
                { "hwpts", c.hwpts },
                { "viommus", c.viommus },
                { "vdevices", c.vdevices },
                { "guest-ids", c.guest_ids },
                { "trans-devids", c.trans_devids },
                { "domain-ids", c.host_domain_ids },
                { "contiguous-bytes", c.contiguous_bytes },
                { "vf-pages", c.vf_pages },
                { "mappings", c.mappings },
                { "mapped-bytes", c.mapped_bytes },
                { "pinned-bytes", c.pinned_bytes },
        };

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{st}");
        for (size_t i = 0; i < ELEMENTSOF(values) && r >= 0; i++)
                r = sd_bus_message_append(reply, "{st}", values[i].name, values[i].value);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

#define METHOD(handler)                                                                            \
        static int method_##handler(sd_bus_message *m, void *userdata, sd_bus_error *error) {      \
                return bus_call_start(userdata, m, "Simulation", handler, error);                  \
        }                                                                                          \
        struct _semicolon_##handler

METHOD(plug);
METHOD(unplug);
METHOD(set_driver);
METHOD(set_limit);
METHOD(inject_fault);
METHOD(set_delay);
METHOD(counters);

static const sd_bus_vtable simulation_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Plug", SD_BUS_ARGS("s", function), SD_BUS_NO_RESULT, method_plug,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Unplug", SD_BUS_ARGS("s", function), SD_BUS_NO_RESULT,
                                method_unplug, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SetDriver", SD_BUS_ARGS("s", function, "s", driver),
                                SD_BUS_NO_RESULT, method_set_driver, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SetLimit", SD_BUS_ARGS("s", limit, "t", value), SD_BUS_NO_RESULT,
                                method_set_limit, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("InjectFault", SD_BUS_ARGS("s", call, "u", nth, "i", error),
                                SD_BUS_NO_RESULT, method_inject_fault, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SetDelay", SD_BUS_ARGS("s", call, "t", usec), SD_BUS_NO_RESULT,
                                method_set_delay, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Counters", SD_BUS_NO_ARGS, SD_BUS_RESULT("a{st}", counters),
                                method_counters, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int bus_simulation_register(Bus *bus) {
        int r = sd_bus_add_object_vtable(bus->bus, NULL, BUS_PATH "/simulation",
                                         BUS_NAME ".Simulation", simulation_vtable, bus);

        return r < 0 ? r : 0;
}
