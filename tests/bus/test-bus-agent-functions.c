/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The agent and the functions of running domains: what is plugged in and out, and domains that aviommud does not know. */

#include "agent-thread.h"

#include <signal.h>
#include <unistd.h>

#include "domain/domain.h"

/* ---- devices ---- */

#define HOSTDEV(bus)                                                                               \
        "<hostdev mode='subsystem' type='pci' managed='yes'><driver iommufd='yes'/><source>"       \
        "<address domain='0x0000' bus='" bus "' slot='0x00' function='0x0'/></source></hostdev>"

/* Names functions that are not there at any time, and ids that the tier does not have. */
#define REQUEST                                                                                    \
        "<viommu tier='virtio'><function address='" NIC "' guest-device-id='01:00.0'/>"            \
        "<function address='" NIC2 "' guest-device-id='02:00.0'/></viommu>"

static void test_hotplug(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        CREATE(f, uuid, .tier = "virtio", .handover = "none", .functions = NIC ",managed",
               .leash_pidfd = self);
        assert_int_equal(virDomainCreate(domain), 0);
        assert_int_equal(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, REQUEST,
                                              "aviommu", DOMAIN_XMLNS, VIR_DOMAIN_AFFECT_LIVE),
                         0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(count_said("plugged"), 0);

        fake_libvirt_set_devices(HOSTDEV("0x01") HOSTDEV("0x41") HOSTDEV("0x43"));
        fake_libvirt_tell_device(true, "vm-a");
        wait_until(f, has_function(f, uuid, NIC2) && has_function(f, uuid, DISK));
        fake_libvirt_set_devices(HOSTDEV("0x41"));
        fake_libvirt_tell_device(false, "vm-a");
        wait_until(f, !has_function(f, uuid, NIC) && !has_function(f, uuid, DISK));
        assert_true(has_function(f, uuid, NIC2));
        wait_until(f, count_said("was unplugged.") == 2);

        /* What somebody else has is refused, the rest is not, and it is tried again. */
        CREATE(f, uuid_of(2), .tier = "virtio", .handover = "none", .functions = NIC,
               .leash_pidfd = self);
        fake_libvirt_set_devices(HOSTDEV("0x41") HOSTDEV("0x01") HOSTDEV("0x43"));
        fake_libvirt_tell_device(true, "vm-a");
        wait_until(f, count_said("PCI function " NIC " was plugged in, and aviommud refuses") == 1);
        wait_until(f, has_function(f, uuid, DISK));
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("aviommud refuses"), 1);
        vm_destroy_force(f, uuid_of(2));
        wait_until(f, has_function(f, uuid, NIC));

        /* While aviommud was away. */
        fixture_kill_daemon(f);
        wait_until(f, count_said("aviommud is gone.") == 1);
        fake_libvirt_set_devices(HOSTDEV("0x41"));
        fake_libvirt_tell_device(false, "vm-a");
        fixture_serve_for(f, SEC / 4);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        wait_until(f, !has_function(f, uuid, NIC) && !has_function(f, uuid, DISK));
        assert_true(has_function(f, uuid, NIC2));

        assert_int_equal(virDomainDestroy(domain), 0);
        vm_destroy_force(f, uuid);
        agent_end(&agent, connection, domain);
        (void)close(self);
}

/* ---- domains that aviommud does not know ---- */

static bool shows(Fixture *f, const char *uuid, const char *name, const char *part) {
        _cleanup_free_ char *text = property(f, vm_path(uuid), "Vm", name);

        return strstr(text, part);
}

/* The domain's memory. */
static bool is_pinned(Fixture *f, const char *uuid) {
        return shows(f, uuid, "Charges", "(\"pinned-memory\", \"host\", 8388608)");
}

static void plug(const char *devices) {
        fake_libvirt_set_devices(devices);
        fake_libvirt_tell_device(true, "vm-a");
}

/* It had nothing to be counted at its start, and gets a function while it runs. */
static void test_first_function(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(vm_count(f), 0);

        plug(HOSTDEV("0x01"));
        wait_until(f, vm_count(f) == 1);
        wait_until(f, count_said("vm-a runs with PCI functions, which are counted") == 1);
        assert_property(f, vm_path(uuid), "Vm", "Name", "\"vm-a\"");
        assert_property(f, vm_path(uuid), "Vm", "Leash", "\"agent\"");
        assert_property(f, vm_path(uuid), "Vm", "Handover", "\"none\"");
        assert_property(f, vm_path(uuid), "Vm", "Tier", "\"virtio\"");
        assert_true(has_function(f, uuid, NIC));
        assert_true(is_pinned(f, uuid));
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        wait_until(f, has_function(f, uuid, DISK));
        assert_true(is_pinned(f, uuid));

        /* Whoever is started anew finds it. */
        fixture_restart(f);
        wait_until(f, count_said("aviommud is there") == 2);
        agent_stop(&agent);
        agent_start(&agent);
        wait_until(f, count_said("aviommud is there") == 3);
        wait_until(f, count_said("Connected to libvirt") == 2);
        fake_libvirt_set_reachable(false);
        wait_until(f, count_said("is lost") == 1);
        fake_libvirt_set_reachable(true);
        wait_until(f, count_said("Connected to libvirt") == 3);
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 1);
        assert_true(has_function(f, uuid, NIC) && has_function(f, uuid, DISK));
        assert_true(is_pinned(f, uuid));
        assert_int_equal(count_said("which are counted"), 1);

        /* Nothing is pinned without a function. */
        plug("");
        wait_until(f, shows(f, uuid, "Functions", "[]"));
        assert_false(shows(f, uuid, "Charges", "pinned"));
        plug(HOSTDEV("0x43"));
        wait_until(f, has_function(f, uuid, DISK));
        assert_true(is_pinned(f, uuid));

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        agent_end(&agent, connection, domain);
        wait_until(f, counter(f, "contexts") == 0);
        assert_nothing_left(f);
}

