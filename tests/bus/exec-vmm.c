/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A VMM as aviommuctl exec starts one: says what it got, a line each, and stays until its stdin ends.
 *
 *     exec-vmm IOMMUFD [NAME=DEVICE]...
 *
 * "fd N": a descriptor that is open besides the standard ones; "at NAME PLACE": the place of a named one in the simulated kernel's
 * file; "ioctl HOW NUMBER ERRNO": a request on the iommufd.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is looked for, spelled out: the program that filters has its own. Spec: linux/iommufd.h */
#define VIOMMU_ALLOC  0x3b90
#define VDEVICE_ALLOC 0x3b91

static void say_request(const char *how, unsigned long request, long result) {
        printf("ioctl %s 0x%lx %s\n", how, request,
               result == 0 ? "0" : strerrorname_np(result < -1 ? (int)-result : errno));
}

#ifdef __x86_64__
/* As a 32-bit program calls it. Where the kernel has no such calls, the child dies of it. */
static void say_request_32(int fd, unsigned request) {
        int status = 0;
        pid_t pid;

        (void)fflush(stdout);
        pid = fork();
        if (pid == 0) {
                long result;

                __asm__ volatile("int $0x80"
                                 : "=a"(result)
                                 : "a"(54), "b"(fd), "c"(request), "d"(0)
                                 : "memory", "r8", "r9", "r10", "r11");
                say_request("i386", request, (int)result);
                (void)fflush(stdout);
                _exit(0);
        }
        if (waitpid(pid, &status, 0) < 0 || WIFSIGNALED(status))
                printf("ioctl i386 0x%x EPERM\n", request);
}
#endif

int main(int argc, char **argv) {
        int iommufd = argc > 1 ? atoi(argv[1]) : -1;
        char c;

        for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
                if (fcntl(fd, F_GETFD) >= 0)
                        printf("fd %d\n", fd);
        printf("at iommufd %lld\n", (long long)lseek(iommufd, 0, SEEK_CUR));
        for (int i = 2; i < argc; i++) {
                const char *number = strchr(argv[i], '=');

                if (number)
                        printf("at %.*s %lld\n", (int)(number - argv[i]), argv[i],
                               (long long)lseek(atoi(number + 1), 0, SEEK_CUR));
        }

        say_request("native", VIOMMU_ALLOC, ioctl(iommufd, VIOMMU_ALLOC, NULL));
        say_request("native", VDEVICE_ALLOC, ioctl(iommufd, VDEVICE_ALLOC, NULL));
        /* The kernel drops the upper half. */
        say_request("long", VIOMMU_ALLOC, ioctl(iommufd, VIOMMU_ALLOC | 0x100000000UL, NULL));
#ifdef __x86_64__
        say_request("x32", VIOMMU_ALLOC,
                    syscall(0x40000000 + 514, (long)iommufd, (long)VIOMMU_ALLOC, 0L));
        say_request_32(iommufd, VIOMMU_ALLOC);
#endif
        printf("ready\n");
        (void)fflush(stdout);
        while (read(STDIN_FILENO, &c, 1) > 0)
                ;
        return 0;
}
