/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-libvirt.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"

int __real_virDomainFDAssociate(virDomainPtr domain, const char *name, unsigned n, int *fds,
                                unsigned flags);
int __wrap_virDomainFDAssociate(virDomainPtr domain, const char *name, unsigned n, int *fds,
                                unsigned flags);
char *__real_virDomainGetXMLDesc(virDomainPtr domain, unsigned flags);
char *__wrap_virDomainGetXMLDesc(virDomainPtr domain, unsigned flags);
virConnectPtr __real_virConnectOpen(const char *uri);
virConnectPtr __wrap_virConnectOpen(const char *uri);
int __real_virConnectDomainEventRegisterAny(virConnectPtr connection, virDomainPtr domain, int id,
                                            virConnectDomainEventGenericCallback callback,
                                            void *userdata, virFreeCallback done);
int __wrap_virConnectDomainEventRegisterAny(virConnectPtr connection, virDomainPtr domain, int id,
                                            virConnectDomainEventGenericCallback callback,
                                            void *userdata, virFreeCallback done);
int __wrap_virConnectRegisterCloseCallback(virConnectPtr connection, virConnectCloseFunc callback,
                                           void *userdata, virFreeCallback done);
int __wrap_virConnectUnregisterCloseCallback(virConnectPtr connection,
                                             virConnectCloseFunc callback);

#define ASSOCIATIONS_MAX 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t unblocked = PTHREAD_COND_INITIALIZER;

static struct {
        bool lacking, blocking, blocked, unreachable, silent, unwanting, withholding;
        struct {
                sd_id128_t uuid;
                int fd;
        } associations[ASSOCIATIONS_MAX];
        size_t n_associations;
        char devices[4096];
        unsigned n_looks;

        /* What the agent has asked of its connection. */
        virConnectPtr connection;
        virConnectCloseFunc on_close;
        void *on_close_userdata;
        virConnectDomainEventDeviceAddedCallback on_added;
        virConnectDomainEventDeviceRemovedCallback on_removed;
        void *on_added_userdata, *on_removed_userdata;
        virConnectDomainEventCallback on_lifecycle;
} fake;

static void forget_associations(void) {
        for (size_t i = 0; i < fake.n_associations; i++)
                (void)fd_close(fake.associations[i].fd);
        fake.n_associations = 0;
}

void fake_libvirt_reset(void) {
        (void)pthread_mutex_lock(&lock);
        forget_associations();
        memset(&fake, 0, sizeof(fake));
        (void)pthread_mutex_unlock(&lock);
}

/* ---- associations ---- */

void fake_libvirt_lack_associations(bool lack) {
        (void)pthread_mutex_lock(&lock);
        fake.lacking = lack;
        (void)pthread_mutex_unlock(&lock);
}

void fake_libvirt_block(bool block) {
        (void)pthread_mutex_lock(&lock);
        fake.blocking = block;
        (void)pthread_cond_broadcast(&unblocked);
        (void)pthread_mutex_unlock(&lock);
}

bool fake_libvirt_is_blocked(void) {
        bool blocked;

        (void)pthread_mutex_lock(&lock);
        blocked = fake.blocked;
        (void)pthread_mutex_unlock(&lock);
        return blocked;
}

static int associate(sd_id128_t uuid, int fd) {
        size_t i = 0;

        while (i < fake.n_associations && !sd_id128_equal(fake.associations[i].uuid, uuid))
                i++;
        if (i == ASSOCIATIONS_MAX)
                return -1;
        if (i == fake.n_associations) {
                fake.associations[i].uuid = uuid;
                fake.n_associations++;
        } else
                (void)fd_close(fake.associations[i].fd);
        fake.associations[i].fd = fd_dup(fd);
        return 0;
}

int __wrap_virDomainFDAssociate(virDomainPtr domain, const char *name, unsigned n, int *fds,
                                unsigned flags) {
        bool lacking;
        sd_id128_t uuid;
        int r = -1;

        (void)pthread_mutex_lock(&lock);
        fake.blocked = true;
        while (fake.blocking)
                (void)pthread_cond_wait(&unblocked, &lock);
        fake.blocked = false;
        lacking = fake.lacking;
        if (!lacking && streq(name, "aviommu") && n == 1 && flags == 0 &&
            virDomainGetUUID(domain, uuid.bytes) >= 0)
                r = associate(uuid, fds[0]);
        (void)pthread_mutex_unlock(&lock);
        return lacking ? __real_virDomainFDAssociate(domain, name, n, fds, flags) : r;
}

