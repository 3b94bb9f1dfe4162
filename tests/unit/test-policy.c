/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration beside [Manager]: its sections, what does not go together, and which files it is read from. */

#include "unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "config/config-files.h"
#include "config/config.h"
#include "oom.h"

/* Reads @text alone. */
static int read_text(Config *config, const char *text, Problem *p) {
        _cleanup_close_ int fd = memfd_create("config", MFD_CLOEXEC);
        char path[64];

        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        config_init(config);
        return config_read_file(config, path, p);
}

#define READ(config, said)                                                                         \
        do {                                                                                       \
                Problem _p = {};                                                                   \
                if (read_text((config), (said), &_p) < 0)                                          \
                        fail_msg("refused: %s", _p.text);                                          \
        } while (0)

/* ---- sections ---- */

static void limits_of_the_host(void **state) {
        _cleanup_(config_done) Config c = {};

        (void)state;
        READ(&c, "[HostIommu ivhd0]\nInstances=3\n[HostIommu ivhd12]\nInstances=65535\n"
                 "[Node 1]\nContiguousMemoryPercent=7\n"
                 "[Segment 00aB]\nHotplugDevIdsReserved=9\nHotplugBuses=60-6f 80\n"
                 "HotplugBuses=a0\n[HostIommu ivhd0]\n");
        assert_int_equal(policy_find_host_iommu(c.policy, 0)->instances.value, 3);
        assert_int_equal(policy_find_host_iommu(c.policy, 12)->instances.value, 65535);
        assert_int_equal(policy_find_host_iommu(c.policy, 0)->instances.place.line, 2);
        assert_null(policy_find_host_iommu(c.policy, 1));
        assert_int_equal(policy_find_node(c.policy, 1)->contiguous_memory_percent.value, 7);
        assert_null(policy_find_node(c.policy, 0));
        assert_int_equal(policy_find_segment(c.policy, 0xab)->hotplug_devids_reserved.value, 9);
        assert_int_equal(policy_find_segment(c.policy, 0xab)->n_hotplug_buses, 3);
        assert_int_equal(policy_find_segment(c.policy, 0xab)->hotplug_buses[0].last, 0x6f);
        assert_int_equal(policy_find_segment(c.policy, 0xab)->hotplug_buses[2].first, 0xa0);
        assert_null(policy_find_segment(c.policy, 0));
        assert_null(policy_find_host_iommu(NULL, 0));
        assert_null(policy_find_node(NULL, 0));
        assert_null(policy_find_segment(NULL, 0));
}

