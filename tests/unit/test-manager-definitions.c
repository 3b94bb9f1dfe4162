/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the manager does with definitions: while one is written, when that fails, and how many there may be. */

#include "core/manager-private.h"
#include "fixture.h"

#include <stdlib.h>

#include "oom.h"

#define ALICE ((uid_t)1000)
#define BOB   ((uid_t)1001)

static char folder[64];

/* In memory: there are many files, and each is synchronized. */
static int make_folder(void **state) {
        (void)state;
        (void)snprintf(folder, sizeof(folder), "%s/aviommu-definitions-XXXXXX",
                       access("/dev/shm", W_OK) >= 0 ? "/dev/shm" : "/tmp");
        return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
        char command[96];

        (void)state;
        (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
        return system(command);
}

static void init(Fixture *f) {
        fx_init(f, "small", NULL);
        assert_ok(state_store_open_lasting(folder, &f->manager->definition_files));
}

/* Definition @n, of tier "virtio". */
static void request_init(DefinitionRequest *request, unsigned n, const char *name) {
        definition_request_init(request);
        request->vm.uuid = (sd_id128_t){ .bytes = { 1, (uint8_t)(n >> 8), (uint8_t)n } };
        request->vm.has_tier = true;
        request->vm.tier = TIER_VIRTIO;
        if (name) {
                request->vm.name = strdup(name);
                assert_non_null(request->vm.name);
        }
}

/* Asks, and does not wait; an error at once is an answer too. */
static void ask(Fixture *f, Answer *answer, unsigned n, const char *name, bool replace, uid_t uid) {
        _cleanup_(definition_request_done) DefinitionRequest request;
        int r;

        *answer = (Answer){};
        request_init(&request, n, name);
        r = manager_define_vm(f->manager, &request, replace, uid, answer_store, answer,
                              &answer->problem);
        if (r < 0) {
                assert_false(answer->given);
                answer->given = true;
                answer->r = r;
        }
}

static int define(Fixture *f, unsigned n, const char *name, bool replace, uid_t uid) {
        Answer answer;

        ask(f, &answer, n, name, replace, uid);
        fx_run_until(f, &answer.given);
        f->problem = answer.problem;
        return answer.r;
}

static int undefine(Fixture *f, unsigned n) {
        _cleanup_(definition_request_done) DefinitionRequest request;
        Answer answer = {};
        int r;

        request_init(&request, n, NULL);
        r = manager_undefine_vm(f->manager, request.vm.uuid, answer_store, &answer,
                                &answer.problem);
        if (r >= 0) {
                fx_run_until(f, &answer.given);
                r = answer.r;
        }
        return r;
}

static const Definition *find(const Fixture *f, unsigned n) {
        _cleanup_(definition_request_done) DefinitionRequest request;

        request_init(&request, n, NULL);
        return manager_find_definition(f->manager, request.vm.uuid);
}

/* It counts when it is on the disk; until then there is neither the new one nor another change. */
static void while_it_is_written(void **state) {
        Answer first, second, namesake, replaced, other;
        Fixture f;

        (void)state;
        init(&f);
        ask(&f, &first, 1, "web", false, ALICE);
        assert_null(find(&f, 1));
        assert_null(manager_next_definition(f.manager, NULL));
        ask(&f, &second, 1, "web", true, ALICE);
        assert_error(second.r, EBUSY);
        assert_problem(&second.problem, PROBLEM_BUSY, "being written");
        ask(&f, &namesake, 2, "web", false, ALICE);
        assert_error(namesake.r, EEXIST);
        assert_problem(&namesake.problem, PROBLEM_DEFINITION_EXISTS, "named \"web\" too");
        fx_run_until(&f, &first.given);
        assert_ok(first.r);
        assert_non_null(find(&f, 1));

        ask(&f, &replaced, 1, "mail", true, BOB);
        assert_string_equal(find(&f, 1)->vm.name, "web");
        ask(&f, &other, 2, "mail", false, BOB); /* that name is taken as well */
        assert_error(other.r, EEXIST);
        fx_run_until(&f, &replaced.given);
        assert_string_equal(find(&f, 1)->vm.name, "mail");
        assert_int_equal(find(&f, 1)->vm.uid, ALICE);
        assert_ok(define(&f, 2, "web", false, BOB));
        assert_int_equal(find(&f, 1)->number, 1);
        assert_int_equal(find(&f, 2)->number, 2);
        fx_done(&f);
}

/* A name that is another's UUID is taken, too: without a name that is what a VM is called. */
static void a_uuid_is_a_name(void **state) {
        Fixture f;

        (void)state;
        init(&f);
        assert_ok(define(&f, 1, NULL, false, ALICE));
        assert_error(define(&f, 2, "01000100-0000-0000-0000-000000000000", false, BOB), EEXIST);
        fx_done(&f);
}

/* Whoever asked is told, and the next daemon knows what has become of it. */
static void the_daemon_stops(void **state) {
        Answer answers[8];
        size_t n = 0;
        Fixture f;

        (void)state;
        init(&f);
        for (unsigned i = 0; i < ELEMENTSOF(answers); i++)
                ask(&f, answers + i, i, NULL, false, ALICE);
        fx_done(&f);
        for (unsigned i = 0; i < ELEMENTSOF(answers); i++) {
                assert_true(answers[i].given);
                if (answers[i].r < 0)
                        assert_problem(&answers[i].problem, PROBLEM_CANCELLED, "stopping");
                n += answers[i].r == 0;
        }

        init(&f);
        assert_ok(manager_recover(f.manager));
        assert_int_equal(f.manager->n_definitions, n);
        fx_done(&f);
}

static void it_cannot_be_written(void **state) {
        char command[160];
        Fixture f;

        (void)state;
        init(&f);
        assert_ok(define(&f, 1, NULL, false, ALICE));
        for (unsigned n = 1; n <= 2; n++) { /* in the way of the temporary file */
                (void)snprintf(command, sizeof(command), "mkdir -p %s/.definition-01000%u%026d/x",
                               folder, n, 0);
                assert_int_equal(system(command), 0);
        }
        assert_error(define(&f, 2, NULL, false, ALICE), EIO);
        assert_problem(&f.problem, PROBLEM_STORAGE, "stays as it was");
        assert_null(find(&f, 2));
        assert_error(define(&f, 1, "web", true, ALICE), EIO);
        assert_null(find(&f, 1)->vm.name);
        assert_false(find(&f, 1)->busy);
        assert_ok(undefine(&f, 1));
        assert_null(find(&f, 1));
        fx_done(&f);
}

/* A user other than root has so many, and there are so many in all. */
static void too_many(void **state) {
        unsigned n = 0;
        Fixture f;

        (void)state;
        init(&f);
        for (; n < 1024; n++)
                assert_ok(define(&f, n, NULL, false, ALICE));
        assert_error(define(&f, n, NULL, false, ALICE), EDQUOT);
        assert_problem(&f.problem, PROBLEM_LIMITS_EXCEEDED, "uid 1000 has 1024");
        assert_ok(define(&f, 0, NULL, true, ALICE));
        assert_ok(define(&f, n++, NULL, false, BOB));
        for (; n < 4096; n++)
                assert_ok(define(&f, n, NULL, false, 0));
        assert_error(define(&f, n, NULL, false, 0), EDQUOT);
        assert_problem(&f.problem, PROBLEM_LIMITS_EXCEEDED, "There are 4096");
        assert_ok(undefine(&f, 7));
        assert_ok(define(&f, n, NULL, false, 0));
        fx_done(&f);

        init(&f);
        assert_ok(manager_recover(f.manager));
        assert_int_equal(f.manager->n_definitions, 4096);
        fx_done(&f);
}

static void memory_runs_out(void **state) {
        Fixture f;

        (void)state;
        init(&f);
        OOM_SWEEP(nth, {
                _cleanup_(definition_request_done) DefinitionRequest request;
                Answer answer = {};
                int r;

                definition_request_init(&request);
                request.vm.uuid = SD_ID128_MAKE(01, 00, 01, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00,
                                                00, 00, 00);
                request.vm.has_tier = true;
                request.vm.tier = TIER_VIRTIO;
                r = manager_define_vm(f.manager, &request, true, ALICE, answer_store, &answer,
                                      &answer.problem);
                if (r >= 0) {
                        fx_run_until(&f, &answer.given);
                        r = answer.r;
                }
                assert_true(r == 0 || r == -ENOMEM);
                assert_true(r < 0 || find(&f, 1));
                assert_true(!find(&f, 1) || !find(&f, 1)->busy);
        });
        assert_non_null(find(&f, 1));
        fx_done(&f);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
        const struct CMUnitTest tests[] = {
                TEST(while_it_is_written),  TEST(a_uuid_is_a_name), TEST(the_daemon_stops),
                TEST(it_cannot_be_written), TEST(too_many),         TEST(memory_runs_out),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
