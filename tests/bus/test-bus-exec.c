/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* aviommuctl exec as it becomes a VMM, and Describe in the forms that VMMs take. */

#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC  "0000:01:00.0"
#define NIC2 "0000:41:00.0"
#define DISK "0000:43:00.0"

/* ---- exec ---- */

typedef struct Vmm {
        pid_t pid;
        int input, output;
        char said[4096];
        size_t n_said;
} Vmm;

/* Runs `aviommuctl exec ARGUMENT...`. */
static void vmm_start(Fixture *f, Vmm *vmm, const char **arguments) {
        const char *argv[24] = { "aviommuctl", "exec" };
        int in[2], out[2];

        *vmm = (Vmm){};
        for (size_t i = 0; arguments[i]; i++) {
                assert_true(i + 3 < ELEMENTSOF(argv));
                argv[i + 2] = arguments[i];
        }
        assert_int_equal(pipe2(in, O_CLOEXEC), 0);
        assert_int_equal(pipe2(out, O_CLOEXEC), 0);
        vmm->pid = fixture_fork(f);
        if (vmm->pid == 0) {
                (void)dup2(in[0], STDIN_FILENO);
                (void)dup2(out[1], STDOUT_FILENO);
                (void)dup2(out[1], STDERR_FILENO);
                (void)setenv("AVIOMMU_BUS_ADDRESS", f->address, true);
                (void)execv(AVIOMMUCTL, (char **)argv);
                _exit(127);
        }
        (void)close(in[0]);
        (void)close(out[1]);
        vmm->input = in[1];
        vmm->output = out[0];
        assert_int_equal(fcntl(vmm->output, F_SETFL, O_NONBLOCK), 0);
}
#define VMM_START(f, vmm, ...) vmm_start((f), (vmm), (const char *[]){ __VA_ARGS__, NULL })

/* Whether it has said all that it will. */
static bool vmm_has_said(Vmm *vmm, const char *last) {
        ssize_t n = read(vmm->output, vmm->said + vmm->n_said, sizeof(vmm->said) - 1 - vmm->n_said);

        if (n > 0)
                vmm->n_said += (size_t)n;
        vmm->said[vmm->n_said] = '\0';
        return n == 0 || (*last && strstr(vmm->said, last));
}

static void vmm_await(Fixture *f, Vmm *vmm) {
        wait_until(f, vmm_has_said(vmm, "\nready\n"));
        if (!strstr(vmm->said, "\nready\n"))
                fail_msg("the VMM said: %s", vmm->said);
}

static void assert_said(const Vmm *vmm, const char *line) {
        if (!strstr(vmm->said, line))
                fail_msg("not \"%s\", but:\n%s", line, vmm->said);
}

