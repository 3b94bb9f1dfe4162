/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The manager in trouble: cancelled at every step, refused by the kernel at every call, without memory at every allocation,
 * left by its callers, ended with everything in flight. Whatever happens: every request is answered once, nothing that is
 * charged is lost, nothing is left in the kernel, and the next request works.
 */

#include <sys/resource.h>

#include "fixture.h"

#include "oom.h"

#define HW     TIER_HARDWARE, HANDOVER_DAEMON
#define EMU    TIER_EMULATED, HANDOVER_VMM
#define LEGACY TIER_VIRTIO, HANDOVER_NONE

static void start_create(Fixture *f, const char *name, const char *const *functions,
                         const char *caller, Answer *answer) {
        VmRequest request;

        *answer = (Answer){};
        fx_request(&request, name, HW, functions);
        assert_ok(manager_create_vm(f->manager, &request, 0, caller, answer_store, answer, NULL));
        vm_request_done(&request);
}

static void start_attach(Fixture *f, const char *name, const char *function, const char *caller,
                         Answer *answer) {
        FunctionRequest request = { .address = address(function) };

        *answer = (Answer){};
        assert_ok(vm_attach_functions(fx_vm(f, name), &request, 1, 0, caller, answer_store, answer,
                                      NULL));
}

/* ---- cancelled ---- */

static void creation_is_cancelled_at_each_step(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        for (unsigned n = 1;; n++) {
                Answer answer;

                fx_gate_set(&f, NULL, n);
                start_create(&f, "vm", FNS(FN_A, FN_C), ":1.1", &answer);
                if (!fx_gate_reached(&f, &answer)) {
                        assert_ok(answer.r);
                        assert_true(n > 15);
                        break;
                }
                assert_ok(vm_cancel(fx_vm(&f, "vm"), NULL));
                fx_gate_open(&f);
                fx_run_until(&f, &answer.given);
                assert_error(answer.r, ECANCELED);
                assert_problem(&answer.problem, PROBLEM_CANCELLED, "cancelled");
                fx_run_until_gone(&f, "vm");
                fx_assert_clean(&f);
        }
        assert_ok(fx_destroy(&f, "vm", false));
        assert_int_equal(f.n_added, 1); /* the others were never there */
        fx_assert_clean(&f);
        fx_done(&f);
}

static void attachment_is_cancelled_at_each_step(void **state) {
        SimCounters before, after;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        sim_get_counters(f.kernel, &before);
        for (unsigned n = 1;; n++) {
                Answer answer;

                fx_gate_set(&f, NULL, n);
                start_attach(&f, "vm", FN_C, ":1.1", &answer);
                if (!fx_gate_reached(&f, &answer)) {
                        assert_ok(answer.r);
                        assert_true(n > 6);
                        break;
                }
                assert_ok(vm_cancel(fx_vm(&f, "vm"), NULL));
                fx_gate_open(&f);
                fx_run_until(&f, &answer.given);
                assert_error(answer.r, ECANCELED);
                sim_get_counters(f.kernel, &after);
                assert_memory_equal(&before, &after, sizeof(before));
                assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);
                assert_int_equal(fx_state(&f, "vm"), VM_REALIZED);
        }
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

static void viommu_is_cancelled_at_each_step(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_B)));
        assert_ok(fx_viommu_destroy(&f, "vm", 0));
        for (unsigned n = 1;; n++) {
                Answer answer = {};

                fx_gate_set(&f, NULL, n);
                assert_ok(
                        vm_create_viommu(fx_vm(&f, "vm"), 0, ":1.1", answer_store, &answer, NULL));
                if (!fx_gate_reached(&f, &answer)) {
                        assert_ok(answer.r);
                        break;
                }
                manager_name_vanished(f.manager, ":1.1"); /* another way to cancel */
                fx_gate_open(&f);
                fx_run_until(&f, &answer.given);
                assert_error(answer.r, ECANCELED);
                assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 0);
                assert_int_equal(fx_vm(&f, "vm")->context.n_viommus, 0);
        }
        fx_done(&f);
}

