/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/linux/ivrs.h"

/*
 * The device entries of an IVRS table, in those of its blocks that are of an IVHD kind.
 *
 * A table usually describes each IOMMU several times, in IVHD kinds of growing detail. All are walked: an alias told
 * twice does no harm, and one that is left out does.
 *
 * A part of the table is a span of bytes. Spans only ever shrink to parts of themselves, which is what keeps the reads
 * inside.
 */

#include <errno.h>

#include "base/ivrs-table.h"

#define IVHD_SEGMENT_OFFSET 16
#define IVHD_10_HEADER_SIZE 24
#define IVHD_11_HEADER_SIZE 40

#define ENTRY_RANGE_END         0x04
#define ENTRY_RANGE_START       0x03
#define ENTRY_ALIAS_SELECT      0x42
#define ENTRY_ALIAS_RANGE_START 0x43
#define ENTRY_EXT_RANGE_START   0x47
#define ENTRY_ACPI_HID          0xf0
#define ACPI_HID_UID_LENGTH     21 /* offset of the length of the UID, which ends the entry */

typedef struct Span {
        const uint8_t *data;
        size_t size;
} Span;

static uint16_t get_le16(const uint8_t *p) {
        return (uint16_t)(p[0] | p[1] << 8);
}

/* Cuts the first @size bytes off @from. Returns false, with nothing changed, if there are fewer. */
static bool span_take(Span *from, size_t size, Span *ret) {
        if (size > from->size)
                return false;
        *ret = (Span){ from->data, size };
        from->data += size;
        from->size -= size;
        return true;
}

/* The size of the device entry that @entries starts with, 0 if it cannot be told. */
static size_t entry_size(const Span *entries) {
        uint8_t type = entries->data[0];

        if (type == ENTRY_ACPI_HID)
                return entries->size > ACPI_HID_UID_LENGTH
                               ? (size_t)ACPI_HID_UID_LENGTH + 1 +
                                         entries->data[ACPI_HID_UID_LENGTH]
                               : 0;
        return (size_t)4 << (type >> 6); /* the top two bits say 4, 8, 16 or 32 */
}

/* An alias range from its start to its end entry. */
typedef struct Range {
        bool open;
        uint16_t first, alias;
} Range;

static int walk_entry(const Span *entry, uint16_t segment, Range *range, IvrsAliasHandler handler,
                      void *userdata) {
        uint8_t type = entry->data[0];
        uint16_t id = get_le16(entry->data + 1);

        switch (type) {
        case ENTRY_ALIAS_SELECT:
                return handler(segment, id, id, get_le16(entry->data + 5), userdata);
        case ENTRY_ALIAS_RANGE_START:
                *range = (Range){ true, id, get_le16(entry->data + 5) };
                return 0;
        case ENTRY_RANGE_START:
        case ENTRY_EXT_RANGE_START:
                *range = (Range){};
                return 0;
        case ENTRY_RANGE_END: {
                Range ended = *range;

                *range = (Range){};
                if (!ended.open)
                        return 0;
                return ended.first <= id ? handler(segment, ended.first, id, ended.alias, userdata)
                                         : -EBADMSG;
        }
        default:
                return 0;
        }
}

/* Walks the device entries of one IVHD block. */
static int walk_ivhd(Span block, IvrsAliasHandler handler, void *userdata) {
        size_t header_size = block.data[0] == IVHD_TYPE_10 ? IVHD_10_HEADER_SIZE
                                                           : IVHD_11_HEADER_SIZE;
        Range range = {};
        Span header, entry;
        uint16_t segment;

        if (!span_take(&block, header_size, &header))
                return -EBADMSG;
        segment = get_le16(header.data + IVHD_SEGMENT_OFFSET);

        while (block.size > 0) {
                size_t size = entry_size(&block);
                int r;

                if (size == 0 || !span_take(&block, size, &entry))
                        return -EBADMSG;
                r = walk_entry(&entry, segment, &range, handler, userdata);
                if (r != 0)
                        return r;
        }
        return 0;
}

typedef struct Walk {
        IvrsAliasHandler handler;
        void *userdata;
} Walk;

static int on_block(const uint8_t *data, size_t size, void *userdata) {
        const Walk *walk = userdata;

        if (data[0] != IVHD_TYPE_10 && data[0] != IVHD_TYPE_11 && data[0] != IVHD_TYPE_40)
                return 0;
        return walk_ivhd((Span){ data, size }, walk->handler, walk->userdata);
}

int ivrs_for_each_alias(const uint8_t *data, size_t size, IvrsAliasHandler handler,
                        void *userdata) {
        Walk walk = { handler, userdata };

        return ivrs_for_each_block(data, size, on_block, &walk);
}
