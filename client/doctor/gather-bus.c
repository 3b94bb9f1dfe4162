/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon tells, and systemd of the agent. The daemon is not started by the question: whether it runs is one of
 * the findings.
 */
#include "doctor/gather.h"

#include <stdio.h>

#include "lib/alloc.h"
#include "lib/pages.h"
#include "lib/unit.h"

#define BUS_NAME      "org.freedesktop.DBus"
#define BUS_PATH      "/org/freedesktop/DBus"
#define BUS_TIME_USEC ((uint64_t)5000000)

static void keep(BusFacts *b, sd_bus_message *m) {
        b->messages = alloc_grow(b->messages, b->n_messages, sizeof(sd_bus_message *));
        b->messages[b->n_messages++] = m;
}

/* ---- the Manager ---- */

static int read_tier(sd_bus_message *m, void *userdata) {
        BusFacts *b = userdata;
        int available, r;
        BusTier t;

        r = sd_bus_message_read(m, "(sbs)", &t.name, &available, &t.reason);
        if (r < 0)
                return r;
        t.is_available = available;
        b->tiers = alloc_grow(b->tiers, b->n_tiers, sizeof(BusTier));
        b->tiers[b->n_tiers++] = t;
        return 0;
}

static int read_tiers(sd_bus_message *m, void *facts) {
        return reply_read_array(m, "(sbs)", read_tier, facts);
}

static const ReplyField manager_fields[] = {
        { "Version", "s", offsetof(BusFacts, version), NULL },
        { "Kernel", "s", offsetof(BusFacts, kernel), NULL },
        { "Tiers", "a(sbs)", 0, read_tiers },
        { "Problems", "as", offsetof(BusFacts, problems), reply_read_strings },
        { "Resources", "a(sstt)", offsetof(BusFacts, resources), reply_read_resources },
};

