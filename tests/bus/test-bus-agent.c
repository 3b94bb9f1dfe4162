/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * aviommu-libvirt-agent between aviommud and libvirt's test driver, which it shares with the test: the agent runs in a thread of the
 * test program. What the driver lacks is in fake-libvirt.c.
 */

#include "agent-thread.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- contexts ---- */

/* A fresh one before each start, whoever comes and goes. */
static void test_contexts(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *other = uuid_of(2);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        virDomainPtr plain = define(connection, "plain", other);
        int self = fixture_pidfd(getpid()), first;
        AgentThread agent;

        agent_begin(&agent, f);
        wait_until(f, is_associated(uuid));
        first = associated(uuid);
        assert_true(first >= 0);

        admit_on_associated(f, uuid, self);
        assert_int_equal(virDomainCreate(domain), 0);
        fixture_serve_for(f, SEC / 2);
        assert_true(is_associated_file(uuid, first));

        /* libvirt is done with it before aviommud is: the dead end is there, and then another. */
        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, is_dead_end(uuid));
        fixture_serve_for(f, SEC / 2);
        assert_true(is_dead_end(uuid));
        vm_destroy_force(f, uuid);
        wait_until(f, is_associated(uuid));
        assert_false(is_associated_file(uuid, first));
        (void)close(first);

        /* A start that fails once it is admitted. */
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);
        wait_until(f, count_said("has a fresh context") == 3);
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);
        wait_until(f, count_said("has a fresh context") == 4);

        /* One that is defined later, and one that wants none. */
        assert_int_equal(associated(other), -1);
        (void)virDomainFree(define(connection, "vm-b", uuid_of(3)));
        wait_until(f, is_associated(uuid_of(3)));

        agent_stop(&agent);
        (void)virDomainFree(plain);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        (void)close(self);
        wait_until(f, counter(f, "contexts") == 0);
        assert_nothing_left(f);
}

/* A domain that started on what was prepared for it while aviommud was away, or did not care: no other start gets that one. */
static void test_used_unseen(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        agent_begin(&agent, f);
        for (unsigned i = 0; i < 2; i++) {
                wait_until(f, count_said("Domain vm-a has a fresh context") == i + 1);
                if (i == 1) {
                        fixture_kill_daemon(f);
                        wait_until(f, count_said("aviommud is gone.") == 1);
                }
                assert_int_equal(virDomainCreate(domain), 0);
                if (i == 1) {
                        fixture_serve_for(f, SEC / 2);
                        fixture_launch_daemon(f);
                        fixture_await_daemon(f);
                }
                wait_until(f, count_said("the context is let go of") == i + 1);
                run_fails(f, "NoPreparedContext", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2,
                          "tier", "s", "virtio", "prepared", "b", 1);
                assert_int_equal(virDomainDestroy(domain), 0);
        }

        agent_end(&agent, connection, domain);
        wait_until(f, counter(f, "contexts") == 0);
}

/* aviommud, the agent and libvirt are started anew; what is associated is what aviommud would take over. */
static void test_restarts(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;

        agent_begin(&agent, f);
        wait_until(f, is_associated(uuid));

        fixture_restart(f);
        wait_until(f, count_said("has a fresh context") == 2);
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);
        wait_until(f, count_said("has a fresh context") == 3);

        agent_stop(&agent);
        agent_start(&agent);
        wait_until(f, count_said("has a fresh context") == 4);
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);
        wait_until(f, count_said("has a fresh context") == 5);

        fake_libvirt_set_reachable(false);
        wait_until(f, count_said("Cannot reach libvirt") == 1);
        assert_int_equal(count_said("The connection to libvirt is lost: it has closed"), 1);
        fixture_serve_for(f, 3 * SEC / 2);
        assert_int_equal(count_said("Cannot reach libvirt"), 1);
        fake_libvirt_set_reachable(true);
        wait_until(f, count_said("has a fresh context") == 6);
        assert_int_equal(count_said("Connected to libvirt: test:///default"), 3);
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);

        agent_end(&agent, connection, domain);
        (void)close(self);
        wait_until(f, counter(f, "contexts") == 0);
}

