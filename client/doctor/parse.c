/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/parse.h"

#include <ctype.h>
#include <stdio.h>

#include "base/ivrs-table.h"

#define MAX_WORD   1024
#define MAX_IOMMUS 64

/* The first line of @text that begins with @prefix, behind it; NULL: there is none. */
static const char *find_line(const char *text, const char *prefix) {
        size_t n = strlen(prefix);

        while (text && *text) {
                if (strncmp(text, prefix, n) == 0)
                        return text + n;
                text = strchr(text, '\n');
                text = text ? text + 1 : NULL;
        }
        return NULL;
}

/* ---- the kernel ---- */

char kconfig_get(const char *config, const char *symbol) {
        char prefix[64];
        const char *value;

        (void)snprintf(prefix, sizeof(prefix), "CONFIG_%s=", symbol);
        value = find_line(config, prefix);
        if (!value || (value[0] != 'y' && value[0] != 'm') || (value[1] != '\n' && value[1] != 0))
                return 'n';
        return *value;
}

bool kconfig_is_one(const char *text) {
        return find_line(text, "CONFIG_") || find_line(text, "# CONFIG_");
}

void command_line_for_each(const char *line, void (*each)(const char *word, void *userdata),
                           void *userdata) {
        char word[MAX_WORD];

        for (;;) {
                bool is_quoted = false;
                size_t n = 0;

                while (isspace((unsigned char)*line))
                        line++;
                if (!*line)
                        return;
                for (; *line && (is_quoted || !isspace((unsigned char)*line)); line++)
                        if (*line == '"')
                                is_quoted = !is_quoted;
                        else if (n + 1 < sizeof(word))
                                word[n++] = *line;
                word[n] = '\0';
                if (streq(word, "--"))
                        return;
                each(word, userdata);
        }
}

bool command_line_has(const char *word, const char *name, const char *value) {
        size_t n = strlen(name), n_value = strlen(value);

        if (strncmp(word, name, n) != 0 || word[n] != '=')
                return false;
        for (const char *s = word + n + 1, *end; *s; s = *end ? end + 1 : end) {
                end = strchrnul(s, ',');
                if ((size_t)(end - s) == n_value && strncmp(s, value, n_value) == 0)
                        return true;
        }
        return false;
}

bool interrupts_are_remapped(const char *text) {
        return strstr(text, " IR-") != NULL;
}

/* ---- processes and users ---- */

int limits_get_memlock(const char *text, uint64_t *ret) {
        const char *s = find_line(text, "Max locked memory");
        unsigned long long v;
        char *end;

        if (!s)
                return -EINVAL;
        s += strspn(s, " ");
        if (strncmp(s, "unlimited", 9) == 0) {
                *ret = UINT64_MAX;
                return 0;
        }
        if (!isdigit((unsigned char)*s))
                return -EINVAL;
        errno = 0;
        v = strtoull(s, &end, 10);
        if (errno > 0 || *end != ' ')
                return -EINVAL;
        *ret = v;
        return 0;
}

int64_t users_find(const char *text, const char *user) {
        char prefix[64];
        const char *s;
        unsigned long v;
        char *end;

        (void)snprintf(prefix, sizeof(prefix), "%s:", user);
        s = find_line(text, prefix);
        if (!s)
                return -1;
        s += strcspn(s, ":\n");
        if (*s != ':' || !isdigit((unsigned char)s[1]))
                return -1;
        errno = 0;
        v = strtoul(s + 1, &end, 10);
        return errno > 0 || *end != ':' || v >= UINT32_MAX ? -1 : (int64_t)v;
}

bool vfio_ids_have(const char *ids, uint16_t vendor_id, uint16_t device_id) {
        for (const char *s = ids; *s; s += strcspn(s, ","), s += *s == ',') {
                unsigned vendor, device;

                if (sscanf(s, "%4x:%4x", &vendor, &device) == 2 && vendor == vendor_id &&
                    device == device_id)
                        return true;
        }
        return false;
}

