/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The Manager's methods about reservations: see dbus/org.aviommu1.Manager.xml. */

#include "bus/bus-objects.h"
#include "bus/bus-request.h"

/* ---- Reserve, Unreserve ---- */

static int reserve(BusCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(vm_request_done) VmRequest request;
        char token[RESERVATION_TOKEN_SIZE];
        uint64_t ttl_usec;
        int r;

        vm_request_init(&request);
        r = bus_read_reserve_request(call->message, &request, &call->problem);
        if (r >= 0)
                r = bus_call_name_groups(call, &request);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "t", &ttl_usec);
        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = manager_reserve(call->bus->manager, &request, ttl_usec, call->uid, token,
                                    &call->problem);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", token);
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

int bus_method_reserve(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", reserve, error);
}

static int unreserve(BusCall *call) {
        const char *token;
        int r;

        r = sd_bus_message_read(call->message, "s", &token);
        if (r >= 0)
                r = manager_unreserve(call->bus->manager, token, call->uid, &call->problem);
        if (r < 0)
                return r;
        bus_call_reply(call, NULL);
        return 0;
}

int bus_method_unreserve(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", unreserve, error);
}

/* ---- ListReservations ---- */

static int append_reservation(sd_bus_message *m, const Reservation *reservation) {
        _cleanup_(demand_set_done) DemandSet charges = {};
        ReservationView view;
        int r;

        reservation_view(reservation, &view);
        r = sd_bus_message_open_container(m, 'r', "sutssasa(sst)");
        if (r >= 0)
                r = sd_bus_message_append(m, "sutss", view.id, (uint32_t)view.uid, view.left_usec,
                                          vm_tier_to_string(view.functions->tier),
                                          vm_handover_to_string(view.functions->handover));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; i < view.functions->n_functions && r >= 0; i++)
                r = sd_bus_message_append(
                        m, "s", PCI_ADDRESS_STRING(&view.functions->functions[i].address));
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = receipt_get_demands(view.receipt, &charges);
        if (r >= 0)
                r = bus_append_demands(m, &charges);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int list_reservations(BusCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Reservation *at, *last = NULL;
        ReservationView view = {};
        const char *cursor;
        uint32_t limit;
        int r;

        r = bus_read_page(call, &cursor, &limit);
        if (r < 0)
                return r;
        if (*cursor && (strlen(cursor) != RESERVATION_ID_SIZE - 1 ||
                        strspn(cursor, "0123456789abcdef") != RESERVATION_ID_SIZE - 1))
                return problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT,
                                   "The cursor is what the page before gave as next, or empty.");
        at = manager_first_reservation(call->bus->manager, cursor);

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sutssasa(sst))");
        for (; r >= 0 && at && limit > 0; limit--) {
                r = append_reservation(reply, at);
                last = at;
                at = reservation_next(at);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (last && at)
                reservation_view(last, &view);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", view.id);
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

int bus_method_list_reservations(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", list_reservations, error);
}
