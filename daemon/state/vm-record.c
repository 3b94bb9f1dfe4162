/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/vm-record.h"

#include "state/record-json.h"

static const JsonField function_fields[] = {
        JSON_FIELD(RecordFunction, address),      JSON_FIELD(RecordFunction, host_iommu),
        JSON_FIELD(RecordFunction, group),        JSON_FIELD(RecordFunction, guest_id),
        JSON_FIELD(RecordFunction, has_vf_token), JSON_FIELD(RecordFunction, vf_token),
        JSON_FIELD(RecordFunction, managed),      JSON_FIELD(RecordFunction, pending),
        JSON_FIELD(RecordFunction, draining),     JSON_FIELD(RecordFunction, attached),
        JSON_FIELD(RecordFunction, handed_over),  JSON_FIELD(RecordFunction, device_id),
        JSON_FIELD(RecordFunction, vdevice_id),   JSON_FIELD(RecordFunction, stored),
};

static const JsonField viommu_fields[] = {
        JSON_FIELD(RecordViommu, host_iommu),    JSON_FIELD(RecordViommu, segment),
        JSON_FIELD(RecordViommu, numa_node),     JSON_FIELD(RecordViommu, viommu_id),
        JSON_FIELD(RecordViommu, vfmmio_offset), JSON_FIELD(RecordViommu, pending),
        JSON_FIELD(RecordViommu, draining),
};

static const JsonField mapping_fields[] = {
        JSON_FIELD(RecordMapping, iova),
        JSON_FIELD(RecordMapping, length),
        JSON_FIELD(RecordMapping, pending),
        JSON_FIELD(RecordMapping, draining),
};

static const JsonField charge_fields[] = {
        JSON_FIELD(RecordCharge, resource),
        JSON_FIELD(RecordCharge, scope),
        JSON_FIELD(RecordCharge, amount),
};

static const JsonTable function_table = JSON_TABLE(RecordFunction, function_fields),
                       viommu_table = JSON_TABLE(RecordViommu, viommu_fields),
                       mapping_table = JSON_TABLE(RecordMapping, mapping_fields);
const JsonTable record_charge_table = JSON_TABLE(RecordCharge, charge_fields);

static const JsonField fields[] = {
        JSON_FIELD(VmRecord, uuid),
        JSON_FIELD(VmRecord, name),
        JSON_FIELD(VmRecord, owner_uid),
        JSON_FIELD(VmRecord, state),
        JSON_FIELD(VmRecord, end_reason),
        JSON_FIELD(VmRecord, state_reason),
        JSON_FIELD(VmRecord, tier),
        JSON_FIELD(VmRecord, handover),
        JSON_FIELD(VmRecord, leash),
        JSON_FIELD(VmRecord, leash_caller),
        JSON_FIELD(VmRecord, deadline_usec),
        JSON_FIELD(VmRecord, shared),
        JSON_FIELD(VmRecord, confirmed),
        JSON_FIELD(VmRecord, confirming),
        JSON_FIELD(VmRecord, memory),
        JSON_FIELD(VmRecord, guest_domains),
        JSON_FIELD(VmRecord, ioas_id),
        JSON_FIELD(VmRecord, hwpt_id),
        JSON_FIELD(VmRecord, iommufd_stored),
        JSON_FIELD(VmRecord, leash_stored),
        JSON_FIELD_LIST(VmRecord, functions, function_table),
        JSON_FIELD_LIST(VmRecord, viommus, viommu_table),
        JSON_FIELD_LIST(VmRecord, mappings, mapping_table),
        JSON_FIELD_LIST(VmRecord, charges, record_charge_table),
        JSON_FIELD_OPTIONAL(VmRecord, tenant),
        JSON_FIELD_OPTIONAL(VmRecord, reservation),
};

static const JsonTable table = JSON_TABLE(VmRecord, fields);

void vm_record_done(VmRecord *record) {
        json_done(&table, record);
}

int vm_record_format(const VmRecord *record, char **ret) {
        return json_format(&table, record, ret);
}

int vm_record_parse(const char *text, size_t length, VmRecord *ret) {
        _cleanup_(vm_record_done) VmRecord record = {};
        int r;

        r = json_parse(&table, text, length, &record);
        if (r < 0)
                return r;

        *ret = record;
        record = (VmRecord){};
        return 0;
}
