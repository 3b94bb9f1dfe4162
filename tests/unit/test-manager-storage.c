/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The manager when what it knows cannot be written down, or the service manager that keeps its descriptors does not answer. */

#include <sys/stat.h>

#include "base/fd-util.h"
#include "core/manager-private.h"
#include "fixture.h"

#include "service-manager.h"

#define HW TIER_HARDWARE, HANDOVER_DAEMON

/* A manager that keeps records in a folder, and descriptors with a service manager. */
typedef struct Storage {
        Fixture f;
        ServiceManager *service;
        char folder[64];
} Storage;

static void storage_init(Storage *s) {
        Manager *m;

        *s = (Storage){ .service = service_manager_start(SERVICE_MANAGER_FDS_MAX),
                        .folder = "/tmp/aviommu-storage-XXXXXX" };
        assert_non_null(mkdtemp(s->folder));
        service_manager_set_environment(s->service);
        fx_init(&s->f, "epyc-2p", NULL);
        m = s->f.manager;
        assert_ok(state_store_open(s->folder, &m->records));
        assert_ok(fdstore_new(SERVICE_MANAGER_FDS_MAX, &m->fdstore));
        fdstore_set_barrier_timeout(m->fdstore, 50000);
}

static void storage_done(Storage *s) {
        char command[96];
        size_t n;

        (void)service_manager_list(s->service, &n);
        assert_int_equal(n, 0);
        fx_assert_clean(&s->f);
        fx_done(&s->f);
        service_manager_stop(s->service);
        (void)snprintf(command, sizeof(command), "rm -rf %s", s->folder);
        assert_int_equal(system(command), 0);
}

/* ---- records ---- */

static void record_path(const Storage *s, const char *dot, const char *name, char ret[static 128]) {
        (void)snprintf(ret, 128, "%s/%svm-%s", s->folder, dot, SD_ID128_TO_STRING(fx_uuid(name)));
}

/* Whether the record of a VM has @part in it. */
static bool record_says(const Storage *s, const char *name, const char *part) {
        char path[128], text[16384];
        size_t length;
        FILE *file;

        record_path(s, "", name, path);
        file = fopen(path, "re");
        assert_non_null(file);
        length = fread(text, 1, sizeof(text) - 1, file);
        text[length] = 0;
        assert_int_equal(fclose(file), 0);
        return strstr(text, part);
}

/* A folder where the record is to be written first. */
static void block_record(const Storage *s, const char *name, bool block) {
        char path[128];

        record_path(s, ".", name, path);
        assert_ok(block ? mkdir(path, 0700) : rmdir(path));
}

/* What could not be written is tried again; but of a VM with an operation in flight, what that has written is not taken away. */
static void written_again_around_an_operation(void **state) {
        static const char *const names[] = { "another", "vm" };
        Answer answer = {};
        Storage s;
        Fixture *f = &s.f;

        (void)state;
        storage_init(&s);
        assert_ok(fx_create(f, "vm", HW, FNS(FN_A)));
        assert_ok(fx_create(f, "another", HW, FNS(FN_C)));
        assert_ok(fx_viommu_destroy(f, "vm", 0));
        for_each_case(name, names) {
                assert_ok(fx_map(f, *name, 0, RAM_BYTES));
                block_record(&s, *name, true);
                assert_ok(fx_unmap(f, *name, 0, RAM_BYTES));
                assert_true(record_says(&s, *name, "\"iova\""));
                block_record(&s, *name, false);
        }

        fx_gate_set(f, "viommu_alloc", 1);
        assert_ok(vm_create_viommu(fx_vm(f, "vm"), 0, NULL, answer_store, &answer, NULL));
        assert_true(fx_gate_reached(f, &answer));
        assert_true(record_says(&s, "vm", "\"pending\":true"));
        for (unsigned i = 0; i < 1000 && record_says(&s, "another", "\"iova\""); i++)
                fx_run_for(f, 10000);
        assert_false(record_says(&s, "another", "\"iova\""));
        assert_true(record_says(&s, "vm", "\"pending\":true"));
        assert_true(f->manager->records_failing);

        fx_gate_open(f);
        fx_run_until(f, &answer.given);
        assert_ok(answer.r);
        assert_false(record_says(&s, "vm", "\"pending\":true"));
        for (unsigned i = 0; i < 1000 && f->manager->records_failing; i++)
                fx_run_for(f, 10000);
        assert_false(f->manager->records_failing);
        assert_ok(fx_destroy(f, "vm", false));
        assert_ok(fx_destroy(f, "another", false));
        storage_done(&s);
}