/* Undefined and defined again before the agent comes to look: to libvirt it is another domain, which has nothing associated. */
static void test_defined_again(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid), other;
        AgentThread agent;

        agent_begin(&agent, f);
        wait_until(f, is_associated(uuid));

        /* Libvirt is about something else for a while. */
        fake_libvirt_block(true);
        other = define(connection, "vm-b", uuid_of(2));
        wait_until(f, fake_libvirt_is_blocked());
        assert_int_equal(virDomainUndefine(domain), 0);
        fake_libvirt_dissociate(id_of(uuid));
        (void)virDomainFree(domain);
        domain = define(connection, "vm-a", uuid);
        fake_libvirt_block(false);
        wait_until(f, is_associated(uuid));
        wait_until(f, count_said("Domain vm-a has a fresh context") == 2);

        agent_stop(&agent);
        (void)virDomainFree(other);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        wait_until(f, counter(f, "contexts") == 0);
}

/* One that cannot is said so, once, and the rest goes on. */
static void test_unsupported(void **state) {
        Fixture *f = *state;
        virConnectPtr connection = libvirt_begin();
        virDomainPtr a = define(connection, "vm-a", uuid_of(1));
        virDomainPtr b = define(connection, "vm-b", uuid_of(2));
        AgentThread agent;

        fake_libvirt_lack_associations(true);
        CREATE(f, uuid_of(9), .tier = "virtio", .handover = "none", .leash = "agent");
        agent_begin(&agent, f);
        wait_until(f, count_said("takes no file descriptors") == 1);
        (void)hear(f, "VmRemoved*agent-report*"); /* reports come */
        assert_int_equal(count_said("takes no file descriptors"), 1);
        assert_int_equal(count_said("Cannot associate"), 0);

        agent_stop(&agent);
        (void)virDomainFree(a);
        (void)virDomainFree(b);
        libvirt_end(connection, &agent);
}

/* When there is no more room, there is again when a domain goes. */
static void test_limit(void **state) {
        Fixture *f = *state;
        virConnectPtr connection = libvirt_begin();
        virDomainPtr a = define(connection, "vm-a", uuid_of(1));
        virDomainPtr b = define(connection, "vm-b", uuid_of(2)), c;
        AgentThread agent;

        agent_begin(&agent, f);
        wait_until(f, is_associated(uuid_of(1)) && is_associated(uuid_of(2)));
        c = define(connection, "vm-c", uuid_of(3));
        wait_until(f, count_said("There is no context for domain vm-c") == 1);
        assert_false(is_associated(uuid_of(3)));
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("There is no context for domain vm-c"), 1);

        assert_int_equal(virDomainUndefine(b), 0);
        wait_until(f, is_associated(uuid_of(3)));
        wait_until(f, is_associated(uuid_of(1)));

        agent_stop(&agent);
        (void)virDomainFree(a);
        (void)virDomainFree(b);
        (void)virDomainFree(c);
        libvirt_end(connection, &agent);
}

/* What was prepared for a domain that wants it no more, or is no more, aviommud does not keep; nor when it was away meanwhile. */
static void test_unwanted(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        agent_begin(&agent, f);
        for (unsigned i = 0; i < 4; i++) {
                bool away = i & 1, is_gone = i & 2;

                wait_until(f, is_associated(uuid));
                wait_until(f, count_said("has a fresh context") == i + 1);
                if (away) {
                        fixture_kill_daemon(f);
                        wait_until(f, count_said("aviommud is gone.") == i / 2 + 1);
                }
                if (is_gone) {
                        assert_int_equal(virDomainUndefine(domain), 0);
                        fake_libvirt_dissociate(id_of(uuid));
                } else {
                        fake_libvirt_set_wanting(false);
                        (void)virDomainFree(domain);
                        domain = define(connection, "vm-a", uuid);
                        wait_until(f, is_dead_end(uuid));
                }
                if (away) {
                        fixture_launch_daemon(f);
                        fixture_await_daemon(f);
                }
                wait_until(f, counter(f, "contexts") == 0);
                fake_libvirt_set_wanting(true);
                (void)virDomainFree(domain);
                domain = define(connection, "vm-a", uuid);
        }

        agent_end(&agent, connection, domain);
        wait_until(f, counter(f, "contexts") == 0);
}

/* A call into libvirt that does not return holds up nothing but other calls into libvirt. */
static void test_blocked(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        fake_libvirt_block(true);
        agent_begin(&agent, f);
        wait_until(f, fake_libvirt_is_blocked());
        fixture_restart(f);
        wait_until(f, count_said("aviommud is gone.") == 1);
        wait_until(f, count_said("aviommud is there.") == 2);
        fake_libvirt_block(false);
        wait_until(f, count_said("has a fresh context") == 1);

        agent_end(&agent, connection, domain);
}

