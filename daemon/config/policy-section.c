/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The sections beside [Manager]: what each may say, and what its values are. A section may come several times, in one file or in
 * several; what is said later counts. */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "config/accounts.h"
#include "config/config-reader.h"

#define UNLIMITED "unlimited"
#define BLANKS    " \t"

typedef enum ValueKind {
        VALUE_NUMBER,
        VALUE_SIZE,
        VALUE_TIERS,
        VALUE_USERS,
        VALUE_GROUPS,
        VALUE_INSTANCES,
        VALUE_BUSES,
        VALUE_FUNCTIONS,
} ValueKind;

typedef struct PolicyKey {
        const char *name;
        ValueKind kind;
        size_t offset; /* of a Limit, in the section's struct */
        uint64_t minimum, maximum;
        bool may_lack; /* "unlimited" */
} PolicyKey;

/* What a section is of: reads its name, and finds or makes its place in the policy. */
struct PolicySection {
        const char *word;
        const char *argument; /* what its name is, for a sentence; NULL: it has none */
        const PolicyKey *keys;
        size_t n_keys;
        int (*begin)(ConfigReader *reader, const char *argument);
};

/* ---- the keys ---- */

#define QUOTA(kind, what)                                                                          \
        { what, VALUE_NUMBER, offsetof(PartyPolicy, max[kind]), 0, 1000000000, true }
#define QUOTAS_OF_SOMEBODY                                                                         \
        QUOTA(QUOTA_VMS, "MaxVms"), QUOTA(QUOTA_FUNCTIONS, "MaxFunctions"),                        \
                QUOTA(QUOTA_RESERVATIONS, "MaxReservations"), QUOTAS_OF_VM
#define QUOTAS_OF_VM                                                                               \
        QUOTA(QUOTA_INSTANCES, "MaxInstances"), QUOTA(QUOTA_DOMAIN_IDS, "MaxDomainIds"), {         \
                "MaxPinnedMemory", VALUE_SIZE, offsetof(PartyPolicy, max[QUOTA_PINNED_MEMORY]), 0, \
                        UINT64_C(1) << 56, true                                                    \
        }

static const PolicyKey host_iommu_keys[] = {
        { "Instances", VALUE_NUMBER, offsetof(HostIommuPolicy, instances), 0, 65535, false },
};

static const PolicyKey node_keys[] = {
        { "ContiguousMemoryPercent", VALUE_NUMBER, offsetof(NodePolicy, contiguous_memory_percent),
          0, 100, false },
};

static const PolicyKey segment_keys[] = {
        { "HotplugDevIdsReserved", VALUE_NUMBER, offsetof(SegmentPolicy, hotplug_devids_reserved),
          0, 65535, false },
        { "HotplugBuses", VALUE_BUSES, 0, 0, 0, false },
};

static const PolicyKey tenant_keys[] = {
        QUOTAS_OF_SOMEBODY,
        { "ReservedInstances", VALUE_INSTANCES, 0, 0, 65535, false },
        { "ReservedDomainIds", VALUE_NUMBER, offsetof(PartyPolicy, reserved_domain_ids), 0, 65535,
          false },
        { "ReservedPinnedMemory", VALUE_SIZE, offsetof(PartyPolicy, reserved_pinned_memory), 0,
          UINT64_C(1) << 56, false },
        { "Tiers", VALUE_TIERS, 0, 0, 0, false },
        { "Users", VALUE_USERS, 0, 0, 0, false },
        { "Groups", VALUE_GROUPS, 0, 0, 0, false },
};

static const PolicyKey user_keys[] = { QUOTAS_OF_SOMEBODY };
static const PolicyKey vm_keys[] = { QUOTAS_OF_VM };

static const PolicyKey functions_keys[] = {
        { "Exclude", VALUE_FUNCTIONS, 0, 0, 0, false },
};

/* ---- the sections ---- */

/* Makes room for one more at the end of an array, zeroed. */
#define APPEND(array, n)                                                                           \
        ({                                                                                         \
                typeof(array) _grown = reallocarray((array), (n) + 1, sizeof(*(array)));           \
                if (_grown) {                                                                      \
                        (array) = _grown;                                                          \
                        _grown = memset((array) + (n)++, 0, sizeof(*(array)));                     \
                }                                                                                  \
                _grown;                                                                            \
        })

