/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "config/config-files.h"
#include "config/config-reader.h"

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
        { "RequireTenant", KEY_BOOLEAN, offsetof(Config, require_tenant), 0, 1, 0 },
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
        { "MaxReservationsPerUser", KEY_NUMBER, offsetof(Config, max_reservations_per_user), 0,
          4096, 64 },
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

void config_done(Config *config) {
        config->policy = policy_free(config->policy);
}

/* ---- values ---- */

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

/* Digits up to the end, or up to one of the letters of @units, each of which is 1024 times the one before. */
static int parse_amount(const char *s, const char *units, uint64_t *ret) {
        uint64_t v = 0;

        if (*s < '0' || *s > '9')
                return -EINVAL;
        for (; *s >= '0' && *s <= '9'; s++)
                if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
                    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
                        return -ERANGE;
        if (*s) {
                const char *unit = strchr(units, *s);

                if (!unit || s[1])
                        return -EINVAL;
                if (__builtin_mul_overflow(v, UINT64_C(1) << (10 * (unit - units + 1)), &v))
                        return -ERANGE;
        }
        *ret = v;
        return 0;
}

int config_parse_number(const char *s, uint64_t *ret) {
        return parse_amount(s, "", ret);
}

int config_parse_size(const char *s, uint64_t *ret) {
        return parse_amount(s, "KMGT", ret);
}

/* ---- what is wrong ---- */

static void reader_say(ConfigReader *reader, bool is_warning, const ConfigPlace *place,
                       const char *text) {
        Problem p = {};

        (void)problem_set(&p, PROBLEM_INVALID_ARGUMENT, "%s:%i: %s", place->file, place->line,
                          text);
        if (reader->report)
                reader->report(reader->userdata, is_warning, p.text);
        if (is_warning)
                return;
        if (!reader->failed && reader->problem)
                *reader->problem = p;
        reader->failed = true;
}

int reader_refuse(ConfigReader *reader, IniFile *file, const char *format, ...) {
        ConfigPlace place = reader_place(reader, file);
        char text[INI_REFUSAL_SIZE];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (!reader->report)
                return ini_refuse(file, "%s", text);
        reader_say(reader, false, &place, text);
        return 0;
}

#define SAY(is_warning)                                                                            \
        char text[sizeof(((Problem *)0)->text)];                                                   \
        va_list ap;                                                                                \
                                                                                                   \
        va_start(ap, format);                                                                      \
        (void)vsnprintf(text, sizeof(text), format, ap);                                           \
        va_end(ap);                                                                                \
        reader_say(reader, is_warning, place, text)

void reader_refuse_at(ConfigReader *reader, const ConfigPlace *place, const char *format, ...) {
        SAY(false);
}

void reader_warn_at(ConfigReader *reader, const ConfigPlace *place, const char *format, ...) {
        SAY(true);
}

/* ---- what has been said ---- */

static void setting_done(Setting *setting) {
        free(setting->section);
        free(setting->key);
        free(setting->value);
}

static bool setting_is(const Setting *setting, const char *section, const char *key) {
        return streq(setting->section, section) && streq(setting->key, key);
}

int reader_note(ConfigReader *reader, IniFile *file, const char *key, const char *value,
                bool list) {
        Policy *policy = reader->config.policy;
        const char *section = reader->section_name;
        Setting setting = { .place = reader_place(reader, file) }, *grown;
        size_t n = 0;

        setting.section = strdup(section);
        setting.key = strdup(key);
        setting.value = strdup(value);
        grown = reallocarray(policy->settings, policy->n_settings + 1, sizeof(Setting));
        if (grown)
                policy->settings = grown;
        if (!grown || !setting.section || !setting.key || !setting.value) {
                setting_done(&setting);
                return -ENOMEM;
        }

        for (size_t i = 0; i < policy->n_settings; i++)
                if ((!list || !*value) && setting_is(grown + i, section, key))
                        setting_done(grown + i);
                else
                        grown[n++] = grown[i];
        if (list && !*value)
                setting_done(&setting);
        else
                grown[n++] = setting;
        policy->n_settings = n;
        return 0;
}

/* ---- the lines of a file ---- */

static int on_section(void *userdata, IniFile *file, const char *section) {
        ConfigReader *reader = userdata;

        reader->section = NULL;
        reader->skips = false;
        (void)snprintf(reader->section_name, sizeof(reader->section_name), "%s", section);
        if (streq(section, SECTION))
                return 0;

        reader->skips = true; /* unless it is one */
        return policy_section_begin(reader, file, section);
}