/* ---- reports ---- */

static void test_reports(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *gone = uuid_of(2);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "plain", uuid);
        AgentThread agent;
        char expected[96];

        assert_int_equal(virDomainCreate(domain), 0);
        CREATE(f, uuid, .tier = "virtio", .handover = "none", .leash = "agent");
        CREATE(f, gone, .tier = "virtio", .handover = "none", .leash = "agent");
        agent_begin(&agent, f);
        (void)snprintf(expected, sizeof(expected), "VmRemoved \"%s\"*agent-report*", gone);
        (void)hear(f, expected);
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 1);

        /* Nobody is reported missing by an agent that does not see libvirt. */
        fake_libvirt_set_reachable(false);
        wait_until(f, count_said("Cannot reach libvirt") == 1);
        assert_int_equal(virDomainDestroy(domain), 0);
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 1);
        fake_libvirt_set_reachable(true);
        wait_until(f, vm_count(f) == 0);

        /* aviommud is started anew: it is told anew. */
        assert_int_equal(virDomainCreate(domain), 0);
        fixture_restart(f);
        CREATE(f, uuid, .tier = "virtio", .handover = "none", .leash = "agent");
        CREATE(f, gone, .tier = "virtio", .handover = "none", .leash = "agent");
        wait_until(f, vm_count(f) == 1);
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 1);
        vm_destroy_force(f, uuid);

        agent_end(&agent, connection, domain);
        assert_nothing_left(f);
}

/* ---- starts ---- */

static void test_starts(void **state) {
        Fixture *f = *state;
        virConnectPtr connection = libvirt_begin();
        virDomainPtr wanted = define(connection, "vm-a", uuid_of(1));
        virDomainPtr unwanted = define(connection, "vm-b", uuid_of(2));
        virDomainPtr plain = define(connection, "plain", uuid_of(3));
        AgentThread agent;

        assert_int_equal(virDomainSetAutostart(wanted, 1), 0);
        assert_int_equal(virDomainSetAutostart(plain, 1), 0);
        agent_begin(&agent, f);
        wait_until(f, virDomainIsActive(wanted) == 1);
        wait_until(f, count_said("Started domain vm-a") == 1);
        assert_int_equal(count_said("Starting domain"), 1);
        assert_int_equal(virDomainIsActive(unwanted), 0);
        assert_int_equal(virDomainIsActive(plain), 0);
        assert_true(is_associated(uuid_of(1)));

        /* Once in a boot. */
        assert_int_equal(virDomainDestroy(wanted), 0);
        wait_until(f, count_said("Domain vm-a has a fresh context") == 2);
        agent_stop(&agent);
        assert_int_equal(virDomainSetAutostart(unwanted, 1), 0);
        agent_start(&agent);
        wait_until(f, count_said("Domain vm-a has a fresh context") == 3);
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(virDomainIsActive(wanted), 0);
        assert_int_equal(virDomainIsActive(unwanted), 0);

        agent_stop(&agent);
        (void)virDomainFree(wanted);
        (void)virDomainFree(unwanted);
        (void)virDomainFree(plain);
        libvirt_end(connection, &agent);
}

/* While it waits for a context, the mark is taken off. */
static void test_starts_unmarked(void **state) {
        Fixture *f = *state;
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid_of(1));
        AgentThread agent;

        assert_int_equal(virDomainSetAutostart(domain, 1), 0);
        fixture_kill_daemon(f);
        agent_begin(&agent, f);
        wait_until(f, count_said("1 domain(s) are to be started.") == 1);
        assert_int_equal(virDomainSetAutostart(domain, 0), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        wait_until(f, count_said("Domain vm-a is not started") == 1);
        assert_int_equal(virDomainIsActive(domain), 0);

        agent_end(&agent, connection, domain);
}

static void test_starts_none(void **state) {
        Fixture *f = *state;
        virConnectPtr connection = libvirt_begin();
        virDomainPtr marked = define(connection, "vm-a", uuid_of(1));
        AgentThread agent;

        assert_int_equal(virDomainSetAutostart(marked, 1), 0);
        agent_init(&agent, f);
        agent.config.start_domains = false;
        agent_start(&agent);
        wait_until(f, is_associated(uuid_of(1)));
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(virDomainIsActive(marked), 0);

        agent_stop(&agent);
        (void)virDomainFree(marked);
        libvirt_end(connection, &agent);
}

/* ---- the program ---- */