static void nothing_to_cancel(void **state) {
        Answer answer = {};
        Problem p = {};
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_error(vm_cancel(fx_vm(&f, "vm"), &p), EBADFD);
        assert_problem(&p, PROBLEM_WRONG_STATE, "no operation in flight");

        /* Taking down is not cancelled. */
        fx_gate_set(&f, "object_destroy", 1);
        assert_ok(vm_destroy(fx_vm(&f, "vm"), false, ":1.1", answer_store, &answer, NULL));
        assert_true(fx_gate_reached(&f, &answer));
        assert_error(vm_cancel(fx_vm(&f, "vm"), &p), EBADFD);
        manager_name_vanished(f.manager, ":1.1");
        fx_gate_open(&f);
        fx_run_until(&f, &answer.given);
        assert_ok(answer.r);
        fx_assert_clean(&f);
        fx_done(&f);
}

/* What waits is cancelled too, and only the caller's own. */
static void callers_leave(void **state) {
        Answer answers[4];
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        fx_gate_set(&f, "cdev_open", 1);
        start_attach(&f, "vm", FN_B, ":1.1", answers + 0);
        start_attach(&f, "vm", FN_C, ":1.2", answers + 1);
        start_attach(&f, "vm", FN_D, ":1.1", answers + 2);
        assert_true(fx_gate_reached(&f, answers));
        start_create(&f, "other", FNS("0002:01:00.0"), ":1.1", answers + 3);
        manager_name_vanished(f.manager, ":1.1"); /* before the loop could go on with any of it */
        fx_gate_open(&f);
        for_each_case(answer, answers) fx_run_until(&f, &answer->given);
        assert_error(answers[0].r, ECANCELED);
        assert_ok(answers[1].r);
        assert_error(answers[2].r, ECANCELED);
        assert_problem(&answers[2].problem, PROBLEM_CANCELLED, "before it began");
        assert_error(answers[3].r, ECANCELED);
        fx_run_until_gone(&f, "other");
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 2);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* ---- the queue ---- */

