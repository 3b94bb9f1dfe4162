/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one table from error names to exit codes and advice.
 */
#include "lib/failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/pci-address.h"
#include "lib/format.h"
#include "lib/names.h"

typedef struct Advice {
        const char *name;
        int exit_code;
        const char *next; /* {uuid} and {function} are replaced by what the call was about */
} Advice;

#define NEXT_VERSIONS                                                                              \
        "Compare `aviommuctl --version` with the version in `aviommuctl status`: do they belong "  \
        "together?"
#define NEXT_START                                                                                 \
        "Start it with `systemctl start aviommud`, or check --address= and AVIOMMU_BUS_ADDRESS."
#define NEXT_DENIED                                                                                \
        "Run it as root, or ask the administrator for a rule for the polkit action that it "       \
        "takes (org.aviommu1.look, manage-own, manage-others, hand-out-contexts, manage-policy, "  \
        "reclaim): aviommud-security(7) shows how."
#define NEXT_USED                                                                                  \
        "`aviommuctl list` shows who could give something back, `aviommuctl status` how much "     \
        "there is."

static const Advice advices[] = {
        { "InvalidArgument", CLIENT_EXIT_USAGE,
          "`aviommuctl VERB --help` and org.aviommu1(5) say what is allowed." },
        { "InvalidUuid", CLIENT_EXIT_USAGE,
          "Give a UUID as in `aviommuctl list`; `aviommuctl create new` makes one." },
        { "InvalidAddress", CLIENT_EXIT_USAGE,
          "Give an address SSSS:BB:DD.F as in `aviommuctl functions`." },
        { "UnknownKey", CLIENT_EXIT_USAGE, NEXT_VERSIONS },
        { "InvalidType", CLIENT_EXIT_USAGE, NEXT_VERSIONS },
        { "NoSuchVm", CLIENT_EXIT_NOT_FOUND, "`aviommuctl list` shows the VMs there are." },
        { "NoSuchViommu", CLIENT_EXIT_NOT_FOUND,
          "`aviommuctl show {uuid}` shows its vIOMMUs; `aviommuctl viommu {uuid} create IVHD` "
          "makes one again." },
        { "NoSuchFunction", CLIENT_EXIT_NOT_FOUND,
          "`aviommuctl functions` lists the functions of this host and whose they are." },
        { "NoSuchReservation", CLIENT_EXIT_NOT_FOUND,
          "`aviommuctl reservations` shows those there are; `aviommuctl reserve` makes one." },
        { "ReservationUsed", CLIENT_EXIT_NOT_FOUND,
          "`aviommuctl list` shows the VM that took it; `aviommuctl reserve` makes another." },
        { "ReservationExpired", CLIENT_EXIT_NOT_FOUND,
          "`aviommuctl reserve --ttl=SECONDS` makes another, for a day at most." },
        { "NotYourReservation", CLIENT_EXIT_DENIED,
          "Run it as the user who reserved, or reserve yourself with `aviommuctl reserve`." },
        { "NoSuchDefinition", CLIENT_EXIT_NOT_FOUND,
          "`aviommuctl definitions` shows those there are; `aviommuctl define` makes one." },
        { "DefinitionExists", CLIENT_EXIT_FAILED,
          "`aviommuctl modify` changes it, `aviommuctl define --replace` replaces it, and --name= "
          "gives this one another name." },
        { "DefinitionDamaged", CLIENT_EXIT_FAILED,
          "`aviommuctl define --replace {uuid}` defines it again, `aviommuctl undefine {uuid}` "
          "takes "
          "it back." },
        { "NoPreparedContext", CLIENT_EXIT_NOT_FOUND,
          "The libvirt agent gives a domain a fresh one after each stop: see `systemctl status "
          "aviommu-libvirt-agent`." },
        { "NoSuchMapping", CLIENT_EXIT_NOT_FOUND,
          "Give the IOVA and LENGTH of one whole mapping, as they were mapped." },
        { "VmExists", CLIENT_EXIT_FAILED,
          "`aviommuctl list` shows the VM that has this UUID or name; `aviommuctl destroy UUID` "
          "takes it down." },
        { "FunctionNotBound", CLIENT_EXIT_FAILED,
          "Bind it with `driverctl --nosave set-override {function} vfio-pci`, or without "
          "driverctl: `echo vfio-pci > /sys/bus/pci/devices/{function}/driver_override`, `echo "
          "{function} > /sys/bus/pci/devices/{function}/driver/unbind` if it has a driver, and "
          "`echo {function} > /sys/bus/pci/drivers_probe`. If libvirt will bind it, say "
          "--managed." },
        { "FunctionInUse", CLIENT_EXIT_EXHAUSTED,
          "`aviommuctl functions {function}` shows the VM that has it, if one does; `aviommuctl "
          "detach UUID "
          "{function}` takes it away from there." },
        { "GroupNotWhole", CLIENT_EXIT_FAILED,
          "`aviommuctl functions` shows the groups: give every function of the group, or leave "
          "the others without a driver." },
        { "NoHostIommu", CLIENT_EXIT_NOT_FOUND,
          "`aviommuctl host` lists the host IOMMUs, `aviommuctl functions` what is behind "
          "them; none at all: switch the IOMMU on in the firmware." },
        { "DuplicateGuestDeviceId", CLIENT_EXIT_USAGE,
          "Give each function a GUEST_BDF of its own (FUNCTION=BB:DD.F), or leave it out." },
        { "VfTokenRequired", CLIENT_EXIT_FAILED,
          "Give the token of the physical function's owner with --vf-token=UUID after "
          "--function={function}." },
        { "TierUnavailable", CLIENT_EXIT_FAILED,
          "`aviommuctl status` shows the tiers of this host and what the others lack." },
        { "KernelLevelUnknown", CLIENT_EXIT_FAILED,
          "`aviommuctl host --probe` finds it out; it wants an idle function on vfio-pci." },
        { "NoFreeInstance", CLIENT_EXIT_EXHAUSTED,
          "`aviommuctl list` shows the VMs and `aviommuctl host` what is left where; destroy "
          "one, or take functions behind another host IOMMU." },
        { "NoFreeTransDevId", CLIENT_EXIT_EXHAUSTED,
          "`aviommuctl status` shows what is left in each segment; `aviommuctl list` who could "
          "give some back." },
        { "NoContiguousMemory", CLIENT_EXIT_EXHAUSTED,
          "`echo 1 > /proc/sys/vm/compact_memory` may make some; `aviommuctl status` shows what "
          "is left on each node." },
        { "NoFreeDomainId", CLIENT_EXIT_EXHAUSTED,
          "Ask for less with --guest-domains=, or see `aviommuctl list` for who could give "
          "some back." },
        { "NoFreeDescriptor", CLIENT_EXIT_EXHAUSTED,
          "See `aviommuctl list` for who could give some back, or raise FileDescriptorStoreMax= "
          "and "
          "LimitNOFILE= of aviommud.service, and MaxDescriptors=." },
        { "NoPinnableMemory", CLIENT_EXIT_EXHAUSTED,
          "Ask for less with --memory=, see `aviommuctl list` for who could give some back, or "
          "raise the limit: aviommud.conf(5)." },
        { "LimitsExceeded", CLIENT_EXIT_EXHAUSTED,
          "Destroy what is no longer needed (`aviommuctl list`), or raise the limit: "
          "aviommud.conf(5)." },
        { "QuotaExceeded", CLIENT_EXIT_EXHAUSTED,
          "`aviommuctl policy explain` with the same options shows every limit that applies; "
          "aviommud.conf(5) has the limits." },
        { "NoSuchTenant", CLIENT_EXIT_NOT_FOUND,
          "`aviommuctl policy show` lists the tenants; a request names one with --tenant=." },
        { "TierNotAllowed", CLIENT_EXIT_FAILED,
          "`aviommuctl policy show` shows what the tenant may have: Tiers= in aviommud.conf(5)." },
        { "FunctionExcluded", CLIENT_EXIT_FAILED,
          "Take another function, or have the administrator take it out of Exclude= in "
          "aviommud.conf(5)." },
        { "MemoryOverlap", CLIENT_EXIT_FAILED,
          "Take another IOVA, or give the old mapping back with `aviommuctl unmap {uuid} IOVA "
          "LENGTH`." },
        { "NotMappable", CLIENT_EXIT_USAGE,
          "Give a file on tmpfs or hugetlbfs, or a memfd as /proc/PID/fd/N." },
        { "NotAPidfd", CLIENT_EXIT_USAGE, "Give the process id of the VMM." },
        { "VmmGone", CLIENT_EXIT_NOT_FOUND,
          "Start the VMM again and give its process id to `aviommuctl leash {uuid} PID`." },
        { "WrongState", CLIENT_EXIT_FAILED,
          "`aviommuctl show {uuid}` shows the state and what is in flight." },
        { "Busy", CLIENT_EXIT_EXHAUSTED,
          "Something still holds it, usually the VMM: let it go there, then try again. "
          "`aviommuctl show {uuid}` shows what is in flight." },
        { "Cancelled", CLIENT_EXIT_FAILED,
          "What had been done is undone; `aviommuctl list` shows what there is." },
        { "KernelRefused", CLIENT_EXIT_FAILED,
          "`journalctl -u aviommud` and `dmesg` have more; `aviommuctl show {uuid}` shows "
          "whether the VM is quarantined." },
        { "StorageFailed", CLIENT_EXIT_FAILED,
          "See whether /run or /var is full or read-only; `journalctl -u aviommud` has more." },
        { "NewerRecord", CLIENT_EXIT_FAILED, "`aviommuctl reclaim` lists such records." },
        { "AccessDenied", CLIENT_EXIT_DENIED, NEXT_DENIED },
};