static int get_manager(Client *c, BusFacts *b) {
        static const CallOptions options = { .what = "asking for the status" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus_message *reply = NULL;
        int r;

        r = client_new_call(c, AVIOMMU_PATH, DBUS_PROPERTIES_INTERFACE, "GetAll", &m, &b->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", AVIOMMU_MANAGER_INTERFACE);
        if (r < 0)
                return failure_set_connection(&b->failure, r, c->address);
        r = client_call(c, m, &options, &reply, &b->failure);
        if (r < 0)
                return r;
        keep(b, reply);
        r = reply_read_fields(reply, manager_fields, ELEMENTSOF(manager_fields), b);
        return r < 0 ? failure_set_malformed(&b->failure, "GetAll of the Manager") : 0;
}

/* ---- host IOMMUs ---- */

static const ReplyField host_fields[] = {
        { "Name", "s", offsetof(BusHost, name), NULL },
        { "Vendor", "s", offsetof(BusHost, vendor), NULL },
        { "PciAddress", "s", offsetof(BusHost, pci_address), NULL },
        { "Efr", "t", offsetof(BusHost, efr), NULL },
        { "Features", "as", offsetof(BusHost, features), reply_read_strings },
        { "KernelLevel", "s", offsetof(BusHost, kernel_level), NULL },
        { "KernelLevelReason", "s", offsetof(BusHost, kernel_level_reason), NULL },
};

static int read_interface(sd_bus_message *m, void *host) {
        const char *interface;
        int r;

        r = sd_bus_message_enter_container(m, 'e', "sa{sv}");
        if (r >= 0)
                r = sd_bus_message_read_basic(m, 's', &interface);
        if (r < 0)
                return r;
        if (streq(interface, AVIOMMU_HOST_INTERFACE))
                r = reply_read_fields(m, host_fields, ELEMENTSOF(host_fields), host);
        else
                r = sd_bus_message_skip(m, "a{sv}");
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_object(sd_bus_message *m, void *userdata) {
        BusHost h = { .name = "",
                      .vendor = "",
                      .pci_address = "",
                      .kernel_level = "",
                      .kernel_level_reason = "" };
        BusFacts *b = userdata;
        int r;

        r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}");
        if (r >= 0)
                r = sd_bus_message_skip(m, "o");
        if (r >= 0)
                r = reply_read_array(m, "{sa{sv}}", read_interface, &h);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0 || streq(h.name, "")) {
                string_list_done(&h.features);
                return r;
        }
        b->hosts = alloc_grow(b->hosts, b->n_hosts, sizeof(BusHost));
        b->hosts[b->n_hosts++] = h;
        return 0;
}

static int compare_hosts(const void *a, const void *b) {
        return strverscmp(((const BusHost *)a)->name, ((const BusHost *)b)->name);
}

static void get_hosts(Client *c, BusFacts *b) {
        static const CallOptions options = { .what = "asking for the host IOMMUs" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus_message *reply = NULL;

        if (client_new_call(c, AVIOMMU_HOST_PATH, DBUS_OBJECT_MANAGER_INTERFACE,
                            "GetManagedObjects", &m, &b->hosts_failure) < 0 ||
            client_call(c, m, &options, &reply, &b->hosts_failure) < 0)
                return;
        keep(b, reply);
        if (reply_read_array(reply, "{oa{sa{sv}}}", read_object, b) < 0)
                (void)failure_set_malformed(&b->hosts_failure, "GetManagedObjects");
        if (b->n_hosts > 0)
                qsort(b->hosts, b->n_hosts, sizeof(BusHost), compare_hosts);
}

/* ---- lists ---- */

static const ReplyField function_fields[] = {
        { "vendor-id", "q", offsetof(BusFunction, vendor_id), NULL },
        { "device-id", "q", offsetof(BusFunction, device_id), NULL },
        { "cdev", "s", offsetof(BusFunction, cdev), NULL },
};

static int read_function(sd_bus_message *m, void *userdata) {
        BusFacts *b = userdata;
        BusFunction x = { .cdev = "" };
        int32_t node;
        int r;

        r = sd_bus_message_enter_container(m, 'r', "sssuissa{sv}");
        if (r >= 0)
                r = sd_bus_message_read(m, "sssuiss", &x.address, &x.driver, &x.host_iommu,
                                        &x.group, &node, &x.state, &x.uuid);
        if (r >= 0)
                r = reply_read_fields(m, function_fields, ELEMENTSOF(function_fields), &x);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        b->functions = alloc_grow(b->functions, b->n_functions, sizeof(BusFunction));
        b->functions[b->n_functions++] = x;
        return 0;
}

static int read_vm(sd_bus_message *m, void *userdata) {
        const char *uuid, *name, *tier, *handover, *state, *path;
        BusFacts *b = userdata;
        uint32_t n;
        int r;

        r = sd_bus_message_read(m, "(sssssuo)", &uuid, &name, &tier, &handover, &state, &n, &path);
        if (r < 0)
                return r;
        b->vms = alloc_grow(b->vms, b->n_vms, sizeof(char *));
        b->vms[b->n_vms++] = uuid;
        return 0;
}

/* The messages of a list are kept with the others. */
static void get_pages(Client *c, BusFacts *b, Pages *p,
                      int (*read_one)(sd_bus_message *m, void *userdata), Failure *reterr) {
        (void)pages_read(c, p, read_one, b, reterr);
        for (size_t i = 0; i < p->n_messages; i++)
                keep(b, sd_bus_message_ref(p->messages[i]));
        pages_done(p);
}

static int read_quarantined(sd_bus_message *m, void *userdata) {
        BusFacts *b = userdata;
        BusQuarantined q;
        int r;

        r = sd_bus_message_read(m, "(sss)", &q.uuid, &q.kind, &q.reason);
        if (r < 0)
                return r;
        b->quarantined = alloc_grow(b->quarantined, b->n_quarantined, sizeof(BusQuarantined));
        b->quarantined[b->n_quarantined++] = q;
        return 0;
}

static void get_quarantined(Client *c, BusFacts *b) {
        static const CallOptions options = { .what = "asking for what is quarantined" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus_message *reply = NULL;

        if (client_new_call(c, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, "ListQuarantined", &m,
                            &b->quarantined_failure) < 0 ||
            client_call(c, m, &options, &reply, &b->quarantined_failure) < 0)
                return;
        keep(b, reply);
        if (reply_read_array(reply, "(sss)", read_quarantined, b) < 0)
                (void)failure_set_malformed(&b->quarantined_failure, "ListQuarantined");
}

/* ---- who else is on the bus ---- */

static void get_pid(Client *c, BusFacts *b) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;

        if (sd_bus_message_new_method_call(c->bus, &m, BUS_NAME, BUS_PATH, BUS_NAME,
                                           "GetConnectionUnixProcessID") < 0 ||
            sd_bus_message_append(m, "s", AVIOMMU_BUS_NAME) < 0 ||
            sd_bus_call(c->bus, m, BUS_TIME_USEC, NULL, &reply) < 0 ||
            sd_bus_message_read(reply, "u", &b->pid) < 0)
                b->pid = 0;
}

static void get_agent(Client *c, BusFacts *b) {
        UnitState unit;

        if (unit_get_state(c, AGENT_UNIT, &unit) >= 0)
                (void)snprintf(b->agent, sizeof(b->agent), "%s",
                               streq(unit.load, "loaded") ? unit.active : unit.load);
}

void gather_bus(Client *c, BusFacts *ret) {
        Pages functions = { .member = "ListFunctions",
                            .contents = "(sssuissa{sv})",
                            .what = "asking for the functions" };
        Pages vms = { .member = "ListVms", .contents = "(sssssuo)", .what = "asking for the VMs" };

        *ret = (BusFacts){};
        if (get_manager(c, ret) >= 0) {
                get_hosts(c, ret);
                get_pages(c, ret, &functions, read_function, &ret->functions_failure);
                get_pages(c, ret, &vms, read_vm, &ret->vms_failure);
                get_quarantined(c, ret);
        }
        if (c->bus) {
                get_pid(c, ret);
                get_agent(c, ret);
        }
}