static void quotas(void **state) {
        _cleanup_(config_done) Config c = {};
        const PartyPolicy *acme, *user;

        (void)state;
        READ(&c, "[Tenant "
                 "acme]\nMaxVms=1\nMaxFunctions=2\nMaxReservations=3\nMaxInstances=4\nMaxDomainIds="
                 "400\n"
                 "MaxPinnedMemory=5G\nReservedInstances=ivhd0:1 ivhd1:2\nReservedDomainIds=7\n"
                 "ReservedPinnedMemory=2048\nTiers=hardware virtio\nUsers=0 1234\n"
                 "[Tenant empty]\n[User 1234]\nMaxVms=9\n[User *]\nMaxVms=4\n"
                 "[User root]\nMaxVms=8\n[Vm]\nMaxInstances=2\nMaxPinnedMemory=unlimited\n");
        acme = policy_find_tenant(c.policy, "acme");
        assert_non_null(acme);
        for (QuotaKind kind = 0; kind < QUOTA_DOMAIN_IDS; kind++)
                assert_int_equal(acme->max[kind].value, kind + 1);
        assert_int_equal(acme->max[QUOTA_DOMAIN_IDS].value, 400);
        assert_int_equal(acme->max[QUOTA_PINNED_MEMORY].value, UINT64_C(5) << 30);
        assert_int_equal(acme->reserved_domain_ids.value, 7);
        assert_int_equal(acme->reserved_pinned_memory.value, 2048);
        assert_int_equal(acme->tiers, TIER_BIT_HARDWARE | TIER_BIT_VIRTIO);
        assert_int_equal(tenant_reserved_instances(acme, 1), 2);
        assert_int_equal(tenant_reserved_instances(acme, 2), 0);
        assert_true(tenant_may_be_used_by(acme, 1234, NULL, 0));
        assert_true(tenant_may_be_used_by(acme, 0, NULL, 0));
        assert_false(tenant_may_be_used_by(acme, 1235, NULL, 0));

        assert_int_equal(policy_find_tenant(c.policy, "empty")->place.line, 13);
        assert_false(limit_is_set(policy_find_tenant(c.policy, "empty")->max + QUOTA_VMS));
        assert_true(tenant_may_be_used_by(policy_find_tenant(c.policy, "empty"), 77, NULL, 0));
        assert_null(policy_find_tenant(c.policy, "Acme"));
        assert_null(policy_find_tenant(NULL, "acme"));

        user = policy_find_user(c.policy, 1234);
        assert_int_equal(user->max[QUOTA_VMS].value, 9);
        assert_int_equal(policy_find_user(c.policy, 77)->max[QUOTA_VMS].value, 4);
        assert_int_equal(policy_find_user(c.policy, 0)->max[QUOTA_VMS].value, 8);
        assert_null(policy_find_user(NULL, 0));
        assert_int_equal(c.policy->vm.max[QUOTA_INSTANCES].value, 2);
        assert_false(limit_is_set(c.policy->vm.max + QUOTA_PINNED_MEMORY));
}

/* Users and groups are beside each other; a group alone keeps all others out. */
static void users_and_groups(void **state) {
        static const gid_t of_group[] = { 4, 77 }, of_none[] = { 4, 1234 };
        _cleanup_(config_done) Config c = {};
        const PartyPolicy *both, *group;

        (void)state;
        READ(&c, "[Tenant both]\nUsers=1234\nGroups=76 root\nGroups=77\n"
                 "[Tenant group]\nGroups=77\n[Tenant none]\nGroups=77\nGroups=\n");
        both = policy_find_tenant(c.policy, "both");
        group = policy_find_tenant(c.policy, "group");
        assert_int_equal(both->n_groups, 3);
        assert_int_equal(both->groups[1].gid, 0);
        assert_true(tenant_may_be_used_by(both, 1234, of_none, ELEMENTSOF(of_none)));
        assert_true(tenant_may_be_used_by(both, 5, of_group, ELEMENTSOF(of_group)));
        assert_false(tenant_may_be_used_by(both, 5, of_none, ELEMENTSOF(of_none)));
        assert_false(tenant_may_be_used_by(both, 77, of_none, ELEMENTSOF(of_none)));
        assert_true(tenant_may_be_used_by(group, 5, of_group, ELEMENTSOF(of_group)));
        assert_false(tenant_may_be_used_by(group, 1234, of_none, ELEMENTSOF(of_none)));
        assert_false(tenant_may_be_used_by(group, 77, NULL, 0));
        assert_true(tenant_may_be_used_by(group, 0, NULL, 0));
        assert_true(tenant_may_be_used_by(policy_find_tenant(c.policy, "none"), 5, NULL, 0));
}

/* All others are not root. */
static void everybody_else(void **state) {
        _cleanup_(config_done) Config c = {};

        (void)state;
        READ(&c, "[User *]\nMaxVms=4\n");
        assert_non_null(policy_find_user(c.policy, 5));
        assert_null(policy_find_user(c.policy, 0));
}

