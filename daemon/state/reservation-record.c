/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/reservation-record.h"

#include "state/record-json.h"

/* An address is an object of one member: a list holds objects. */
static const JsonField function_fields[] = {
        { .name = "address", .kind = JSON_ADDRESS },
};

static const JsonTable function_table = JSON_TABLE(PciAddress, function_fields);

static const JsonField fields[] = {
        JSON_FIELD(ReservationRecord, uid),
        JSON_FIELD(ReservationRecord, deadline_usec),
        JSON_FIELD(ReservationRecord, tier),
        JSON_FIELD(ReservationRecord, handover),
        JSON_FIELD_LIST(ReservationRecord, functions, function_table),
        JSON_FIELD_LIST(ReservationRecord, charges, record_charge_table),
        JSON_FIELD_OPTIONAL(ReservationRecord, tenant),
};

static const JsonTable table = JSON_TABLE(ReservationRecord, fields);

void reservation_record_done(ReservationRecord *record) {
        json_done(&table, record);
}

int reservation_record_format(const ReservationRecord *record, char **ret) {
        return json_format(&table, record, ret);
}

int reservation_record_parse(const char *text, size_t length, ReservationRecord *ret) {
        _cleanup_(reservation_record_done) ReservationRecord record = {};
        int r;

        r = json_parse(&table, text, length, &record);
        if (r < 0)
                return r;

        *ret = record;
        record = (ReservationRecord){};
        return 0;
}
