/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixture.h"

#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/log.h"

#define PATIENCE_USEC UINT64_C(30000000)

static uint64_t now_usec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void answer_store(void *userdata, int r, const Problem *problem) {
        Answer *answer = userdata;

        assert_false(answer->given);
        assert_true(r <= 0);
        answer->given = true;
        answer->r = r;
        if (problem)
                answer->problem = *problem;
}

/* ---- what the observer hears ---- */

static void on_added(void *userdata, const Vm *vm) {
        assert_true(vm->announced);
        ((Fixture *)userdata)->n_added++;
}

static void on_removed(void *userdata, const Vm *vm, const char *reason) {
        Fixture *f = userdata;

        assert_int_equal(vm->state, VM_RELEASED);
        f->n_removed++;
        (void)snprintf(f->reason, sizeof(f->reason), "%s", reason);
}

static void on_changed(void *userdata, const Vm *vm) {
        assert_true(vm->announced);
        ((Fixture *)userdata)->n_changed++;
}

static void on_capacity(void *userdata) {
        ((Fixture *)userdata)->n_capacity++;
}

static void on_host(void *userdata) {
        ((Fixture *)userdata)->n_host++;
}

/* ---- the gate ---- */

static void gate_hook(void *userdata, const char *op, bool before) {
        Gate *gate = userdata;
        const char *wanted;

        (void)pthread_mutex_lock(&gate->mutex);
        wanted = gate->op && *gate->op == '>' ? gate->op + 1 : gate->op;
        if (gate->countdown > 0 && before == (wanted == gate->op) &&
            (!wanted || streq(wanted, op)) && --gate->countdown == 0) {
                gate->reached = true;
                while (!gate->open)
                        (void)pthread_cond_wait(&gate->cond, &gate->mutex);
        }
        (void)pthread_mutex_unlock(&gate->mutex);
}

void fx_gate_set(Fixture *f, const char *op, unsigned nth) {
        (void)pthread_mutex_lock(&f->gate.mutex);
        f->gate.op = op;
        f->gate.countdown = nth;
        f->gate.reached = f->gate.open = false;
        (void)pthread_mutex_unlock(&f->gate.mutex);
}

bool fx_gate_reached(Fixture *f, const Answer *answer) {
        uint64_t until = now_usec() + PATIENCE_USEC;

        for (;;) {
                bool reached;

                (void)pthread_mutex_lock(&f->gate.mutex);
                reached = f->gate.reached;
                (void)pthread_mutex_unlock(&f->gate.mutex);
                if (reached)
                        return true;
                if (answer && answer->given) {
                        fx_gate_open(f); /* nobody is to be held up later */
                        return false;
                }
                if (now_usec() > until)
                        fail_msg("nobody comes to the gate");
                assert_true(sd_event_run(f->event, 2000) >= 0);
        }
}

void fx_gate_open(Fixture *f) {
        (void)pthread_mutex_lock(&f->gate.mutex);
        f->gate.open = true;
        f->gate.countdown = 0;
        (void)pthread_cond_broadcast(&f->gate.cond);
        (void)pthread_mutex_unlock(&f->gate.mutex);
}

/* ---- life ---- */

void fx_init(Fixture *f, const char *profile, const Config *config) {
        char path[512];
        Problem p = {};

        *f = (Fixture){ .gate = { .mutex = PTHREAD_MUTEX_INITIALIZER,
                                  .cond = PTHREAD_COND_INITIALIZER },
                        .ram = memfd_create("ram", MFD_CLOEXEC) };
        assert_ok(ftruncate(f->ram, (off_t)(4 * RAM_BYTES)));
        log_set_max_level(LOG_EMERG);

        (void)snprintf(path, sizeof(path), "%s/%s.json", PROFILES_DIR, profile);
        if (sim_kernel_new(path, -1, &f->kernel, &p) < 0)
                fail_msg("%s", p.text);
        sim_set_hook(f->kernel, gate_hook, &f->gate);

        if (config)
                f->config = *config;
        else {
                config_init(&f->config);
                f->config.detach_timeout_usec = 200000;
        }
        assert_true(sd_event_new(&f->event) >= 0);
        assert_ok(manager_new(f->event, &(ManagerGround){ .kernel = f->kernel }, &f->config, NULL,
                              &f->manager));
        f->manager->observer = (ManagerObserver){ .vm_added = on_added,
                                                  .vm_removed = on_removed,
                                                  .vm_changed = on_changed,
                                                  .capacity_changed = on_capacity,
                                                  .host_changed = on_host,
                                                  .userdata = f };
}

