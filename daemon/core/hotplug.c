/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Functions and drivers that come and go while the daemon runs. */

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

#include "core/manager-private.h"

/* One plug makes many events: they are waited for, and one scan answers all. */
#define RESCAN_DELAY_USEC UINT64_C(100000)

/* After one that has failed, and may have left capacities at nothing. */
#define RESCAN_RETRY_USEC UINT64_C(2000000)

typedef struct Rescan {
        Job job;
        Manager *manager;
        HostScan *scan;
        int result;
} Rescan;

static void rescan_later(Manager *m, uint64_t delay_usec);

static void rescan_run(Job *job) {
        Rescan *rescan = container_of(job, Rescan, job);
        Kernel *k = rescan->manager->kernel;

        rescan->result = k->ops->scan(k, NULL, 0, &rescan->scan);
}

/* Says which functions of VMs have gone or come back; that they are listed as "lost" follows from the inventory. */
static void report_lost(Manager *m, const HostScan *before) {
        for (Claim *claim = m->claims; claim; claim = claim->hh.next) {
                bool is = inventory_find_function(m->inventory, &claim->function), was = false;

                for (size_t i = 0; i < before->n_functions && !was; i++)
                        was = pci_address_equal(&before->functions[i].address, &claim->function);
                if (is == was || !claim->vm)
                        continue;
                log_event(is ? LOG_INFO : LOG_WARNING,
                          is ? MESSAGE_FUNCTION_BACK : MESSAGE_FUNCTION_GONE,
                          &(LogFields){ .vm = VM_UUID_STRING(claim->vm),
                                        .name = claim->vm->name,
                                        .function = PCI_ADDRESS_STRING(&claim->function) },
                          "%s has %s the host.", PCI_ADDRESS_STRING(&claim->function),
                          is ? "come back to" : "gone from");
                manager_notify_vm(claim->vm);
        }
}

static void rescan_done(Job *job) {
        Rescan *rescan = container_of(job, Rescan, job);
        Manager *m = rescan->manager;
        const HostScan *before = inventory_get_scan(m->inventory);
        _cleanup_free_ PciFunctionInfo *functions = new0(PciFunctionInfo,
                                                         MAX(before->n_functions, (size_t)1));
        HostScan old = { .functions = functions, .n_functions = before->n_functions };
        int r = functions ? rescan->result : -ENOMEM;

        if (r >= 0) {
                memcpy(functions, before->functions, before->n_functions * sizeof(PciFunctionInfo));
                r = inventory_apply(m->inventory, &rescan->scan);
        }
        if (r >= 0)
                r = manager_update_capacity(m);
        if (r >= 0) {
                report_lost(m, &old);
                if (m->observer.host_changed)
                        m->observer.host_changed(m->observer.userdata);
                manager_notify_capacity(m);
                definitions_look_again(m);
        } else if (!m->stopping && !m->rescan_failing)
                log_event(LOG_WARNING, MESSAGE_HOST_UNREAD, NULL,
                          "Cannot read the host's functions anew, trying again: %s", strerror(-r));

        host_scan_free(rescan->scan);
        free(rescan);
        m->rescanning = false;
        m->rescan_failing = r < 0;
        if (m->rescan_again || r < 0)
                rescan_later(m, r < 0 ? RESCAN_RETRY_USEC : RESCAN_DELAY_USEC);
}

static int on_rescan_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Manager *m = userdata;
        Rescan *rescan;

        (void)s;
        (void)usec;
        m->rescan_again = false;
        rescan = new0(Rescan, 1);
        if (!rescan) {
                rescan_later(m, RESCAN_RETRY_USEC);
                return 0;
        }

        *rescan = (Rescan){ .job = { .run = rescan_run, .done = rescan_done },
                            .manager = m,
                            .result = -ECANCELED };
        m->rescanning = true;
        workers_submit(m->workers, &rescan->job);
        return 0;
}

static void rescan_later(Manager *m, uint64_t delay_usec) {
        if (m->rescanning)
                m->rescan_again = true;
        else if (!m->stopping &&
                 sd_event_source_set_time_relative(m->rescan_timer, delay_usec) >= 0)
                (void)sd_event_source_set_enabled(m->rescan_timer, SD_EVENT_ONESHOT);
}

static int on_watch(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Manager *m = userdata;
        bool changed = false;
        int r;

        (void)s;
        (void)fd;
        (void)revents;
        r = m->kernel->ops->watch_drain(m->kernel, &changed);
        if (r < 0)
                log_event(LOG_WARNING, MESSAGE_HOST_UNREAD, NULL,
                          "Cannot read the host's device events: %s", strerror(-r));
        if (changed || r < 0)
                rescan_later(m, RESCAN_DELAY_USEC);
        return 0;
}

int hotplug_start(Manager *m) {
        int fd, r;

        r = sd_event_add_time_relative(m->event, &m->rescan_timer, CLOCK_MONOTONIC, 0, 0,
                                       on_rescan_timer, m);
        if (r >= 0)
                r = sd_event_source_set_enabled(m->rescan_timer, SD_EVENT_OFF);
        if (r < 0)
                return r;

        r = m->kernel->ops->watch(m->kernel, &fd);
        if (r < 0) {
                log_event(LOG_WARNING, MESSAGE_HOST_UNREAD, NULL,
                          "Cannot watch for devices that come and go: %s", strerror(-r));
                return 0;
        }
        return sd_event_add_io(m->event, &m->watch, fd, EPOLLIN, on_watch, m);
}

int hotplug_unplug_wanted(Vm *vm, const PciAddress *function) {
        const ContextFunction *f = context_find_function(&vm->context, function);
        int r;

        if (!f || f->draining || !vm_is_alive(vm))
                return 0;

        log_event(LOG_WARNING, MESSAGE_FUNCTION_WANTED,
                  &(LogFields){ .vm = VM_UUID_STRING(vm),
                                .name = vm->name,
                                .function = PCI_ADDRESS_STRING(function) },
                  "The host wants %s back: it is detached.", PCI_ADDRESS_STRING(function));
        r = vm_detach_function(vm, function, NULL, NULL, NULL, NULL);
        if (r < 0)
                log_event(LOG_ERR, MESSAGE_FUNCTION_STUCK,
                          &(LogFields){ .vm = VM_UUID_STRING(vm),
                                        .name = vm->name,
                                        .function = PCI_ADDRESS_STRING(function),
                                        .reason = strerror(-r) },
                          "Cannot detach %s yet: %s", PCI_ADDRESS_STRING(function), strerror(-r));
        return r;
}
