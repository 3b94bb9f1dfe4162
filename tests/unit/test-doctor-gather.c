/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the doctor gathers from trees of files: well-formed, missing, truncated, and not to be read. */

#include "test-linux-tree.h"
#include "unit.h"

#include <zlib.h>

#include "doctor/gather.h"

static int open_root(const Tree *t) {
        int fd = open(t->root, O_PATH | O_DIRECTORY | O_CLOEXEC);

        assert_true(fd >= 0);
        return fd;
}

static void set_mode(const Tree *t, const char *path, mode_t mode) {
        char full[TREE_PATH_MAX];

        (void)snprintf(full, sizeof(full), "%s/%s", t->root, path);
        assert_ok(chmod(full, mode));
}

/* From here on nothing is read that a user may not read, also where the tests are root's. */
static void become_nobody(const Tree *t) {
        assert_ok(chmod(t->root, 0755));
        if (geteuid() == 0)
                assert_ok(seteuid(65534));
}

static void become_again(void) {
        if (getuid() == 0)
                assert_ok(seteuid(0));
}

static void expect_blob(int root, const char *path, int error, const char *text) {
        Blob b;

        blob_read(root, path, &b);
        assert_int_equal(b.error, error);
        if (text)
                assert_string_equal(b.data, text);
        else
                assert_null(b.data);
        assert_int_equal(b.size, text ? strlen(text) : 0);
        blob_done(&b);
}

static void test_blobs(void **state) {
        _cleanup_close_ int root = open_root(*state);
        const Tree *t = *state;
        char *large = new0(char, BLOB_SIZE_MAX + 1);

        assert_non_null(large);
        tree_put(t, "hello\n", "proc/a");
        tree_put(t, "", "proc/empty");
        tree_put(t, "secret", "proc/hidden");
        tree_link(t, "loop", "proc/loop");
        tree_put_bytes(t, large, BLOB_SIZE_MAX, "proc/large");
        tree_put_bytes(t, large, BLOB_SIZE_MAX + 1, "proc/larger");
        expect_blob(root, "proc/a", 0, "hello\n");
        expect_blob(root, "proc/empty", 0, "");
        expect_blob(root, "proc/none", -ENOENT, NULL);
        expect_blob(root, "proc/a/b", -ENOTDIR, NULL);
        expect_blob(root, "proc", -EINVAL, NULL);
        expect_blob(root, "proc/loop", -ELOOP, NULL);
        expect_blob(root, "proc/larger", -EFBIG, NULL);
        {
                Blob b;

                blob_read(root, "proc/large", &b);
                assert_ok(b.error);
                assert_int_equal(b.size, BLOB_SIZE_MAX);
                blob_done(&b);
        }
        {
                Blob b;

                large[0] = 'a';
                tree_put_bytes(t, large, BLOB_SIZE_MAX + 1, "proc/larger");
                blob_read_head(root, "proc/larger", &b);
                assert_ok(b.error);
                assert_int_equal(b.size, BLOB_SIZE_MAX);
                assert_string_equal(b.data, "a");
                blob_done(&b);
                blob_read_head(root, "proc/a", &b);
                assert_string_equal(b.data, "hello\n");
                blob_done(&b);
                blob_read_head(root, "proc/none", &b);
                assert_error(b.error, ENOENT);
        }
        set_mode(t, "proc/hidden", 0);
        become_nobody(t);
        expect_blob(root, "proc/hidden", -EACCES, NULL);
        become_again();
        free(large);
}

static void put_gzip(const Tree *t, const char *text, const char *path) {
        char full[TREE_PATH_MAX];
        gzFile f;

        tree_put(t, "", "%s", path); /* and the folders */
        (void)snprintf(full, sizeof(full), "%s/%s", t->root, path);
        f = gzopen(full, "wb");
        assert_non_null(f);
        assert_int_equal(gzputs(f, text), (int)strlen(text));
        assert_int_equal(gzclose(f), Z_OK);
}

static void expect_gzip(int root, int error, const char *text) {
        Blob b;

        blob_read_gzip(root, "proc/config.gz", &b);
        assert_int_equal(b.error, error);
        if (text)
                assert_string_equal(b.data, text);
        blob_done(&b);
}

