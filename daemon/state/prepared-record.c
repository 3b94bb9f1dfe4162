/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/prepared-record.h"

#include "state/record-json.h"

static const JsonField fields[] = {
        JSON_FIELD(PreparedRecord, caller),
        JSON_FIELD(PreparedRecord, uid),
        JSON_FIELD(PreparedRecord, stored),
};

static const JsonTable table = JSON_TABLE(PreparedRecord, fields);

int prepared_record_format(const PreparedRecord *record, char **ret) {
        return json_format(&table, record, ret);
}

int prepared_record_parse(const char *text, size_t length, PreparedRecord *ret) {
        PreparedRecord record = {};
        int r;

        r = json_parse(&table, text, length, &record);
        if (r < 0)
                return r;

        *ret = record;
        return 0;
}