static int take_value(ConfigReader *reader, IniFile *file, const struct Key *key,
                      const char *value) {
        uint64_t v;

        if (key->kind == KEY_BOOLEAN) {
                if (parse_boolean(value, &v) < 0)
                        return reader_refuse(reader, file, "%s= wants yes or no, not \"%s\".",
                                             key->name, value);
        } else if (config_parse_number(value, &v) < 0 || v < key->minimum || v > key->maximum)
                return reader_refuse(reader, file,
                                     "%s= wants a number from %" PRIu64 " to %" PRIu64
                                     ", not \"%s\".",
                                     key->name, key->minimum, key->maximum, value);

        key_store(key, &reader->config, v);
        return reader_note(reader, file, key->name, value, false);
}

static int take_manager_key(ConfigReader *reader, IniFile *file, const char *key,
                            const char *value) {
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (streq(key, keys[i].name))
                        return take_value(reader, file, keys + i, value);
        return reader_refuse(reader, file, "Unknown key \"%s\", see aviommud.conf(5).", key);
}

/* Whether the key stands for the first time in this section of this file. Returns 0, -ENOMEM. */
static int see(ConfigReader *reader, const char *key, bool *ret_first) {
        SeenKey *grown;

        *ret_first = true;
        for (size_t i = 0; i < reader->n_seen; i++)
                if (streq(reader->seen[i].section, reader->section_name) &&
                    streq(reader->seen[i].key, key)) {
                        *ret_first = false;
                        return 0;
                }

        grown = reallocarray(reader->seen, reader->n_seen + 1, sizeof(SeenKey));
        if (!grown)
                return -ENOMEM;
        reader->seen = grown;
        grown += reader->n_seen++;
        *grown = (SeenKey){ strdup(reader->section_name), strdup(key) };
        return grown->section && grown->key ? 0 : -ENOMEM;
}

static int on_key(void *userdata, IniFile *file, const char *key, const char *value) {
        ConfigReader *reader = userdata;
        bool first = true;
        int r = 0;

        if (!*ini_get_section(file))
                return reader_refuse(reader, file, "Unknown section []; the first is missing.");
        if (reader->skips)
                return 0;
        if (!reader->section || !policy_section_is_list(reader->section, key))
                r = see(reader, key, &first);
        if (r < 0)
                return r;
        if (!first)
                return reader_refuse(reader, file, "%s= is there twice in [%s].", key,
                                     reader->section_name);
        return reader->section ? policy_section_take(reader, file, key, value)
                               : take_manager_key(reader, file, key, value);
}

static void forget_seen(ConfigReader *reader) {
        for (size_t i = 0; i < reader->n_seen; i++) {
                free(reader->seen[i].section);
                free(reader->seen[i].key);
        }
        reader->n_seen = 0;
}

static void reader_done(ConfigReader *reader) {
        forget_seen(reader);
        free(reader->seen);
        config_done(&reader->config);
}

/* Notes the file's name for good. Returns 0 or -ENOMEM. */
static int reader_open(ConfigReader *reader, const char *path) {
        Policy *policy = reader->config.policy;
        char **grown = reallocarray(policy->files, policy->n_files + 1, sizeof(char *));

        if (!grown)
                return -ENOMEM;
        policy->files = grown;
        grown[policy->n_files] = strdup(path);
        if (!grown[policy->n_files])
                return -ENOMEM;
        reader->file = grown[policy->n_files++];
        reader->section = NULL;
        reader->skips = false;
        reader->section_name[0] = '\0';
        forget_seen(reader);
        return 0;
}

static int read_file(ConfigReader *reader, const char *path) {
        char refusal[INI_REFUSAL_SIZE];
        int line, r;

        r = reader_open(reader, path);
        if (r >= 0)
                r = ini_file_read_sections(path, on_section, on_key, reader, &line, refusal);
        if (r == -EINVAL)
                reader_say(reader, false, &(ConfigPlace){ reader->file, line }, refusal);
        return r;
}

/* Makes the policy that is read into. */
static int reader_begin(ConfigReader *reader) {
        reader->config.policy = new0(Policy, 1);
        return reader->config.policy ? 0 : -ENOMEM;
}