/* Who asks for more functions than a VM may have hears so before the host is asked about any of them. */
static void too_many_are_not_looked_at(void **state) {
        FunctionRequest functions[] = { { .address = address(FN_B) },
                                        { .address = address(FN_C) },
                                        { .address = address(FN_D) } };
        Answer answer = {};
        Problem p = {};
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.max_functions_per_vm = 2;
        fx_init(&f, "epyc-2p", &config);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_error(vm_attach_functions(fx_vm(&f, "vm"), functions, 3, 0, NULL, answer_store,
                                         &answer, &p),
                     EDQUOT);
        assert_problem(&p, PROBLEM_LIMITS_EXCEEDED, "has 1 functions and wants 3 more");
        assert_false(answer.given);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

static void the_queue_is_bounded(void **state) {
        PciAddress a = address(FN_A);
        Answer answers[8] = {}, end = {};
        Problem p = {};
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.max_operations_per_vm = 3;
        fx_init(&f, "epyc-2p", &config);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        fx_gate_set(&f, "scan", 1);
        start_attach(&f, "vm", FN_B, NULL, answers);
        assert_true(fx_gate_reached(&f, answers));
        for (unsigned i = 1; i < 4; i++)
                assert_ok(vm_open_context(fx_vm(&f, "vm"), NULL, NULL, answer_store, answers + i,
                                          NULL));
        assert_error(vm_open_context(fx_vm(&f, "vm"), NULL, NULL, answer_store, answers + 4, &p),
                     EBUSY);
        assert_problem(&p, PROBLEM_BUSY, "4 operations of VM vm wait already");
        assert_error(vm_detach_function(fx_vm(&f, "vm"), &a, NULL, answer_store, answers + 4, &p),
                     EBUSY);
        /* Taking down is always taken, and ends the others. */
        assert_ok(vm_destroy(fx_vm(&f, "vm"), false, NULL, answer_store, &end, NULL));
        fx_gate_open(&f);
        fx_run_until(&f, &end.given);
        assert_ok(end.r);
        for (unsigned i = 0; i < 4; i++)
                assert_true(answers[i].given && answers[i].r == -ECANCELED);
        assert_false(answers[4].given);
        fx_assert_clean(&f);
        fx_done(&f);
}

/* In the order in which they came, one at a time. */
static void operations_run_in_order(void **state) {
        Answer answers[6] = {};
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        for (unsigned i = 0; i < 6; i += 2) {
                PciAddress b = address(FN_B);

                start_attach(&f, "vm", FN_B, NULL, answers + i);
                assert_ok(vm_detach_function(fx_vm(&f, "vm"), &b, NULL, answer_store,
                                             answers + i + 1, NULL));
        }
        for_each_case(answer, answers) {
                fx_run_until(&f, &answer->given);
                assert_ok(answer->r);
        }
        fx_done(&f);
}

/* ---- taken down meanwhile ---- */

static void destroyed_while_it_is_made(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        for (unsigned n = 1;; n++) {
                Answer create, first = {}, second = {}, attach = {};

                fx_gate_set(&f, NULL, n);
                start_create(&f, "vm", FNS(FN_A), NULL, &create);
                if (!fx_gate_reached(&f, &create))
                        break;
                assert_error(fx_leash(&f, "vm", 0), EBADFD); /* too early */
                assert_ok(vm_destroy(fx_vm(&f, "vm"), false, NULL, answer_store, &first, NULL));
                assert_ok(vm_destroy(fx_vm(&f, "vm"), false, NULL, answer_store, &second, NULL));
                start_attach(&f, "vm", FN_B, NULL, &attach);
                fx_gate_open(&f);
                fx_run_until(&f, &attach.given);
                assert_error(create.r, ECANCELED);
                assert_true(first.given && second.given);
                assert_ok(first.r);
                assert_ok(second.r);
                assert_error(attach.r, EBADFD);
                assert_problem(&attach.problem, PROBLEM_WRONG_STATE, "takes no more requests");
                fx_run_until_gone(&f, "vm");
                fx_assert_clean(&f);
        }
        fx_done(&f);
}

/* Once the VM is said to be gone its UUID is free, whoever else has wished it gone, and however many. */
static void destroyed_many_times(void **state) {
        struct rlimit stack, small;
        static Answer answers[3000];
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        fx_gate_set(&f, "object_destroy", 1);
        for_each_case(answer, answers) {
                assert_ok(vm_destroy(fx_vm(&f, "vm"), false, NULL, answer_store, answer, NULL));
        }
        assert_true(fx_gate_reached(&f, answers));
        assert_ok(getrlimit(RLIMIT_STACK, &stack));
        small = stack;
        small.rlim_cur = 512 << 10; /* none of them is to wait on the stack */
        assert_ok(setrlimit(RLIMIT_STACK, &small));
        fx_gate_open(&f);
        fx_run_until(&f, &answers[0].given);
        assert_ok(setrlimit(RLIMIT_STACK, &stack));
        assert_int_equal(f.n_removed, 1);
        assert_null(fx_vm(&f, "vm"));
        for_each_case(answer, answers) {
                assert_true(answer->given);
                assert_ok(answer->r);
        }
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

static void leash_ends_in_an_operation(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        for (unsigned n = 1;; n++) {
                int pidfd;
                pid_t vmm = child_new(&pidfd);
                Answer attach;
                bool reached;

                assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
                assert_ok(fx_leash(&f, "vm", pidfd));
                fx_gate_set(&f, NULL, n);
                start_attach(&f, "vm", FN_C, NULL, &attach);
                reached = fx_gate_reached(&f, &attach);
                child_end(vmm);
                fd_close(pidfd);
                fx_run_for(&f, 20000);
                if (reached) {
                        assert_non_null(fx_vm(&f, "vm")); /* not before the kernel is done */
                        assert_false(attach.given);
                }
                fx_gate_open(&f);
                fx_run_until_gone(&f, "vm");
                assert_true(attach.given);
                assert_string_equal(f.reason, "vmm-exited");
                fx_assert_clean(&f);
                if (!reached)
                        break;
        }
        fx_done(&f);
}

/* The VMM is dead before the VM is made. */
static void vmm_ends_while_it_is_made(void **state) {
        int pidfd;
        pid_t vmm = child_new(&pidfd);
        Answer answer = {};
        VmRequest request;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        fx_request(&request, "vm", HW, FNS(FN_A));
        request.leash_pidfd = dup(pidfd);
        fx_gate_set(&f, "viommu_alloc", 5); /* the probe makes four */
        assert_ok(manager_create_vm(f.manager, &request, 0, NULL, answer_store, &answer, NULL));
        assert_true(fx_gate_reached(&f, &answer));
        child_end(vmm);
        fx_gate_open(&f);
        fx_run_until(&f, &answer.given);
        assert_error(answer.r, ESRCH);
        assert_problem(&answer.problem, PROBLEM_VMM_GONE, "ended meanwhile");
        fx_run_until_gone(&f, "vm");
        assert_int_equal(f.n_added + f.n_removed, 0);
        fx_assert_clean(&f);
        fx_done(&f);
        fd_close(pidfd);
}

/* ---- the kernel fails ---- */

/* A whole life in requests; what is refused is left out. Returns how many were refused. */
static unsigned live(Fixture *f, VmTier tier, VmHandover handover) {
        unsigned refused = 0;

        if (fx_create(f, "vm", tier, handover, FNS(FN_A, FN_C)) < 0)
                return 1;
        refused += fx_attach(f, "vm", FNS(FN_D)) < 0;
        if (handover == HANDOVER_DAEMON) {
                refused += fx_map(f, "vm", 0, RAM_BYTES) < 0;
                refused += fx_map(f, "vm", RAM_BYTES, RAM_BYTES) < 0;
                refused += fx_unmap(f, "vm", 0, RAM_BYTES) < 0;
        }
        if (tier == TIER_HARDWARE && handover == HANDOVER_DAEMON) {
                refused += fx_viommu_destroy(f, "vm", 1) < 0;
                refused += fx_viommu_create(f, "vm", 1) < 0;
        }
        if (handover != HANDOVER_NONE)
                refused += fx_open(f, "vm", NULL) < 0;
        refused += fx_detach(f, "vm", FN_C) < 0;
        return refused;
}

/* Takes down what is there, as often as it has to be said. */
static void end(Fixture *f, const char *name) {
        for (unsigned i = 0; i < 3 && fx_vm(f, name); i++)
                (void)fx_destroy(f, name, true);
        fx_run_until_gone(f, name);
}

typedef struct Recorder {
        char ops[1024][24];
        size_t n;
} Recorder;

static void record(void *userdata, const char *op, bool before) {
        Recorder *r = userdata;

        if (before && r->n < ELEMENTSOF(r->ops))
                (void)snprintf(r->ops[r->n++], sizeof(r->ops[0]), "%s", op);
}

static void every_call_fails_once(void **state) {
        static const struct {
                VmTier tier;
                VmHandover handover;
        } shapes[] = { { HW }, { EMU }, { TIER_EMULATED, HANDOVER_DAEMON }, { LEGACY } };
        static const int errors[] = { EIO, EBUSY, ENOMEM, EINTR };
        unsigned n_failed = 0;
        Config config;

        (void)state;
        config_init(&config);
        config.detach_timeout_usec = 1000; /* a function that is busy is busy once */
        for_each_case(shape, shapes) {
                Recorder recorder = {};
                Fixture f;

                fx_init(&f, "epyc-2p", &config);
                sim_set_hook(f.kernel, record, &recorder);
                assert_int_equal(live(&f, shape->tier, shape->handover), 0);
                end(&f, "vm");
                sim_set_hook(f.kernel, NULL, NULL);

                for (size_t i = 0; i < recorder.n; i++) {
                        /* Unmapping one's own page cannot fail; the questions of a sweep are alike. */
                        if (streq(recorder.ops[i], "vfmmio_unmap") || (i > 150 && i % 32 != 0))
                                continue;
                        for_each_case(error, errors) {
                                for (uint32_t iommu = 0; iommu < 8; iommu++)
                                        inventory_set_level(f.manager->inventory, iommu,
                                                            KERNEL_LEVEL_UNKNOWN, "Not probed.");
                                assert_ok(sim_inject_fault(f.kernel, NULL, i + 1, *error));
                                (void)live(&f, shape->tier, shape->handover);
                                end(&f, "vm");
                                assert_ok(sim_clear_faults(f.kernel));
                                fx_assert_clean(&f);
                                n_failed++;
                        }
                }
                /* And the next one works. What a probe could not see for want of room is asked for again. */
                for (uint32_t iommu = 0; iommu < 8; iommu++)
                        assert_ok(fx_probe(&f, iommu));
                assert_int_equal(live(&f, shape->tier, shape->handover), 0);
                fx_done(&f);
        }
        print_message("%u calls failed\n", n_failed);
        assert_true(n_failed > 500);
}

/* ---- the end of the daemon ---- */

/* manager_free() asserts the balance of the ledger; here it comes at each step of a life. */
static void ended_at_each_step(void **state) {
        bool more = true;

        (void)state;
        for (unsigned n = 1; more; n += n < 40 ? 1 : 7) {
                Answer answers[4] = {};
                PciAddress a = address(FN_A);
                SimCounters c;
                Kernel *again = NULL;
                int state_fd;
                Fixture f;

                fx_init(&f, "epyc-2p", NULL);
                state_fd = dup(sim_kernel_get_state_fd(f.kernel));
                fx_gate_set(&f, NULL, n);
                start_create(&f, "vm", FNS(FN_A, FN_C), NULL, answers);
                start_attach(&f, "vm", FN_D, NULL, answers + 1);
                assert_ok(vm_detach_function(fx_vm(&f, "vm"), &a, NULL, answer_store, answers + 2,
                                             NULL));
                more = fx_gate_reached(&f, answers + 2);
                assert_ok(manager_prepare_context(f.manager, fx_uuid("other"), ":1.1", 0,
                                                  answer_store, answers + 3, NULL));
                fx_done(&f); /* opens the gate */
                for_each_case(answer, answers) assert_true(answer->given);

                /* And every descriptor went with it. */
                assert_ok(sim_kernel_new(NULL, state_fd, &again, NULL));
                sim_get_counters(again, &c);
                assert_true(sim_counters_are_zero(&c));
                kernel_free(again);
                fd_close(state_fd);
        }
}

static void ended_while_it_waits_for_a_vmm(void **state) {
        Answer answer = {}, behind = {};
        PciAddress a = address(FN_A);
        int pidfd, theirs;
        pid_t vmm = child_new(&pidfd);
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.detach_timeout_usec = 60000000;
        fx_init(&f, "epyc-2p", &config);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(fx_leash(&f, "vm", pidfd));
        assert_ok(fx_open(&f, "vm", FN_A));
        theirs = dup(fx_vm(&f, "vm")->context.functions[0].cdev);
        assert_ok(fx_confirm(&f, "vm"));
        assert_ok(vm_detach_function(fx_vm(&f, "vm"), &a, NULL, answer_store, &answer, NULL));
        assert_ok(vm_open_context(fx_vm(&f, "vm"), NULL, NULL, answer_store, &behind, NULL));
        fx_run_for(&f, 50000);
        assert_false(answer.given);
        fx_done(&f);
        assert_true(answer.given && behind.given);
        assert_error(answer.r, EBUSY);
        assert_error(behind.r, ECANCELED);
        assert_problem(&behind.problem, PROBLEM_CANCELLED, "The daemon is stopping.");
        child_end(vmm);
        fd_close(pidfd);
        fd_close(theirs);
}

static void ended_while_it_probes(void **state) {
        Answer answer = {}, create;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        fx_gate_set(&f, "hwpt_alloc_nest_parent", 1);
        assert_ok(manager_probe(f.manager, 0, answer_store, &answer, NULL));
        start_create(&f, "vm", FNS(FN_C), NULL, &create);
        assert_true(fx_gate_reached(&f, &answer));
        fx_done(&f);
        assert_true(answer.given && create.given);
}

static void no_more_requests_at_the_end(void **state) {
        VmRequest request;
        Answer answer = {};
        Problem p = {};
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        f.manager->stopping = true;
        fx_request(&request, "vm", HW, FNS(FN_A));
        assert_error(manager_create_vm(f.manager, &request, 0, NULL, answer_store, &answer, &p),
                     ECANCELED);
        assert_problem(&p, PROBLEM_CANCELLED, "stopping");
        vm_request_done(&request);
        assert_error(manager_probe(f.manager, 0, answer_store, &answer, &p), ECANCELED);
        assert_error(manager_prepare_context(f.manager, fx_uuid("vm"), ":1.1", 0, answer_store,
                                             &answer, &p),
                     ECANCELED);
        f.manager->stopping = false;
        fx_done(&f);
        assert_null(manager_free(NULL));
}

/* ---- want of memory ---- */

/* @n_more: how many allocations fail in a row. */
static void without_memory(unsigned n_more, VmTier tier, VmHandover handover) {
        unsigned n = 0;
        bool failed = true;
        Config config;
        Fixture f;

        config_init(&config);
        config.detach_timeout_usec = 1000;
        fx_init(&f, "epyc-2p", &config);
        for (uint32_t i = 0; i < 8; i++)
                assert_ok(fx_probe(&f, i));

        for (uint64_t nth = 1; failed; nth++) {
                VmRequest request;
                int pidfd;
                pid_t vmm = child_new(&pidfd);

                /* The requests of the tests themselves are to be had. */
                fx_request(&request, "vm", tier, handover, FNS(FN_A, FN_C));
                request.leash_pidfd = dup(pidfd);
                oom_arm(nth, n_more);
                if (fx_create_request(&f, &request, ":1.1") >= 0) {
                        (void)fx_attach(&f, "vm", FNS(FN_D));
                        if (handover == HANDOVER_DAEMON) {
                                (void)fx_map(&f, "vm", 0, RAM_BYTES);
                                (void)fx_unmap(&f, "vm", 0, RAM_BYTES);
                        }
                        if (tier == TIER_HARDWARE) {
                                (void)fx_viommu_destroy(&f, "vm", 1);
                                (void)fx_viommu_create(&f, "vm", 1);
                        }
                        (void)fx_open(&f, "vm", NULL);
                        (void)fx_confirm(&f, "vm");
                        (void)fx_detach(&f, "vm", FN_C);
                        (void)fx_prepare(&f, "other", ":1.1");
                }
                manager_name_vanished(f.manager, ":1.1");
                failed = oom_disarm();

                child_end(vmm); /* takes down what has come to be */
                fd_close(pidfd);
                if (fx_vm(&f, "vm"))
                        (void)fx_destroy(&f, "vm", true);
                fx_run_until_gone(&f, "vm");
                fx_assert_clean(&f);
                n++;
        }
        print_message("%u allocations failed\n", n);
        assert_true(n > 20);
        assert_ok(fx_create(&f, "vm", tier, handover, FNS(FN_A)));
        fx_done(&f);
}

static void every_allocation_fails_once(void **state) {
        (void)state;
        without_memory(1, HW);
        without_memory(1, EMU);
        without_memory(1, LEGACY);
}

static void allocations_fail_in_a_row(void **state) {
        (void)state;
        without_memory(3, HW);
        without_memory(8, HW);
}

/* The end of a VM when there is no memory: it is tried again, and nobody is forgotten. */
static void taken_down_without_memory(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        for (unsigned n = 1; n < 40; n++) {
                Answer answer = {};
                int r;

                assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_C)));
                assert_ok(fx_map(&f, "vm", 0, RAM_BYTES));
                oom_arm(n, 1);
                r = vm_destroy(fx_vm(&f, "vm"), false, NULL, answer_store, &answer, NULL);
                if (r == 0)
                        fx_run_until(&f, &answer.given);
                if (!oom_disarm())
                        n = 40;
                if (r < 0 || answer.r < 0) {
                        assert_true(r == -ENOMEM || answer.r == -ENOMEM);
                        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1); /* charged */
                        assert_ok(fx_destroy(&f, "vm", false));
                }
                fx_assert_clean(&f);
        }
        fx_done(&f);
}