static int notify_socket(Fixture *f, char path[static 96]) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_true(fd >= 0);
        (void)snprintf(path, 96, "%s/notify", f->folder);
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

static void await_notice(Fixture *f, int fd, const char *part) {
        char text[4096] = "";

        wait_until(f, ({
                           ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

                           if (n > 0)
                                   text[n] = '\0';
                           n > 0 && strstr(text, part);
                   }));
}

static void write_file(const Fixture *f, const char *name, const char *text,
                       char path[static 128]) {
        FILE *file;

        (void)snprintf(path, 128, "%s/%s", f->folder, name);
        file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static pid_t launch(Fixture *f, const char *config, const char *notify) {
        pid_t pid = fixture_fork(f);

        if (pid == 0) {
                char config_option[160], bus_option[160];

                (void)snprintf(config_option, sizeof(config_option), "--config=%s", config);
                (void)snprintf(bus_option, sizeof(bus_option), "--bus=%s", f->address);
                (void)setenv("NOTIFY_SOCKET", notify, 1);
                (void)setenv("RUNTIME_DIRECTORY", f->folder, 1);
                (void)execl(AGENT, AGENT, config_option, bus_option, NULL);
                _exit(127);
        }
        return pid;
}

static int wait_exit(Fixture *f, pid_t pid) {
        int status = 0;

        wait_until(f, waitpid(pid, &status, WNOHANG) == pid);
        for (size_t i = 0; i < ELEMENTSOF(f->children); i++)
                if (f->children[i] == pid)
                        f->children[i] = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The program itself, on a libvirt of its own. */
static void test_program(void **state) {
        static const char node[] =
                "<node><domain type='test'><name>one</name>"
                "<uuid>5ca1ab1e-0000-4000-8000-000000000001</uuid><memory>8192</memory>"
                "<os><type>hvm</type></os></domain></node>";
        Fixture *f = *state;
        char xml[128], config[128], text[512], notify[96];
        int fd = notify_socket(f, notify);
        pid_t pid;

        write_file(f, "node.xml", node, xml);
        (void)snprintf(text, sizeof(text), "[Libvirt]\nUri=test://%s\nReportSec=1\n", xml);
        write_file(f, "libvirt.conf", text, config);
        CREATE(f, uuid_of(1), .tier = "virtio", .handover = "none", .leash = "agent");
        CREATE(f, uuid_of(2), .tier = "virtio", .handover = "none", .leash = "agent");
        pid = launch(f, config, notify);
        await_notice(f, fd, "READY=1");
        await_notice(f, fd, "STATUS=libvirt: test:///");
        (void)hear(f, "VmRemoved*000000000002*agent-report*");
        assert_int_equal(vm_count(f), 1);
        (void)kill(pid, SIGTERM);
        await_notice(f, fd, "STOPPING=1");
        assert_int_equal(wait_exit(f, pid), 0);

        /* A mistake in the configuration, and none at all where one was named. */
        write_file(f, "libvirt.conf", "[Libvirt]\nUri=test:///default\nWhat=ever\n", config);
        assert_int_equal(wait_exit(f, launch(f, config, notify)), 1);
        assert_int_equal(wait_exit(f, launch(f, "/nowhere", notify)), 1);

        /* The bus goes away, and with it what it was there for. */
        write_file(f, "libvirt.conf", "[Libvirt]\nUri=test:///default\n", config);
        pid = launch(f, config, notify);
        await_notice(f, fd, "READY=1");
        vm_destroy_force(f, uuid_of(1));
        fixture_kill_bus(f);
        assert_int_equal(wait_exit(f, pid), 1);
        (void)close(fd);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_contexts),
                BUS_TEST(test_used_unseen, .fdstore_max = 64),
                BUS_TEST(test_defined_again),
                BUS_TEST(test_restarts, .fdstore_max = 64),
                BUS_TEST(test_unsupported),
                BUS_TEST(test_limit, .config = "MaxPreparedContexts=2"),
                BUS_TEST(test_unwanted, .fdstore_max = 64),
                BUS_TEST(test_blocked, .fdstore_max = 64),
                BUS_TEST(test_reports, .fdstore_max = 64),
                BUS_TEST(test_starts),
                BUS_TEST(test_starts_unmarked, .fdstore_max = 64),
                BUS_TEST(test_starts_none),
                BUS_TEST(test_program, .other_exit = true),
        };

        return bus_tests_run(argc, argv, tests);
}
