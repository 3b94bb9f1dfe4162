/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which actions methods take: the table against the interfaces and polkit's file, and the decision by whose things are. */

#include "unit/unit.h"

#include <dirent.h>
#include <stdio.h>

#include "policy/access.h"

#define CALLER ((uid_t)1000)
#define OTHER  ((uid_t)107)

static char *read_file(const char *folder, const char *name) {
        char path[512], *text = NULL;
        size_t n = 0;
        FILE *file;

        (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
        file = fopen(path, "re");
        if (!file)
                fail_msg("no %s", path);
        assert_true(getdelim(&text, &n, '\0', file) > 0);
        (void)fclose(file);
        return text;
}

/* Each method of an interface file is in the table. Returns how many there are. */
static size_t check_interface(const char *text) {
        static const char start[] = "<interface name=\"org.aviommu1.";
        static const char method[] = "<method name=\"";
        const char *p = strstr(text, start);
        char interface[64], member[64];
        size_t n = 0;

        assert_non_null(p);
        assert_int_equal(sscanf(p + strlen(start), "%63[A-Za-z]", interface), 1);
        while ((p = strstr(p, method))) {
                p += strlen(method);
                assert_int_equal(sscanf(p, "%63[A-Za-z]", member), 1);
                if (!access_find(interface, member))
                        fail_msg("%s.%s is not in daemon/policy/access.c: nobody can call it",
                                 interface, member);
                n++;
        }
        return n;
}

static void every_method_is_in_the_table(void **state) {
        DIR *dir = opendir(INTERFACES);
        const struct dirent *e;
        size_t n = 0, n_rows = 0;

        (void)state;
        assert_non_null(dir);
        while ((e = readdir(dir))) {
                size_t length = strlen(e->d_name);
                char *text;

                if (length < 4 || !streq(e->d_name + length - 4, ".xml"))
                        continue;
                if (strncmp(e->d_name, "org.aviommu1.", 13) != 0) /* of systemd's: no methods */
                        continue;
                text = read_file(INTERFACES, e->d_name);
                if (!strstr(e->d_name, ".Simulation."))
                        n += check_interface(text);
                else
                        assert_true(check_interface(text) > 0);
                free(text);
        }
        (void)closedir(dir);
        assert_true(n > 20);

        /* And nothing else; the simulation's have one row. */
        for (size_t i = 0; access_get(i); i++) {
                n_rows += access_get(i)->member && !streq(access_get(i)->interface, "LogControl1");
                for (size_t j = 0; j < i && access_get(i)->member; j++)
                        assert_false(streq(access_get(i)->interface, access_get(j)->interface) &&
                                     streq(access_get(i)->member, access_get(j)->member));
        }
        assert_int_equal(n_rows, n);
}

static void what_is_not_there(void **state) {
        (void)state;
        assert_null(access_find("Manager", "Describe"));
        assert_null(access_find("Manager", "createvm"));
        assert_null(access_find("Vm", ""));
        assert_null(access_find("", "Plan"));
}

/* polkit's file describes each action once, and no other; only looking is given to everybody. */
static void actions_are_polkits(void **state) {
        _cleanup_free_ char *text = read_file(POLICY, "org.aviommu1.policy");
        const char *p = text;
        size_t n = 0;

        (void)state;
        while ((p = strstr(p, "<action id=\""))) {
                n++;
                p++;
        }
        assert_int_equal(n, _ACCESS_ACTION_MAX);
        for (AccessAction action = 0; action < _ACCESS_ACTION_MAX; action++) {
                const char *given, *next;
                char wanted[96];

                (void)snprintf(wanted, sizeof(wanted), "<action id=\"%s\">",
                               access_action_to_id(action));
                p = strstr(text, wanted);
                if (!p)
                        fail_msg("org.aviommu1.policy lacks %s", wanted);
                next = strstr(p, "</action>");
                given = strstr(p, ">yes<");
                assert_int_equal(given && given < next, action == ACCESS_LOOK);
        }
}

typedef struct Case {
        const char *interface, *member;
        uid_t owner;
        size_t n;
        AccessAction actions[ACCESS_DEMAND_MAX];
} Case;

static void what_a_call_takes(void **state) {
        static const Case cases[] = {
                { "Manager", "ListVms", ACCESS_NO_OWNER, 1, { ACCESS_LOOK } },
                { "Manager", "ListVmDetails", ACCESS_NO_OWNER, 1, { ACCESS_LOOK } },
                { "Vm", "Describe", OTHER, 1, { ACCESS_LOOK } },
                { "Manager", "CreateVm", ACCESS_NO_OWNER, 1, { ACCESS_MANAGE_OWN } },
                { "Manager", "Reserve", ACCESS_NO_OWNER, 1, { ACCESS_MANAGE_OWN } },
                { "Vm", "Destroy", CALLER, 1, { ACCESS_MANAGE_OWN } },
                { "Vm", "Destroy", OTHER, 1, { ACCESS_MANAGE_OTHERS } },
                { "Vm", "Destroy", 0, 1, { ACCESS_MANAGE_OTHERS } },
                { "Vm", "Destroy", ACCESS_NO_OWNER, 1, { ACCESS_LOOK } },
                { "Viommu", "Destroy", OTHER, 1, { ACCESS_MANAGE_OTHERS } },
                { "Manager", "Unreserve", CALLER, 1, { ACCESS_MANAGE_OWN } },
                { "Manager", "Unreserve", OTHER, 1, { ACCESS_MANAGE_OTHERS } },
                { "Vm", "OpenContext", CALLER, 2, { ACCESS_MANAGE_OWN, ACCESS_HAND_OUT_CONTEXTS } },
                { "Vm",
                  "OpenDevice",
                  OTHER,
                  2,
                  { ACCESS_MANAGE_OTHERS, ACCESS_HAND_OUT_CONTEXTS } },
                { "Vm", "OpenDevice", ACCESS_NO_OWNER, 1, { ACCESS_LOOK } },
                { "Manager", "ListDefinitions", ACCESS_NO_OWNER, 1, { ACCESS_LOOK } },
                { "Manager", "DefineVm", ACCESS_NO_OWNER, 1, { ACCESS_MANAGE_OWN } },
                { "Manager", "DefineVm", CALLER, 1, { ACCESS_MANAGE_OWN } },
                { "Manager", "DefineVm", OTHER, 1, { ACCESS_MANAGE_OTHERS } },
                { "Manager", "GetDefinition", ACCESS_NO_OWNER, 1, { ACCESS_LOOK } },
                { "Manager", "GetDefinition", CALLER, 1, { ACCESS_MANAGE_OWN } },
                { "Manager", "GetDefinition", OTHER, 1, { ACCESS_MANAGE_OTHERS } },
                { "Manager", "StartDefinition", 0, 1, { ACCESS_MANAGE_OTHERS } },
                { "Manager", "PrepareContext", ACCESS_NO_OWNER, 1, { ACCESS_HAND_OUT_CONTEXTS } },
                { "Manager", "PrepareContext", CALLER, 1, { ACCESS_HAND_OUT_CONTEXTS } },
                { "Manager",
                  "PrepareContext",
                  OTHER,
                  2,
                  { ACCESS_MANAGE_OTHERS, ACCESS_HAND_OUT_CONTEXTS } },
                { "Manager", "ForgetContext", ACCESS_NO_OWNER, 1, { ACCESS_LOOK } },
                { "Manager", "ForgetContext", CALLER, 1, { ACCESS_MANAGE_OWN } },
                { "Manager", "ForgetContext", OTHER, 1, { ACCESS_MANAGE_OTHERS } },
                { "Manager", "ReportVms", ACCESS_NO_OWNER, 1, { ACCESS_MANAGE_OTHERS } },
                { "Manager", "Reload", ACCESS_NO_OWNER, 1, { ACCESS_MANAGE_POLICY } },
                { "HostIommu", "Probe", ACCESS_NO_OWNER, 1, { ACCESS_MANAGE_POLICY } },
                { "Manager", "Reclaim", ACCESS_NO_OWNER, 1, { ACCESS_RECLAIM } },
                { "Simulation", "Plug", ACCESS_NO_OWNER, 1, { ACCESS_MANAGE_POLICY } },
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const Case *c = cases + i;
                AccessDemand demand = access_decide(access_find(c->interface, c->member), CALLER,
                                                    c->owner);

                if (demand.n_actions != c->n || demand.owner != c->owner)
                        fail_msg("%s.%s of uid %u: %zu actions", c->interface, c->member, c->owner,
                                 demand.n_actions);
                for (size_t j = 0; j < c->n; j++)
                        if (demand.actions[j] != c->actions[j])
                                fail_msg("%s.%s of uid %u: %s", c->interface, c->member, c->owner,
                                         access_action_to_id(demand.actions[j]));
        }
}

/* Whatever is somebody else's takes an action that one's own does not, but for looking, making, and what is the host's. */
static void others_take_more(void **state) {
        (void)state;
        for (size_t i = 0; access_get(i); i++) {
                const AccessMethod *method = access_get(i);
                AccessDemand own = access_decide(method, CALLER, CALLER),
                             other = access_decide(method, CALLER, OTHER);
                bool more = false;

                if (method->subject == ACCESS_OF_HOST || method->rule == ACCESS_TO_SEE)
                        continue;
                for (size_t j = 0; j < other.n_actions; j++)
                        more |= other.actions[j] == ACCESS_MANAGE_OTHERS;
                for (size_t j = 0; j < own.n_actions; j++)
                        assert_int_not_equal(own.actions[j], ACCESS_MANAGE_OTHERS);
                if (!more)
                        fail_msg("%s.%s", method->interface, method->member);
        }
}

static void sentences(void **state) {
        AccessDemand demand = access_decide(access_find("Vm", "Destroy"), CALLER, OTHER);
        char text[192];

        (void)state;
        access_describe(&demand, demand.actions[0], "Destroy", CALLER, text, sizeof(text));
        assert_string_equal(text, "uid 1000 may not call Destroy on what belongs to uid 107, which "
                                  "takes org.aviommu1.manage-others");
        demand = access_decide(access_find("Vm", "Destroy"), CALLER, CALLER);
        access_describe(&demand, demand.actions[0], "Destroy", CALLER, text, sizeof(text));
        assert_string_equal(text,
                            "uid 1000 may not call Destroy, which takes org.aviommu1.manage-own");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_method_is_in_the_table),
                cmocka_unit_test(what_is_not_there),
                cmocka_unit_test(actions_are_polkits),
                cmocka_unit_test(what_a_call_takes),
                cmocka_unit_test(others_take_more),
                cmocka_unit_test(sentences),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
