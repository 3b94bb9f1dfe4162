/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the host itself needs of its functions, from a tree of files: disks and network interfaces in use, and those that are not. */

#include "test-linux-tree.h"

#define DISK "pci0000:00/0000:00:01.1/0000:01:00.0"
#define NIC  "pci0000:00/0000:02:00.0"
#define VF   "pci0000:00/0000:02:00.1"
#define SATA "pci0000:00/0000:03:00.0"

/* A block device below @device, as sysfs has it. */
static void add_block(const Tree *t, const char *device, const char *name, const char *number) {
        char target[TREE_PATH_MAX];

        tree_put(t, number, "sys/devices/%s/%s/dev", device, name);
        tree_mkdir(t, "sys/devices/%s/%s/holders", device, name);
        (void)snprintf(target, sizeof(target), "../../devices/%s/%s", device, name);
        tree_link(t, target, "sys/class/block/%s", name);
}

static void add_interface(const Tree *t, const char *device, const char *name, const char *flags) {
        char target[TREE_PATH_MAX];

        tree_put(t, flags, "sys/devices/%s/net/%s/flags", device, name);
        (void)snprintf(target, sizeof(target), "../../devices/%s/net/%s", device, name);
        tree_link(t, target, "sys/class/net/%s", name);
}

static void add_functions(const Tree *t) {
        tree_add_function(t, "pci0000:00/0000:00:01.1", "0000:01:00.0", "0x010802\n");
        tree_add_function(t, "pci0000:00", "0000:00:01.1", "0x060400\n");
        tree_add_function(t, "pci0000:00", "0000:02:00.0", "0x020000\n");
        tree_add_function(t, "pci0000:00", "0000:02:00.1", "0x020000\n");
        tree_add_function(t, "pci0000:00", "0000:03:00.0", "0x010601\n");
}

static void assert_use(const Tree *t, const char *address, const char *words) {
        _cleanup_(host_scan_freep) HostScan *scan = tree_scan(t, NULL, 0);
        const PciFunctionInfo *f = tree_find(scan, address);

        assert_non_null(f);
        assert_string_equal(f->host_use, words);
}

static void test_nothing(void **state) {
        Tree *t = *state;

        add_functions(t);
        add_block(t, DISK "/nvme/nvme0", "nvme0n1", "259:0\n");
        add_interface(t, NIC, "eth0", "0x1002\n");
        tree_put(t, "25 1 0:24 / /proc rw - proc proc rw\n", "proc/self/mountinfo");
        assert_use(t, "0000:01:00.0", "");
        assert_use(t, "0000:02:00.0", "");
}

static void test_mounted(void **state) {
        Tree *t = *state;

        add_functions(t);
        add_block(t, DISK "/nvme/nvme0", "nvme0n1", "259:0\n");
        add_block(t, DISK "/nvme/nvme0/nvme0n1", "nvme0n1p2", "259:2\n");
        add_block(t, SATA "/ata1/host0/target0:0:0/0:0:0:0/block", "sda", "8:0\n");
        tree_put(t,
                 "24 1 0:24 / /proc rw - proc proc rw\n"
                 "broken\n"
                 "25 1 259:2 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw\n"
                 "26 1 0:31 / /srv rw - btrfs /dev/sda rw\n",
                 "proc/self/mountinfo");
        assert_use(t, "0000:01:00.0", "nvme0n1p2 is mounted on /");
        assert_use(t, "0000:03:00.0", "sda is mounted on /srv"); /* its own number is another */
        assert_use(t, "0000:00:01.1", "");                       /* the bridge above it */
        assert_use(t, "0000:02:00.0", "");
}

/* Who mounts a file system of his own says what he likes of where it comes from. */
static void test_fuse(void **state) {
        Tree *t = *state;

        add_functions(t);
        add_block(t, DISK "/nvme/nvme0", "nvme0n1", "259:0\n");
        add_block(t, SATA "/ata1/host0/target0:0:0/0:0:0:0/block", "sda", "8:0\n");
        tree_put(t,
                 "25 1 0:40 / /home/me/x rw - fuse.mine /dev/nvme0n1 rw\n"
                 "26 1 8:0 / /media/ntfs rw - fuseblk /dev/sda rw\n",
                 "proc/self/mountinfo");
        assert_use(t, "0000:01:00.0", "");
        assert_use(t, "0000:03:00.0", "sda is mounted on /media/ntfs");
}

/* It goes out on D-Bus, which refuses what is not UTF-8: a name that is none, and one that is cut in the middle of a character. */
static void test_names(void **state) {
        Tree *t = *state;

        add_functions(t);
        add_block(t, DISK "/nvme/nvme0", "nvme0n1", "259:0\n");
        tree_put(t, "25 1 259:0 / /caf\xe9 rw - xfs /dev/nvme0n1 rw\n", "proc/self/mountinfo");
        assert_use(t, "0000:01:00.0", "nvme0n1 is mounted on /caf?");
        tree_put(t,
                 "25 1 259:0 / /mnt/012345678901234567890123456\xc3\xa9 rw - xfs /dev/nvme0n1 "
                 "rw\n",
                 "proc/self/mountinfo");
        assert_use(t, "0000:01:00.0", "nvme0n1 is mounted on /mnt/012345678901234567890123456?");
}

