/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Process 1 of a guest inside the host under test: reads the whole of the first NVMe disk, which is the host's, through a vIOMMU
 * or none, says on the console what it read, and powers off. Says one line per finding, each "nested: WORD VALUE":
 *
 *     group     the type of the IOMMU group that the disk's controller is in; "none" without an IOMMU
 *     cksum     what cksum(1) says of the disk: checksum and size
 *     failed    what did not work; then nothing else comes
 *     holding   with HOLD=1 on the kernel command line: it has all, and waits for its end
 *
 * With DMA=1 there it does not read the disk, see nested-dma.c.
 */

#define _GNU_SOURCE

#include "nested.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DISK       "/dev/nvme0n1"
#define GROUP      "/sys/class/nvme/nvme0/device/iommu_group/type"
#define WAIT_STEPS 600 /* of 50 ms */

int failed(const char *what) {
        int r = errno ? -errno : -EIO;

        printf("nested: failed %s: %m\n", what);
        return r;
}

static int module_load(const char *path) {
        int fd, r = 0;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return failed(path);
        if (syscall(SYS_finit_module, fd, "", 0) < 0)
                r = failed(path);
        close(fd);
        return r;
}

static int disk_wait(void) {
        for (int i = 0; i < WAIT_STEPS; i++) {
                if (access(DISK, R_OK) == 0)
                        return 0;
                usleep(50000);
        }
        return failed(DISK);
}

static void group_print(void) {
        char type[32] = "none\n";
        ssize_t n;
        int fd;

        fd = open(GROUP, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                n = read(fd, type, sizeof(type) - 1);
                type[n > 0 ? n : 0] = '\0';
                close(fd);
        }
        printf("nested: group %s", type);
}

static void crc_table_fill(uint32_t table[static 256]) {
        for (uint32_t i = 0; i < 256; i++) {
                uint32_t c = i << 24;

                for (int bit = 0; bit < 8; bit++)
                        c = c << 1 ^ (c & UINT32_C(1) << 31 ? UINT32_C(0x04c11db7) : 0);
                table[i] = c;
        }
}

/* The checksum of cksum(1), which POSIX defines. */
static int disk_read(void) {
        enum { BLOCK = 256 << 10 };
        uint32_t table[256], crc = 0;
        unsigned long size = 0;
        uint8_t *block;
        ssize_t n;
        int fd;

        crc_table_fill(table);
        block = aligned_alloc(4096, BLOCK);
        if (!block)
                return failed("memory");
        /* Each read is the disk's own DMA. */
        fd = open(DISK, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0)
                return failed(DISK);

        while ((n = read(fd, block, BLOCK)) > 0) {
                for (ssize_t i = 0; i < n; i++)
                        crc = crc << 8 ^ table[crc >> 24 ^ block[i]];
                size += (unsigned long)n;
        }
        if (n < 0)
                return failed("reading " DISK);
        for (unsigned long left = size; left; left >>= 8)
                crc = crc << 8 ^ table[crc >> 24 ^ (left & 0xff)];
        printf("nested: cksum %u %lu\n", ~crc, size);
        close(fd);
        return 0;
}

static int run(void) {
        const char *hold = getenv("HOLD");
        int r;

        (void)mkdir("/sys", 0755);
        (void)mkdir("/dev", 0755);
        (void)mkdir("/proc", 0755);
        if (mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
                return failed("/sys");
        if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) < 0)
                return failed("/dev");
        if (mount("proc", "/proc", "proc", 0, NULL) < 0)
                return failed("/proc");
        if (getenv("DMA"))
                return dma_try();

        r = module_load("/nvme-core.ko");
        if (r < 0)
                return r;
        r = module_load("/nvme.ko");
        if (r < 0)
                return r;
        r = disk_wait();
        if (r < 0)
                return r;
        group_print();
        r = disk_read();
        if (r < 0)
                return r;

        if (hold) {
                printf("nested: holding\n");
                for (;;)
                        pause();
        }
        return 0;
}

int main(void) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        (void)run();
        reboot(RB_POWER_OFF);
        return 1;
}
