/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reservations: charged and claimed for a VM to come, for a limited time, under a token that only its maker can use. Others know
 * it by its id. CreateVm decides as if the reservation were not there, and then takes its place; a refusal leaves it as it was.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "core/manager-private.h"
#include "vm/vm-saved.h"

#define RESERVATIONS_MAX 4096
#define TTL_MIN_USEC     UINT64_C(1000000)
#define TTL_MAX_USEC     UINT64_C(86400000000)

struct Reservation {
        Manager *manager;
        sd_id128_t token;
        uid_t uid;
        char tenant[TENANT_SIZE]; /* "": none */
        Receipt *receipt;
        VmContext functions;    /* what it claims */
        bool taken;             /* by a CreateVm in flight */
        bool expired;           /* while it was taken */
        uint64_t deadline_usec; /* CLOCK_MONOTONIC */
        sd_event_source *expiry;
        Reservation *next;
};

/* ---- the record ---- */

static int reservation_write(const Reservation *reservation) {
        Manager *m = reservation->manager;
        const VmContext *ctx = &reservation->functions;
        _cleanup_(reservation_record_done)
                ReservationRecord record = { .uid = reservation->uid,
                                             .deadline_usec = reservation->deadline_usec };
        _cleanup_(demand_set_done) DemandSet charges = {};
        _cleanup_free_ char *body = NULL;
        int r;

        if (!m->records)
                return 0;
        (void)snprintf(record.tier, sizeof(record.tier), "%s", vm_tier_to_string(ctx->tier));
        (void)snprintf(record.handover, sizeof(record.handover), "%s",
                       vm_handover_to_string(ctx->handover));
        memcpy(record.tenant, reservation->tenant, sizeof(record.tenant));
        record.functions = new0(PciAddress, MAX(ctx->n_functions, (size_t)1));
        if (!record.functions)
                return -ENOMEM;
        record.n_functions = ctx->n_functions;
        for (size_t i = 0; i < ctx->n_functions; i++)
                record.functions[i] = ctx->functions[i].address;

        r = receipt_get_demands(reservation->receipt, &charges);
        if (r >= 0)
                r = demand_set_save(&charges, &record.charges, &record.n_charges);
        if (r >= 0)
                r = reservation_record_format(&record, &body);
        return r < 0 ? r : record_store(m, RECORD_RESERVATION, reservation->token, body);
}

static void reservation_forget(const Reservation *reservation) {
        if (!reservation->manager->stopping) /* or the next daemon takes it on */
                record_forget(reservation->manager, RECORD_RESERVATION, reservation->token);
}

/* ---- its end ---- */

static Reservation *reservation_free(Reservation *reservation) {
        Manager *m = reservation->manager;

        reservation_forget(reservation);
        for (Reservation **r = &m->reservations; *r; r = &(*r)->next)
                if (*r == reservation) {
                        *r = reservation->next;
                        m->n_reservations--;
                        break;
                }
        for (size_t i = 0; i < reservation->functions.n_functions; i++) {
                const PciAddress *function = &reservation->functions.functions[i].address;
                Claim *claim = claims_find(m, function);

                if (!claim || claim->reservation != reservation)
                        continue;
                claim->reservation = NULL;
                if (!claim->vm)
                        claims_remove(m, function);
        }
        sd_event_source_disable_unref(reservation->expiry);
        receipt_done(reservation->receipt);
        context_done(&reservation->functions);
        free(reservation);
        manager_notify_capacity(m);
        return NULL;
}

static void reservation_end(Reservation *reservation, ReservationEnd end) {
        reservation_ended(reservation->manager, reservation->token, reservation->uid, end);
        reservation_free(reservation);
}

void reservations_list_holdings(const Manager *m, HoldingFound found, void *userdata) {
        for (const Reservation *r = m->reservations; r; r = r->next) {
                bool decided_for = r->taken && m->deciding_for == r;

                if (r->taken && !decided_for) /* the VM has it */
                        continue;
                found(userdata, &(Holding){ .tenant = r->tenant,
                                            .uid = r->uid,
                                            .n_vms = 1,
                                            .n_reservations = 1,
                                            .n_functions = r->functions.n_functions,
                                            .receipt = r->receipt,
                                            .held = decided_for });
        }
}

