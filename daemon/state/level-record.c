/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/level-record.h"

#include "state/record-json.h"

static const JsonField fields[] = {
        JSON_FIELD(LevelRecord, host_iommu),
        JSON_FIELD(LevelRecord, level),
        JSON_FIELD(LevelRecord, reason),
};

static const JsonTable table = JSON_TABLE(LevelRecord, fields);

int level_record_format(const LevelRecord *record, char **ret) {
        return json_format(&table, record, ret);
}

int level_record_parse(const char *text, size_t length, LevelRecord *ret) {
        LevelRecord record = {};
        int r;

        r = json_parse(&table, text, length, &record);
        if (r < 0)
                return r;

        *ret = record;
        return 0;
}
