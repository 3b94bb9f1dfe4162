/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/libvirt-connection.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/alloc.h"

#define TIMEOUT_USEC (25 * (uint64_t)1000000)

struct Libvirt {
        virConnectPtr connection;
        uint64_t timeout_usec; /* UINT64_MAX: none */
};

/* ---- the time limit ---- */

static void on_alarm(int signo) {
        static const char text[] =
                "aviommuctl libvirt: No answer from libvirt in time\n"
                "Perhaps a hook is at work for a domain. --timeout= gives it more time.\n";

        (void)signo;
        (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
        _exit(CLIENT_EXIT_TIMED_OUT);
}

static void set_alarm(uint64_t usec) {
        struct itimerval t = { .it_value = { .tv_sec = (time_t)(usec / 1000000),
                                             .tv_usec = (suseconds_t)(usec % 1000000) } };

        (void)setitimer(ITIMER_REAL, &t, NULL);
}

static void limit_begin(const Libvirt *lv) {
        if (lv->timeout_usec != UINT64_MAX)
                set_alarm(lv->timeout_usec);
}

static void limit_end(const Libvirt *lv) {
        if (lv->timeout_usec != UINT64_MAX)
                set_alarm(0);
}

/* A call with the limit on it; its value. */
#define LIMITED(lv, call)                                                                          \
        ({                                                                                         \
                limit_begin(lv);                                                                   \
                typeof(call) _v = (call);                                                          \
                limit_end(lv);                                                                     \
                _v;                                                                                \
        })

/* ---- errors ---- */

static void be_quiet(void *userdata, virErrorPtr error) {
        (void)userdata, (void)error;
}

/* Makes libvirt's last error the failure. */
static int fail(Ctl *ctl, const char *doing) {
        const virError *e = virGetLastError();
        const char *text = e && e->message ? e->message : "it does not say why";

        switch (e ? (int)e->code : VIR_ERR_OK) {
        case VIR_ERR_NO_DOMAIN:
                return failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ENOENT,
                                   "`virsh list --all` shows the domains there are.", "%s", text);
        case VIR_ERR_AUTH_FAILED:
        case VIR_ERR_AUTH_CANCELLED:
        case VIR_ERR_AUTH_UNAVAILABLE:
        case VIR_ERR_ACCESS_DENIED:
        case VIR_ERR_OPERATION_DENIED:
                return failure_set(&ctl->failure, CLIENT_EXIT_DENIED, -EACCES,
                                   "Run it as root, or as a user of the group libvirt.",
                                   "Cannot %s: %s", doing, text);
        case VIR_ERR_NO_CONNECT:
        case VIR_ERR_SYSTEM_ERROR:
        case VIR_ERR_RPC:
                return failure_set(&ctl->failure, CLIENT_EXIT_UNREACHABLE, -ECONNREFUSED,
                                   "Does libvirtd or virtqemud run? --connect= says where.",
                                   "Cannot %s: %s", doing, text);
        default:
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EIO, NULL, "Cannot %s: %s",
                                   doing, text);
        }
}

/* ---- the connection ---- */

int libvirt_open(Ctl *ctl, bool may_change, Libvirt **ret) {
        static const struct sigaction action = { .sa_handler = on_alarm };
        _cleanup_(libvirt_closep) Libvirt *lv = alloc_check(calloc(1, sizeof(Libvirt)));
        const char *uri = ctl->uri ?: getenv("LIBVIRT_DEFAULT_URI");

        if (!uri || !*uri)
                uri = "qemu:///system";
        lv->timeout_usec = ctl->client.timeout_usec ?: TIMEOUT_USEC;
        (void)sigaction(SIGALRM, &action, NULL);
        virSetErrorFunc(NULL, be_quiet);

        lv->connection = LIMITED(
                lv,
                virConnectOpenAuth(uri, ctl->client.interactive ? virConnectAuthPtrDefault : NULL,
                                   may_change ? 0 : VIR_CONNECT_RO));
        if (!lv->connection) {
                _cleanup_free_ char *doing = alloc_printf("connect to libvirt at %s", uri);

                return fail(ctl, doing);
        }
        *ret = TAKE_PTR(lv);
        return 0;
}

Libvirt *libvirt_close(Libvirt *lv) {
        if (!lv)
                return NULL;
        if (lv->connection)
                (void)LIMITED(lv, virConnectClose(lv->connection));
        free(lv);
        return NULL;
}

int libvirt_get_versions(Ctl *ctl, Libvirt *lv, LibvirtVersions *ret) {
        unsigned long library = 0, libvirt = 0, version = 0;
        const char *type;
        char *uri;

        (void)virGetVersion(&library, NULL, NULL);
        if (LIMITED(lv, virConnectGetLibVersion(lv->connection, &libvirt)) < 0)
                return fail(ctl, "ask libvirt for its version");
        /* Without an emulator there is no version of it. */
        (void)LIMITED(lv, virConnectGetVersion(lv->connection, &version));
        type = LIMITED(lv, virConnectGetType(lv->connection));
        uri = LIMITED(lv, virConnectGetURI(lv->connection));
        *ret = (LibvirtVersions){
                .uri = uri ?: alloc_printf("-"),
                .hypervisor = alloc_printf("%s", type ?: "-"),
                .library = library,
                .libvirt = libvirt,
                .version = version,
        };
        return 0;
}

void libvirt_versions_done(LibvirtVersions *v) {
        free(v->uri);
        free(v->hypervisor);
        *v = (LibvirtVersions){};
}

bool libvirt_is_users(Libvirt *lv) {
        _cleanup_free_ char *uri = LIMITED(lv, virConnectGetURI(lv->connection));
        const char *path = uri ? strstr(uri, "://") : NULL;

        path = path ? strchr(path + strlen("://"), '/') : NULL;
        return path && strncmp(path, "/session", strlen("/session")) == 0 &&
               (!path[strlen("/session")] || path[strlen("/session")] == '?');
}