/* Names that do not come from aviommud. One that ends in a dot stands for all that begin with it. */
static const Advice bus_advices[] = {
        { DBUS_ERROR_PREFIX "ServiceUnknown", CLIENT_EXIT_UNREACHABLE, NEXT_START },
        { DBUS_ERROR_PREFIX "NameHasNoOwner", CLIENT_EXIT_UNREACHABLE, NEXT_START },
        { DBUS_ERROR_PREFIX "NoReply", CLIENT_EXIT_UNREACHABLE,
          "`systemctl status aviommud` and `journalctl -u aviommud` say what became of it." },
        { DBUS_ERROR_PREFIX "Disconnected", CLIENT_EXIT_UNREACHABLE, NEXT_START },
        { DBUS_ERROR_PREFIX "NoServer", CLIENT_EXIT_UNREACHABLE, NEXT_START },
        { DBUS_ERROR_PREFIX "Spawn.", CLIENT_EXIT_UNREACHABLE,
          "`systemctl status aviommud` and `journalctl -u aviommud` say why it does not start." },
        { "org.freedesktop.systemd1.", CLIENT_EXIT_UNREACHABLE,
          "`systemctl status aviommud` says why it does not start." },
        { DBUS_ERROR_PREFIX "Timeout", CLIENT_EXIT_TIMED_OUT, NULL },
        { DBUS_ERROR_PREFIX "TimedOut", CLIENT_EXIT_TIMED_OUT, NULL },
        { DBUS_ERROR_PREFIX "AccessDenied", CLIENT_EXIT_DENIED, NEXT_DENIED },
        { DBUS_ERROR_PREFIX "AuthFailed", CLIENT_EXIT_DENIED, NEXT_DENIED },
        { DBUS_ERROR_PREFIX "InteractiveAuthorizationRequired", CLIENT_EXIT_DENIED,
          "Leave out --no-ask-password, or run it as root." },
        { DBUS_ERROR_PREFIX "LimitsExceeded", CLIENT_EXIT_EXHAUSTED,
          "The message bus has reached a limit for this user: see what else is connected." },
        { DBUS_ERROR_PREFIX "UnknownObject", CLIENT_EXIT_NOT_FOUND,
          "`aviommuctl list` shows the VMs there are, `aviommuctl host` the host IOMMUs." },
        { DBUS_ERROR_PREFIX "UnknownMethod", CLIENT_EXIT_FAILED, NEXT_VERSIONS },
        { DBUS_ERROR_PREFIX "UnknownInterface", CLIENT_EXIT_FAILED, NEXT_VERSIONS },
        { DBUS_ERROR_PREFIX "UnknownProperty", CLIENT_EXIT_FAILED, NEXT_VERSIONS },
        { DBUS_ERROR_PREFIX "InvalidArgs", CLIENT_EXIT_USAGE, NEXT_VERSIONS },
};

