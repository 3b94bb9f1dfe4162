/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The Manager's methods about prepared contexts: see dbus/org.aviommu1.Manager.xml. */

#include "bus/bus-objects.h"
#include "bus/bus-request.h"

/* ---- PrepareContext ---- */

static void on_prepared(void *userdata, int r, const Problem *problem) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        BusCall *call = userdata;
        sd_id128_t uuid;
        int fd;

        if (r >= 0)
                r = sd_bus_message_rewind(call->message, true);
        if (r >= 0)
                r = bus_read_uuid(call->message, &uuid, NULL);
        if (r >= 0)
                r = manager_get_prepared(call->bus->manager, uuid, &fd);
        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "h", fd);
        if (r < 0)
                bus_call_fail(call, r, problem);
        else
                bus_call_reply(call, reply);
}

static int prepare_context(BusCall *call) {
        sd_id128_t uuid;
        int r;

        r = bus_read_uuid(call->message, &uuid, &call->problem);
        return r < 0 ? r
                     : manager_prepare_context(call->bus->manager, uuid, bus_call_get_sender(call),
                                               call->uid, on_prepared, call, &call->problem);
}

int bus_method_prepare_context(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", prepare_context, error);
}

/* ---- ForgetContext ---- */

static int forget_context(BusCall *call) {
        sd_id128_t uuid;
        int r;

        r = bus_read_uuid(call->message, &uuid, &call->problem);
        if (r >= 0)
                r = manager_forget_context(call->bus->manager, uuid, &call->problem);
        if (r < 0)
                return r;
        bus_call_reply(call, NULL);
        return 0;
}

int bus_method_forget_context(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", forget_context, error);
}
