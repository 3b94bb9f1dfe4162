/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who holds an iommufd and a bound function may allocate vIOMMUs without end, past what is charged. A VMM whose vIOMMUs the daemon
 * has made needs to allocate none.
 */
#include "ctl/viommu-filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macro.h"

/* Spec: linux/iommufd.h, IOMMUFD_TYPE ';' and IOMMUFD_CMD_VIOMMU_ALLOC 0x90 */
#define VIOMMU_ALLOC _IO(';', 0x90)

#define IOCTL_I386 54
#define IOCTL_X32  (0x40000000 + 514)

#define LOAD(field)           BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_IF(value, n)     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (n), 0)
#define SKIP_UNLESS(value, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (n))
#define ANSWER(value)         BPF_STMT(BPF_RET | BPF_K, (value))

#ifdef __x86_64__
int viommu_filter_install(void) {
        struct sock_filter code[] = {
                LOAD(arch),
                SKIP_IF(AUDIT_ARCH_I386, 6),
                SKIP_UNLESS(AUDIT_ARCH_X86_64, 4), /* there is no other */
                LOAD(nr),
                SKIP_IF(SYS_ioctl, 5),
                SKIP_IF(IOCTL_X32, 4),
                ANSWER(SECCOMP_RET_ALLOW),
                ANSWER(SECCOMP_RET_KILL_PROCESS),
                LOAD(nr),
                SKIP_UNLESS(IOCTL_I386, 3),
                /* The kernel looks at the low half of the request only. */
                LOAD(args[1]),
                SKIP_UNLESS(VIOMMU_ALLOC, 1),
                ANSWER(SECCOMP_RET_ERRNO | EPERM),
                ANSWER(SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = ELEMENTSOF(code), .filter = code };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return negative_errno();
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
                return negative_errno();
        return 0;
}
#else
/* AMD's IOMMUs are in x86 hosts. */
int viommu_filter_install(void) {
        return -EOPNOTSUPP;
}
#endif
