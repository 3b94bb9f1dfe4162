/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl reserve, unreserve and reservations: what is kept for VMs to come.
 */
#include "ctl/ctl.h"
#include "ctl/render.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/pages.h"
#include "lib/table.h"

/* What names a reservation to others: so many digits of its token. */
#define ID_LENGTH 12

typedef struct Reservation {
        const char *id, *tier, *handover;
        uint32_t owner_uid;
        uint64_t left_usec;
        StringList functions;
        ChargeList charges;
} Reservation;

typedef struct ReservationList {
        Reservation *items;
        size_t n;
} ReservationList;

/* ---- reserve, unreserve ---- */

static int call_reserve(Ctl *ctl, sd_bus_message **ret_reply) {
        static const CallOptions options = { .what = "reserving", .is_change = true };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = client_new_call(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, "Reserve", &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = request_append(&ctl->request, m);
        if (r >= 0)
                r = sd_bus_message_append(m, "t", ctl->ttl_usec);
        if (r == -EINVAL)
                return ctl_usage(ctl, "A tier or handover is not a text in UTF-8");
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, NULL);
        return client_call(&ctl->client, m, &options, ret_reply, &ctl->failure);
}

/* By its token or its id. */
static int give_back(Ctl *ctl, const char *name) {
        static const CallOptions options = { .what = "giving a reservation back",
                                             .is_change = true };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = client_new_call(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, "Unreserve", &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "s", name);
        if (r == -EINVAL)
                return ctl_usage(ctl, "The token is not a text in UTF-8");
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, NULL);
        return client_call(&ctl->client, m, &options, NULL, &ctl->failure);
}

/* A reservation of which nobody has read the token would be in everybody's way until it expires. */
static int undo_reserve(Ctl *ctl, const char *token, const char *id) {
        char why[sizeof(ctl->failure.text)];

        (void)snprintf(why, sizeof(why), "%s",
                       ctl->out.is_closed ? "Nobody reads the token" : ctl->failure.text);
        if (give_back(ctl, token) < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EIO,
                                   "`aviommuctl reservations` shows it until it expires.",
                                   "%s, and reservation %s could not be given back", why, id);
        return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EIO,
                           "Run it again with a stdout that takes the token.",
                           "%s: reservation %s has been given back", why, id);
}

int verb_reserve(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const char *token;
        char id[ID_LENGTH + 1];
        int r;

        (void)argc;
        (void)argv;

        if (ctl->ttl_usec == 0)
                return ctl_usage(ctl, "reserve wants --ttl=SECONDS: how long it is to be kept");
        r = call_reserve(ctl, &m);
        if (r < 0)
                return r;
        if (sd_bus_message_read(m, "s", &token) < 0)
                return failure_set_malformed(&ctl->failure, "Reserve");

        (void)snprintf(id, sizeof(id), "%s", token);
        if (ctl->out.json != JSON_OFF) {
                _cleanup_(doc_freep) Doc *d = doc_new();

                doc_add_string(d, "done", ctl->verb);
                doc_add_string(d, "token", token);
                doc_add_string(d, "id", id);
                doc_add_number(d, "ttl_usec", ctl->ttl_usec);
                output_doc(&ctl->out, d);
        } else {
                _cleanup_free_ char *harmless = text_escape_new(token);

                if (!harmless)
                        alloc_failed();
                output_printf(&ctl->out, "%s\n", harmless);
        }
        r = output_flush_line(&ctl->out, &ctl->failure);
        if (r < 0 || ctl->out.is_closed)
                return undo_reserve(ctl, token, id);
        ctl_notice(ctl,
                   "Kept for %s: `aviommuctl create UUID --reservation=TOKEN` uses it, "
                   "`aviommuctl unreserve TOKEN` gives it back.",
                   FORMAT_DURATION(ctl->ttl_usec));
        return 0;
}

int verb_unreserve(Ctl *ctl, int argc, char **argv) {
        char id[ID_LENGTH + 1];
        int r;

        (void)argc;

        r = give_back(ctl, argv[0]);
        if (r < 0)
                return r;
        (void)snprintf(id, sizeof(id), "%s", argv[0]);
        ctl_done(ctl, NULL, "id", id, "Gave reservation %s back.", id);
        return 0;
}