static void excluded_functions(void **state) {
        static const struct {
                const char *function;
                uint32_t class_code;
                bool excluded;
        } cases[] = {
                { "0000:01:00.0", 0, true },         { "0000:01:00.1", 0, false },
                { "0000:40:00.0", 0, true },         { "0000:41:1f.7", 0, true },
                { "0000:4f:1f.7", 0, true },         { "0000:50:00.0", 0, false },
                { "0001:41:00.0", 0, false },        { "0000:70:00.0", 0x010802, true },
                { "0000:70:00.0", 0x010700, false }, { "0000:70:00.0", 0x020000, true },
                { "0000:70:00.0", 0x0c0330, true },  { "0000:70:00.0", 0x0c0320, false },
        };
        _cleanup_(config_done) Config c = {};

        (void)state;
        READ(&c, "[Functions]\nExclude=01:00.0  0000:40:00.0-0000:4f:1f.7\n"
                 "Exclude=class:0108 class:02 class:0c0330\n");
        for_each_case(x, cases) {
                PciAddress a = address(x->function);

                if (!policy_find_excluding(c.policy, &a, x->class_code) == x->excluded)
                        fail_msg("%s of class %06x", x->function, x->class_code);
        }
        assert_null(policy_find_excluding(NULL, &(PciAddress){}, 0));
}

/* A list that is assigned nothing begins anew. */
static void lists_are_reset(void **state) {
        _cleanup_(config_done) Config c = {};
        const PartyPolicy *t;

        (void)state;
        READ(&c, "[Tenant t]\nTiers=hardware\nUsers=5\nReservedInstances=ivhd0:2\n"
                 "[Segment 0000]\nHotplugBuses=10\n[Functions]\nExclude=01:00.0\n"
                 "[Tenant t]\nTiers=\nTiers=virtio\nUsers=\nReservedInstances=\n"
                 "ReservedInstances=ivhd1:1\nReservedInstances=ivhd1:3\n"
                 "[Segment 0000]\nHotplugBuses=\n[Functions]\nExclude=\n");
        t = policy_find_tenant(c.policy, "t");
        assert_int_equal(t->tiers, TIER_BIT_VIRTIO);
        assert_int_equal(t->n_users, 0);
        assert_int_equal(tenant_reserved_instances(t, 0), 0);
        assert_int_equal(tenant_reserved_instances(t, 1), 3);
        assert_int_equal(policy_find_segment(c.policy, 0)->n_hotplug_buses, 0);
        assert_int_equal(c.policy->n_excluded, 0);
}

