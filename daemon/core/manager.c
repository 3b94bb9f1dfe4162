/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/resource.h>

#include "base/fd-util.h"
#include "core/manager-private.h"
#include "core/policy-host.h"

/* ---- the VMs, sorted by UUID ---- */

static int uuid_compare(const sd_id128_t *a, const sd_id128_t *b) {
        return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* The index of the first VM whose UUID is not before @uuid. */
static size_t vm_lower_bound(const Manager *m, const sd_id128_t *uuid) {
        size_t low = 0, high = m->n_vms;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (uuid_compare(&m->vms[middle]->uuid, uuid) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

Vm *manager_find_vm(const Manager *m, sd_id128_t uuid) {
        size_t i = vm_lower_bound(m, &uuid);

        return i < m->n_vms && sd_id128_equal(m->vms[i]->uuid, uuid) ? m->vms[i] : NULL;
}

size_t manager_first_after(const Manager *m, sd_id128_t uuid) {
        size_t i = vm_lower_bound(m, &uuid);

        return i < m->n_vms && sd_id128_equal(m->vms[i]->uuid, uuid) ? i + 1 : i;
}

Vm *manager_find_vm_by_name(const Manager *m, const char *name) {
        Vm *vm;

        HASH_FIND(hh_name, m->vms_by_name, name, strlen(name), vm);
        return vm;
}

int manager_link_vm(Manager *m, Vm *vm) {
        size_t i = vm_lower_bound(m, &vm->uuid);

        if ((i < m->n_vms && sd_id128_equal(m->vms[i]->uuid, vm->uuid)) ||
            manager_find_vm_by_name(m, vm->name))
                return -EEXIST;

        if (m->n_vms == m->n_vms_allocated) {
                size_t n = MAX(m->n_vms_allocated * 2, (size_t)16);
                Vm **grown = reallocarray(m->vms, n, sizeof(Vm *));

                if (!grown)
                        return -ENOMEM;
                m->vms = grown;
                m->n_vms_allocated = n;
        }

        HASH_ADD_KEYPTR(hh_name, m->vms_by_name, vm->name, strlen(vm->name), vm);
        if (!vm->hh_name.tbl)
                return -ENOMEM;

        memmove(m->vms + i + 1, m->vms + i, (m->n_vms - i) * sizeof(Vm *));
        m->vms[i] = vm;
        m->n_vms++;
        return 0;
}

void manager_remove_vm(Manager *m, Vm *vm) {
        size_t i = vm_lower_bound(m, &vm->uuid);

        assert(i < m->n_vms && m->vms[i] == vm);
        m->n_vms--;
        memmove(m->vms + i, m->vms + i + 1, (m->n_vms - i) * sizeof(Vm *));
        HASH_DELETE(hh_name, m->vms_by_name, vm);
        vm_free(vm);
        manager_notify_capacity(m);
}

/* ---- what deciders see, what observers hear ---- */

static const char *get_holder(void *userdata, const PciAddress *function) {
        Manager *m = userdata;
        const Claim *claim = claims_find(m, function);

        if (!claim)
                return NULL;
        if (claim->vm)
                return claim->vm->title;
        if (claim->reservation) {
                if (claim->reservation == m->deciding_for)
                        return NULL;
                reservation_get_title(claim->reservation, m->holder);
                return m->holder;
        }
        return "a probe of the kernel level";
}

/* What the VM holds, with what the operation in flight has been charged. Its functions are told by their claims. */
static void list_vm(const Vm *vm, HoldingFound found, void *userdata) {
        Holding h = { .tenant = vm->tenant, .uid = vm->owner_uid, .vm = vm };
        const Receipt *more = vm->operation ? vm->operation->receipt : NULL;

        h.n_vms = vm->receipt || more;
        h.receipt = vm->receipt;
        found(userdata, &h);
        if (!more)
                return;
        h.n_vms = 0;
        h.receipt = more;
        found(userdata, &h);
}

static void list_holdings(void *userdata, HoldingFound found, void *found_userdata) {
        const Manager *m = userdata;

        for (size_t i = 0; i < m->n_vms; i++)
                list_vm(m->vms[i], found, found_userdata);
        for (const Claim *claim = m->claims; claim; claim = claim->hh.next)
                if (claim->vm)
                        found(found_userdata, &(Holding){ .tenant = claim->vm->tenant,
                                                          .uid = claim->vm->owner_uid,
                                                          .vm = claim->vm,
                                                          .n_functions = 1 });
        reservations_list_holdings(m, found, found_userdata);
}

QuotaSubject vm_quota_subject(const Vm *vm) {
        return (QuotaSubject){ .tenant = vm->tenant, .uid = vm->owner_uid, .vm = vm };
}

AdmissionView manager_get_view(Manager *m) {
        return (AdmissionView){
                .inventory = m->inventory,
                .ledger = m->ledger,
                .config = &m->config,
                .get_holder = get_holder,
                .list_holdings = list_holdings,
                .userdata = m,
        };
}

void manager_notify_vm(Vm *vm) {
        ManagerObserver *o = &vm->manager->observer;

        if (vm->announced && o->vm_changed)
                o->vm_changed(o->userdata, vm);
}

void manager_notify_capacity(Manager *m) {
        uint64_t generation = ledger_get_generation(m->ledger);

        if (generation == m->ledger_generation)
                return;
        m->ledger_generation = generation;
        if (m->observer.capacity_changed)
                m->observer.capacity_changed(m->observer.userdata);
}

int manager_update_capacity(Manager *m) {
        Config config = m->config;
        struct rlimit limit;

        /* A stored descriptor is the daemon's too, and one of a function goes with an eventfd and its duplicate. */
        config.max_descriptors = MIN(config.max_descriptors, fdstore_get_max(m->fdstore));
        if (getrlimit(RLIMIT_NOFILE, &limit) >= 0)
                config.max_descriptors = MIN(config.max_descriptors, (uint64_t)limit.rlim_cur / 4);
        return capacity_update(m->ledger, m->inventory, &config);
}

int manager_set_config(Manager *m, Config *config) {
        Config before = m->config;
        int r;

        m->config = *config;
        r = manager_update_capacity(m);
        if (r < 0) {
                m->config = before;
                (void)manager_update_capacity(m); /* the accounts are all there */
                return r;
        }
        config->policy = NULL;
        config_done(&before);
        return 0;
}

static void on_policy_problem(void *userdata, const char *text) {
        log_config_warning(userdata, true, text);
}

static void log_policy_problems(const Manager *m) {
        policy_check_host(&m->config, m->inventory, m->ledger, on_policy_problem, NULL);
}

int manager_reload(Manager *m, Problem *reterr_problem) {
        _cleanup_(config_done) Config config = {};
        int r;

        config_init(&config);
        if (m->config_file) {
                r = config_load(m->config_file, log_config_warning, NULL, &config, reterr_problem);
                if (r < 0 && r != -ENOENT)
                        return r;
        }

        r = manager_set_config(m, &config);
        if (r < 0)
                return r;
        log_event(LOG_INFO, MESSAGE_CONFIG_READ, NULL, "The configuration has been read again.");
        log_policy_problems(m);
        manager_notify_capacity(m);
        if (m->observer.host_changed)
                m->observer.host_changed(m->observer.userdata); /* tiers may have come or gone */
        return 0;
}

static int plan_vm(Manager *m, const AdmissionView *view, VmRequest *request, uid_t uid,
                   Admission *ret, Problem *reterr_problem) {
        Reservation *reservation;
        const Vm *vm;
        int r;

        r = admission_complete_request(request, &m->config, reterr_problem);
        if (r < 0)
                return r;
        vm = manager_find_vm(m, request->uuid)
                     ?: request->name ? manager_find_vm_by_name(m, request->name)
                                      : NULL;
        if (vm)
                return problem_set(reterr_problem, PROBLEM_VM_EXISTS,
                                   "VM %s (%s) is admitted already.", VM_UUID_STRING(vm), vm->name);
        r = prepared_check(m, request, uid, reterr_problem);
        if (r >= 0)
                r = reservation_take(m, request->reservation, uid, &reservation, reterr_problem);
        if (r < 0)
                return r;
        r = admission_decide_vm(view, request, ret, reterr_problem);
        reservation_put_back(reservation);
        return r;
}

int manager_plan_vm(Manager *m, VmRequest *request, uid_t uid, Admission *ret,
                    QuotaRules *ret_rules, Problem *reterr_problem) {
        const QuotaSubject subject = { .tenant = request->tenant, .uid = uid };
        const DemandSet nothing = {};
        AdmissionView view = manager_get_view(m);
        int r, q = 0;

        request->uid = uid;
        view.ret_rules = ret_rules;
        r = user_groups_complete(m, request);
        if (r < 0)
                return r;
        r = plan_vm(m, &view, request, uid, ret, reterr_problem);
        /* Where it ended before it came to the amounts, those that are known. */
        if (ret_rules && ret_rules->n_rules == 0)
                q = quotas_list(&view, &subject, &(QuotaWish){ 1, request->n_functions, &nothing },
                                ret_rules);
        return q < 0 ? q : r;
}

void manager_report_vms(Manager *m, const sd_id128_t *uuids, size_t n_uuids) {
        for (size_t i = 0; i < n_uuids; i++) {
                Vm *vm = manager_find_vm(m, uuids[i]);

                if (vm)
                        vm->n_missing = -1;
        }
        for (size_t i = 0; i < m->n_vms;) {
                Vm *vm = m->vms[i];

                /* One that was created while the report was on its way is in the next. */
                vm->n_missing++;
                if (vm->leash.kind == LEASH_AGENT && vm->n_missing >= 2)
                        vm_on_leash_ended(&vm->leash, VM_END_REPORTED); /* may free it */
                if (i < m->n_vms && m->vms[i] == vm)
                        i++;
        }
}

/* ---- life ---- */

static int first_scan(Manager *m) {
        HostScan *scan = NULL;
        int r;

        r = m->kernel->ops->scan(m->kernel, NULL, 0, &scan);
        if (r >= 0)
                r = inventory_apply(m->inventory, &scan);
        host_scan_free(scan);
        if (r >= 0)
                r = manager_update_capacity(m);
        m->ledger_generation = ledger_get_generation(m->ledger);
        if (r >= 0)
                log_policy_problems(m);
        return r;
}

int manager_new(sd_event *event, const ManagerGround *ground, const Config *config,
                const char *config_file, Manager **ret) {
        _cleanup_(manager_freep) Manager *m = new0(Manager, 1);
        int r;

        if (!m)
                return -ENOMEM;

        m->event = sd_event_ref(event);
        m->config = *config;
        m->kernel = ground->kernel;
        m->records = ground->records;
        m->fdstore = ground->fdstore;
        m->definition_files = ground->definition_files;
        if (config_file)
                m->config_file = strdup(config_file);
        r = config_file && !m->config_file ? -ENOMEM : inventory_new(&m->inventory);
        if (r >= 0)
                r = ledger_new(&m->ledger);
        if (r >= 0)
                r = workers_new(event, (unsigned)config->workers, &m->workers);
        if (r >= 0)
                r = first_scan(m);
        if (r >= 0)
                r = hotplug_start(m);
        if (r < 0) {
                m->config.policy = NULL; /* still the caller's */
                m->kernel = NULL;
                m->records = NULL;
                m->fdstore = NULL;
                m->definition_files = NULL;
                return r;
        }

        *ret = TAKE_PTR(m);
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;

        m->stopping = true;
        m->observer = (ManagerObserver){};
        /* Retries wait on timers, not on workers: they end now. */
        for (size_t i = m->n_vms; i-- > 0;) {
                Operation *op = m->vms[i]->operation;

                if (op && op->retry)
                        op->retry = sd_event_source_disable_unref(op->retry),
                        op->job.done(&op->job);
        }
        workers_free(m->workers);
        sd_event_source_disable_unref(m->watch);
        sd_event_source_disable_unref(m->rescan_timer);
        sd_event_source_disable_unref(m->autostart);

        while (m->n_vms > 0)
                manager_remove_vm(m, m->vms[m->n_vms - 1]);
        free(m->vms);
        prepared_free_all(m);
        definitions_free_all(m);
        reservations_free_all(m);
        user_groups_forget(m);
        for (Claim *claim, *next = m->claims; (claim = next);) {
                next = claim->hh.next;
                claims_remove(m, &claim->function);
        }

        ledger_free(m->ledger);
        inventory_free(m->inventory);
        kernel_free(m->kernel);
        sd_event_source_disable_unref(m->record_timer);
        state_store_free(m->records);
        fdstore_free(m->fdstore);
        state_store_free(m->definition_files);
        for (size_t i = 0; i < m->n_kept_names; i++)
                free(m->kept_names[i]);
        free(m->kept_names);
        free(m->kept);
        free(m->stale);
        unstore_free_all(m);
        free(m->config_file);
        config_done(&m->config);
        sd_event_unref(m->event);
        free(m);
        return NULL;
}