void fx_done(Fixture *f) {
        fx_gate_open(f);
        manager_free(f->manager);
        sd_event_unref(f->event);
        fd_close(f->ram);
}

void fx_run_until(Fixture *f, const bool *flag) {
        uint64_t until = now_usec() + PATIENCE_USEC;

        while (!*flag) {
                assert_true(sd_event_run(f->event, 10000) >= 0);
                if (now_usec() > until)
                        fail_msg("it takes too long");
        }
}

void fx_run_for(Fixture *f, uint64_t usec) {
        uint64_t until = now_usec() + usec, now;

        while ((now = now_usec()) < until)
                assert_true(sd_event_run(f->event, until - now) >= 0);
}

void fx_run_until_gone(Fixture *f, const char *name) {
        uint64_t until = now_usec() + PATIENCE_USEC;

        while (fx_vm(f, name)) {
                assert_true(sd_event_run(f->event, 10000) >= 0);
                if (now_usec() > until)
                        fail_msg("%s is still %s", name, vm_state_to_string(fx_state(f, name)));
        }
}

sd_id128_t fx_uuid(const char *name) {
        sd_id128_t id = {};

        memcpy(id.bytes, name, MIN(strlen(name), sizeof(id.bytes)));
        return id;
}

Vm *fx_vm(const Fixture *f, const char *name) {
        return manager_find_vm(f->manager, fx_uuid(name));
}

VmState fx_state(const Fixture *f, const char *name) {
        const Vm *vm = fx_vm(f, name);

        return vm ? vm->state : _VM_STATE_INVALID;
}

/* ---- requests ---- */

/* Waits for the answer of a request that was made with @r. */
static int finish(Fixture *f, int r, Answer *answer) {
        assert_true(r <= 0);
        if (r < 0) {
                assert_false(answer->given);
                return r;
        }
        fx_run_until(f, &answer->given);
        f->problem = answer->problem;
        /* A refusal has words, but want of memory and the like have none. */
        if (answer->r == 0)
                assert_false(problem_is_set(&answer->problem));
        return answer->r;
}

#define REQUEST(f, call)                                                                           \
        ({                                                                                         \
                Answer answer = {};                                                                \
                (f)->problem = (Problem){};                                                        \
                finish((f), (call), &answer);                                                      \
        })

void fx_request(VmRequest *request, const char *name, VmTier tier, VmHandover handover,
                const char *const *functions) {
        vm_request_init(request);
        request->uuid = fx_uuid(name);
        request->name = strdup(name);
        request->tier = tier;
        request->has_tier = true;
        request->handover = handover;
        request->has_handover = true;
        for (; *functions; functions++) {
                FunctionRequest fn = { .address = address(*functions) };

                assert_ok(vm_request_add_function(request, &fn));
        }
}

int fx_create_request(Fixture *f, VmRequest *request, const char *caller) {
        int r = REQUEST(f, manager_create_vm(f->manager, request, 0, caller, answer_store, &answer,
                                             &f->problem));

        vm_request_done(request);
        return r;
}

int fx_create(Fixture *f, const char *name, VmTier tier, VmHandover handover,
              const char *const *functions) {
        VmRequest request;

        fx_request(&request, name, tier, handover, functions);
        return fx_create_request(f, &request, NULL);
}

int fx_attach(Fixture *f, const char *name, const char *const *functions) {
        return fx_attach_with(f, name, functions, 0);
}

int fx_attach_with(Fixture *f, const char *name, const char *const *functions, uint64_t memory) {
        FunctionRequest requests[8] = {};
        size_t n = 0;

        for (; functions[n]; n++)
                requests[n].address = address(functions[n]);
        return REQUEST(f, vm_attach_functions(fx_vm(f, name), requests, n, memory, ":1.1",
                                              answer_store, &answer, &f->problem));
}

