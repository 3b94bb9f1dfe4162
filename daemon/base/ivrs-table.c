/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/ivrs-table.h"

#define ACPI_LENGTH_OFFSET 4
#define IVRS_HEADER_SIZE   48 /* ACPI header 36, IVinfo 4, reserved 8 */

#define BLOCK_HEADER_SIZE 4 /* type 1, flags 1, length 2 */

static size_t get_le16(const uint8_t *p) {
        return (size_t)p[0] | (size_t)p[1] << 8;
}

static size_t get_le32(const uint8_t *p) {
        return get_le16(p) | get_le16(p + 2) << 16;
}

int ivrs_for_each_block(const uint8_t *data, size_t size, IvrsBlockHandler handler,
                        void *userdata) {
        size_t length;

        if (size < IVRS_HEADER_SIZE || memcmp(data, "IVRS", 4) != 0)
                return -EBADMSG;
        length = get_le32(data + ACPI_LENGTH_OFFSET);
        if (length < IVRS_HEADER_SIZE || length > size)
                return -EBADMSG;

        for (size_t at = IVRS_HEADER_SIZE, block_size; at < length; at += block_size) {
                int r;

                if (length - at < BLOCK_HEADER_SIZE)
                        return -EBADMSG;
                block_size = get_le16(data + at + 2);
                if (block_size < BLOCK_HEADER_SIZE || block_size > length - at)
                        return -EBADMSG;
                r = handler(data + at, block_size, userdata);
                if (r != 0)
                        return r;
        }
        return 0;
}
