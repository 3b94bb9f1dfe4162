/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/authz.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/hash.h"

#define POLKIT_TIMEOUT_USEC UINT64_C(120000000) /* somebody may have to type a password */
#define KNOWN_MAX           4096                /* callers who are remembered */

/* How many questions may be with polkit at once. Each keeps its message and the descriptors in it, and a user whose own agent
 * is asked can keep it as long as he likes: so no user gets all of them, over however many connections. dbus-daemon lets a
 * connection wait for 128 replies (max_replies_per_connection), and refuses what is more. */
#define ASKING_MAX          112
#define ASKING_PER_USER_MAX 16

typedef struct Known {
        char *name;
        AuthzCaller caller;
        UT_hash_handle hh;
} Known;

struct Authz {
        sd_bus *bus;
        Known *known;
        struct Check *looking_up; /* about whose callers the bus is being asked */
        struct Check *asking;     /* that wait for polkit */
};

/* One question under way. */
typedef struct Check {
        Authz *authz;
        sd_bus_message *message;
        AuthzChoose choose;
        AccessDemand demand;
        size_t n_given; /* actions of it that polkit has given */
        AuthzDone done;
        void *userdata;
        AuthzCaller caller;
        sd_bus_slot *slot;
        struct Check *next, **link;
} Check;

int authz_new(sd_bus *bus, Authz **ret) {
        Authz *authz = new0(Authz, 1);

        if (!authz)
                return -ENOMEM;
        authz->bus = sd_bus_ref(bus);
        *ret = authz;
        return 0;
}

static void check_link(Check *check, Check **list) {
        check->next = *list;
        check->link = list;
        if (check->next)
                check->next->link = &check->next;
        *list = check;
}

static void check_unlink(Check *check) {
        *check->link = check->next;
        if (check->next)
                check->next->link = check->link;
}

static Check *check_free(Check *check) {
        check_unlink(check);
        sd_bus_slot_unref(check->slot);
        sd_bus_message_unref(check->message);
        free(check->caller.groups);
        free(check);
        return NULL;
}

static int caller_copy(AuthzCaller *to, const AuthzCaller *from) {
        gid_t *groups = new0(gid_t, MAX(from->n_groups, (size_t)1));

        if (!groups)
                return -ENOMEM;
        if (from->n_groups > 0)
                memcpy(groups, from->groups, from->n_groups * sizeof(gid_t));
        *to = (AuthzCaller){ .uid = from->uid, .groups = groups, .n_groups = from->n_groups };
        return 0;
}

static void checks_free(Check *list) {
        for (Check *check = list, *next; check; check = next) {
                next = check->next;
                check_free(check);
        }
}

static void known_free(Authz *authz, Known *known) {
        HASH_DEL(authz->known, known);
        free(known->caller.groups);
        free(known->name);
        free(known);
}

Authz *authz_free(Authz *authz) {
        if (!authz)
                return NULL;

        checks_free(authz->looking_up);
        checks_free(authz->asking);
        while (authz->known)
                known_free(authz, authz->known);
        sd_bus_unref(authz->bus);
        free(authz);
        return NULL;
}

static Known *known_find(Authz *authz, const char *name) {
        Known *known;

        HASH_FIND_STR(authz->known, name, known);
        return known;
}

/* Remembering is a convenience: without memory, or with too many remembered, the bus is asked again next time. */
static void known_add(Authz *authz, const char *name, const AuthzCaller *caller) {
        Known *known;

        if (known_find(authz, name) || HASH_COUNT(authz->known) >= KNOWN_MAX)
                return;

        known = new0(Known, 1);
        if (!known)
                return;
        known->name = strdup(name);
        if (known->name && caller_copy(&known->caller, caller) >= 0)
                HASH_ADD_KEYPTR(hh, authz->known, known->name, strlen(known->name), known);
        if (!known->hh.tbl) {
                free(known->caller.groups);
                free(known->name);
                free(known);
        }
}