/* A folder with the name of a record is not tried again for ever. */
static void a_folder_is_no_record(void **state) {
        char path[128], aside[160];
        Storage s;

        (void)state;
        storage_init(&s);
        (void)snprintf(path, sizeof(path), "%s/bus-%s", s.folder,
                       SD_ID128_TO_STRING(fx_uuid("bus")));
        (void)snprintf(aside, sizeof(aside), "%s/damaged/bus-%s", s.folder,
                       SD_ID128_TO_STRING(fx_uuid("bus")));
        assert_ok(mkdir(path, 0700));
        record_forget(s.f.manager, RECORD_BUS, fx_uuid("bus"));
        assert_int_equal(s.f.manager->n_stale, 0);
        assert_false(s.f.manager->records_failing);
        assert_int_equal(access(path, F_OK), -1);
        assert_ok(access(aside, F_OK));
        storage_done(&s);
}

/* ---- the service manager ---- */

/* Creating fails and cannot be undone: it is quarantined, and gone once the service manager answers again. */
static void created_while_it_is_stalled(void **state) {
        Storage s;
        Fixture *f = &s.f;

        (void)state;
        storage_init(&s);
        service_manager_stall(s.service, true);
        assert_error(fx_create(f, "vm", HW, FNS(FN_A)), ETIMEDOUT);
        assert_int_equal(fx_state(f, "vm"), VM_QUARANTINED);
        assert_int_equal(fx_used(f, RESOURCE_INSTANCES, 0), 1);
        assert_int_equal(f->n_added, 1);

        service_manager_stall(s.service, false);
        fx_run_until_gone(f, "vm"); /* by itself */
        assert_int_equal(f->n_removed, 1);
        assert_string_equal(f->reason, "failed");
        assert_ok(fx_create(f, "vm", HW, FNS(FN_A)));
        assert_ok(fx_destroy(f, "vm", false));
        storage_done(&s);
}

/* What an earlier daemon was in the midst of is put right once the service manager answers, and nothing is built on it before. */
static void repaired_after_it_was_stalled(void **state) {
        VmContext *context;
        int theirs, pidfd;
        pid_t vmm;
        size_t n;
        Vm *vm;
        Storage s;
        Fixture *f = &s.f;

        (void)state;
        storage_init(&s);
        vmm = child_new(&pidfd);
        assert_ok(fx_create(f, "vm", HW, FNS(FN_A, FN_C)));
        assert_ok(fx_leash(f, "vm", pidfd));
        assert_ok(fx_open(f, "vm", NULL));
        assert_ok(fx_map(f, "vm", 0, RAM_BYTES));
        assert_ok(fx_map(f, "vm", RAM_BYTES, RAM_BYTES));
        vm = fx_vm(f, "vm");
        context = &vm->context;
        theirs = dup(context->functions[0].cdev);
        context->functions[0].handed_over = true;
        context_find_viommu(context, 1)->draining = true;
        context_find_mapping(context, 0, RAM_BYTES)->draining = true;
        context_find_mapping(context, RAM_BYTES, RAM_BYTES)->pending = true;
        context->mapped_bytes -= RAM_BYTES;

        service_manager_stall(s.service, true);
        assert_ok(vm_repair(vm));
        while (vm->n_operations > 0)
                fx_run_for(f, 10000);
        assert_int_equal(vm->unrepaired, -ETIMEDOUT);
        assert_error(fx_map(f, "vm", 2 * RAM_BYTES, RAM_BYTES), EBUSY);
        assert_problem(&f->problem, PROBLEM_BUSY, "half done");
        assert_error(fx_unmap(f, "vm", 0, RAM_BYTES), EBUSY);
        assert_error(fx_unmap(f, "vm", RAM_BYTES, RAM_BYTES), EBUSY);
        assert_error(fx_viommu_destroy(f, "vm", 1), EBUSY);
        assert_true(context->functions[0].cdev >= 0);

        service_manager_stall(s.service, false);
        for (unsigned i = 0; i < 1000 && vm->unrepaired; i++)
                fx_run_for(f, 10000);
        assert_int_equal(vm->unrepaired, 0);
        assert_int_equal(context->functions[0].cdev, -1);
        assert_int_equal(context->n_mappings, 0);
        assert_int_equal(context->mapped_bytes, 0);
        assert_int_equal(fx_used(f, RESOURCE_PINNED_MEMORY, 0), 0);
        assert_int_equal(context->n_viommus, 1);
        assert_int_equal(fx_used(f, RESOURCE_INSTANCES, 1), 0);
        (void)service_manager_list(s.service, &n);
        assert_int_equal(n, 3); /* the iommufd, one function, the leash */
        assert_ok(fx_map(f, "vm", 0, RAM_BYTES));

        fd_close(theirs);
        child_end(vmm);
        fd_close(pidfd);
        fx_run_until_gone(f, "vm");
        storage_done(&s);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(written_again_around_an_operation),
                cmocka_unit_test(a_folder_is_no_record),
                cmocka_unit_test(created_while_it_is_stalled),
                cmocka_unit_test(repaired_after_it_was_stalled),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