static void refusals(void **state) {
        static const struct {
                const char *text;
                unsigned line;
                const char *says;
        } cases[] = {
                { "[Vm x]\n", 1, "[Vm] has no name behind it" },
                { "[Functions all]\n", 1, "[Functions] has no name behind it" },
                { "[Tenant]\n", 1, "[Tenant] wants 1 to 64 characters" },
                { "[Tenant a b]\n", 1, "not \"a b\"" },
                { "[Tenant a/b]\n", 1, "not \"a/b\"" },
                { "[tenant a]\n", 1, "Unknown section [tenant a]" },
                { "[TenantX a]\n", 1, "Unknown section [TenantX a]" },
                { "[User nobody-has-this-name]\n", 1, "[User] wants a user of this host" },
                { "[User 4294967295]\n", 1, "not \"4294967295\"" },
                { "[User]\n", 1, "[User] wants a user of this host" },
                { "[HostIommu dmar0]\n", 1, "such as ivhd0" },
                { "[HostIommu ivhd]\n", 1, "such as ivhd0" },
                { "[HostIommu ivhdx]\n", 1, "such as ivhd0" },
                { "[HostIommu ivhd123456789]\n", 1, "such as ivhd0" },
                { "[Node one]\n", 1, "the number of a NUMA node" },
                { "[Node 1024]\n", 1, "the number of a NUMA node" },
                { "[Segment 0]\n", 1, "four hexadecimal digits" },
                { "[Segment 000g]\n", 1, "four hexadecimal digits" },
                { "[Vm]\nMaxVms=1\n", 2, "Unknown key \"MaxVms\" in [Vm]" },
                { "[User 5]\nReservedDomainIds=1\n", 2, "in [User]" },
                { "[Node 0]\nInstances=1\n", 2, "Unknown key \"Instances\" in [Node]" },
                { "[Tenant a]\nMaxVms=\n", 2, "wants a number from 0 to 1000000000, or unlimited" },
                { "[Tenant a]\nMaxVms=1G\n", 2, "not \"1G\"" },
                { "[Tenant a]\nMaxVms=1\nMaxVms=1\n", 3, "MaxVms= is there twice in [Tenant a]" },
                { "[HostIommu ivhd0]\nInstances=unlimited\n", 2, "from 0 to 65535, not" },
                { "[Tenant a]\nMaxPinnedMemory=1X\n", 2, "wants a size such as 64G, or unlimited" },
                { "[Tenant a]\nMaxPinnedMemory=1GB\n", 2, "not \"1GB\"" },
                { "[Tenant a]\nMaxPinnedMemory=G\n", 2, "not \"G\"" },
                { "[Tenant a]\nMaxPinnedMemory=99999999999T\n", 2, "not \"99999999999T\"" },
                { "[Tenant a]\nReservedPinnedMemory=unlimited\n", 2, "such as 64G, not" },
                { "[Tenant a]\nTiers=hardware fast\n", 2, "not \"fast\"" },
                { "[Tenant a]\nUsers=0 nobody-has-this-name\n", 2, "not \"nobody-has-this-name\"" },
                { "[Tenant a]\nGroups=0 nobody-has-this-name\n", 2,
                  "Groups= wants groups of this host, or their numbers, not "
                  "\"nobody-has-this-name\"" },
                { "[Tenant a]\nGroups=4294967295\n", 2, "not \"4294967295\"" },
                { "[User 1]\nGroups=0\n", 2, "Unknown key \"Groups\" in [User]" },
                { "[Tenant a]\nReservedInstances=4\n", 2, "such as ivhd0:4, not \"4\"" },
                { "[Tenant a]\nReservedInstances=ivhd:4\n", 2, "not \"ivhd:4\"" },
                { "[Tenant a]\nReservedInstances=ivhd0:\n", 2, "not \"ivhd0:\"" },
                { "[Tenant a]\nReservedInstances=ivhd0:65536\n", 2, "not \"ivhd0:65536\"" },
                { "[Segment 0000]\nHotplugBuses=6\n", 2, "not \"6\"" },
                { "[Segment 0000]\nHotplugBuses=6f-60\n", 2, "not \"6f-60\"" },
                { "[Segment 0000]\nHotplugBuses=60:6f\n", 2, "not \"60:6f\"" },
                { "[Segment 0000]\nHotplugBuses=6x\n", 2, "not \"6x\"" },
                { "[Functions]\nExclude=eth0\n", 2, "not \"eth0\"" },
                { "[Functions]\nExclude=0000:01:00.0-\n", 2, "not \"0000:01:00.0-\"" },
                { "[Functions]\nExclude=02:00.0-01:00.0\n", 2, "not \"02:00.0-01:00.0\"" },
                { "[Functions]\nExclude=0000:01:00.00000-01:00.0\n", 2, "Exclude= wants" },
                { "[Functions]\nExclude=class:1\n", 2, "not \"class:1\"" },
                { "[Functions]\nExclude=class:0x\n", 2, "not \"class:0x\"" },
                { "[Functions]\nExclude=01:00.0\nNothing=1\n", 3, "Unknown key \"Nothing\"" },
        };

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(config_done) Config config = {};
                Problem p = {};
                char where[16];

                if (read_text(&config, c->text, &p) != -EINVAL)
                        fail_msg("taken: %s", c->text);
                assert_null(config.policy);
                (void)snprintf(where, sizeof(where), ":%u: ", c->line);
                assert_problem(&p, PROBLEM_INVALID_ARGUMENT, where);
                assert_contains(p.text, c->says);
        }
}