void authz_name_vanished(Authz *authz, const char *name) {
        Known *known = known_find(authz, name);

        if (known)
                known_free(authz, known);
}

static void check_finish(Check *check, int r, const Problem *problem) {
        AuthzDone done = check->done;
        void *userdata = check->userdata;
        AuthzCaller caller = check->caller;

        check->caller = (AuthzCaller){};
        check_free(check);
        done(userdata, r, &caller, problem);
        free(caller.groups);
}

static void check_refuse(Check *check, const char *why) {
        char what[192];
        Problem p = {};

        access_describe(&check->demand, check->demand.actions[check->n_given],
                        sd_bus_message_get_member(check->message), check->caller.uid, what,
                        sizeof(what));
        (void)problem_set(&p, PROBLEM_ACCESS_DENIED, "%s: %s", what, why);
        check_finish(check, -EACCES, &p);
}

/* ---- polkit ---- */

static int ask_polkit(Check *check);

/* One action is given: the next one, if there is. */
static void check_go_on(Check *check) {
        int r;

        if (++check->n_given == check->demand.n_actions) {
                check_finish(check, 0, NULL);
                return;
        }
        check->slot = sd_bus_slot_unref(check->slot);
        r = ask_polkit(check);
        if (r < 0)
                check_finish(check, r, NULL);
}

static int on_polkit(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Check *check = userdata;
        int authorized, challenge, r;

        (void)error;
        if (sd_bus_message_is_method_error(reply, NULL)) {
                const sd_bus_error *e = sd_bus_message_get_error(reply);

                if (sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
                    sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                        check_refuse(check, "polkit is not running, so only root may.");
                else {
                        char why[256];

                        (void)snprintf(why, sizeof(why), "polkit could not say (%.200s).",
                                       e->message ?: e->name);
                        check_refuse(check, why);
                }
                return 1;
        }

        r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
        if (r < 0)
                check_refuse(check, "polkit's answer makes no sense.");
        else if (authorized)
                check_go_on(check);
        else
                check_refuse(check, challenge ? "polkit wants authentication for it. Allow "
                                                "interactive authorization, have an administrator "
                                                "add a rule (aviommud-security(7)), or be root."
                                              : "polkit does not give it. An administrator can "
                                                "with a rule (aviommud-security(7)); root needs "
                                                "none.");
        return 1;
}

static int check_room(const Check *check, Problem *p) {
        size_t n = 0, n_of_user = 0;

        for (const Check *other = check->authz->asking; other; other = other->next) {
                n++;
                n_of_user += other->caller.uid == check->caller.uid;
        }
        if (n_of_user >= ASKING_PER_USER_MAX)
                return problem_set_amounts(p, PROBLEM_LIMITS_EXCEEDED, n_of_user + 1,
                                           ASKING_PER_USER_MAX,
                                           "uid %u has %zu calls waiting for polkit already: wait "
                                           "for their answers.",
                                           check->caller.uid, n_of_user);
        if (n >= ASKING_MAX)
                return problem_set_amounts(p, PROBLEM_LIMITS_EXCEEDED, n + 1, ASKING_MAX,
                                           "%zu calls of all users are waiting for polkit already: "
                                           "try again later.",
                                           n);
        return 0;
}

static int ask_polkit(Check *check) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        const char *sender = sd_bus_message_get_sender(check->message);
        int interactive = sd_bus_message_get_allow_interactive_authorization(check->message);
        int r;

        r = sd_bus_message_new_method_call(check->authz->bus, &call, "org.freedesktop.PolicyKit1",
                                           "/org/freedesktop/PolicyKit1/Authority",
                                           "org.freedesktop.PolicyKit1.Authority",
                                           "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(
                        call, "(sa{sv})s", "system-bus-name", 1, "name", "s", sender,
                        access_action_to_id(check->demand.actions[check->n_given]));
        if (r >= 0)
                r = sd_bus_message_append(call, "a{ss}us", 0,
                                          interactive > 0 ? UINT32_C(1) : UINT32_C(0), "");
        if (r >= 0)
                r = sd_bus_call_async(check->authz->bus, &check->slot, call, on_polkit, check,
                                      POLKIT_TIMEOUT_USEC);
        return r;
}

