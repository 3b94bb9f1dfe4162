/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/config.h"

#include <errno.h>
#include <inttypes.h>

#include "base/ini-file.h"

#define SECTION      "Manager"
#define USEC_PER_SEC UINT64_C(1000000)

typedef enum KeyKind { KEY_BOOLEAN, KEY_NUMBER, KEY_SECONDS } KeyKind;

static const struct Key {
        const char *name;
        KeyKind kind;
        size_t offset;
        uint64_t minimum, maximum, initial; /* seconds for KEY_SECONDS */
} keys[] = {
        { "AllowPlumbing", KEY_BOOLEAN, offsetof(Config, allow_plumbing), 0, 1, 0 },
        { "AdmissionTimeoutSec", KEY_SECONDS, offsetof(Config, admission_timeout_usec), 1, 3600,
          120 },
        { "DetachTimeoutSec", KEY_SECONDS, offsetof(Config, detach_timeout_usec), 1, 3600, 10 },
        { "MaxVms", KEY_NUMBER, offsetof(Config, max_vms), 1, 1000000, 16384 },
        { "MaxFunctionsPerVm", KEY_NUMBER, offsetof(Config, max_functions_per_vm), 1, 1024, 64 },
        { "MaxMappingsPerVm", KEY_NUMBER, offsetof(Config, max_mappings_per_vm), 1, 65536, 1024 },
        { "MaxOperationsPerCaller", KEY_NUMBER, offsetof(Config, max_operations_per_caller), 1,
          65536, 64 },
        { "MaxOperationsPerVm", KEY_NUMBER, offsetof(Config, max_operations_per_vm), 1, 1024, 16 },
        { "MaxPreparedContexts", KEY_NUMBER, offsetof(Config, max_prepared_contexts), 0, 65536,
          256 },
        { "MaxDescriptors", KEY_NUMBER, offsetof(Config, max_descriptors), 0, 1000000, 16384 },
        { "InstancesPerIommu", KEY_NUMBER, offsetof(Config, instances_per_iommu), 0, 65535, 64 },
        { "ContiguousMemoryPerNodePercent", KEY_NUMBER,
          offsetof(Config, contiguous_memory_per_node_percent), 0, 100, 5 },
        { "DefaultGuestDomains", KEY_NUMBER, offsetof(Config, default_guest_domains), 1, 65535,
          64 },
        { "DomainIdsReserved", KEY_NUMBER, offsetof(Config, domain_ids_reserved), 0, 65535, 4096 },
        { "PinnedMemoryPercent", KEY_NUMBER, offsetof(Config, pinned_memory_percent), 0, 100, 90 },
        { "HotplugDevIdsReserved", KEY_NUMBER, offsetof(Config, hotplug_devids_reserved), 0, 65535,
          256 },
        { "Workers", KEY_NUMBER, offsetof(Config, workers), 1, 64, 4 },
};

static void key_store(const struct Key *key, Config *config, uint64_t value) {
        void *field = (char *)config + key->offset;

        switch (key->kind) {
        case KEY_BOOLEAN:
                *(bool *)field = value;
                break;
        case KEY_SECONDS:
                *(uint64_t *)field = value * USEC_PER_SEC;
                break;
        case KEY_NUMBER:
                *(uint64_t *)field = value;
                break;
        }
}

void config_init(Config *config) {
        *config = (Config){};
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                key_store(keys + i, config, keys[i].initial);
}

static int parse_boolean(const char *s, uint64_t *ret) {
        static const char *const words[2][4] = { { "no", "false", "off", "0" },
                                                 { "yes", "true", "on", "1" } };

        for (size_t v = 0; v < 2; v++)
                for (size_t i = 0; i < ELEMENTSOF(words[v]); i++)
                        if (streq(s, words[v][i])) {
                                *ret = v;
                                return 0;
                        }
        return -EINVAL;
}

/* Decimal digits only: no sign, no space, no other base. */
static int parse_number(const char *s, uint64_t *ret) {
        uint64_t v = 0;

        if (!*s)
                return -EINVAL;
        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return -EINVAL;
                if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
                    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
                        return -ERANGE;
        }
        *ret = v;
        return 0;
}

static int take_value(Config *config, IniFile *file, const struct Key *key, const char *value) {
        uint64_t v;

        if (key->kind == KEY_BOOLEAN) {
                if (parse_boolean(value, &v) < 0)
                        return ini_refuse(file, "%s= wants yes or no, not \"%s\".", key->name,
                                          value);
        } else if (parse_number(value, &v) < 0 || v < key->minimum || v > key->maximum)
                return ini_refuse(file,
                                  "%s= wants a number from %" PRIu64 " to %" PRIu64 ", not \"%s\".",
                                  key->name, key->minimum, key->maximum, value);

        key_store(key, config, v);
        return 0;
}

static int take_key(void *userdata, IniFile *file, const char *key, const char *value) {
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (streq(key, keys[i].name))
                        return take_value(userdata, file, keys + i, value);
        return ini_refuse(file, "Unknown key \"%s\", see aviommud.conf(5).", key);
}

int config_read_file(Config *config, const char *path, Problem *reterr_problem) {
        char refusal[INI_REFUSAL_SIZE];
        Config read = *config;
        int line, r;

        r = ini_file_read(path, SECTION, take_key, &read, &line, refusal);
        if (r == -EINVAL)
                return problem_set(reterr_problem, PROBLEM_INVALID_ARGUMENT, "%s:%i: %s", path,
                                   line, refusal);
        if (r < 0)
                return r;

        *config = read;
        return 0;
}