/* A name as long as can be, and one longer. */
static void long_names(void **state) {
        _cleanup_(config_done) Config config = {};
        char text[256];
        Problem p = {};

        (void)state;
        (void)snprintf(text, sizeof(text), "[Tenant %064d]\nMaxVms=3\n", 0);
        READ(&config, text);
        (void)snprintf(text, sizeof(text), "%064d", 0);
        assert_int_equal(policy_find_tenant(config.policy, text)->max[QUOTA_VMS].value, 3);
        config_done(&config);
        (void)snprintf(text, sizeof(text), "[Tenant %065d]\n", 0);
        assert_error(read_text(&config, text, &p), EINVAL);
        (void)snprintf(text, sizeof(text), "[Tenant %0140d]\n", 0);
        assert_error(read_text(&config, text, &p), EINVAL);
        assert_contains(p.text, "too long");
}

/* ---- what does not go together ---- */

static void contradictions(void **state) {
        static const struct {
                const char *text;
                unsigned line;
                const char *says;
        } cases[] = {
                { "[Tenant a]\nMaxInstances=2\nReservedInstances=ivhd0:1 ivhd1:2\n", 3,
                  "ReservedInstances= of [Tenant a] is 3, more than its MaxInstances=2" },
                { "[Tenant a]\nReservedDomainIds=9\nMaxDomainIds=8\n", 2, "MaxDomainIds=8" },
                { "[Tenant a]\nReservedPinnedMemory=2K\nMaxPinnedMemory=1K\n", 2,
                  "MaxPinnedMemory=1024" },
                { "[Tenant a]\nReservedInstances=ivhd0:60\n[Tenant b]\nReservedInstances=ivhd0:5\n",
                  4, "65 of the 64 instances of ivhd0" },
                { "[HostIommu ivhd1]\nInstances=3\n[Tenant a]\nReservedInstances=ivhd1:4\n", 4,
                  "4 of the 3 instances of ivhd1" },
                { "[Manager]\nInstancesPerIommu=1\n[Tenant a]\nReservedInstances=ivhd1:2\n", 4,
                  "2 of the 1 instances of ivhd1" },
                { "[Tenant a]\nReservedDomainIds=60000\n[Tenant b]\nReservedDomainIds=2000\n", 4,
                  "62000 of the 61439 domain ids" },
        };
        _cleanup_(config_done) Config fine = {};

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(config_done) Config config = {};
                Problem p = {};
                char where[16];

                if (read_text(&config, c->text, &p) != -EINVAL)
                        fail_msg("taken: %s", c->text);
                (void)snprintf(where, sizeof(where), ":%u: ", c->line);
                assert_problem(&p, PROBLEM_INVALID_ARGUMENT, where);
                assert_contains(p.text, c->says);
        }
        READ(&fine, "[Tenant a]\nReservedInstances=ivhd0:60 ivhd1:0\nMaxInstances=60\n"
                    "ReservedDomainIds=100\nMaxDomainIds=100\nReservedPinnedMemory=1K\n"
                    "[HostIommu ivhd1]\n[Tenant b]\nReservedInstances=ivhd0:4\n");
}

/* ---- files ---- */

typedef struct Tree {
        char root[64];
} Tree;

static void put(const Tree *t, const char *path, const char *text) {
        char whole[256];
        int fd;

        (void)snprintf(whole, sizeof(whole), "%s%s", t->root, path);
        for (char *slash = strchr(whole + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                (void)mkdir(whole, 0755);
                *slash = '/';
        }
        if (!text) {
                assert_ok(symlink("/dev/null", whole));
                return;
        }
        fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        assert_ok(close(fd));
}

static int make_tree(void **state) {
        Tree *t = new0(Tree, 1);

        assert_non_null(t);
        (void)strcpy(t->root, "/tmp/aviommu-policy-XXXXXX");
        assert_non_null(mkdtemp(t->root));
        *state = t;
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void)st, (void)type, (void)ftw;
        return remove(path);
}