static const Advice *advice_find(const Advice *table, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++) {
                size_t length = strlen(table[i].name);

                if (table[i].name[length - 1] == '.' ? strncmp(name, table[i].name, length) == 0
                                                     : streq(name, table[i].name))
                        return &table[i];
        }
        return NULL;
}

/* Finds the first full PCI address in a sentence: of several functions in a request, that is the one it is about. */
static bool find_address(const char *text, char ret[static PCI_ADDRESS_STRING_SIZE]) {
        size_t length = PCI_ADDRESS_STRING_SIZE - 1, n = strlen(text);

        for (size_t i = 0; i + length <= n; i++) {
                char candidate[PCI_ADDRESS_STRING_SIZE] = "";
                PciAddress a;

                memcpy(candidate, text + i, length);
                if (pci_address_parse(candidate, &a) >= 0) {
                        pci_address_format(&a, ret);
                        return true;
                }
        }
        return false;
}

/* Writes @next with {uuid} and {function} replaced. */
static void next_write(Failure *f, const char *next, const FailureSubject *subject) {
        char address[PCI_ADDRESS_STRING_SIZE];
        const char *uuid = "UUID", *function = "FUNCTION";
        size_t n = 0;

        if (subject && subject->uuid)
                uuid = subject->uuid;
        if (subject && subject->function)
                function = subject->function;
        if (find_address(f->text, address))
                function = address;

        while (next && *next && n + 1 < sizeof(f->next)) {
                const char *word = NULL;

                if (strncmp(next, "{uuid}", 6) == 0) {
                        word = uuid;
                        next += 6;
                } else if (strncmp(next, "{function}", 10) == 0) {
                        word = function;
                        next += 10;
                } else {
                        f->next[n++] = *next++;
                        continue;
                }
                while (*word && n + 1 < sizeof(f->next))
                        f->next[n++] = *word++;
        }
        f->next[n] = '\0';
}