int fake_libvirt_get_associated(sd_id128_t uuid) {
        int fd = -1;

        (void)pthread_mutex_lock(&lock);
        for (size_t i = 0; i < fake.n_associations; i++)
                if (sd_id128_equal(fake.associations[i].uuid, uuid))
                        fd = fd_dup(fake.associations[i].fd);
        (void)pthread_mutex_unlock(&lock);
        return fd;
}

void fake_libvirt_dissociate(sd_id128_t uuid) {
        (void)pthread_mutex_lock(&lock);
        for (size_t i = 0; i < fake.n_associations; i++)
                if (sd_id128_equal(fake.associations[i].uuid, uuid)) {
                        (void)fd_close(fake.associations[i].fd);
                        fake.associations[i] = fake.associations[--fake.n_associations];
                        break;
                }
        (void)pthread_mutex_unlock(&lock);
}

/* ---- the XML ---- */

void fake_libvirt_set_devices(const char *devices) {
        (void)pthread_mutex_lock(&lock);
        (void)snprintf(fake.devices, sizeof(fake.devices), "%s", devices);
        (void)pthread_mutex_unlock(&lock);
}

void fake_libvirt_set_wanting(bool wanting) {
        (void)pthread_mutex_lock(&lock);
        fake.unwanting = !wanting;
        (void)pthread_mutex_unlock(&lock);
}

void fake_libvirt_withhold_xml(bool withhold) {
        (void)pthread_mutex_lock(&lock);
        fake.withholding = withhold;
        (void)pthread_mutex_unlock(&lock);
}

/* Versions that do not know <iommufd> leave it out. The functions come at the end of the devices. */
char *__wrap_virDomainGetXMLDesc(virDomainPtr domain, unsigned flags) {
        static const char end[] = "</devices>", iommufd[] = "<iommufd ";
        bool is_ours = strncmp(virDomainGetName(domain), "vm-", 3) == 0, withheld;
        char *xml, *at, *text = NULL;

        (void)pthread_mutex_lock(&lock);
        withheld = is_ours && fake.withholding;
        (void)pthread_mutex_unlock(&lock);
        /* There is no such flag, for a reason that libvirt gives itself. */
        xml = __real_virDomainGetXMLDesc(domain, withheld ? 1U << 31 : flags);
        if (!xml)
                return NULL;
        at = strstr(xml, end);
        if (!at || !is_ours)
                return xml;
        (void)pthread_mutex_lock(&lock);
        fake.n_looks += !(flags & VIR_DOMAIN_XML_INACTIVE);
        if (asprintf(&text, "%.*s%s%s%s%s", (int)(at - xml), xml,
                     flags & VIR_DOMAIN_XML_INACTIVE ? "" : fake.devices, end,
                     strstr(xml, iommufd) || fake.unwanting
                             ? ""
                             : "<iommufd enabled='yes' fdgroup='aviommu'/>",
                     at + strlen(end)) < 0)
                text = NULL;
        (void)pthread_mutex_unlock(&lock);
        free(xml);
        return text;
}

unsigned fake_libvirt_count_looks(void) {
        unsigned n;

        (void)pthread_mutex_lock(&lock);
        n = fake.n_looks;
        (void)pthread_mutex_unlock(&lock);
        return n;
}

/* ---- events ---- */

void fake_libvirt_be_silent(bool silent) {
        (void)pthread_mutex_lock(&lock);
        fake.silent = silent;
        (void)pthread_mutex_unlock(&lock);
}

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                        void *userdata) {
        virConnectDomainEventCallback tell;

        (void)pthread_mutex_lock(&lock);
        tell = fake.silent ? NULL : fake.on_lifecycle;
        (void)pthread_mutex_unlock(&lock);
        return tell ? tell(connection, domain, event, detail, userdata) : 0;
}