static int remove_tree(void **state) {
        Tree *t = *state;

        assert_ok(nftw(t->root, remove_one, 16, FTW_DEPTH | FTW_PHYS));
        free(t);
        return 0;
}

#define ETC    AVIOMMU_CONFIG_ETC
#define RUN    "/run/aviommud"
#define LOC    "/usr/local/lib/aviommu"
#define LIB    "/usr/lib/aviommu"
#define VMS(n) "[Manager]\nMaxVms=" #n "\n"

static void assert_max_vms(const Tree *t, uint64_t n) {
        _cleanup_(config_done) Config c = {};
        Problem p = {};

        if (config_load(t->root, NULL, NULL, &c, &p) < 0)
                fail_msg("%s", p.text);
        assert_int_equal(c.max_vms, n);
}

/* Of one name the folder decides, of several the name; the main file is before all. */
static void precedence(void **state) {
        const Tree *t = *state;

        assert_max_vms(t, 16384);
        put(t, ETC "/aviommud.conf", VMS(1));
        assert_max_vms(t, 1);
        put(t, LIB "/aviommud.conf.d/50-a.conf", VMS(2));
        assert_max_vms(t, 2);
        put(t, LOC "/aviommud.conf.d/50-a.conf", VMS(3));
        assert_max_vms(t, 3);
        put(t, RUN "/aviommud.conf.d/50-a.conf", VMS(4));
        assert_max_vms(t, 4);
        put(t, ETC "/aviommud.conf.d/50-a.conf", VMS(5));
        assert_max_vms(t, 5);
        put(t, ETC "/aviommud.conf.d/40-b.conf", VMS(6));
        assert_max_vms(t, 5);
        put(t, LIB "/aviommud.conf.d/60-c.conf", VMS(7));
        assert_max_vms(t, 7);
        put(t, ETC "/aviommud.conf.d/60-c.conf", NULL);
        assert_max_vms(t, 5);
        put(t, ETC "/aviommud.conf.d/50-a.conf", "");
        assert_max_vms(t, 6);
        put(t, ETC "/aviommud.conf.d/70-d.conf.bak", VMS(8));
        put(t, ETC "/aviommud.conf.d/.70-e.conf", VMS(9));
        put(t, ETC "/aviommud.conf.d/.conf", VMS(9));
        put(t, ETC "/aviommud.conf.d/70-f", VMS(9));
        assert_max_vms(t, 6);
}

/* What a drop-in says of a tenant is beside what another says, and in its place where both say the same. */
static void sections_over_files(void **state) {
        const Tree *t = *state;
        _cleanup_(config_done) Config c = {};
        const PartyPolicy *a;
        char file[160];

        put(t, ETC "/aviommud.conf.d/10.conf", "[Tenant a]\nMaxVms=1\nMaxFunctions=1\nUsers=5\n");
        put(t, ETC "/aviommud.conf.d/20.conf", "[Tenant a]\nMaxVms=2\nUsers=6\n");
        assert_ok(config_load(t->root, NULL, NULL, &c, NULL));
        a = policy_find_tenant(c.policy, "a");
        assert_int_equal(a->max[QUOTA_VMS].value, 2);
        (void)snprintf(file, sizeof(file), "%s" ETC "/aviommud.conf.d/20.conf", t->root);
        assert_string_equal(a->max[QUOTA_VMS].place.file, file);
        assert_int_equal(a->max[QUOTA_FUNCTIONS].value, 1);
        assert_int_equal(a->n_users, 2);
}

typedef struct Heard {
        char text[2048];
        unsigned n_errors, n_warnings;
} Heard;

static void on_report(void *userdata, bool is_warning, const char *text) {
        Heard *heard = userdata;

        *(is_warning ? &heard->n_warnings : &heard->n_errors) += 1;
        (void)strcat(strcat(heard->text, text), "\n");
}

