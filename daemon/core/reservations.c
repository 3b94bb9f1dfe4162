/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reservations: charged and claimed for a VM to come, for a limited time, under a token that only its maker can use. CreateVm
 * decides as if the reservation were not there, and then takes its place; a refusal leaves it as it was.
 */

#include <errno.h>
#include <time.h>

#include "core/manager-private.h"

#define RESERVATIONS_MAX 4096
#define TTL_MIN_USEC     UINT64_C(1000000)
#define TTL_MAX_USEC     UINT64_C(86400000000)

struct Reservation {
        Manager *manager;
        sd_id128_t token;
        uid_t uid;
        Receipt *receipt;
        VmContext functions; /* what it claims */
        bool taken;          /* by a CreateVm in flight */
        bool expired;        /* while it was taken */
        sd_event_source *expiry;
        Reservation *next;
};

static Reservation *reservation_free(Reservation *reservation) {
        Manager *m = reservation->manager;

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

void reservations_free_all(Manager *m) {
        while (m->reservations)
                reservation_free(m->reservations);
}

static int reservation_find(Manager *m, const char *token, uid_t uid, Reservation **ret,
                            Problem *p) {
        sd_id128_t id;

        if (sd_id128_from_string(token, &id) >= 0)
                for (Reservation *r = m->reservations; r; r = r->next)
                        if (sd_id128_equal(r->token, id) && r->uid == uid && !r->taken) {
                                *ret = r;
                                return 0;
                        }
        return problem_set(p, PROBLEM_NO_SUCH_RESERVATION,
                           "There is no reservation \"%.40s\" of yours: it was used, given back, "
                           "or has expired.",
                           token);
}

int reservation_take(Manager *m, const char *token, uid_t uid, Reservation **ret, Problem *p) {
        int r;

        *ret = NULL;
        if (!token)
                return 0;
        r = reservation_find(m, token, uid, ret, p);
        if (r < 0)
                return r;

        (*ret)->taken = true;
        receipt_suspend((*ret)->receipt);
        m->deciding_for = *ret;
        return 0;
}

void reservation_decided(Reservation *reservation) {
        if (reservation)
                reservation->manager->deciding_for = NULL;
}

void reservation_put_back(Reservation *reservation) {
        if (!reservation)
                return;
        reservation_decided(reservation);
        receipt_resume(reservation->receipt);
        reservation->taken = false;
        if (reservation->expired)
                reservation_free(reservation);
}

void reservation_use_up(Reservation *reservation) {
        if (reservation)
                reservation_free(reservation);
}

static int on_expiry(sd_event_source *s, uint64_t usec, void *userdata) {
        Reservation *reservation = userdata;

        (void)s;
        (void)usec;
        if (reservation->taken)
                reservation->expired = true;
        else {
                log_msg(LOG_INFO, "A reservation has expired unused.");
                reservation_free(reservation);
        }
        return 0;
}

static int check_reserve(const Manager *m, const VmRequest *request, uint64_t ttl_usec,
                         Problem *p) {
        if (request->name || request->reservation || request->leash_pidfd >= 0 ||
            request->leash != LEASH_PIDFD)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "A reservation has tier, handover, functions, memory and "
                                   "guest-domains, nothing else.");
        if (ttl_usec < TTL_MIN_USEC || ttl_usec > TTL_MAX_USEC)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "The time to live is to be from one second to one day.");
        if (m->n_reservations >= RESERVATIONS_MAX)
                return problem_set_amounts(
                        p, PROBLEM_LIMITS_EXCEEDED, m->n_reservations + 1, RESERVATIONS_MAX,
                        "There are %zu reservations, no more are taken.", m->n_reservations);
        return 0;
}

static int reservation_new(Manager *m, Admission *a, uint64_t ttl_usec, uid_t uid,
                           Reservation **ret, Problem *p) {
        Reservation *reservation = new0(Reservation, 1);
        int r;

        if (!reservation)
                return -ENOMEM;
        *reservation = (Reservation){ .manager = m, .uid = uid };
        context_init(&reservation->functions, a->additions.tier, a->additions.handover);

        r = sd_id128_randomize(&reservation->token);
        if (r >= 0)
                r = sd_event_add_time_relative(m->event, &reservation->expiry, CLOCK_MONOTONIC,
                                               ttl_usec, 0, on_expiry, reservation);
        if (r >= 0)
                r = ledger_charge(m->ledger, &a->demands, &reservation->receipt, p);
        if (r >= 0)
                r = claims_add(m, NULL, reservation, &a->additions);
        if (r < 0) {
                reservation_free(reservation);
                return r;
        }

        reservation->functions = a->additions;
        context_init(&a->additions, a->additions.tier, a->additions.handover);
        reservation->next = m->reservations;
        m->reservations = reservation;
        m->n_reservations++;
        *ret = reservation;
        return 0;
}

int manager_reserve(Manager *m, VmRequest *request, uint64_t ttl_usec, uid_t uid,
                    char ret_token[static RESERVATION_TOKEN_SIZE], Problem *p) {
        AdmissionView view = manager_get_view(m);
        _cleanup_(admission_done) Admission a = ADMISSION_NULL;
        Reservation *reservation;
        int r;

        r = check_reserve(m, request, ttl_usec, p);
        if (r >= 0)
                r = admission_complete_request(request, &m->config, p);
        if (r >= 0)
                r = admission_decide_vm(&view, request, &a, p);
        if (r >= 0)
                r = reservation_new(m, &a, ttl_usec, uid, &reservation, p);
        if (r < 0)
                return r;

        (void)sd_id128_to_string(reservation->token, ret_token);
        manager_notify_capacity(m);
        return 0;
}

int manager_unreserve(Manager *m, const char *token, uid_t uid, Problem *p) {
        Reservation *reservation;
        int r;

        r = reservation_find(m, token, uid, &reservation, p);
        if (r >= 0)
                reservation_free(reservation);
        return r;
}
