/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What became of reservations that are gone, for those who come with their tokens: the latest ENDED_RESERVATIONS_MAX of them, until
 * the daemon ends. Who has no whole token learns nothing of it.
 */

#include "core/manager-private.h"

void reservation_ended(Manager *m, sd_id128_t token, uid_t uid, ReservationEnd end) {
        m->ended[m->n_ended++ % ENDED_RESERVATIONS_MAX] = (EndedReservation){ .token = token,
                                                                              .uid = uid,
                                                                              .end = end };
}

static const EndedReservation *find_ended(const Manager *m, const char *name) {
        sd_id128_t token;

        if (sd_id128_from_string(name, &token) >= 0 && !sd_id128_is_null(token))
                for (size_t i = 0; i < ELEMENTSOF(m->ended); i++)
                        if (sd_id128_equal(m->ended[i].token, token))
                                return m->ended + i;
        return NULL;
}

int reservation_refuse(const Manager *m, const char *name, uid_t uid, Problem *p) {
        const EndedReservation *ended = find_ended(m, name);

        if (!ended)
                return problem_set(p, PROBLEM_NO_SUCH_RESERVATION,
                                   "There is no reservation \"%.40s\" (any more): "
                                   "'aviommuctl reservations' shows those there are.",
                                   name);
        if (ended->uid != uid)
                return problem_set(p, PROBLEM_NOT_YOUR_RESERVATION,
                                   "That reservation was uid %u's, and uid %u cannot use it.",
                                   ended->uid, uid);
        switch (ended->end) {
        case RESERVATION_USED:
                return problem_set(p, PROBLEM_RESERVATION_USED,
                                   "That reservation has been used: a token is good for one VM. "
                                   "Reserve again for another.");
        case RESERVATION_EXPIRED:
                return problem_set(p, PROBLEM_RESERVATION_EXPIRED,
                                   "That reservation has expired, and what it held is free for "
                                   "others. Reserve again, for longer if need be.");
        default:
                return problem_set(p, PROBLEM_NO_SUCH_RESERVATION,
                                   "That reservation has been given back. Reserve again.");
        }
}