static void every_error_is_told(void **state) {
        const Tree *t = *state;
        _cleanup_(config_done) Config c = {};
        Heard heard = {};
        Problem p = {};

        put(t, ETC "/aviommud.conf", "[Manager]\nNo=1\nMaxVms=0\n[Odd]\nKey=1\n");
        put(t, ETC "/aviommud.conf.d/10.conf", "[Tenant a]\nMaxVms\n");
        put(t, ETC "/aviommud.conf.d/20.conf",
            "[Tenant a]\nMaxInstances=1\nReservedInstances=ivhd0:2\n[Vm]\nMaxInstances=2\n");
        assert_error(config_load(t->root, on_report, &heard, &c, &p), EINVAL);
        assert_int_equal(heard.n_errors, 5);
        assert_int_equal(heard.n_warnings, 1);
        assert_contains(heard.text, "aviommud.conf:2: Unknown key \"No\"");
        assert_contains(heard.text, "aviommud.conf:3: MaxVms=");
        assert_contains(heard.text, "aviommud.conf:4: Unknown section [Odd]");
        assert_contains(heard.text, "10.conf:2: This is no \"Key=value\" line");
        assert_contains(heard.text, "20.conf:3: ReservedInstances=");
        assert_contains(heard.text, "20.conf:5: MaxInstances= of [Vm] is 2, but [Tenant a]");
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, "aviommud.conf:2: ");
        assert_null(c.policy);

        /* Without a listener it ends with the first. */
        p = (Problem){};
        assert_error(config_load(t->root, NULL, NULL, &c, &p), EINVAL);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, "aviommud.conf:2: ");
}

static void warnings_alone(void **state) {
        const Tree *t = *state;
        _cleanup_(config_done) Config c = {};
        Heard heard = {};

        put(t, ETC "/aviommud.conf",
            "[User 5]\nMaxInstances=1\n[Vm]\nMaxInstances=2\n"
            "[Tenant a]\nMaxVms=1\nMaxReservations=2\n"
            "[Tenant b]\nMaxVms=1\nMaxReservations=1\n");
        assert_ok(config_load(t->root, on_report, &heard, &c, NULL));
        assert_int_equal(heard.n_warnings, 2);
        assert_contains(heard.text, "aviommud.conf:7: MaxReservations= of [Tenant a] is 2, but");
        assert_contains(heard.text, "[User 5] may have 1 in all");
}

static void cannot_be_read(void **state) {
        const Tree *t = *state;
        _cleanup_(config_done) Config c = {};
        Heard heard = {};
        char path[160];
        Problem p = {};

        (void)snprintf(path, sizeof(path), "%s/none", t->root);
        assert_error(config_load(path, NULL, NULL, &c, &p), ENOENT);
        assert_false(problem_is_set(&p));

        put(t, ETC "/aviommud.conf.d", "no folder");
        assert_error(config_load(t->root, on_report, &heard, &c, &p), ENOTDIR);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, "aviommud.conf.d cannot be read: ");
        assert_int_equal(heard.n_errors, 1);

        (void)snprintf(path, sizeof(path), "%s" ETC "/aviommud.conf.d", t->root);
        assert_ok(remove(path));
        put(t, ETC "/aviommud.conf/folder", "");
        p = (Problem){};
        assert_error(config_load(t->root, NULL, NULL, &c, &p), EIO);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, "/aviommud.conf cannot be read: ");
        (void)snprintf(path, sizeof(path), "/proc/self/mem");
        assert_error(config_load(path, NULL, NULL, &c, &p), EIO);
}

/* ---- what is in effect ---- */

static void on_setting(void *userdata, const char *section, const char *key, const char *value,
                       const ConfigPlace *place) {
        char *text = userdata;

        if (streq(section, "Manager") && !streq(key, "MaxVms") && !streq(key, "AllowPlumbing"))
                return;
        (void)sprintf(text + strlen(text), "[%s] %s=%s (%s:%i)\n", section, key, value,
                      place->file ? strrchr(place->file, '/') + 1 : "default", place->line);
}