int fx_detach(Fixture *f, const char *name, const char *function) {
        PciAddress a = address(function);

        return REQUEST(f, vm_detach_function(fx_vm(f, name), &a, ":1.1", answer_store, &answer,
                                             &f->problem));
}

int fx_map(Fixture *f, const char *name, uint64_t iova, uint64_t length) {
        KernelMapping m = { .fd = f->ram, .iova = iova, .length = length, .writable = true };

        return REQUEST(
                f, vm_map_memory(fx_vm(f, name), &m, ":1.1", answer_store, &answer, &f->problem));
}

int fx_unmap(Fixture *f, const char *name, uint64_t iova, uint64_t length) {
        return REQUEST(f, vm_unmap_memory(fx_vm(f, name), iova, length, ":1.1", answer_store,
                                          &answer, &f->problem));
}

int fx_viommu_create(Fixture *f, const char *name, uint32_t iommu) {
        return REQUEST(f, vm_create_viommu(fx_vm(f, name), iommu, ":1.1", answer_store, &answer,
                                           &f->problem));
}

int fx_viommu_destroy(Fixture *f, const char *name, uint32_t iommu) {
        return REQUEST(f, vm_destroy_viommu(fx_vm(f, name), iommu, ":1.1", answer_store, &answer,
                                            &f->problem));
}

int fx_open(Fixture *f, const char *name, const char *function) {
        PciAddress a = function ? address(function) : (PciAddress){};

        return REQUEST(f, vm_open_context(fx_vm(f, name), function ? &a : NULL, ":1.1",
                                          answer_store, &answer, &f->problem));
}

int fx_confirm(Fixture *f, const char *name) {
        return REQUEST(
                f, vm_confirm_context(fx_vm(f, name), ":1.1", answer_store, &answer, &f->problem));
}

int fx_destroy(Fixture *f, const char *name, bool force) {
        return REQUEST(
                f, vm_destroy(fx_vm(f, name), force, ":1.1", answer_store, &answer, &f->problem));
}

int fx_prepare(Fixture *f, const char *name, const char *caller) {
        return REQUEST(f, manager_prepare_context(f->manager, fx_uuid(name), caller, 0,
                                                  answer_store, &answer, &f->problem));
}

int fx_probe(Fixture *f, uint32_t iommu) {
        return REQUEST(f, manager_probe(f->manager, iommu, answer_store, &answer, &f->problem));
}

int fx_leash(Fixture *f, const char *name, int pidfd) {
        return REQUEST(
                f, vm_set_leash(fx_vm(f, name), pidfd, ":1.1", answer_store, &answer, &f->problem));
}

/* ---- the end ---- */

uint64_t fx_used(const Fixture *f, ResourceKind kind, uint32_t scope) {
        size_t n;
        const LedgerAccount *a = ledger_get_accounts(f->manager->ledger, &n);

        for (size_t i = 0; i < n; i++)
                if (a[i].kind == kind && a[i].scope == scope)
                        return a[i].used;
        return 0;
}

void fx_assert_clean(Fixture *f) {
        size_t n;
        const LedgerAccount *a = ledger_get_accounts(f->manager->ledger, &n);
        SimCounters c;

        assert_int_equal(f->manager->n_vms, 0);
        assert_null(f->manager->claims);
        for (size_t i = 0; i < n; i++)
                if (a[i].used > 0)
                        fail_msg("%lu %s of %s are charged still", a[i].used,
                                 resource_kind_to_string(a[i].kind),
                                 RESOURCE_SCOPE_STRING(a[i].kind, a[i].scope));
        sim_get_counters(f->kernel, &c);
        if (!sim_counters_are_zero(&c))
                fail_msg("%lu contexts, %lu cdevs, %lu ioas, %lu viommus, %lu mappings are left",
                         c.contexts, c.open_cdevs, c.ioas, c.viommus, c.mappings);
}

pid_t child_new(int *ret_pidfd) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)pause();
                _exit(0);
        }
        *ret_pidfd = pidfd_open(pid, 0);
        assert_true(*ret_pidfd >= 0);
        return pid;
}

void child_end(pid_t pid) {
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}