bool arguments_find_uuid(const char *arguments, size_t size, char *ret, size_t ret_size) {
        const char *end = arguments + size, *value = NULL;

        for (const char *s = arguments; s < end && !value; s += strnlen(s, (size_t)(end - s)) + 1) {
                size_t n = strnlen(s, (size_t)(end - s));

                if (s + n == end)
                        break; /* not ended */
                if (streq(s, "-uuid") || streq(s, "--uuid")) {
                        if (s + n + 1 < end)
                                value = s + n + 1;
                        break;
                }
                if (strncmp(s, "--uuid=", 7) == 0)
                        value = s + 7;
        }
        if (!value || strnlen(value, (size_t)(end - value)) >= ret_size)
                return false;
        (void)snprintf(ret, ret_size, "%.*s", (int)(end - value), value);
        return *ret != '\0';
}

/* ---- the processor ---- */

bool processor_vendor(const char *text, char *ret, size_t size) {
        const char *s = find_line(text, "vendor_id");
        size_t n;

        if (!s)
                return false;
        s += strspn(s, " \t");
        if (*s++ != ':')
                return false;
        s += strspn(s, " \t");
        n = strcspn(s, "\n");
        if (n == 0 || n >= size)
                return false;
        memcpy(ret, s, n);
        ret[n] = '\0';
        return true;
}

/* ---- IVRS ---- */

typedef struct IvrsWalk {
        IvrsSummary *summary;
        uint32_t seen[MAX_IOMMUS]; /* segment and PCI function */
} IvrsWalk;

#define IVHD_HEADER_SIZE 24

static int on_block(const uint8_t *data, size_t size, void *userdata) {
        IvrsWalk *walk = userdata;
        IvrsSummary *s = walk->summary;
        uint32_t id;

        if (data[0] != IVHD_TYPE_10 && data[0] != IVHD_TYPE_11 && data[0] != IVHD_TYPE_40)
                return 0;
        if (size < IVHD_HEADER_SIZE)
                return -EBADMSG;
        s->has_features |= data[0] != IVHD_TYPE_10;
        id = (uint32_t)data[4] | (uint32_t)data[5] << 8 | (uint32_t)data[16] << 16 |
             (uint32_t)data[17] << 24;
        for (unsigned i = 0; i < s->n_iommus; i++)
                if (walk->seen[i] == id)
                        return 0;
        if (s->n_iommus < MAX_IOMMUS)
                walk->seen[s->n_iommus++] = id;
        return 0;
}

int ivrs_summarize(const uint8_t *data, size_t size, IvrsSummary *ret) {
        IvrsWalk walk = { .summary = ret };
        uint8_t sum = 0;

        *ret = (IvrsSummary){};
        if (size < 4 || memcmp(data, "IVRS", 4) != 0)
                return -EBADMSG;
        if (ivrs_for_each_block(data, size, on_block, &walk) < 0)
                ret->is_damaged = true;
        for (size_t i = 0; i < size; i++)
                sum = (uint8_t)(sum + data[i]);
        ret->is_damaged |= sum != 0;
        return 0;
}

/* ---- PCI configuration space ---- */

#define PCI_STATUS            0x06
#define PCI_STATUS_HAS_LIST   0x10
#define PCI_CAPABILITIES      0x34
#define PCI_CAPABILITY_VENDOR 0x09
#define PCI_HEADER_SIZE       64
#define PCI_CONFIG_SIZE       256
#define VSC_VF_BAR            0x08
#define VSC_VF_CONTROL_BAR    0x10
#define VSC_BAR_ENABLED       0x01
#define VSC_SIZE              0x18

VscState vsc_find(const uint8_t *config, size_t size) {
        size_t at;

        if (size < PCI_HEADER_SIZE)
                return VSC_HIDDEN;
        if (!(config[PCI_STATUS] & PCI_STATUS_HAS_LIST))
                return VSC_ABSENT;
        at = config[PCI_CAPABILITIES] & 0xfcU;
        /* No list is longer than the space has room for; one that leads in a circle ends too. */
        for (unsigned n = 0; at >= PCI_HEADER_SIZE && n < PCI_CONFIG_SIZE / 4; n++) {
                if (at + VSC_SIZE > size) {
                        if (size < PCI_CONFIG_SIZE)
                                return VSC_HIDDEN;
                        if (at + 2 > size)
                                return VSC_ABSENT;
                } else if (config[at] == PCI_CAPABILITY_VENDOR)
                        return config[at + VSC_VF_BAR] & config[at + VSC_VF_CONTROL_BAR] &
                                               VSC_BAR_ENABLED
                                       ? VSC_PRESENT
                                       : VSC_DISABLED;
                at = config[at + 1] & 0xfcU;
        }
        return VSC_ABSENT;
}