/* Starting: it starts wholly, or not at all, and the kernel stays the caller's. */
static void started_without_memory(void **state) {
        sd_event *event;
        Config config;
        char path[512];
        Kernel *k;

        (void)state;
        (void)snprintf(path, sizeof(path), "%s/small.json", PROFILES_DIR);
        config_init(&config);
        assert_true(sd_event_new(&event) >= 0);
        for (uint64_t nth = 1;; nth++) {
                Manager *m = NULL;
                bool failed;
                int r;

                assert_ok(sim_kernel_new(path, -1, &k, NULL));
                oom_arm(nth, 1);
                r = manager_new(event, &(ManagerGround){ .kernel = k }, &config,
                                "/etc/aviommu/aviommud.conf", &m);
                failed = oom_disarm();
                assert_true(r == 0 || r == -ENOMEM);
                if (r < 0) {
                        assert_true(failed);
                        kernel_free(k);
                } else
                        manager_free(m);
                if (!failed)
                        break;
        }
        sd_event_unref(event);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(creation_is_cancelled_at_each_step),
                cmocka_unit_test(attachment_is_cancelled_at_each_step),
                cmocka_unit_test(viommu_is_cancelled_at_each_step),
                cmocka_unit_test(nothing_to_cancel),
                cmocka_unit_test(callers_leave),
                cmocka_unit_test(too_many_are_not_looked_at),
                cmocka_unit_test(the_queue_is_bounded),
                cmocka_unit_test(operations_run_in_order),
                cmocka_unit_test(destroyed_while_it_is_made),
                cmocka_unit_test(destroyed_many_times),
                cmocka_unit_test(leash_ends_in_an_operation),
                cmocka_unit_test(vmm_ends_while_it_is_made),
                cmocka_unit_test(every_call_fails_once),
                cmocka_unit_test(ended_at_each_step),
                cmocka_unit_test(ended_while_it_waits_for_a_vmm),
                cmocka_unit_test(ended_while_it_probes),
                cmocka_unit_test(no_more_requests_at_the_end),
                cmocka_unit_test(every_allocation_fails_once),
                cmocka_unit_test(allocations_fail_in_a_row),
                cmocka_unit_test(taken_down_without_memory),
                cmocka_unit_test(started_without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