/* Remembers the element of @scope of an array, made if need be. */
#define TAKE_SCOPE(reader, array, wanted)                                                          \
        ({                                                                                         \
                Policy *_policy = (reader)->config.policy;                                         \
                size_t _i = 0;                                                                     \
                while (_i < _policy->n_##array && _policy->array[_i].scope != (wanted))            \
                        _i++;                                                                      \
                (reader)->index = _i;                                                              \
                if (_i == _policy->n_##array && !APPEND(_policy->array, _policy->n_##array))       \
                        return -ENOMEM;                                                            \
                _policy->array[_i].scope = (wanted);                                               \
        })

static void name_section(ConfigReader *reader, const char *format, ...) _printf_(2, 3);

static void name_section(ConfigReader *reader, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(reader->section_name, sizeof(reader->section_name), format, ap);
        va_end(ap);
}

static int parse_iommu(const char *s, size_t length, uint32_t *ret) {
        char number[8];
        uint64_t v;

        if (length <= 4 || length - 4 >= sizeof(number) || strncmp(s, "ivhd", 4) != 0)
                return -EINVAL;
        memcpy(number, s + 4, length - 4);
        number[length - 4] = '\0';
        if (config_parse_number(number, &v) < 0)
                return -EINVAL;
        *ret = (uint32_t)v;
        return 0;
}

static int begin_host_iommu(ConfigReader *reader, const char *argument) {
        uint32_t index;

        if (parse_iommu(argument, strlen(argument), &index) < 0)
                return -EINVAL;
        name_section(reader, "HostIommu ivhd%" PRIu32, index);
        TAKE_SCOPE(reader, host_iommus, index);
        return 0;
}

static int begin_node(ConfigReader *reader, const char *argument) {
        uint64_t node;

        if (config_parse_number(argument, &node) < 0 || node > 1023)
                return -EINVAL;
        name_section(reader, "Node %" PRIu64, node);
        TAKE_SCOPE(reader, nodes, (uint32_t)node);
        return 0;
}

static int begin_segment(ConfigReader *reader, const char *argument) {
        uint32_t segment;

        if (strlen(argument) != 4 || strspn(argument, "0123456789abcdefABCDEF") != 4)
                return -EINVAL;
        segment = (uint32_t)strtoul(argument, NULL, 16);
        name_section(reader, "Segment %04" PRIx32, segment);
        TAKE_SCOPE(reader, segments, segment);
        return 0;
}

static int begin_tenant(ConfigReader *reader, const char *argument) {
        Policy *policy = reader->config.policy;
        PartyPolicy *tenant;

        if (!tenant_is_valid(argument))
                return -EINVAL;
        name_section(reader, "Tenant %s", argument);
        for (reader->index = 0; reader->index < policy->n_tenants; reader->index++)
                if (streq(policy->tenants[reader->index].name, argument))
                        return 0;

        tenant = APPEND(policy->tenants, policy->n_tenants);
        if (!tenant)
                return -ENOMEM;
        (void)snprintf(tenant->name, sizeof(tenant->name), "%s", argument);
        return 0;
}

static int begin_user(ConfigReader *reader, const char *argument) {
        Policy *policy = reader->config.policy;
        bool others = streq(argument, "*");
        uid_t uid = (uid_t)-1;
        PartyPolicy *user;
        int r;

        r = others ? 0 : account_find_uid(argument, &uid);
        if (r < 0)
                return r;
        name_section(reader, "User %s", argument);
        for (reader->index = 0; reader->index < policy->n_users; reader->index++)
                if (policy->users[reader->index].uid == uid)
                        return 0;

        user = APPEND(policy->users, policy->n_users);
        if (!user)
                return -ENOMEM;
        user->uid = uid;
        (void)snprintf(user->name, sizeof(user->name), "%s", argument);
        return 0;
}

static int begin_only(ConfigReader *reader, const char *argument) {
        (void)reader;
        (void)argument;
        return 0;
}

#define SECTION(word_, argument_, keys_, begin_)                                                   \
        { .word = (word_),                                                                         \
          .argument = (argument_),                                                                 \
          .keys = (keys_),                                                                         \
          .n_keys = ELEMENTSOF(keys_),                                                             \
          .begin = (begin_) }

typedef enum SectionKind {
        SECTION_HOST_IOMMU,
        SECTION_NODE,
        SECTION_SEGMENT,
        SECTION_TENANT,
        SECTION_USER,
        SECTION_VM,
        SECTION_FUNCTIONS,
} SectionKind;

static const struct PolicySection sections[] = {
        [SECTION_HOST_IOMMU] = SECTION("HostIommu", "the name of an AMD IOMMU, such as ivhd0",
                                       host_iommu_keys, begin_host_iommu),
        [SECTION_NODE] = SECTION("Node", "the number of a NUMA node", node_keys, begin_node),
        [SECTION_SEGMENT] = SECTION("Segment", "a PCI segment of four hexadecimal digits",
                                    segment_keys, begin_segment),
        [SECTION_TENANT] = SECTION("Tenant",
                                   "1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'",
                                   tenant_keys, begin_tenant),
        [SECTION_USER] = SECTION("User", "a user of this host, a number, or *", user_keys,
                                 begin_user),
        [SECTION_VM] = SECTION("Vm", NULL, vm_keys, begin_only),
        [SECTION_FUNCTIONS] = SECTION("Functions", NULL, functions_keys, begin_only),
};

static const struct PolicySection *section_find(const char *name, const char **ret_argument) {
        size_t n = strcspn(name, BLANKS);

        *ret_argument = name + n + strspn(name + n, BLANKS);
        for (size_t i = 0; i < ELEMENTSOF(sections); i++)
                if (strlen(sections[i].word) == n && strncmp(sections[i].word, name, n) == 0)
                        return sections + i;
        return NULL;
}

/* The struct that the section's keys fill. */
static void *section_get(const ConfigReader *reader) {
        Policy *policy = reader->config.policy;

        switch ((SectionKind)(reader->section - sections)) {
        case SECTION_HOST_IOMMU:
                return policy->host_iommus + reader->index;
        case SECTION_NODE:
                return policy->nodes + reader->index;
        case SECTION_SEGMENT:
                return policy->segments + reader->index;
        case SECTION_TENANT:
                return policy->tenants + reader->index;
        case SECTION_USER:
                return policy->users + reader->index;
        case SECTION_VM:
                return &policy->vm;
        case SECTION_FUNCTIONS:
                return policy;
        }
        abort();
}

int policy_section_begin(ConfigReader *reader, IniFile *file, const char *name) {
        const char *argument;
        const struct PolicySection *section = section_find(name, &argument);
        PartyPolicy *party;
        int r;

        if (!section)
                return reader_refuse(reader, file, "Unknown section [%.64s], see aviommud.conf(5).",
                                     name);
        if (section->argument && !*argument)
                return reader_refuse(reader, file, "[%s] wants %s behind its name.", section->word,
                                     section->argument);
        if (!section->argument && *argument)
                return reader_refuse(reader, file, "[%s] has no name behind it.", section->word);

        r = section->begin(reader, argument);
        if (r == -EINVAL || r == -ESRCH)
                return reader_refuse(reader, file, "[%s] wants %s, not \"%.80s\".", section->word,
                                     section->argument, argument);
        if (r < 0)
                return r;

        reader->section = section;
        reader->skips = false;
        if (section != sections + SECTION_TENANT && section != sections + SECTION_USER)
                return 0;
        party = section_get(reader);
        if (party->place.file)
                return 0;
        party->place = reader_place(reader, file);
        return reader_note(reader, file, "", "",
                           false); /* that there is such a section says something too */
}

/* ---- values ---- */

static int take_limit(ConfigReader *reader, IniFile *file, const PolicyKey *key, Limit *limit,
                      const char *value) {
        bool size = key->kind == VALUE_SIZE;
        uint64_t v;
        int r;

        if (key->may_lack && streq(value, UNLIMITED)) {
                *limit = (Limit){};
                return reader_note(reader, file, key->name, value, false);
        }
        r = size ? config_parse_size(value, &v) : config_parse_number(value, &v);
        if (r < 0 || v < key->minimum || v > key->maximum) {
                const char *or_none = key->may_lack ? ", or " UNLIMITED : "";

                if (size)
                        return reader_refuse(reader, file,
                                             "%s= wants a size such as 64G%s, not \"%s\".",
                                             key->name, or_none, value);
                return reader_refuse(reader, file,
                                     "%s= wants a number from %" PRIu64 " to %" PRIu64
                                     "%s, not \"%s\".",
                                     key->name, key->minimum, key->maximum, or_none, value);
        }
        *limit = (Limit){ v, reader_place(reader, file) };
        return reader_note(reader, file, key->name, value, false);
}

static int parse_tier(const char *word, unsigned *ret) {
        static const char *const words[] = { "hardware", "emulated", "virtio" };

        for (unsigned i = 0; i < ELEMENTSOF(words); i++)
                if (streq(word, words[i])) {
                        *ret |= 1U << i;
                        return 0;
                }
        return -EINVAL;
}

static int add_user(PartyPolicy *party, const char *word) {
        UserId *user;
        uid_t uid;
        int r;

        r = account_find_uid(word, &uid);
        if (r < 0)
                return r == -ESRCH ? -EINVAL : r;
        user = APPEND(party->users, party->n_users);
        if (!user)
                return -ENOMEM;
        user->uid = uid;
        return 0;
}

static int add_group(PartyPolicy *party, const char *word) {
        GroupId *group;
        gid_t gid;
        int r;

        r = account_find_gid(word, &gid);
        if (r < 0)
                return r == -ESRCH ? -EINVAL : r;
        group = APPEND(party->groups, party->n_groups);
        if (!group)
                return -ENOMEM;
        group->gid = gid;
        return 0;
}

/* "ivhd0:4". What is said later of one host IOMMU counts. */
static int add_instances(PartyPolicy *party, const char *word, const ConfigPlace *place) {
        const char *colon = strchr(word, ':');
        ScopeAmount *a = NULL;
        uint32_t index;
        uint64_t n;

        if (!colon || parse_iommu(word, (size_t)(colon - word), &index) < 0 ||
            config_parse_number(colon + 1, &n) < 0 || n > UINT16_MAX)
                return -EINVAL;
        for (size_t i = 0; i < party->n_reserved_instances; i++)
                if (party->reserved_instances[i].scope == index)
                        a = party->reserved_instances + i;
        if (!a)
                a = APPEND(party->reserved_instances, party->n_reserved_instances);
        if (!a)
                return -ENOMEM;
        *a = (ScopeAmount){ index, n, *place };
        return 0;
}

/* "60" or "60-6f" */
static int add_buses(SegmentPolicy *segment, const char *word) {
        size_t n = strlen(word);
        unsigned first, last;
        BusRange *range;

        for (size_t i = 0; i < n; i++)
                if (i == 2 ? word[i] != '-' : !isxdigit((unsigned char)word[i]))
                        return -EINVAL;
        if (n != 2 && n != 5)
                return -EINVAL;
        first = (unsigned)strtoul(word, NULL, 16);
        last = n == 5 ? (unsigned)strtoul(word + 3, NULL, 16) : first;
        if (last < first)
                return -EINVAL;
        range = APPEND(segment->hotplug_buses, segment->n_hotplug_buses);
        if (!range)
                return -ENOMEM;
        *range = (BusRange){ (uint8_t)first, (uint8_t)last };
        return 0;
}

/* The first digits of a class code: "02", "0108", "010802". */
static int parse_class(const char *s, FunctionPattern *ret) {
        size_t n = strlen(s);

        if ((n != 2 && n != 4 && n != 6) || strspn(s, "0123456789abcdefABCDEF") != n)
                return -EINVAL;
        ret->class_code = (uint32_t)strtoul(s, NULL, 16) << (4 * (6 - n));
        ret->class_mask = UINT32_C(0xffffff) & ~((UINT32_C(1) << (4 * (6 - n))) - 1);
        return 0;
}

/* An address, "ADDRESS-ADDRESS", or "class:" with digits. */
static int parse_pattern(const char *word, FunctionPattern *ret) {
        const char *dash = strchr(word, '-');
        char first[PCI_ADDRESS_STRING_SIZE] = "";
        size_t n = dash ? (size_t)(dash - word) : strlen(word);

        if (strncmp(word, "class:", 6) == 0)
                return parse_class(word + 6, ret);
        if (n >= sizeof(first))
                return -EINVAL;
        memcpy(first, word, n);
        if (pci_address_parse(first, &ret->first) < 0 ||
            pci_address_parse(dash ? dash + 1 : first, &ret->last) < 0)
                return -EINVAL;
        return pci_address_compare(&ret->first, &ret->last) <= 0 ? 0 : -EINVAL;
}

static int add_pattern(Policy *policy, const char *word, const ConfigPlace *place) {
        FunctionPattern pattern = { .place = *place }, *p;

        if (parse_pattern(word, &pattern) < 0)
                return -EINVAL;
        p = APPEND(policy->excluded, policy->n_excluded);
        if (!p)
                return -ENOMEM;
        *p = pattern;
        return 0;
}

/* One word of a list. Returns 0, -EINVAL, -ENOMEM. */
static int take_word(ValueKind kind, void *object, const char *word, const ConfigPlace *place) {
        switch (kind) {
        case VALUE_TIERS:
                return parse_tier(word, &((PartyPolicy *)object)->tiers);
        case VALUE_USERS:
                return add_user(object, word);
        case VALUE_GROUPS:
                return add_group(object, word);
        case VALUE_INSTANCES:
                return add_instances(object, word, place);
        case VALUE_BUSES:
                return add_buses(object, word);
        case VALUE_FUNCTIONS:
                return add_pattern(object, word, place);
        default:
                abort();
        }
}

/* An empty assignment begins the list anew. */
static void reset_list(ValueKind kind, void *object) {
        switch (kind) {
        case VALUE_TIERS:
                ((PartyPolicy *)object)->tiers = 0;
                break;
        case VALUE_USERS:
                ((PartyPolicy *)object)->n_users = 0;
                break;
        case VALUE_GROUPS:
                ((PartyPolicy *)object)->n_groups = 0;
                break;
        case VALUE_INSTANCES:
                ((PartyPolicy *)object)->n_reserved_instances = 0;
                break;
        case VALUE_BUSES:
                ((SegmentPolicy *)object)->n_hotplug_buses = 0;
                break;
        case VALUE_FUNCTIONS:
                ((Policy *)object)->n_excluded = 0;
                break;
        default:
                abort();
        }
}

static bool value_is_list(ValueKind kind) {
        return kind != VALUE_NUMBER && kind != VALUE_SIZE;
}

static int take_list(ConfigReader *reader, IniFile *file, const PolicyKey *key, void *object,
                     const char *value) {
        static const char *const wanted[] = {
                [VALUE_TIERS] = "hardware, emulated and virtio",
                [VALUE_USERS] = "users of this host, or their numbers",
                [VALUE_GROUPS] = "groups of this host, or their numbers",
                [VALUE_INSTANCES] = "a host IOMMU and a number up to 65535, such as ivhd0:4",
                [VALUE_BUSES] = "buses or ranges of them, such as 60 or 60-6f",
                [VALUE_FUNCTIONS] = "an address, a range such as 0000:01:00.0-0000:01:1f.7, or a "
                                    "class such as class:0108",
        };
        const ConfigPlace place = reader_place(reader, file);
        _cleanup_free_ char *copy = strdup(value);
        char *rest = NULL;

        if (!copy)
                return -ENOMEM;
        if (!*value)
                reset_list(key->kind, object);
        for (char *word = strtok_r(copy, BLANKS, &rest); word;
             word = strtok_r(NULL, BLANKS, &rest)) {
                int r = take_word(key->kind, object, word, &place);

                if (r == -EINVAL)
                        return reader_refuse(reader, file, "%s= wants %s, not \"%.80s\".",
                                             key->name, wanted[key->kind], word);
                if (r < 0)
                        return r;
        }
        return reader_note(reader, file, key->name, value, true);
}

static const PolicyKey *key_find(const struct PolicySection *section, const char *name) {
        for (size_t i = 0; i < section->n_keys; i++)
                if (streq(section->keys[i].name, name))
                        return section->keys + i;
        return NULL;
}

bool policy_section_is_list(const PolicySection *section, const char *name) {
        const PolicyKey *key = key_find(section, name);

        return key && value_is_list(key->kind);
}

int policy_section_take(ConfigReader *reader, IniFile *file, const char *name, const char *value) {
        const PolicyKey *key = key_find(reader->section, name);
        void *object;

        if (!key)
                return reader_refuse(reader, file,
                                     "Unknown key \"%s\" in [%s], see aviommud.conf(5).", name,
                                     reader->section->word);
        object = section_get(reader);
        if (value_is_list(key->kind))
                return take_list(reader, file, key, object, value);
        return take_limit(reader, file, key, (Limit *)((char *)object + key->offset), value);
}