void reservations_free_all(Manager *m) {
        while (m->reservations)
                reservation_free(m->reservations);
}

static Reservation *reservation_find_token(const Manager *m, const char *token) {
        sd_id128_t id;

        if (sd_id128_from_string(token, &id) >= 0)
                for (Reservation *r = m->reservations; r; r = r->next)
                        if (sd_id128_equal(r->token, id))
                                return r;
        return NULL;
}

static void reservation_get_id(const Reservation *reservation,
                               char ret[static RESERVATION_ID_SIZE]) {
        char token[RESERVATION_TOKEN_SIZE];

        (void)sd_id128_to_string(reservation->token, token);
        (void)snprintf(ret, RESERVATION_ID_SIZE, "%.*s", RESERVATION_ID_SIZE - 1, token);
}

/* By its token, or by its id, which lets nobody use it. */
static Reservation *reservation_find_named(const Manager *m, const char *name) {
        char id[RESERVATION_ID_SIZE];

        if (strlen(name) != RESERVATION_ID_SIZE - 1)
                return reservation_find_token(m, name);
        for (Reservation *r = m->reservations; r; r = r->next) {
                reservation_get_id(r, id);
                if (streq(id, name))
                        return r;
        }
        return NULL;
}

static int refuse_taken(Problem *p) {
        return problem_set(p, PROBLEM_BUSY,
                           "A VM is being made of that reservation at this moment: wait how that "
                           "ends.");
}

/* The one that @uid can use now. */
static int reservation_find(const Manager *m, const char *token, uid_t uid, Reservation **ret,
                            Problem *p) {
        Reservation *reservation = reservation_find_token(m, token);

        if (!reservation)
                return reservation_refuse(m, token, uid, p);
        if (reservation->uid != uid)
                return problem_set(p, PROBLEM_NOT_YOUR_RESERVATION,
                                   "That reservation is uid %u's, and uid %u cannot use it.",
                                   reservation->uid, uid);
        if (reservation->taken)
                return refuse_taken(p);
        *ret = reservation;
        return 0;
}

/* ---- what everybody may know ---- */

uid_t manager_get_reservation_owner(const Manager *m, const char *name) {
        const Reservation *reservation = reservation_find_named(m, name);

        return reservation ? reservation->uid : (uid_t)-1;
}

const Reservation *manager_first_reservation(const Manager *m, const char *after_id) {
        char id[RESERVATION_ID_SIZE];

        for (const Reservation *r = m->reservations; r; r = r->next) {
                reservation_get_id(r, id);
                if (strcmp(id, after_id) > 0)
                        return r;
        }
        return NULL;
}

const Reservation *reservation_next(const Reservation *reservation) {
        return reservation->next;
}

void reservation_view(const Reservation *reservation, ReservationView *ret) {
        uint64_t now = 0, deadline = reservation->deadline_usec;

        (void)sd_event_now(reservation->manager->event, CLOCK_MONOTONIC, &now);
        *ret = (ReservationView){
                .uid = reservation->uid,
                .left_usec = now < deadline ? deadline - now : 0,
                .functions = &reservation->functions,
                .receipt = reservation->receipt,
        };
        reservation_get_id(reservation, ret->id);
}

void reservation_get_title(const Reservation *reservation,
                           char ret[static RESERVATION_TITLE_SIZE]) {
        ReservationView view;
        uint64_t seconds;

        reservation_view(reservation, &view);
        seconds = (view.left_usec + 999999) / 1000000;
        (void)snprintf(ret, RESERVATION_TITLE_SIZE,
                       "reservation %s of uid %u, which expires in %" PRIu64
                       " %s: wait for that, make the VM with its token, or give it back with "
                       "'aviommuctl unreserve %s'",
                       view.id, view.uid, seconds >= 120 ? (seconds + 59) / 60 : seconds,
                       seconds >= 120 ? "min" : "s", view.id);
}

/* ---- its use ---- */