/* What is wrong with its request does not hide what it has. */
static void test_bad_request(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, vm_count(f) == 1);
        assert_int_equal(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT,
                                              "<viommu tier='fastest'/>", "aviommu", DOMAIN_XMLNS,
                                              VIR_DOMAIN_AFFECT_LIVE),
                         0);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        wait_until(f, has_function(f, uuid, DISK));
        assert_true(count_said("The request of domain vm-a is not taken") > 0);
        plug(HOSTDEV("0x43"));
        wait_until(f, !has_function(f, uuid, NIC));

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        agent_end(&agent, connection, domain);
}

/* On whose account it runs is in its request. */
static void test_first_function_of_tenant(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        assert_int_equal(virDomainCreate(domain), 0);
        assert_int_equal(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT,
                                              "<viommu tier='virtio' tenant='acme'/>", "aviommu",
                                              DOMAIN_XMLNS, VIR_DOMAIN_AFFECT_LIVE),
                         0);
        agent_begin(&agent, f);
        wait_until(f, vm_count(f) == 1);
        assert_property(f, vm_path(uuid), "Vm", "Tenant", "\"acme\"");

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        agent_end(&agent, connection, domain);
}

/* Without functions it was admitted, so it has no memory charged. */
static void test_first_function_admitted(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;

        CREATE(f, uuid, .tier = "virtio", .handover = "none", .leash_pidfd = self);
        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);
        assert_false(shows(f, uuid, "Charges", "pinned"));
        plug(HOSTDEV("0x01"));
        wait_until(f, has_function(f, uuid, NIC));
        assert_true(is_pinned(f, uuid));
        assert_property(f, vm_path(uuid), "Vm", "Leash", "\"pidfd\"");

        assert_int_equal(virDomainDestroy(domain), 0);
        vm_destroy_force(f, uuid);
        agent_end(&agent, connection, domain);
        (void)close(self);
}

/* aviommud refuses, and then another VM has the name. */
static void test_first_function_refused(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;

        CREATE(f, uuid_of(2), .tier = "virtio", .handover = "none", .functions = NIC,
               .leash_pidfd = self);
        CREATE(f, uuid_of(3), .tier = "virtio", .handover = "none", .name = "vm-a",
               .leash_pidfd = self);
        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        wait_until(f, count_said("vm-a runs with PCI functions, and aviommud refuses") == 1);
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("aviommud refuses"), 1);
        assert_int_equal(vm_count(f), 2);
        vm_destroy_force(f, uuid_of(2));
        wait_until(f, count_said("which are counted from now on") == 1);
        assert_true(has_function(f, uuid, NIC) && has_function(f, uuid, DISK));
        assert_false(shows(f, uuid, "Name", "vm-a"));

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 1);
        vm_destroy_force(f, uuid_of(3));
        agent_end(&agent, connection, domain);
        (void)close(self);
}

/* The hook admits it while the agent is about to. */
static void test_first_function_at_once(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;
        Call call;
        bool hook_first;

        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);

        assert_int_equal(vm_count(f), 0);

        /* The agent's question is there first, then the hook's wish, and as a rule the agent's after that. */
        (void)kill(f->daemon_pid, SIGSTOP);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        fixture_serve_for(f, SEC);
        call_start(f, &call,
                   vm_request(f->bus, "CreateVm",
                              &(VmSpec){ uuid, .tier = "virtio", .handover = "none",
                                         .functions = NIC, .leash_pidfd = self }));
        fixture_serve_for(f, SEC / 4);
        (void)kill(f->daemon_pid, SIGCONT);
        call_wait(&call);
        hook_first = streq(call_error(&call), "");
        assert_true(hook_first || streq(call_error(&call), "VmExists"));
        call_done(&call);
        wait_until(f,
                   vm_count(f) == 1 && has_function(f, uuid, NIC) && has_function(f, uuid, DISK));
        assert_true(is_pinned(f, uuid));
        assert_property(f, vm_path(uuid), "Vm", "Leash", hook_first ? "\"pidfd\"" : "\"agent\"");
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(count_said("aviommud refuses"), 0);

        assert_int_equal(virDomainDestroy(domain), 0);
        vm_destroy_force(f, uuid);
        agent_end(&agent, connection, domain);
        (void)close(self);
}