/* Looks at the whole. Returns 0 with *ret, or -EINVAL. */
static int reader_end(ConfigReader *reader, Config *ret) {
        policy_check(reader);
        if (reader->failed)
                return -EINVAL;
        *ret = reader->config;
        reader->config.policy = NULL;
        return 0;
}

int config_read_file(Config *config, const char *path, Problem *reterr_problem) {
        _cleanup_(reader_done)
                ConfigReader reader = { .config = *config, .problem = reterr_problem };
        Policy *before = config->policy;
        int r;

        r = reader_begin(&reader);
        if (r >= 0)
                r = read_file(&reader, path);
        if (r >= 0)
                r = reader_end(&reader, config);
        if (r >= 0)
                policy_free(before);
        return r;
}

/* ---- all files ---- */

static int refuse_unreadable(ConfigReader *reader, const char *path, int r) {
        Problem p = {};

        (void)problem_set(&p, PROBLEM_INVALID_ARGUMENT, "%s cannot be read: %s", path,
                          strerror(-r));
        if (reader->report)
                reader->report(reader->userdata, false, p.text);
        if (!reader->failed && reader->problem)
                *reader->problem = p;
        reader->failed = true;
        return r;
}

static int read_files(ConfigReader *reader, const char *root) {
        _cleanup_(config_files_done) ConfigFiles files = {};
        _cleanup_free_ char *path = NULL;
        int r, first = 0;

        r = config_files_find(root, &files, &path);
        if (r < 0)
                return path ? refuse_unreadable(reader, path, r) : r;
        for (size_t i = 0; i < files.n_paths; i++) {
                r = read_file(reader, files.paths[i]);
                if (r == -ENOMEM)
                        return r;
                if (r < 0 && r != -EINVAL)
                        (void)refuse_unreadable(reader, files.paths[i], r);
                RET_GATHER(first, r);
                if (first < 0 && !reader->report)
                        break;
        }
        return first;
}

int config_load(const char *path, ConfigReport report, void *userdata, Config *ret,
                Problem *reterr_problem) {
        _cleanup_(reader_done) ConfigReader reader = { .report = report,
                                                       .userdata = userdata,
                                                       .problem = reterr_problem };
        struct stat st;
        int r, q;

        if (stat(path, &st) < 0)
                return negative_errno();
        config_init(&reader.config);
        r = reader_begin(&reader);
        if (r < 0)
                return r;

        if (S_ISDIR(st.st_mode))
                r = read_files(&reader, path);
        else {
                r = read_file(&reader, path);
                if (r < 0 && r != -EINVAL && r != -ENOMEM)
                        (void)refuse_unreadable(&reader, path, r);
        }
        if (r == -ENOMEM || (r < 0 && !report))
                return r;
        q = reader_end(&reader, ret);
        return r < 0 ? r : q;
}

/* ---- what is in effect ---- */

static const Setting *find_setting(const Policy *policy, const char *section, const char *key) {
        for (size_t i = 0; policy && i < policy->n_settings; i++)
                if (setting_is(policy->settings + i, section, key))
                        return policy->settings + i;
        return NULL;
}

static bool is_first_of_section(const Policy *policy, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (streq(policy->settings[i].section, policy->settings[n].section))
                        return false;
        return true;
}

static void list_section(const Policy *policy, size_t first,
                         void (*found)(void *userdata, const char *section, const char *key,
                                       const char *value, const ConfigPlace *place),
                         void *userdata) {
        for (size_t i = first; i < policy->n_settings; i++) {
                const Setting *s = policy->settings + i;

                if (streq(s->section, policy->settings[first].section))
                        found(userdata, s->section, s->key, s->value, &s->place);
        }
}

void config_list(const Config *config,
                 void (*found)(void *userdata, const char *section, const char *key,
                               const char *value, const ConfigPlace *place),
                 void *userdata) {
        const Policy *policy = config->policy;

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                const Setting *s = find_setting(policy, SECTION, keys[i].name);
                char value[24];

                (void)snprintf(value, sizeof(value), "%" PRIu64, keys[i].initial);
                if (keys[i].kind == KEY_BOOLEAN)
                        (void)snprintf(value, sizeof(value), "%s", keys[i].initial ? "yes" : "no");
                found(userdata, SECTION, keys[i].name, s ? s->value : value,
                      s ? &s->place : &(ConfigPlace){});
        }
        for (size_t i = 0; policy && i < policy->n_settings; i++)
                if (!streq(policy->settings[i].section, SECTION) && is_first_of_section(policy, i))
                        list_section(policy, i, found, userdata);
}