char *libvirt_get_capabilities(Libvirt *lv) {
        return LIMITED(lv,
                       virConnectGetDomainCapabilities(lv->connection, NULL, NULL, "q35", NULL, 0));
}

/* ---- domains ---- */

void libvirt_domain_done(LibvirtDomain *d) {
        free(d->name);
        free(d->xml);
        free(d->error);
        *d = (LibvirtDomain){};
}

/* @as_it_runs: of a running one, rather than of its next start. What was read before a failure is in @d. */
static int read_domain(Ctl *ctl, Libvirt *lv, virDomainPtr domain, bool as_it_runs,
                       LibvirtDomain *d) {
        unsigned flags = 0;
        const char *name;
        int active, persistent;

        active = LIMITED(lv, virDomainIsActive(domain));
        persistent = LIMITED(lv, virDomainIsPersistent(domain));
        name = virDomainGetName(domain);
        if (active < 0 || persistent < 0 || !name || virDomainGetUUIDString(domain, d->uuid) < 0)
                return fail(ctl, "look at the domain");
        d->name = alloc_printf("%s", name);
        d->is_running = active;
        d->is_persistent = persistent;
        /* A driver that has no such images says so by an error. */
        d->is_saved = !active && LIMITED(lv, virDomainHasManagedSaveImage(domain, 0)) == 1;
        if (persistent && !(active && as_it_runs))
                flags |= VIR_DOMAIN_XML_INACTIVE;
        d->xml = LIMITED(lv, virDomainGetXMLDesc(domain, flags));
        return d->xml ? 0 : fail(ctl, "read the domain's XML");
}

static virDomainPtr look_up(Libvirt *lv, const char *what) {
        virDomainPtr domain = NULL;
        char uuid[UUID_STRING_SIZE];
        uint64_t id;

        if (uuid_parse(what, uuid) >= 0)
                domain = LIMITED(lv, virDomainLookupByUUIDString(lv->connection, uuid));
        if (!domain && number_parse(what, &id) >= 0 && id <= INT32_MAX)
                domain = LIMITED(lv, virDomainLookupByID(lv->connection, (int)id));
        return domain ?: LIMITED(lv, virDomainLookupByName(lv->connection, what));
}

int libvirt_find(Ctl *ctl, Libvirt *lv, const char *what, LibvirtDomain *ret) {
        _cleanup_(libvirt_domain_done) LibvirtDomain d = {};
        virDomainPtr domain = look_up(lv, what);
        int r;

        if (!domain)
                return fail(ctl, "find the domain");
        r = read_domain(ctl, lv, domain, false, &d);
        (void)virDomainFree(domain);
        if (r < 0)
                return r;
        *ret = d;
        d = (LibvirtDomain){};
        return 0;
}

static int use_domain(Ctl *ctl, Libvirt *lv, virDomainPtr domain,
                      int (*use)(const LibvirtDomain *d, void *userdata), void *userdata) {
        _cleanup_(libvirt_domain_done) LibvirtDomain d = {};
        int r;

        r = read_domain(ctl, lv, domain, true, &d);
        if (r == -ENOENT) /* gone meanwhile */
                return 0;
        if (r < 0) {
                /* One that is too large for libvirt's protocol, say, does not stand in the way of the others. */
                if (!d.name || LIMITED(lv, virConnectIsAlive(lv->connection)) != 1)
                        return r;
                d.error = alloc_printf("%s", ctl->failure.text);
        }
        return use(&d, userdata);
}

int libvirt_for_each(Ctl *ctl, Libvirt *lv, int (*use)(const LibvirtDomain *d, void *userdata),
                     void *userdata) {
        virDomainPtr *domains = NULL;
        int n, r = 0;

        n = LIMITED(lv, virConnectListAllDomains(lv->connection, &domains, 0));
        if (n < 0)
                return fail(ctl, "list the domains");
        for (int i = 0; i < n; i++) {
                if (r >= 0)
                        r = use_domain(ctl, lv, domains[i], use, userdata);
                (void)virDomainFree(domains[i]);
        }
        free(domains);
        return r;
}

int libvirt_for_each_name(Ctl *ctl, Libvirt *lv,
                          void (*use)(const char *name, bool is_running, void *userdata),
                          void *userdata) {
        virDomainPtr *domains = NULL;
        int n;

        n = LIMITED(lv, virConnectListAllDomains(lv->connection, &domains, 0));
        if (n < 0)
                return fail(ctl, "list the domains");
        for (int i = 0; i < n; i++) {
                const char *name = virDomainGetName(domains[i]);

                /* One that does not run has no id. */
                if (name)
                        use(name, virDomainGetID(domains[i]) != (unsigned)-1, userdata);
                (void)virDomainFree(domains[i]);
        }
        free(domains);
        return 0;
}

int libvirt_get_whole_xml(Ctl *ctl, Libvirt *lv, const LibvirtDomain *d, char **ret) {
        virDomainPtr domain = look_up(lv, d->uuid);

        *ret = domain ? LIMITED(lv, virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE |
                                                                        VIR_DOMAIN_XML_SECURE))
                      : NULL;
        if (domain)
                (void)virDomainFree(domain);
        return *ret ? 0 : fail(ctl, "read the domain's XML");
}

int libvirt_define(Ctl *ctl, Libvirt *lv, const char *xml) {
        virDomainPtr domain = LIMITED(lv, virDomainDefineXML(lv->connection, xml));

        if (!domain)
                return fail(ctl, "change the domain");
        (void)virDomainFree(domain);
        return 0;
}