/* ---- reservations ---- */

static void reservation_list_done(ReservationList *l) {
        for (size_t i = 0; i < l->n; i++) {
                string_list_done(&l->items[i].functions);
                charge_list_done(&l->items[i].charges);
        }
        free(l->items);
}

static int read_fields(sd_bus_message *m, Reservation *v) {
        int r;

        r = reply_check(sd_bus_message_enter_container(m, 'r', "sutssasa(sst)"));
        if (r >= 0)
                r = reply_check(sd_bus_message_read(m, "sutss", &v->id, &v->owner_uid,
                                                    &v->left_usec, &v->tier, &v->handover));
        if (r >= 0)
                r = reply_read_strings(m, &v->functions);
        if (r >= 0)
                r = reply_read_charges(m, &v->charges);
        return r < 0 ? r : reply_check(sd_bus_message_exit_container(m));
}

static int read_reservation(sd_bus_message *m, void *userdata) {
        ReservationList *l = userdata;

        l->items = alloc_grow(l->items, l->n, sizeof(Reservation));
        l->items[l->n] = (Reservation){};
        return read_fields(m, &l->items[l->n++]);
}

static void list_json(const ReservationList *l, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *array = doc_new_array();

        for (size_t i = 0; i < l->n; i++) {
                const Reservation *v = &l->items[i];
                Doc *x = doc_new_object();

                doc_add_string(x, "id", v->id);
                doc_add_number(x, "owner_uid", v->owner_uid);
                doc_add_number(x, "left_usec", v->left_usec);
                doc_add_string(x, "tier", v->tier);
                doc_add_string(x, "handover", v->handover);
                doc_add_strings(x, "functions", v->functions.items, v->functions.n);
                doc_add(x, "charges", charges_to_doc(&v->charges));
                doc_add(array, NULL, x);
        }
        doc_add(d, "reservations", array);
        output_doc(o, d);
}

/* "instances ivhd0 1, pinned-memory host 4G" */
static char *charges_join(const ChargeList *l) {
        char *text = alloc_printf("%s", l->n > 0 ? "" : "-"), amount[FORMAT_SIZE];

        for (size_t i = 0; i < l->n; i++) {
                const Charge *c = &l->items[i];
                char *before = text;

                text = alloc_printf("%s%s%s %s %s", before, i > 0 ? ", " : "", c->kind, c->scope,
                                    format_amount(c->kind, c->amount, amount));
                free(before);
        }
        return text;
}

static void print_list(const ReservationList *l, Output *o) {
        static const TableColumn columns[] = {
                { "ID", 0 },
                { "OWNER", TABLE_RIGHT },
                { "LEFT", TABLE_RIGHT },
                { "TIER", TABLE_TRUNC | TABLE_EXTRA },
                { "HANDOVER", TABLE_TRUNC | TABLE_EXTRA },
                { "FUNCTIONS", TABLE_WRAP | TABLE_LESS },
                { "CHARGES", TABLE_WRAP | TABLE_EXTRA },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < l->n; i++) {
                const Reservation *v = &l->items[i];
                _cleanup_free_ char *functions = string_list_join(&v->functions);
                _cleanup_free_ char *charges = charges_join(&v->charges);

                TABLE_ADD(t, v->id, FORMAT_COUNT(v->owner_uid), FORMAT_DURATION(v->left_usec),
                          v->tier, v->handover, functions, charges);
        }
        table_print(t, o);
}

int verb_reservations(Ctl *ctl, int argc, char **argv) {
        _cleanup_(pages_done) Pages pages = { .member = "ListReservations",
                                              .contents = "(sutssasa(sst))",
                                              .what = "asking for the reservations" };
        _cleanup_(reservation_list_done) ReservationList l = {};
        int r;

        (void)argc;
        (void)argv;

        r = pages_read(&ctl->client, &pages, read_reservation, &l, &ctl->failure);
        if (r < 0)
                return r;

        if (ctl->out.json != JSON_OFF)
                list_json(&l, &ctl->out);
        else if (l.n > 0)
                print_list(&l, &ctl->out);
        else
                ctl_notice(ctl, "No reservations.");
        return 0;
}