static void test_gzip(void **state) {
        static const char text[] = "CONFIG_IOMMUFD=m\nCONFIG_VFIO_PCI=m\nCONFIG_IRQ_REMAP=y\n";
        _cleanup_close_ int root = open_root(*state);
        const Tree *t = *state;
        Blob b;

        expect_gzip(root, -ENOENT, NULL);
        put_gzip(t, text, "proc/config.gz");
        expect_gzip(root, 0, text);

        blob_read(root, "proc/config.gz", &b);
        assert_ok(b.error);
        for (size_t size = 1; size < b.size; size++) {
                tree_put_bytes(t, b.data, size, "proc/config.gz");
                /* One byte of a header, and what has no header at all, is taken as it is. */
                if (size > 1)
                        expect_gzip(root, -EBADMSG, NULL);
        }
        b.data[b.size / 2] ^= 0x55;
        tree_put_bytes(t, b.data, b.size, "proc/config.gz");
        expect_gzip(root, -EBADMSG, NULL);
        blob_done(&b);
}

static void gather_and_expect_config(int root, const char *path, int error) {
        KernelFacts k;

        gather_kernel(root, &k);
        assert_int_equal(k.config.error, error);
        if (path)
                assert_string_equal(k.config_path, path);
        blob_done(&k.config);
        blob_done(&k.command_line);
}

