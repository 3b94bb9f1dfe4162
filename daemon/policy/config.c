/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/config.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdio.h>

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

typedef struct Reader {
        Config config;
        FILE *file;
        int line;          /* the one that was read last */
        int refused_line;  /* 0: none; inih goes on after an error, what counts is the first */
        char refusal[256]; /* what was wrong there */
} Reader;

static int refuse(Reader *reader, const char *format, ...) _printf_(2, 3);

/* Returns 0, which is inih's word for an error. */
static int refuse(Reader *reader, const char *format, ...) {
        va_list ap;

        if (reader->refused_line > 0)
                return 0;

        reader->refused_line = reader->line;
        va_start(ap, format);
        (void)vsnprintf(reader->refusal, sizeof(reader->refusal), format, ap);
        va_end(ap);
        return 0;
}

/* Reads a line for inih, whose buffer is small: of a comment the rest does not matter, of anything else it does. */
static char *read_line(char *buffer, int size, void *userdata) {
        Reader *reader = userdata;
        bool whole = true;
        int n = 0, c;

        reader->line++;
        while ((c = getc(reader->file)) != EOF && c != '\n')
                if (n < size - 2)
                        buffer[n++] = (char)c;
                else
                        whole = false;
        if (c == EOF && n == 0)
                return NULL;

        buffer[n] = '\n';
        buffer[n + 1] = '\0';
        if (!whole && !strchr("#;", buffer[strspn(buffer, " \t")]))
                (void)refuse(reader, "The line is too long.");
        return buffer;
}

static int handle_value(Reader *reader, const struct Key *key, const char *value) {
        uint64_t v;

        if (key->kind == KEY_BOOLEAN) {
                if (parse_boolean(value, &v) < 0)
                        return refuse(reader, "%s= wants yes or no, not \"%s\".", key->name, value);
        } else if (parse_number(value, &v) < 0 || v < key->minimum || v > key->maximum)
                return refuse(reader,
                              "%s= wants a number from %" PRIu64 " to %" PRIu64 ", not \"%s\".",
                              key->name, key->minimum, key->maximum, value);

        key_store(key, &reader->config, v);
        return 1;
}

static int handle_line(void *userdata, const char *section, const char *name, const char *value) {
        Reader *reader = userdata;

        if (!streq(section, SECTION))
                return refuse(reader, "Unknown section [%s]; there is only [" SECTION "].",
                              section);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (streq(name, keys[i].name))
                        return handle_value(reader, keys + i, strempty(value));
        return refuse(reader, "Unknown key \"%s\", see aviommud.conf(5).", name);
}

int config_read_file(Config *config, const char *path, Problem *reterr_problem) {
        Reader reader = { .config = *config };
        bool failed;
        int line;

        reader.file = fopen(path, "re");
        if (!reader.file)
                return -errno;

        line = ini_parse_stream(read_line, &reader, handle_line, &reader);
        failed = ferror(reader.file);
        (void)fclose(reader.file);
        if (failed || line < 0)
                return -EIO;

        if (reader.refused_line > 0 && (line == 0 || reader.refused_line <= line))
                return problem_set(reterr_problem, PROBLEM_INVALID_ARGUMENT, "%s:%i: %s", path,
                                   reader.refused_line, reader.refusal);
        if (line > 0)
                return problem_set(reterr_problem, PROBLEM_INVALID_ARGUMENT,
                                   "%s:%i: This is no \"Key=value\" line.", path, line);

        *config = reader.config;
        return 0;
}