static void test_swap_and_holders(void **state) {
        Tree *t = *state;

        add_functions(t);
        add_block(t, DISK "/nvme/nvme0", "nvme0n1", "259:0\n");
        add_block(t, SATA "/ata1/host0/target0:0:0/0:0:0:0/block", "sda", "8:0\n");
        tree_put(t, "Filename\tType\t\tSize\n/dev/nvme0n1     partition 1 0 -2\n", "proc/swaps");
        tree_link(t, "../../dm-0", "sys/class/block/sda/holders/dm-0");
        assert_use(t, "0000:01:00.0", "nvme0n1 is swap space");
        assert_use(t, "0000:03:00.0", "sda is held by dm-0");
}

/* A multipath NVMe disk is below no controller. */
static void test_nvme_subsystem(void **state) {
        Tree *t = *state;

        add_functions(t);
        add_block(t, "virtual/nvme-subsystem/nvme-subsys0", "nvme0n1", "259:0\n");
        add_block(t, "virtual/nvme-subsystem/nvme-subsys1", "nvme1n1", "259:1\n");
        tree_mkdir(t, "sys/devices/" DISK "/nvme/nvme0");
        tree_link(t, "../../../" DISK "/nvme/nvme0",
                  "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0");
        tree_link(t, "../../devices/virtual/nvme-subsystem/nvme-subsys0",
                  "sys/class/nvme-subsystem/nvme-subsys0");
        tree_put(t, "25 1 259:0 / /data rw - xfs /dev/nvme0n1 rw\n", "proc/self/mountinfo");
        assert_use(t, "0000:01:00.0", "nvme0n1 is mounted on /data");
        tree_put(t, "25 1 259:1 / /data rw - xfs /dev/nvme1n1 rw\n", "proc/self/mountinfo");
        assert_use(t, "0000:01:00.0", "");
}

static void test_interfaces(void **state) {
        Tree *t = *state;

        add_functions(t);
        add_interface(t, NIC, "eth0", "0x1003\n");
        add_interface(t, VF, "eth1", "0x1003\n");
        assert_use(t, "0000:02:00.0", ""); /* up, and no more */

        tree_put(t,
                 "Iface\tDestination\tGateway\n"
                 "eth00\t00000000\t0101A8C0\n",
                 "proc/self/net/route");
        tree_put(t, "fe80000000000000000000000000000f 02 40 20 80     eth0\n",
                 "proc/self/net/if_inet6");
        assert_use(t, "0000:02:00.0", ""); /* another's route; an address of the link itself */

        tree_put(t, "fd00000000000000000000000000000f 02 40 00 80     eth0\n",
                 "proc/self/net/if_inet6");
        assert_use(t, "0000:02:00.0", "eth0 is up and has an address");
        assert_use(t, "0000:02:00.1", "");

        tree_put(t, "Iface\tDestination\tGateway\neth1\t00000000\t0101A8C0\n",
                 "proc/self/net/route");
        assert_use(t, "0000:02:00.1", "eth1 is up and has an address");
        add_interface(t, VF, "eth1", "0x1002\n"); /* down */
        assert_use(t, "0000:02:00.1", "");
}

static void test_bridge_ports(void **state) {
        Tree *t = *state;

        add_functions(t);
        add_interface(t, NIC, "eth0", "0x1003\n");
        tree_link(t, "../../../virtual/net/br0", "sys/devices/" NIC "/net/eth0/upper_br0");
        assert_use(t, "0000:02:00.0", "eth0 is up and part of br0");
}

/* Words longer than there is room are cut. */
static void test_long_words(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;

        add_functions(t);
        add_block(t, DISK "/nvme/nvme0", "nvme0n1", "259:0\n");
        tree_put(t,
                 "25 1 259:0 / /a/place/far/far/away/that/takes/more/letters/than/anybody/wants/to/"
                 "read rw - xfs /dev/nvme0n1 rw\n",
                 "proc/self/mountinfo");
        scan = tree_scan(t, NULL, 0);
        assert_memory_equal(tree_find(scan, "0000:01:00.0")->host_use,
                            "nvme0n1 is mounted on /a/place/", 31);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_nothing),
                TEST(test_mounted),
                TEST(test_names),
                TEST(test_fuse),
                TEST(test_nothing),
                TEST(test_mounted),
                TEST(test_swap_and_holders),
                TEST(test_nvme_subsystem),
                TEST(test_interfaces),
                TEST(test_bridge_ports),
                TEST(test_long_words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
