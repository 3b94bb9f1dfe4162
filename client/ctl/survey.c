/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/survey.h"

#include <errno.h>

#include "lib/alloc.h"

/* ---- the Manager ---- */

static int read_tier(sd_bus_message *m, void *userdata) {
        TierList *l = userdata;
        int available, r;
        Tier t;

        r = sd_bus_message_read(m, "(sbs)", &t.name, &available, &t.reason);
        if (r < 0)
                return r;
        t.is_available = available;
        l->items = alloc_grow(l->items, l->n, sizeof(Tier));
        l->items[l->n++] = t;
        return 0;
}

static int read_tiers(sd_bus_message *m, void *tiers) {
        return reply_read_array(m, "(sbs)", read_tier, tiers);
}

static const ReplyField status_fields[] = {
        { "Version", "s", offsetof(Status, version), NULL },
        { "Kernel", "s", offsetof(Status, kernel), NULL },
        { "KernelLevel", "s", offsetof(Status, kernel_level), NULL },
        { "Tiers", "a(sbs)", offsetof(Status, tiers), read_tiers },
        { "Problems", "as", offsetof(Status, problems), reply_read_strings },
        { "Resources", "a(sstt)", offsetof(Status, resources), reply_read_resources },
        { "NVms", "u", offsetof(Status, n_vms), NULL },
        { "NReservations", "u", offsetof(Status, n_reservations), NULL },
        { "NFunctions", "u", offsetof(Status, n_functions), NULL },
        { "NHostIommus", "u", offsetof(Status, n_host_iommus), NULL },
};

void status_done(Status *s) {
        (void)sd_bus_message_unref(s->message);
        free(s->tiers.items);
        string_list_done(&s->problems);
        resource_list_done(&s->resources);
}

int survey_status(Ctl *ctl, Status *ret) {
        static const CallOptions options = { .what = "asking for the status" };
        int r;

        r = client_get_properties(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, &options,
                                  &ret->message, &ctl->failure);
        if (r < 0)
                return r;
        r = reply_read_fields(ret->message, status_fields, ELEMENTSOF(status_fields), ret);
        if (r < 0)
                return failure_set_malformed(&ctl->failure, "GetAll of the Manager");
        return 0;
}

/* ---- VMs ---- */

void vm_rows_done(VmRows *l) {
        pages_done(&l->pages);
        free(l->items);
}

static int read_vm(sd_bus_message *m, void *userdata) {
        static const ReplyField details[] = {
                { "tenant", "s", offsetof(VmRow, tenant), NULL },
                { "owner-uid", "u", offsetof(VmRow, owner_uid), NULL },
        };
        VmRows *l = userdata;
        VmRow v = { .tenant = "" };
        int r;

        r = sd_bus_message_enter_container(m, 'r', "sssssuoa{sv}");
        if (r >= 0)
                r = sd_bus_message_read(m, "sssssuo", &v.uuid, &v.name, &v.tier, &v.handover,
                                        &v.state, &v.n_functions, &v.path);
        if (r >= 0)
                r = reply_read_fields(m, details, ELEMENTSOF(details), &v);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        l->items = alloc_grow(l->items, l->n, sizeof(VmRow));
        l->items[l->n++] = v;
        return 0;
}

int survey_vms(Ctl *ctl, VmRows *ret) {
        ret->pages = (Pages){ .member = "ListVmDetails",
                              .contents = "(sssssuoa{sv})",
                              .what = "asking for the VMs" };
        return pages_read(&ctl->client, &ret->pages, read_vm, ret, &ctl->failure);
}