static void listing(void **state) {
        const Tree *t = *state;
        _cleanup_(config_done) Config c = {};
        char text[4096] = "";

        put(t, ETC "/aviommud.conf", "[Manager]\nMaxVms=1\n[Tenant a]\nMaxVms=2\nTiers=virtio\n");
        put(t, ETC "/aviommud.conf.d/1.conf",
            "[Manager]\nMaxVms=3\n[Tenant a]\nTiers=\nTiers=emulated\nTiers=hardware\n[Tenant b]\n"
            "[Functions]\nExclude=01:00.0\nExclude=\n");
        assert_ok(config_load(t->root, NULL, NULL, &c, NULL));
        config_list(&c, on_setting, text);
        assert_string_equal(text, "[Manager] AllowPlumbing=no (default:0)\n"
                                  "[Manager] MaxVms=3 (1.conf:2)\n"
                                  "[Tenant a] = (aviommud.conf:3)\n"
                                  "[Tenant a] MaxVms=2 (aviommud.conf:4)\n"
                                  "[Tenant a] Tiers=emulated (1.conf:5)\n"
                                  "[Tenant a] Tiers=hardware (1.conf:6)\n"
                                  "[Tenant b] = (1.conf:7)\n");
        config_done(&c);
        config_init(&c);
        text[0] = '\0';
        config_list(&c, on_setting, text);
        assert_contains(text, "[Manager] MaxVms=16384 (default:0)\n");
}

/* Whatever cannot be had, nothing is left of the reading, and the configuration is as it was. */
static void memory_runs_out(void **state) {
        const Tree *t = *state;
        int r = 0;

        put(t, ETC "/aviommud.conf",
            "[Manager]\nMaxVms=1\n[HostIommu ivhd0]\nInstances=9\n[Node 0]\n[Segment 0000]\n"
            "HotplugBuses=60\n[Functions]\nExclude=01:00.0\n");
        put(t, ETC "/aviommud.conf.d/1.conf",
            "[Tenant a]\nMaxVms=2\nTiers=virtio\nUsers=5\nGroups=6\nReservedInstances=ivhd0:1\n"
            "[User 5]\nMaxVms=1\n[User root]\n");
        OOM_SWEEP(nth, {
                Config c = { .max_vms = 77 };

                r = config_load(t->root, NULL, NULL, &c, NULL);
                /* A user that cannot be looked up for want of memory is one that is not found. */
                assert_true(r == 0 || r == -ENOMEM || r == -EINVAL);
                assert_int_equal(c.max_vms, r == 0 ? 1 : 77);
                config_done(&c);
        });
        assert_ok(r);
}

static void words(void **state) {
        (void)state;
        assert_string_equal(quota_kind_to_key(QUOTA_PINNED_MEMORY), "MaxPinnedMemory");
        assert_aborts((void)quota_kind_to_key(_QUOTA_KIND_MAX));
        assert_null(policy_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(limits_of_the_host),
                cmocka_unit_test(quotas),
                cmocka_unit_test(users_and_groups),
                cmocka_unit_test(everybody_else),
                cmocka_unit_test(excluded_functions),
                cmocka_unit_test(lists_are_reset),
                cmocka_unit_test(refusals),
                cmocka_unit_test(long_names),
                cmocka_unit_test(contradictions),
                cmocka_unit_test_setup_teardown(precedence, make_tree, remove_tree),
                cmocka_unit_test_setup_teardown(sections_over_files, make_tree, remove_tree),
                cmocka_unit_test_setup_teardown(every_error_is_told, make_tree, remove_tree),
                cmocka_unit_test_setup_teardown(warnings_alone, make_tree, remove_tree),
                cmocka_unit_test_setup_teardown(cannot_be_read, make_tree, remove_tree),
                cmocka_unit_test_setup_teardown(listing, make_tree, remove_tree),
                cmocka_unit_test_setup_teardown(memory_runs_out, make_tree, remove_tree),
                cmocka_unit_test(words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