int reservation_take(Manager *m, const char *token, uid_t uid, Reservation **ret, Problem *p) {
        int r;

        *ret = NULL;
        if (!token)
                return 0;
        r = reservation_find(m, token, uid, ret, p);
        if (r < 0)
                return r;

        assert(*ret);
        (*ret)->taken = true;
        receipt_suspend((*ret)->receipt);
        m->deciding_for = *ret;
        return 0;
}

Reservation *reservation_look(Manager *m, const char *token, uid_t uid) {
        Reservation *reservation = NULL;

        if (token && reservation_find(m, token, uid, &reservation, NULL) >= 0)
                m->deciding_for = reservation;
        return reservation;
}

sd_id128_t reservation_get_token(const Reservation *reservation) {
        return reservation ? reservation->token : SD_ID128_NULL;
}

void reservation_decided(Reservation *reservation) {
        if (!reservation)
                return;
        receipt_decided(reservation->receipt);
        reservation->manager->deciding_for = NULL;
}

void reservation_put_back(Reservation *reservation) {
        if (!reservation)
                return;
        reservation_decided(reservation);
        receipt_resume(reservation->receipt);
        reservation->taken = false;
        if (reservation->expired)
                reservation_end(reservation, RESERVATION_EXPIRED);
}

void reservation_use_up(Reservation *reservation) {
        if (reservation)
                reservation_end(reservation, RESERVATION_USED);
}

static int on_expiry(sd_event_source *s, uint64_t usec, void *userdata) {
        Reservation *reservation = userdata;

        (void)s;
        (void)usec;
        if (reservation->taken)
                reservation->expired = true;
        else {
                log_event(LOG_INFO, MESSAGE_RESERVATION_EXPIRED, NULL,
                          "A reservation has expired unused.");
                reservation_end(reservation, RESERVATION_EXPIRED);
        }
        return 0;
}

static int check_reserve(const Manager *m, const VmRequest *request, uint64_t ttl_usec,
                         Problem *p) {
        if (request->name || request->reservation || request->prepared ||
            request->leash_pidfd >= 0 || request->leash != LEASH_PIDFD)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "A reservation has tier, handover, functions, memory, "
                                   "guest-domains and tenant, nothing else.");
        if (ttl_usec < TTL_MIN_USEC || ttl_usec > TTL_MAX_USEC)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "The time to live is to be from one second to one day.");
        if (m->n_reservations >= RESERVATIONS_MAX)
                return problem_set_amounts(
                        p, PROBLEM_LIMITS_EXCEEDED, m->n_reservations + 1, RESERVATIONS_MAX,
                        "There are %zu reservations, no more are taken.", m->n_reservations);
        return 0;
}

/* Takes *functions and *receipt over. Fails without a trace. */
static int reservation_new(Manager *m, sd_id128_t token, uid_t uid,
                           const char tenant[static TENANT_SIZE], uint64_t deadline_usec,
                           VmContext *functions, Receipt **receipt, Reservation **ret) {
        Reservation *reservation = new0(Reservation, 1), **place;
        int r;

        if (!reservation)
                return -ENOMEM;
        *reservation = (Reservation){
                .manager = m, .token = token, .uid = uid, .deadline_usec = deadline_usec
        };
        memcpy(reservation->tenant, tenant, sizeof(reservation->tenant));
        r = sd_event_add_time(m->event, &reservation->expiry, CLOCK_MONOTONIC, deadline_usec, 0,
                              on_expiry, reservation);
        if (r >= 0)
                r = claims_add(m, NULL, reservation, functions);
        if (r < 0) {
                sd_event_source_disable_unref(reservation->expiry);
                free(reservation);
                return r;
        }

        reservation->functions = *functions;
        context_init(functions, functions->tier, functions->handover);
        reservation->receipt = TAKE_PTR(*receipt);
        for (place = &m->reservations; *place; place = &(*place)->next)
                if (memcmp(&(*place)->token, &token, sizeof(token)) > 0)
                        break;
        reservation->next = *place;
        *place = reservation;
        m->n_reservations++;
        *ret = reservation;
        return 0;
}