/* Waits for its end. Returns the exit code. */
static int vmm_end(Fixture *f, Vmm *vmm) {
        int status;

        vmm->input = fd_close(vmm->input);
        wait_until(f, vmm_has_said(vmm, ""));
        vmm->output = fd_close(vmm->output);
        assert_int_equal(waitpid(vmm->pid, &status, 0), vmm->pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static size_t count_lines(const char *text, const char *begin) {
        size_t n = 0;

        for (const char *s = text; (s = strstr(s, begin)); s++)
                n += s == text || s[-1] == '\n';
        return n;
}

/* A finished context: all descriptors and no more, and no further vIOMMUs. */
static void test_daemon(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_close_ int context = -1;
        char line[64];
        Vmm vmm, second;

        CREATE(f, uuid, .name = "guest", .tier = "hardware", .functions = NIC " " NIC2);
        context = vm_open_context(f, uuid, NULL);
        VMM_START(f, &vmm, "guest", "--", EXEC_VMM, "{iommufd}", "nic={device:" NIC "}",
                  "nic2={device:" NIC2 "}");
        vmm_await(f, &vmm);

        assert_int_equal(count_lines(vmm.said, "fd "), 3);
        (void)snprintf(line, sizeof(line), "at iommufd %lld\n",
                       (long long)lseek(context, 0, SEEK_CUR));
        assert_said(&vmm, line);
        assert_null(strstr(vmm.said, "at nic -1\n"));
        assert_null(strstr(vmm.said, "at nic2 -1\n"));
        assert_said(&vmm, "ioctl native 0x3b90 EPERM\n");
        assert_said(&vmm, "ioctl native 0x3b91 ENOTTY\n");
        assert_said(&vmm, "ioctl long 0x3b90 EPERM\n");
#ifdef __x86_64__
        assert_said(&vmm, "ioctl x32 0x3b90 EPERM\n");
        assert_said(&vmm, "ioctl i386 0x3b90 EPERM\n");
#endif
        assert_property(f, vm, "Vm", "Leash", "\"pidfd\"");
        assert_property(f, vm, "Vm", "Confirmed", "true");
        assert_property(f, vm, "Vm", "State", "\"bound\"");
        assert_int_equal(counter(f, "bound-functions"), 2);

        /* It has a VMM now, and gets no second one. */
        VMM_START(f, &second, "guest", "--", EXEC_VMM, "{iommufd}", "{device:" NIC "}",
                  "{device:" NIC2 "}");
        assert_int_equal(vmm_end(f, &second), 4);
        assert_property(f, vm, "Vm", "State", "\"bound\"");

        context = fd_close(context);
        assert_int_equal(vmm_end(f, &vmm), 0);
        (void)hear(f, "VmRemoved *vmm-exited*");
        assert_nothing_left(f);
}

/* The same outside the hardware tier: there is nothing to keep it from. */
static void test_daemon_emulated(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        Vmm vmm;

        CREATE(f, uuid, .tier = "emulated", .handover = "daemon", .functions = NIC);
        VMM_START(f, &vmm, uuid, "--fd-iommufd=20", "--fd-device=" NIC "=21", "--", EXEC_VMM, "20",
                  "nic=21");
        vmm_await(f, &vmm);
        assert_said(&vmm, "fd 20\nfd 21\nat ");
        assert_null(strstr(vmm.said, " -1\n"));
        assert_said(&vmm, "ioctl native 0x3b90 ENOTTY\n");
        fixture_kill(f, vmm.pid);
        (void)hear(f, "VmRemoved *vmm-exited*");
        assert_nothing_left(f);
        vmm.input = fd_close(vmm.input);
        vmm.output = fd_close(vmm.output);
}

/* QEMU's way: it gets the iommufd, and what Describe says. */
static void test_vmm(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        Vmm vmm;

        CREATE(f, uuid, .tier = "emulated", .functions = NIC);
        VMM_START(f, &vmm, uuid, "--", EXEC_VMM, "{iommufd}");
        vmm_await(f, &vmm);
        assert_int_equal(count_lines(vmm.said, "fd "), 1);
        assert_null(strstr(vmm.said, "at iommufd -1\n"));
        assert_said(&vmm, "ioctl native 0x3b90 ENOTTY\n");
        assert_property(f, vm, "Vm", "Leash", "\"pidfd\"");
        assert_int_equal(vmm_end(f, &vmm), 0);
        (void)hear(f, "VmRemoved *vmm-exited*");

        CREATE(f, uuid, .tier = "virtio", .handover = "none", .functions = NIC);
        VMM_START(f, &vmm, uuid, "--", EXEC_VMM, "-1");
        vmm_await(f, &vmm);
        assert_int_equal(count_lines(vmm.said, "fd "), 0);
        assert_property(f, vm, "Vm", "Leash", "\"pidfd\"");
        assert_int_equal(vmm_end(f, &vmm), 0);
        (void)hear(f, "VmRemoved *vmm-exited*");
        assert_nothing_left(f);
}

/* Whatever goes wrong before the leash leaves the VM as it was. */
static void test_refused(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        _cleanup_free_ char *before = NULL;
        Vmm vmm;

        CREATE(f, uuid, .tier = "hardware", .functions = NIC);
        before = world(f);
        VMM_START(f, &vmm, uuid, "--", "/nonexistent/vmm", "{iommufd}", "{device:" NIC "}");
        assert_int_equal(vmm_end(f, &vmm), 3);
        assert_said(&vmm, "/nonexistent/vmm is no program that can be run");
        VMM_START(f, &vmm, uuid, "--", EXEC_VMM, "{iommufd}");
        assert_int_equal(vmm_end(f, &vmm), 2);
        assert_said(&vmm, "The command does not get " NIC);
        VMM_START(f, &vmm, uuid, "--", EXEC_VMM, "{iommufd}", "{device:" NIC2 "}");
        assert_int_equal(vmm_end(f, &vmm), 3);
        assert_world(f, before);
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

/* ---- Describe ---- */

static char *describe(Fixture *f, const char *uuid, const char *format) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const char *text;
        char *copy;

        m = ask(f, vm_path(uuid), "Vm", "Describe", "s", format);
        assert_true(sd_bus_message_read(m, "s", &text) > 0);
        copy = strdup(text);
        assert_non_null(copy);
        return copy;
}

static void assert_described(Fixture *f, const char *uuid, const char *format,
                             const char *expected) {
        _cleanup_free_ char *text = describe(f, uuid, format);

        assert_string_equal(text, expected);
}

static void test_describe_emulated(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);

        CREATE(f, uuid, .name = "<a & b>", .tier = "emulated",
               .functions = NIC " 0000:07:00.0,managed");
        assert_described(
                f, uuid, "libvirt-xml",
                "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
                "  <name>&lt;a &amp; b&gt;</name>\n"
                "  <uuid>5ca1ab1e-0000-4000-8000-000000000001</uuid>\n"
                "  <metadata>\n"
                "    <aviommu:viommu xmlns:aviommu='https://aviommu.org/xmlns/domain/1' "
                "tier='emulated'/>\n"
                "  </metadata>\n"
                "  <iommufd enabled='yes' fdgroup='aviommu'/>\n"
                "  <features>\n"
                "    <ioapic driver='qemu'/>\n"
                "  </features>\n"
                "  <devices>\n"
                "    <iommu model='amd'>\n"
                "      <driver intremap='on'/>\n"
                "    </iommu>\n"
                "    <hostdev mode='subsystem' type='pci' managed='no'>\n"
                "      <source>\n"
                "        <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>\n"
                "      </source>\n"
                "    </hostdev>\n"
                "    <hostdev mode='subsystem' type='pci' managed='yes'>\n"
                "      <source>\n"
                "        <address domain='0x0000' bus='0x07' slot='0x00' function='0x0'/>\n"
                "      </source>\n"
                "    </hostdev>\n"
                "  </devices>\n"
                "  <qemu:commandline>\n"
                "    <qemu:arg value='-global'/>\n"
                "    <qemu:arg value='amd-iommu.dma-remap=on'/>\n"
                "  </qemu:commandline>\n"
                "</domain>\n");
        assert_described(f, uuid, "qemu-args",
                         "-machine q35,kernel-irqchip=split\n"
                         "-object iommufd,id=iommufd0,fd={iommufd}\n"
                         "-device amd-iommu,intremap=on,dma-remap=on\n"
                         "-device vfio-pci,id=hostdev0,host=" NIC ",iommufd=iommufd0\n"
                         "-device vfio-pci,id=hostdev1,host=0000:07:00.0,iommufd=iommufd0\n");
        vm_destroy_ok(f, uuid);
}

static void test_describe_none(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        _cleanup_free_ char *xml = NULL;

        CREATE(f, uuid, .tier = "virtio", .handover = "none", .functions = NIC);
        xml = describe(f, uuid, "libvirt-xml");
        assert_non_null(strstr(xml, "<iommu model='virtio'/>"));
        assert_null(strstr(xml, "iommufd"));
        assert_null(strstr(xml, "qemu:"));
        assert_described(f, uuid, "qemu-args",
                         "-machine q35\n"
                         "-device virtio-iommu-pci\n"
                         "-device vfio-pci,id=hostdev0,host=" NIC "\n");
        vm_destroy_force(f, uuid);

        CREATE(f, uuid, .tier = "virtio");
        assert_described(f, uuid, "qemu-args",
                         "-machine q35\n"
                         "-object iommufd,id=iommufd0,fd={iommufd}\n"
                         "-device virtio-iommu-pci\n");
        vm_destroy_ok(f, uuid);
}

/* AMD's QEMU: one vIOMMU for each host IOMMU, on a root bus with all of its functions and no others. */
static void test_describe_hardware(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);

        CREATE(f, uuid, .tier = "hardware", .handover = "vmm",
               .functions = NIC "=01:1e.0 " NIC2 "=02:00.0 " DISK "=02:00.1");
        assert_described(f, uuid, "qemu-args",
                         "-machine q35,kernel-irqchip=split\n"
                         "-object iommufd,id=iommufd0,fd={iommufd}\n"
                         "-device pxb-pcie,id=pci-ivhd0,bus=pcie.0,bus_nr=1\n"
                         "-device AMD-VIOMMU-PCI,id=viommu-ivhd0,bus=pci-ivhd0,addr=0x1d\n"
                         "-device amd-viommu,pci-id=viommu-ivhd0,last-bus-nr=1\n"
                         "-device vfio-pci,id=hostdev0,host=" NIC
                         ",iommufd=iommufd0,bus=pci-ivhd0,addr=0x1e.0x0\n"
                         "-device pxb-pcie,id=pci-ivhd1,bus=pcie.0,bus_nr=2\n"
                         "-device AMD-VIOMMU-PCI,id=viommu-ivhd1,bus=pci-ivhd1,addr=0x1e\n"
                         "-device amd-viommu,pci-id=viommu-ivhd1,last-bus-nr=2\n"
                         "-device vfio-pci,id=hostdev1,host=" NIC2
                         ",iommufd=iommufd0,bus=pci-ivhd1,addr=0x0.0x0,multifunction=on\n"
                         "-device vfio-pci,id=hostdev2,host=" DISK
                         ",iommufd=iommufd0,bus=pci-ivhd1,addr=0x0.0x1\n");
        run_fails(f, "WrongState", vm, "Vm", "Describe", "s", "libvirt-xml");
        vm_destroy_ok(f, uuid);

        CREATE(f, uuid, .tier = "hardware", .handover = "vmm", .functions = NIC "=00:05.0");
        assert_described(f, uuid, "qemu-args",
                         "-machine q35,kernel-irqchip=split\n"
                         "-object iommufd,id=iommufd0,fd={iommufd}\n"
                         "-device AMD-VIOMMU-PCI,id=viommu-ivhd0,bus=pcie.0,addr=0x1e\n"
                         "-device amd-viommu,pci-id=viommu-ivhd0,last-bus-nr=0\n"
                         "-device vfio-pci,id=hostdev0,host=" NIC
                         ",iommufd=iommufd0,bus=pcie.0,addr=0x5.0x0\n");
        vm_destroy_ok(f, uuid);

        /* Two vIOMMUs, whose functions nobody gave ids: a bus each. */
        CREATE(f, uuid, .tier = "hardware", .handover = "vmm", .functions = NIC " " NIC2 " " DISK);
        run_ok(f, vm, "Vm", "Describe", "s", "qemu-args");
        vm_destroy_ok(f, uuid);

        /* Two vIOMMUs on one bus; one vIOMMU on two. */
        CREATE(f, uuid, .tier = "hardware", .handover = "vmm",
               .functions = NIC "=01:00.0 " NIC2 "=01:01.0");
        run_fails(f, "WrongState", vm, "Vm", "Describe", "s", "qemu-args");
        vm_destroy_ok(f, uuid);
        CREATE(f, uuid, .tier = "hardware", .handover = "vmm",
               .functions = NIC2 "=01:00.0 " DISK "=02:00.0");
        run_fails(f, "WrongState", vm, "Vm", "Describe", "s", "qemu-args");
        vm_destroy_ok(f, uuid);

        /* What is bound already no QEMU takes over. */
        CREATE(f, uuid, .tier = "hardware", .functions = NIC);
        run_fails(f, "WrongState", vm, "Vm", "Describe", "s", "qemu-args");
        run_fails(f, "WrongState", vm, "Vm", "Describe", "s", "libvirt-xml");
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_daemon),
                BUS_TEST(test_daemon_emulated),
                BUS_TEST(test_vmm),
                BUS_TEST(test_refused),
                BUS_TEST(test_describe_emulated),
                BUS_TEST(test_describe_none),
                BUS_TEST(test_describe_hardware),
        };

        return bus_tests_run(argc, argv, tests);
}