/* It ends while aviommud is being asked, and the hook has taken all back: only libvirt's word says so, and that comes late. */
static void test_ended_meanwhile(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;
        unsigned n_looks;

        assert_int_equal(virDomainCreate(domain), 0);
        agent_init(&agent, f);
        agent.config.report_usec = 60 * SEC; /* lists of libvirt's would tell, too */
        agent_start(&agent);
        wait_until(f, count_said("Connected to libvirt") == 1);
        wait_until(f, fake_libvirt_count_looks() > 0);
        fixture_serve_for(f, SEC / 4);

        /* Aviommud's answer comes when all is over. */
        (void)kill(f->daemon_pid, SIGSTOP);
        n_looks = fake_libvirt_count_looks();
        plug(HOSTDEV("0x01"));
        wait_until(f, fake_libvirt_count_looks() > n_looks);
        fake_libvirt_be_silent(true);
        assert_int_equal(virDomainDestroy(domain), 0);
        fixture_serve_for(f, SEC / 4);
        (void)kill(f->daemon_pid, SIGCONT);
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("which are counted"), 0);
        assert_int_equal(count_heard(f, "VmAdded*"), 0);
        assert_int_equal(vm_count(f), 0);

        /* A start is no answer to what was asked of the run before. */
        fake_libvirt_be_silent(false);
        n_looks = fake_libvirt_count_looks();
        assert_int_equal(virDomainCreate(domain), 0);
        wait_until(f, vm_count(f) == 1);
        assert_true(has_function(f, uuid, NIC));
        assert_true(fake_libvirt_count_looks() > n_looks + 1);

        assert_int_equal(virDomainDestroy(domain), 0);
        vm_destroy_force(f, uuid);
        agent_end(&agent, connection, domain);
        wait_until(f, counter(f, "contexts") == 0);
        assert_nothing_left(f);
}

/* Its VM is taken down while it runs: what it has, it has still. */
static void test_vm_taken_down(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, count_said("which are counted from now on") == 1);
        vm_destroy_force(f, uuid);
        wait_until(f, count_said("which are counted from now on") == 2);
        assert_true(has_function(f, uuid, NIC));

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        agent_end(&agent, connection, domain);
}

/* Libvirt does not give its XML, which is not said with each report: what is known of it else holds, and it is not forgotten. */
static void test_no_xml(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        virDomainPtr other = define(connection, "vm-b", uuid_of(2));
        AgentThread agent;
        unsigned n_said;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, vm_count(f) == 1);
        wait_until(f, is_associated(uuid_of(2)));

        fake_libvirt_withhold_xml(true);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        wait_until(f, count_said("Domain vm-a is left alone: Libvirt does not give its XML") > 0);
        (void)virDomainFree(other);
        other = define(connection, "vm-b", uuid_of(2));
        wait_until(f, count_said("Domain vm-b is left alone") > 0);
        fake_libvirt_set_reachable(false);
        wait_until(f, count_said("is lost") == 1);
        fake_libvirt_set_reachable(true);
        wait_until(f, count_said("Domain vm-b has a fresh context") == 2);
        n_said = count_said("is left alone");
        CREATE(f, uuid_of(3), .tier = "virtio", .handover = "none", .leash = "agent");
        (void)hear(f, "VmRemoved*agent-report*"); /* reports come */
        assert_int_equal(count_said("is left alone"), n_said);
        assert_int_equal(count_said("Cannot look"), 0);
        assert_int_equal(vm_count(f), 1);

        fake_libvirt_withhold_xml(false);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        wait_until(f, has_function(f, uuid, DISK));

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        (void)virDomainFree(other);
        agent_end(&agent, connection, domain);
}

/* By what is configured of those that ask nothing. */
static void test_first_function_configured(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        assert_int_equal(virDomainCreate(domain), 0);
        agent_init(&agent, f);
        agent.config.unasked = UNASKED_IGNORE;
        agent_start(&agent);
        wait_until(f, count_said("Connected to libvirt") == 1);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 0);
        agent_stop(&agent);

        agent.config.unasked = UNASKED_REFUSE;
        agent_start(&agent);
        wait_until(f, vm_count(f) == 1);
        wait_until(f, count_said("vm-a should not run with its PCI functions: ") == 1);
        assert_true(has_function(f, uuid, NIC) && has_function(f, uuid, DISK));
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("Unasked=refuse"), 1);

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        agent_end(&agent, connection, domain);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_hotplug, .fdstore_max = 64),
                BUS_TEST(test_first_function, .fdstore_max = 64),
                BUS_TEST(test_bad_request),
                BUS_TEST(test_first_function_of_tenant, .config = "[Tenant acme]\n"),
                BUS_TEST(test_first_function_admitted),
                BUS_TEST(test_first_function_refused),
                BUS_TEST(test_first_function_at_once),
                BUS_TEST(test_ended_meanwhile),
                BUS_TEST(test_vm_taken_down),
                BUS_TEST(test_no_xml),
                BUS_TEST(test_first_function_configured),
        };

        return bus_tests_run(argc, argv, tests);
}