static int reserve(Manager *m, const VmRequest *request, Admission *a, uint64_t ttl_usec,
                   Reservation **ret, Problem *p) {
        Receipt *receipt = NULL;
        sd_id128_t token;
        uint64_t now;
        int r;

        r = sd_id128_randomize(&token);
        if (r >= 0)
                r = sd_event_now(m->event, CLOCK_MONOTONIC, &now);
        if (r >= 0)
                r = ledger_charge(m->ledger, &a->demands, &receipt, p);
        if (r >= 0)
                r = reservation_new(m, token, request->uid, request->tenant, now + ttl_usec,
                                    &a->additions, &receipt, ret);
        receipt_done(receipt);
        if (r < 0)
                return r;

        r = record_refuse(m, reservation_write(*ret), p);
        if (r < 0)
                reservation_free(*ret);
        return r;
}

int reservation_recover(Manager *m, sd_id128_t token, const ReservationRecord *record, bool used,
                        uint64_t now_usec) {
        _cleanup_(demand_set_done) DemandSet charges = {};
        _cleanup_(context_done) VmContext functions;
        Reservation *reservation;
        Receipt *receipt = NULL;
        VmHandover handover;
        VmTier tier;
        int r;

        context_init(&functions, TIER_HARDWARE, HANDOVER_NONE);
        if (vm_tier_from_string(record->tier, &tier) < 0 ||
            vm_handover_from_string(record->handover, &handover) < 0 ||
            (record->tenant[0] && !tenant_is_valid(record->tenant)))
                return -EBADMSG;
        context_init(&functions, tier, handover);
        r = demand_set_load(record->charges, record->n_charges, &charges);
        for (size_t i = 0; i < record->n_functions && r >= 0; i++) {
                const PciAddress *address = record->functions + i;

                if (context_find_function(&functions, address))
                        return -EBADMSG;
                used |= claims_find(m, address) != NULL;
                r = context_add_function(
                        &functions,
                        &(ContextFunction){ .address = *address, .cdev = -1, .unplug_fd = -1 });
        }
        if (r < 0)
                return r;
        if (used) {
                reservation_ended(m, token, record->uid, RESERVATION_USED);
                record_forget(m, RECORD_RESERVATION, token);
                return 0;
        }
        if (record->deadline_usec <= now_usec) {
                log_event(LOG_INFO, MESSAGE_RESERVATION_EXPIRED, NULL,
                          "A reservation has expired while the daemon was down.");
                reservation_ended(m, token, record->uid, RESERVATION_EXPIRED);
                record_forget(m, RECORD_RESERVATION, token);
                return 0;
        }

        r = ledger_restore(m->ledger, &charges, &receipt);
        if (r >= 0)
                r = reservation_new(m, token, record->uid, record->tenant, record->deadline_usec,
                                    &functions, &receipt, &reservation);
        receipt_done(receipt);
        return r == -EOVERFLOW ? -EBADMSG : r;
}

int manager_reserve(Manager *m, VmRequest *request, uint64_t ttl_usec, uid_t uid,
                    char ret_token[static RESERVATION_TOKEN_SIZE], Problem *p) {
        AdmissionView view = manager_get_view(m);
        _cleanup_(admission_done) Admission a = ADMISSION_NULL;
        Reservation *reservation;
        int r;

        request->uid = uid;
        request->for_later = true;
        r = check_reserve(m, request, ttl_usec, p);
        if (r >= 0)
                r = admission_complete_request(request, &m->config, p);
        if (r >= 0)
                r = admission_decide_vm(&view, request, &a, p);
        if (r >= 0)
                r = record_check_newer(m, p);
        if (r >= 0)
                r = reserve(m, request, &a, ttl_usec, &reservation, p);
        if (r < 0)
                return r;

        (void)sd_id128_to_string(reservation->token, ret_token);
        manager_notify_capacity(m);
        return 0;
}

int manager_unreserve(Manager *m, const char *name, uid_t uid, Problem *p) {
        Reservation *reservation = reservation_find_named(m, name);

        if (!reservation)
                return reservation_refuse(m, name, uid, p);
        if (reservation->taken)
                return refuse_taken(p);
        reservation_end(reservation, RESERVATION_GIVEN_BACK);
        return 0;
}