int survey_charges(Ctl *ctl, const char *path, sd_bus_message **ret_message, ChargeList *ret) {
        static const CallOptions options = { .what = "asking what a VM holds" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = client_new_call(&ctl->client, path, DBUS_PROPERTIES_INTERFACE, "Get", &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ss", AVIOMMU_VM_INTERFACE, "Charges");
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, ctl->client.address);
        r = client_call(&ctl->client, m, &options, ret_message, &ctl->failure);
        if (r < 0)
                return ctl->failure.exit_code == CLIENT_EXIT_NOT_FOUND ? 0 : r;
        if (sd_bus_message_enter_container(*ret_message, 'v', "a(sst)") < 0 ||
            reply_read_charges(*ret_message, ret) < 0)
                return failure_set_malformed(&ctl->failure, "Get of Charges");
        return 0;
}

/* ---- host IOMMUs ---- */

static const ReplyField host_fields[] = {
        { "Name", "s", offsetof(HostIommu, name), NULL },
        { "Vendor", "s", offsetof(HostIommu, vendor), NULL },
        { "PciAddress", "s", offsetof(HostIommu, pci_address), NULL },
        { "Segment", "q", offsetof(HostIommu, segment), NULL },
        { "NumaNode", "i", offsetof(HostIommu, numa_node), NULL },
        { "Efr", "t", offsetof(HostIommu, efr), NULL },
        { "Efr2", "t", offsetof(HostIommu, efr2), NULL },
        { "Features", "as", offsetof(HostIommu, features), reply_read_strings },
        { "KernelLevel", "s", offsetof(HostIommu, kernel_level), NULL },
        { "KernelLevelReason", "s", offsetof(HostIommu, kernel_level_reason), NULL },
        { "Resources", "a(sstt)", offsetof(HostIommu, resources), reply_read_resources },
};

void host_iommu_done(HostIommu *h) {
        string_list_done(&h->features);
        resource_list_done(&h->resources);
}

void host_list_done(HostIommuList *l) {
        for (size_t i = 0; i < l->n; i++)
                host_iommu_done(&l->items[i]);
        free(l->items);
        (void)sd_bus_message_unref(l->message);
        *l = (HostIommuList){};
}

/* {sa{sv}}: one interface of an object */
static int read_interface(sd_bus_message *m, HostIommu *h) {
        const char *interface;
        int r;

        r = sd_bus_message_enter_container(m, 'e', "sa{sv}");
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(m, 's', &interface);
        if (r < 0)
                return r;
        if (streq(interface, AVIOMMU_HOST_INTERFACE))
                r = reply_read_fields(m, host_fields, ELEMENTSOF(host_fields), h);
        else
                r = sd_bus_message_skip(m, "a{sv}");
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(m);
}

static int read_interface_cb(sd_bus_message *m, void *userdata) {
        return read_interface(m, userdata);
}

/* {oa{sa{sv}}}: one object */
static int read_object(sd_bus_message *m, void *userdata) {
        HostIommuList *l = userdata;
        HostIommu *h;
        int r;

        l->items = alloc_grow(l->items, l->n, sizeof(HostIommu));
        h = &l->items[l->n];
        *h = (HostIommu){ .numa_node = -1 };
        l->n++;

        r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}");
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(m, 'o', &h->path);
        if (r < 0)
                return r;
        r = reply_read_array(m, "{sa{sv}}", read_interface_cb, h);
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        if (!h->name) { /* an object that is no host IOMMU */
                host_iommu_done(h);
                l->n--;
        }
        return 0;
}

static int compare_hosts(const void *a, const void *b) {
        return strverscmp(((const HostIommu *)a)->name, ((const HostIommu *)b)->name);
}

int survey_hosts(Ctl *ctl, HostIommuList *ret) {
        static const CallOptions options = { .what = "asking for the host IOMMUs" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = client_new_call(&ctl->client, AVIOMMU_HOST_PATH, DBUS_OBJECT_MANAGER_INTERFACE,
                            "GetManagedObjects", &m, &ctl->failure);
        if (r < 0)
                return r;
        r = client_call(&ctl->client, m, &options, &ret->message, &ctl->failure);
        if (r < 0)
                return r;
        r = reply_read_array(ret->message, "{oa{sa{sv}}}", read_object, ret);
        if (r < 0)
                return failure_set_malformed(&ctl->failure, "GetManagedObjects");

        if (ret->n > 0)
                qsort(ret->items, ret->n, sizeof(HostIommu), compare_hosts);
        return 0;
}