static void test_kernel(void **state) {
        _cleanup_close_ int root = open_root(*state);
        const Tree *t = *state;
        KernelFacts k;

        gather_kernel(root, &k);
        assert_string_equal(k.release, "");
        assert_error(k.config.error, ENOENT);
        assert_error(k.command_line.error, ENOENT);
        assert_false(k.is_loaded[MODULE_IOMMUFD]);
        assert_string_equal(k.parameters[0].value, "");

        tree_put(t, "7.0-test\n", "proc/sys/kernel/osrelease");
        tree_put(t, "iommu=pt\n", "proc/cmdline");
        tree_put(t, "Y\n", "sys/module/iommufd/parameters/allow_unsafe_interrupts");
        tree_put(t, "far too long for a switch of a module to be\n",
                 "sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
        gather_kernel(root, &k);
        assert_string_equal(k.release, "7.0-test");
        assert_string_equal(k.command_line.data, "iommu=pt\n");
        assert_true(k.is_loaded[MODULE_IOMMUFD]);
        assert_false(k.is_loaded[MODULE_VFIO_PCI]);
        assert_string_equal(k.parameters[0].value, "Y");
        assert_string_equal(k.parameters[2].value, "");
        blob_done(&k.command_line);

        /* From the last place to the first. */
        put_gzip(t, "CONFIG_X=y\n", "proc/config.gz");
        gather_and_expect_config(root, "/proc/config.gz", 0);
        tree_put(t, "CONFIG_X=y\n", "usr/lib/modules/7.0-test/config");
        gather_and_expect_config(root, "/usr/lib/modules/7.0-test/config", 0);
        tree_put(t, "CONFIG_X=y\n", "boot/config-7.0-test");
        gather_and_expect_config(root, "/boot/config-7.0-test", 0);
        tree_put(t, "CONFIG_X=y\n", "boot/config-7.1");
        gather_and_expect_config(root, "/boot/config-7.0-test", 0);

        set_mode(t, "boot/config-7.0-test", 0);
        tree_remove(t, "usr");
        become_nobody(t);
        gather_and_expect_config(root, "/proc/config.gz", 0);
        become_again();
        tree_remove(t, "proc/config.gz");
        become_nobody(t);
        gather_and_expect_config(root, NULL, -EACCES);
        become_again();

        tree_put(t, "../../../etc/passwd\n", "proc/sys/kernel/osrelease");
        gather_kernel(root, &k);
        assert_string_equal(k.release, "");
        blob_done(&k.command_line);
}

static void firmware_done(FirmwareFacts *f) {
        blob_done(&f->processors);
        blob_done(&f->ivrs);
        for (size_t i = 0; i < f->n_spaces; i++)
                blob_done(&f->spaces[i].config);
        free(f->spaces);
}

static void test_firmware(void **state) {
        BusHost hosts[] = {
                { .name = "ivhd0", .vendor = "amd", .pci_address = "0000:00:00.2" },
                { .name = "ivhd1", .vendor = "amd", .pci_address = "../../secret" },
                { .name = "ivhd2", .vendor = "amd", .pci_address = "" },
                { .name = "dmar0", .vendor = "intel", .pci_address = "0000:00:00.3" },
                { .name = "ivhd3", .vendor = "amd", .pci_address = "0000:40:00.2" },
        };
        BusFacts bus = { .hosts = hosts, .n_hosts = ELEMENTSOF(hosts) };
        _cleanup_close_ int root = open_root(*state);
        const Tree *t = *state;
        FirmwareFacts f;

        tree_put(t, "space", "sys/bus/pci/devices/0000:00:00.2/config");
        gather_firmware(root, &bus, &f);
        assert_error(f.processors.error, ENOENT);
        assert_error(f.ivrs.error, ENOENT);
        assert_int_equal(f.n_spaces, 2);
        assert_string_equal(f.spaces[0].config.data, "space");
        assert_string_equal(f.spaces[1].name, "ivhd3");
        assert_error(f.spaces[1].config.error, ENOENT);
        firmware_done(&f);

        /* The copy that root made for the daemon is for who may not read the table. */
        tree_put(t, "table", "sys/firmware/acpi/tables/IVRS");
        tree_put(t, "copy", "run/aviommu-host/ivrs");
        gather_firmware(root, &(BusFacts){}, &f);
        assert_string_equal(f.ivrs.data, "table");
        firmware_done(&f);
        set_mode(t, "sys/firmware/acpi/tables/IVRS", 0);
        become_nobody(t);
        gather_firmware(root, &(BusFacts){}, &f);
        become_again();
        assert_string_equal(f.ivrs.data, "copy");
        firmware_done(&f);
        set_mode(t, "run/aviommu-host/ivrs", 0);
        become_nobody(t);
        gather_firmware(root, &(BusFacts){}, &f);
        become_again();
        assert_error(f.ivrs.error, EACCES);
        firmware_done(&f);
}

static void test_nodes(void **state) {
        _cleanup_close_ int root = open_root(*state);
        const Tree *t = *state;
        NodeFacts n;

        gather_nodes(root, &n);
        assert_error(n.iommu.error, ENOENT);
        assert_error(n.vfio_error, ENOENT);
        assert_error(n.users_error, ENOENT);
        assert_int_equal(n.user, -1);

        tree_put(t, "", "dev/iommu");
        tree_put(t, "", "dev/vfio/devices/vfio3");
        tree_put(t, "", "dev/vfio/devices/other");
        tree_put(t, "aviommu:x:998:998::/:\n", "etc/passwd");
        set_mode(t, "dev/iommu", 0600);
        set_mode(t, "dev/vfio/devices/vfio3", 0640);
        gather_nodes(root, &n);
        assert_ok(n.iommu.error);
        assert_int_equal(n.iommu.mode, 0600);
        assert_int_equal(n.iommu.uid, getuid());
        assert_int_equal(n.n_vfio, 1);
        assert_string_equal(n.vfio[0].name, "vfio3");
        assert_int_equal(n.vfio[0].mode, 0640);
        assert_int_equal(n.user, 998);
        free(n.vfio);

        set_mode(t, "dev/vfio", 0);
        become_nobody(t);
        gather_nodes(root, &n);
        become_again();
        assert_error(n.vfio_error, EACCES);
        set_mode(t, "dev/vfio", 0755);
}

static void test_holders(void **state) {
        static const char arguments[] = "qemu\0-uuid\0"
                                        "1234";
        _cleanup_close_ int root = open_root(*state);
        const Tree *t = *state;
        HolderFacts h;

        tree_link(t, "/dev/null", "proc/300/fd/0");
        tree_link(t, "/dev/iommu", "proc/300/fd/9");
        tree_put(t, "qemu-system-x86\n", "proc/300/comm");
        tree_put_bytes(t, arguments, sizeof(arguments), "proc/300/cmdline");
        tree_link(t, "/dev/iommu", "proc/20/fd/9");
        tree_link(t, "/dev/iommu2", "proc/21/fd/9");
        tree_link(t, "/dev/iomm", "proc/22/fd/9");
        tree_link(t, "/dev/iommu", "proc/self/fd/9");
        tree_link(t, "/dev/iommu", "proc/2x/fd/9");
        tree_link(t, "/dev/iommu", "proc/99999999999/fd/9");
        tree_mkdir(t, "proc/23"); /* it ends just now */
        gather_holders(root, false, 0, &h);
        assert_ok(h.error);
        assert_int_equal(h.n, 2);
        assert_int_equal(h.n_hidden, 0);
        assert_int_equal(h.items[0].holder.pid, 20);
        assert_string_equal(h.items[0].holder.command, "");
        assert_string_equal(h.items[1].holder.command, "qemu-system-x86");
        assert_string_equal(h.items[1].uuid, "1234");
        free(h.items);

        set_mode(t, "proc/300/fd", 0);
        become_nobody(t);
        gather_holders(root, false, 0, &h);
        become_again();
        assert_int_equal(h.n, 1);
        assert_int_equal(h.n_hidden, 1);
        free(h.items);
        set_mode(t, "proc/300/fd", 0755);

        tree_remove(t, "proc");
        gather_holders(root, false, 0, &h);
        assert_error(h.error, ENOENT);
        tree_mkdir(t, "proc"); /* for the teardown's sake */
}

/* ---- programs ---- */

static void put_program(const Tree *t, const char *text, const char *path) {
        tree_put(t, text, "%s", path);
        set_mode(t, path, 0755);
}

static void gather_programs(const Tree *t, int root, LibvirtFacts *ret) {
        gather_libvirt(root, t->root, ret);
}

static void programs_done(LibvirtFacts *l) {
        free(l->qemu.output);
        free(l->libvirt.output);
}

static void test_programs(void **state) {
        _cleanup_close_ int root = open_root(*state);
        const Tree *t = *state;
        LibvirtFacts l;

        gather_programs(t, root, &l);
        assert_string_equal(l.qemu.path, "");
        assert_string_equal(l.libvirt.path, "");
        assert_error(l.hook_error, ENOENT);

        assert_ok(setenv("DOCTOR_SECRET", "leaked", true));
        put_program(t, "#!/bin/sh\necho \"version 10.2 $1 $DOCTOR_SECRET$(pwd)\"\necho no >&2\n",
                    "usr/bin/qemu-system-x86_64");
        put_program(t, "#!/bin/sh\nexec yes 1.2\n", "usr/sbin/virtqemud");
        put_program(t, "", "etc/libvirt/hooks/qemu.d/50-aviommu");
        gather_programs(t, root, &l);
        assert_string_equal(l.qemu.path, "/usr/bin/qemu-system-x86_64");
        assert_ok(l.qemu.error);
        assert_string_equal(l.qemu.output, "version 10.2 --version /\n");
        assert_string_equal(l.libvirt.path, "/usr/sbin/virtqemud");
        assert_ok(l.libvirt.error); /* who speaks without end is cut short */
        assert_true(strlen(l.libvirt.output) < 5000);
        assert_ok(l.hook_error);
        assert_false(l.is_hook_hidden);
        programs_done(&l);

        /* libvirt's own packages let root alone look into its folder. */
        set_mode(t, "etc/libvirt", 0);
        become_nobody(t);
        gather_programs(t, root, &l);
        become_again();
        set_mode(t, "etc/libvirt", 0755);
        assert_error(l.hook_error, EACCES);
        assert_true(l.is_hook_hidden);
        programs_done(&l);

        put_program(t, "#!/nonexistent/interpreter\n", "usr/bin/qemu-system-x86_64");
        put_program(t, "#!/bin/sh\nexit 1\n", "usr/sbin/libvirtd");
        set_mode(t, "etc/libvirt/hooks/qemu.d/50-aviommu", 0644);
        gather_programs(t, root, &l);
        assert_error(l.qemu.error, ENOEXEC);
        assert_string_equal(l.libvirt.path, "/usr/sbin/libvirtd");
        assert_ok(l.libvirt.error);
        assert_string_equal(l.libvirt.output, "");
        assert_error(l.hook_error, EACCES);
        assert_false(l.is_hook_hidden);
        programs_done(&l);

        /* What was built on the host goes before what a package has brought. */
        put_program(t, "#!/bin/sh\n", "usr/local/sbin/virtqemud");
        gather_programs(t, root, &l);
        assert_string_equal(l.libvirt.path, "/usr/local/sbin/virtqemud");
        programs_done(&l);
}

int main(void) {
#define TREE_TEST(test) cmocka_unit_test_setup_teardown(test, tree_setup, tree_teardown)
        const struct CMUnitTest tests[] = {
                TREE_TEST(test_blobs),    TREE_TEST(test_gzip),     TREE_TEST(test_kernel),
                TREE_TEST(test_nodes),    TREE_TEST(test_firmware), TREE_TEST(test_holders),
                TREE_TEST(test_programs),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
