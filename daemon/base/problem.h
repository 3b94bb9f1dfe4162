/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A typed refusal: what kind it is, what was wanted, what is there, and a sentence for the person who asked.
 *
 * A decider sets it beside the negative errno that it returns; the bus turns the kind into an error name. The sentence
 * says what was wanted, what is there and what to do. It is not set for faults of the daemon's own (ENOMEM and the
 * like), which are plain errnos.
 */

#include <stdarg.h>

#include "base/macro.h"

/* kind, D-Bus error name below org.aviommu1.Error., the errno that goes with it */
#define PROBLEM_KINDS(X)                                                                           \
        X(PROBLEM_INVALID_ARGUMENT, "InvalidArgument", EINVAL)                                     \
        X(PROBLEM_INVALID_UUID, "InvalidUuid", EINVAL)                                             \
        X(PROBLEM_INVALID_ADDRESS, "InvalidAddress", EINVAL)                                       \
        X(PROBLEM_UNKNOWN_KEY, "UnknownKey", EINVAL)                                               \
        X(PROBLEM_INVALID_TYPE, "InvalidType", EINVAL)                                             \
        X(PROBLEM_NO_SUCH_VM, "NoSuchVm", ENOENT)                                                  \
        X(PROBLEM_NO_SUCH_VIOMMU, "NoSuchViommu", ENOENT)                                          \
        X(PROBLEM_NO_SUCH_FUNCTION, "NoSuchFunction", ENODEV)                                      \
        X(PROBLEM_NO_SUCH_RESERVATION, "NoSuchReservation", ENOENT)                                \
        X(PROBLEM_RESERVATION_USED, "ReservationUsed", ESTALE)                                     \
        X(PROBLEM_RESERVATION_EXPIRED, "ReservationExpired", ETIME)                                \
        X(PROBLEM_NOT_YOUR_RESERVATION, "NotYourReservation", EPERM)                               \
        X(PROBLEM_NO_SUCH_DEFINITION, "NoSuchDefinition", ENOENT)                                  \
        X(PROBLEM_DEFINITION_EXISTS, "DefinitionExists", EEXIST)                                   \
        X(PROBLEM_DEFINITION_DAMAGED, "DefinitionDamaged", EBADMSG)                                \
        X(PROBLEM_NO_PREPARED_CONTEXT, "NoPreparedContext", ENOENT)                                \
        X(PROBLEM_VM_EXISTS, "VmExists", EEXIST)                                                   \
        X(PROBLEM_FUNCTION_NOT_BOUND, "FunctionNotBound", ENXIO)                                   \
        X(PROBLEM_FUNCTION_IN_USE, "FunctionInUse", EBUSY)                                         \
        X(PROBLEM_GROUP_NOT_WHOLE, "GroupNotWhole", EXDEV)                                         \
        X(PROBLEM_NO_HOST_IOMMU, "NoHostIommu", ENODEV)                                            \
        X(PROBLEM_DUPLICATE_GUEST_ID, "DuplicateGuestDeviceId", EEXIST)                            \
        X(PROBLEM_VF_TOKEN, "VfTokenRequired", EACCES)                                             \
        X(PROBLEM_TIER_UNAVAILABLE, "TierUnavailable", EOPNOTSUPP)                                 \
        X(PROBLEM_LEVEL_UNKNOWN, "KernelLevelUnknown", EOPNOTSUPP)                                 \
        X(PROBLEM_NO_FREE_INSTANCE, "NoFreeInstance", EDQUOT)                                      \
        X(PROBLEM_NO_FREE_TRANS_DEVID, "NoFreeTransDevId", EDQUOT)                                 \
        X(PROBLEM_NO_CONTIGUOUS_MEMORY, "NoContiguousMemory", EDQUOT)                              \
        X(PROBLEM_NO_FREE_DOMAIN_ID, "NoFreeDomainId", EDQUOT)                                     \
        X(PROBLEM_NO_PINNABLE_MEMORY, "NoPinnableMemory", EDQUOT)                                  \
        X(PROBLEM_NO_FREE_DESCRIPTOR, "NoFreeDescriptor", EDQUOT)                                  \
        X(PROBLEM_LIMITS_EXCEEDED, "LimitsExceeded", EDQUOT)                                       \
        X(PROBLEM_QUOTA_EXCEEDED, "QuotaExceeded", EDQUOT)                                         \
        X(PROBLEM_NO_SUCH_TENANT, "NoSuchTenant", ENOENT)                                          \
        X(PROBLEM_TIER_NOT_ALLOWED, "TierNotAllowed", EACCES)                                      \
        X(PROBLEM_FUNCTION_EXCLUDED, "FunctionExcluded", EACCES)                                   \
        X(PROBLEM_MEMORY_OVERLAP, "MemoryOverlap", EEXIST)                                         \
        X(PROBLEM_NO_SUCH_MAPPING, "NoSuchMapping", ENOENT)                                        \
        X(PROBLEM_NOT_MAPPABLE, "NotMappable", EINVAL)                                             \
        X(PROBLEM_NOT_A_PIDFD, "NotAPidfd", EINVAL)                                                \
        X(PROBLEM_VMM_GONE, "VmmGone", ESRCH)                                                      \
        X(PROBLEM_WRONG_STATE, "WrongState", EBADFD)                                               \
        X(PROBLEM_BUSY, "Busy", EBUSY)                                                             \
        X(PROBLEM_CANCELLED, "Cancelled", ECANCELED)                                               \
        X(PROBLEM_KERNEL, "KernelRefused", EIO)                                                    \
        X(PROBLEM_STORAGE, "StorageFailed", EIO)                                                   \
        X(PROBLEM_NEWER_RECORD, "NewerRecord", EUCLEAN)                                            \
        X(PROBLEM_ACCESS_DENIED, "AccessDenied", EACCES)

typedef enum ProblemKind {
        PROBLEM_NONE,
#define X(kind, name, error) kind,
        PROBLEM_KINDS(X)
#undef X
                _PROBLEM_KIND_MAX,
} ProblemKind;

typedef struct Problem {
        ProblemKind kind;
        uint64_t wanted,
                available; /* amounts in the resource's own unit; 0 where they make no sense */
        char text[512];
} Problem;

/* The part of the D-Bus error name after the last dot, and the errno, of a kind. */
const char *problem_kind_to_name(ProblemKind kind);
int problem_kind_to_errno(ProblemKind kind);

/* Fills @p and returns the negative errno of @kind, so that a decider can `return problem_set(...)`.
 * @p may be NULL when the caller does not want the words. A text too long is cut, and is valid UTF-8 in any case. */
int problem_set(Problem *p, ProblemKind kind, const char *format, ...) _printf_(3, 4);

/* The same with the two amounts. */
int problem_set_amounts(Problem *p, ProblemKind kind, uint64_t wanted, uint64_t available,
                        const char *format, ...) _printf_(5, 6);

/* Whether a refusal was recorded. */
static inline bool problem_is_set(const Problem *p) {
        return p->kind != PROBLEM_NONE;
}
