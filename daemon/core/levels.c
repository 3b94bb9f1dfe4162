/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Kernel levels that were probed outlive the daemon: a probe resets a function, and where all functions are taken there is none to probe with.
 * They say nothing of any VM: what cannot be written or read is found out again.
 */

#include <stdio.h>

#include "core/manager-private.h"
#include "state/level-record.h"

static_assert(sizeof(((LevelRecord *)0)->host_iommu) == sizeof(((HostIommuInfo *)0)->name) &&
                      RECORD_LEVEL_REASON_SIZE == KERNEL_LEVEL_REASON_SIZE,
              "a record holds what there is");

static sd_id128_t id_of(uint32_t index) {
        sd_id128_t id = SD_ID128_NULL;

        memcpy(id.bytes, &index, sizeof(index));
        return id;
}

void level_save(Manager *m, const HostIommu *iommu) {
        _cleanup_free_ char *body = NULL;
        LevelRecord record = {};
        int r;

        if (!m->records || iommu->level == KERNEL_LEVEL_UNKNOWN)
                return;
        (void)snprintf(record.host_iommu, sizeof(record.host_iommu), "%s", iommu->info.name);
        (void)snprintf(record.level, sizeof(record.level), "%s",
                       kernel_level_to_string(iommu->level));
        (void)snprintf(record.reason, sizeof(record.reason), "%s", iommu->level_reason);
        r = level_record_format(&record, &body);
        if (r >= 0)
                r = record_store(m, RECORD_LEVEL, id_of(iommu->info.index), body);
        if (r < 0)
                log_event(LOG_WARNING, MESSAGE_RECORDS_FAILING,
                          &(LogFields){ .iommu = iommu->info.name, .reason = strerror(-r) },
                          "The kernel level of %s cannot be written down, the next daemon has to "
                          "probe again: %s",
                          iommu->info.name, strerror(-r));
}

static bool apply(Manager *m, const StateEntry *entry) {
        const HostIommu *iommu;
        LevelRecord record;
        KernelLevel level;

        if (entry->verdict != RECORD_GOOD ||
            level_record_parse(entry->body, entry->body_length, &record) < 0 ||
            kernel_level_from_string(record.level, &level) < 0)
                return false;
        iommu = inventory_find_iommu_by_name(m->inventory, record.host_iommu);
        if (!iommu || !sd_id128_equal(entry->id, id_of(iommu->info.index)))
                return false;
        if (iommu->level == KERNEL_LEVEL_UNKNOWN) /* or the scan knows better */
                inventory_set_level(m->inventory, iommu->info.index, level, record.reason);
        return true;
}

void level_recover(Manager *m, const StateEntry *entry) {
        if (!apply(m, entry))
                record_forget(m, RECORD_LEVEL, entry->id);
}