/* ---- the caller ---- */

static void judge_uid(Check *check) {
        Problem p = {};
        int r;

        if (check->caller.uid == 0 || check->caller.uid == geteuid()) {
                check_finish(check, 0, NULL);
                return;
        }
        check->slot = sd_bus_slot_unref(check->slot);
        check->demand = check->choose(check->userdata, check->caller.uid);
        r = check_room(check, &p);
        if (r >= 0) {
                check_unlink(check);
                check_link(check, &check->authz->asking);
                r = ask_polkit(check);
        }
        if (r < 0)
                check_finish(check, r, &p);
}

/* au. Returns 0 or a negative errno. */
static int read_groups(sd_bus_message *m, AuthzCaller *caller) {
        const uint32_t *gids;
        size_t size, n;
        gid_t *copy;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "au");
        if (r >= 0)
                r = sd_bus_message_read_array(m, 'u', (const void **)&gids, &size);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;

        n = MIN(size / sizeof(uint32_t), (size_t)AUTHZ_GROUPS_MAX);
        copy = new0(gid_t, MAX(n, (size_t)1));
        if (!copy)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                copy[i] = gids[i];
        free(caller->groups);
        caller->groups = copy;
        caller->n_groups = n;
        return 0;
}

/* a{sv}, of which uid and groups are taken. Returns 0 or a negative errno, -ENODATA where there is no uid in it. */
static int read_credentials(sd_bus_message *m, AuthzCaller *caller) {
        const char *key;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read(m, "s", &key);
                if (r < 0)
                        return r;
                if (streq(key, "UnixUserID")) {
                        uint32_t uid;

                        r = sd_bus_message_read(m, "v", "u", &uid);
                        if (r >= 0)
                                caller->uid = uid;
                } else if (streq(key, "UnixGroupIDs"))
                        r = read_groups(m, caller);
                else
                        r = sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        return caller->uid == (uid_t)-1 ? -ENODATA : 0;
}

static int on_credentials(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Check *check = userdata;
        int r;

        (void)error;
        r = sd_bus_message_is_method_error(reply, NULL) ? -EACCES
                                                        : read_credentials(reply, &check->caller);
        if (r < 0) { /* the caller has left: nobody hears the answer */
                check_finish(check, r, NULL);
                return 1;
        }

        known_add(check->authz, sd_bus_message_get_sender(check->message), &check->caller);
        judge_uid(check);
        return 1;
}

int authz_check(Authz *authz, sd_bus_message *m, AuthzChoose choose, AuthzDone done,
                void *userdata) {
        const char *sender = sd_bus_message_get_sender(m);
        const Known *known;
        Check *check;
        int r;

        if (!sender)
                return -EACCES;
        check = new0(Check, 1);
        if (!check)
                return -ENOMEM;

        *check = (Check){ .authz = authz,
                          .choose = choose,
                          .done = done,
                          .userdata = userdata,
                          .caller = { .uid = (uid_t)-1 } };
        check->message = sd_bus_message_ref(m);
        check_link(check, &authz->looking_up);

        known = known_find(authz, sender);
        if (known) {
                r = caller_copy(&check->caller, &known->caller);
                if (r < 0)
                        check_free(check);
                else
                        judge_uid(check);
                return r;
        }

        r = sd_bus_call_method_async(authz->bus, &check->slot, "org.freedesktop.DBus",
                                     "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                     "GetConnectionCredentials", on_credentials, check, "s",
                                     sender);
        if (r < 0)
                check_free(check);
        return r < 0 ? r : 0;
}
