/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/definition-record.h"

#include "state/record-json.h"

static const JsonField function_fields[] = {
        JSON_FIELD(RecordDefinedFunction, address),
        JSON_FIELD(RecordDefinedFunction, has_guest_id),
        JSON_FIELD(RecordDefinedFunction, guest_id),
        JSON_FIELD(RecordDefinedFunction, has_vf_token),
        JSON_FIELD(RecordDefinedFunction, vf_token),
        JSON_FIELD(RecordDefinedFunction, managed),
};

static const JsonTable function_table = JSON_TABLE(RecordDefinedFunction, function_fields);

static const JsonField fields[] = {
        JSON_FIELD(DefinitionRecord, uuid),
        JSON_FIELD(DefinitionRecord, number),
        JSON_FIELD(DefinitionRecord, owner_uid),
        JSON_FIELD(DefinitionRecord, name),
        JSON_FIELD(DefinitionRecord, tier),
        JSON_FIELD(DefinitionRecord, handover),
        JSON_FIELD(DefinitionRecord, memory),
        JSON_FIELD(DefinitionRecord, has_guest_domains),
        JSON_FIELD(DefinitionRecord, guest_domains),
        JSON_FIELD(DefinitionRecord, autostart),
        JSON_FIELD_LIST(DefinitionRecord, functions, function_table),
        JSON_FIELD_OPTIONAL(DefinitionRecord, tenant),
};

static const JsonTable table = JSON_TABLE(DefinitionRecord, fields);

void definition_record_done(DefinitionRecord *record) {
        json_done(&table, record);
}

int definition_record_format(const DefinitionRecord *record, char **ret) {
        return json_format(&table, record, ret);
}

int definition_record_parse(const char *text, size_t length, DefinitionRecord *ret) {
        _cleanup_(definition_record_done) DefinitionRecord record = {};
        int r;

        r = json_parse(&table, text, length, &record);
        if (r < 0)
                return r;

        *ret = record;
        record = (DefinitionRecord){};
        return 0;
}

static const JsonField started_fields[] = {
        JSON_FIELD(StartedRecord, refused),
        JSON_FIELD(StartedRecord, reason),
        JSON_FIELD_OPTIONAL(StartedRecord, awaits),
};

static const JsonTable started_table = JSON_TABLE(StartedRecord, started_fields);

int started_record_format(const StartedRecord *record, char **ret) {
        return json_format(&started_table, record, ret);
}

int started_record_parse(const char *text, size_t length, StartedRecord *ret) {
        StartedRecord record = {};
        int r;

        r = json_parse(&started_table, text, length, &record);
        if (r >= 0)
                *ret = record;
        return r;
}