int __wrap_virConnectDomainEventRegisterAny(virConnectPtr connection, virDomainPtr domain, int id,
                                            virConnectDomainEventGenericCallback callback,
                                            void *userdata, virFreeCallback done) {
        (void)pthread_mutex_lock(&lock);
        if (id == VIR_DOMAIN_EVENT_ID_LIFECYCLE) {
                fake.on_lifecycle = (virConnectDomainEventCallback)(void (*)(void))callback;
                callback = (virConnectDomainEventGenericCallback)(void (*)(void))on_lifecycle;
        }
        if (id == VIR_DOMAIN_EVENT_ID_DEVICE_ADDED) {
                fake.on_added = (virConnectDomainEventDeviceAddedCallback)(void (*)(void))callback;
                fake.on_added_userdata = userdata;
        }
        if (id == VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED) {
                fake.on_removed = (virConnectDomainEventDeviceRemovedCallback)(void (*)(
                        void))callback;
                fake.on_removed_userdata = userdata;
        }
        (void)pthread_mutex_unlock(&lock);
        return __real_virConnectDomainEventRegisterAny(connection, domain, id, callback, userdata,
                                                       done);
}

typedef struct DeviceEvent {
        bool added;
        char domain[64];
} DeviceEvent;

static void on_tell_device(int timer, void *userdata) {
        DeviceEvent *event = userdata;
        virDomainPtr domain = virDomainLookupByName(fake.connection, event->domain);

        (void)virEventRemoveTimeout(timer);
        if (domain && event->added)
                fake.on_added(fake.connection, domain, "hostdev1", fake.on_added_userdata);
        else if (domain)
                fake.on_removed(fake.connection, domain, "hostdev1", fake.on_removed_userdata);
        if (domain)
                (void)virDomainFree(domain);
        free(event);
}

void fake_libvirt_tell_device(bool added, const char *domain) {
        DeviceEvent *event = new0(DeviceEvent, 1);

        assert(event);
        event->added = added;
        (void)snprintf(event->domain, sizeof(event->domain), "%s", domain);
        (void)virEventAddTimeout(0, on_tell_device, event, NULL);
}

/* ---- the connection ---- */

virConnectPtr __wrap_virConnectOpen(const char *uri) {
        virConnectPtr connection;
        bool unreachable;

        (void)pthread_mutex_lock(&lock);
        unreachable = fake.unreachable;
        (void)pthread_mutex_unlock(&lock);
        /* There is no such file, for a reason that libvirt gives itself. */
        connection = __real_virConnectOpen(unreachable ? "test:///nowhere/at/all" : uri);
        (void)pthread_mutex_lock(&lock);
        fake.connection = connection;
        (void)pthread_mutex_unlock(&lock);
        return connection;
}

int __wrap_virConnectRegisterCloseCallback(virConnectPtr connection, virConnectCloseFunc callback,
                                           void *userdata, virFreeCallback done) {
        (void)connection;
        (void)done;
        (void)pthread_mutex_lock(&lock);
        fake.on_close = callback;
        fake.on_close_userdata = userdata;
        (void)pthread_mutex_unlock(&lock);
        return 0;
}

int __wrap_virConnectUnregisterCloseCallback(virConnectPtr connection,
                                             virConnectCloseFunc callback) {
        (void)connection;
        (void)callback;
        (void)pthread_mutex_lock(&lock);
        fake.on_close = NULL;
        (void)pthread_mutex_unlock(&lock);
        return 0;
}

static void on_tell_close(int timer, void *userdata) {
        (void)userdata;
        (void)virEventRemoveTimeout(timer);
        (void)pthread_mutex_lock(&lock);
        if (fake.on_close)
                fake.on_close(fake.connection, VIR_CONNECT_CLOSE_REASON_EOF,
                              fake.on_close_userdata);
        (void)pthread_mutex_unlock(&lock);
}

void fake_libvirt_set_reachable(bool reachable) {
        (void)pthread_mutex_lock(&lock);
        fake.unreachable = !reachable;
        if (!reachable)
                forget_associations();
        (void)pthread_mutex_unlock(&lock);
        if (!reachable)
                (void)virEventAddTimeout(0, on_tell_close, NULL, NULL);
}