int failure_set(Failure *f, int exit_code, int error, const char *next, const char *format, ...) {
        va_list ap;

        *f = (Failure){ .exit_code = exit_code };
        va_start(ap, format);
        (void)vsnprintf(f->text, sizeof(f->text), format, ap);
        va_end(ap);
        next_write(f, next, NULL);
        return error;
}

int failure_set_bus(Failure *f, const char *name, const char *message,
                    const FailureSubject *subject) {
        const char *own = name;
        const Advice *a;

        *f = (Failure){ .exit_code = CLIENT_EXIT_FAILED };
        if (strncmp(name, AVIOMMU_ERROR_PREFIX, strlen(AVIOMMU_ERROR_PREFIX)) == 0) {
                own = name + strlen(AVIOMMU_ERROR_PREFIX);
                a = advice_find(advices, ELEMENTSOF(advices), own);
        } else
                a = advice_find(bus_advices, ELEMENTSOF(bus_advices), name);

        (void)snprintf(f->name, sizeof(f->name), "%s", own);
        if (a)
                f->exit_code = a->exit_code;
        (void)snprintf(f->text, sizeof(f->text), "%s%s",
                       f->exit_code == CLIENT_EXIT_UNREACHABLE ? "aviommud cannot be reached: "
                                                               : "",
                       message && *message ? message : "The call failed");
        next_write(f, a ? a->next : "`journalctl -u aviommud` may have more.", subject);
        return f->exit_code == CLIENT_EXIT_NOT_FOUND     ? -ENOENT
               : f->exit_code == CLIENT_EXIT_DENIED      ? -EACCES
               : f->exit_code == CLIENT_EXIT_EXHAUSTED   ? -EBUSY
               : f->exit_code == CLIENT_EXIT_UNREACHABLE ? -ECONNREFUSED
               : f->exit_code == CLIENT_EXIT_TIMED_OUT   ? -ETIMEDOUT
                                                         : -EIO;
}

int failure_set_connection(Failure *f, int error, const char *address) {
        const char *next = "See whether dbus runs (`systemctl status dbus`), or check --address= "
                           "and AVIOMMU_BUS_ADDRESS.";

        if (error == -ENOMEM)
                return failure_set(f, CLIENT_EXIT_FAILED, error, NULL, "Out of memory");
        if (error == -EINVAL && address)
                return failure_set(f, CLIENT_EXIT_USAGE, error,
                                   "A bus address looks like unix:path=/run/dbus/socket.",
                                   "\"%s\" is not the address of a bus", address);
        return failure_set(f, CLIENT_EXIT_UNREACHABLE, error, next, "No message bus at %s: %s",
                           address ?: "the system bus' address", strerror(-error));
}

int failure_set_malformed(Failure *f, const char *member) {
        return failure_set(f, CLIENT_EXIT_FAILED, -EBADMSG, NEXT_VERSIONS,
                           "The answer to %s is not of the form that org.aviommu1(5) describes",
                           member);
}

void failure_print(const Failure *f, const char *prefix) {
        char text[2 * sizeof(f->text)], next[2 * sizeof(f->next)], name[2 * sizeof(f->name)];

        text_escape(f->text, text, sizeof(text));
        text_escape(f->next, next, sizeof(next));
        text_escape(f->name, name, sizeof(name));

        (void)fprintf(stderr, "%s: %s%s%s%s%s%s\n", program_invocation_short_name, strempty(prefix),
                      prefix ? ": " : "", text, *name ? " [" : "", name, *name ? "]" : "");
        if (*next)
                (void)fprintf(stderr, "%s\n", next);
}
