/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes what the doctor reads of kernel, firmware and programs: tables and spaces as bytes, the rest as text that ends. */

#include "doctor/parse.h"
#include "lib/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_word(const char *word, void *userdata) {
        size_t *n = userdata;

        *n += 1;
        assert(*word || *n > 0); /* an empty word is one in quotes */
        (void)command_line_has(word, "iommu", "off");
}

static void read_text(const char *text) {
        char buf[16];
        uint64_t v;
        size_t n = 0;
        char value = kconfig_get(text, "IOMMUFD");

        assert(value == 'y' || value == 'm' || value == 'n');
        assert(value == 'n' || kconfig_is_one(text));
        command_line_for_each(text, on_word, &n);
        assert(n <= strlen(text));
        if (processor_vendor(text, buf, sizeof(buf)))
                assert(*buf && strlen(buf) < sizeof(buf));
        assert(users_find(text, "aviommu") < UINT32_MAX);
        (void)limits_get_memlock(text, &v);
        (void)vfio_ids_have(text, 0x8086, 0x1521);
        if (version_parse(text, &v) >= 0)
                assert(v < VERSION(1000, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = malloc(size + 1);
        IvrsSummary s;
        char uuid[40];

        assert(text);
        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        read_text(text);
        if (arguments_find_uuid((const char *)data, size, uuid, sizeof(uuid)))
                assert(*uuid && strlen(uuid) < sizeof(uuid));
        if (ivrs_summarize(data, size, &s) >= 0)
                assert(s.n_iommus <= size / 24);
        assert(vsc_find(data, size) <= VSC_DISABLED);
        return 0;
}
