/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Process 1 of a throw-away boot: reads the ACPI table that describes the AMD IOMMU (IVRS), lets
 * it claim what nesting and the vIOMMU need, and writes it raw to the second serial port. The
 * kernel believes the table over the emulated IOMMU's registers, so the result, given to it as an
 * ACPI override in later boots, makes the stock driver offer nest parents. The table depends on
 * the machine's functions, hence the boot.
 *
 * Spec: AMD 48882, I/O Virtualization Reporting Structure; ACPI, system description table header */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum {
        TABLE_LENGTH = 4,
        TABLE_CHECKSUM = 9,
        TABLE_OEM_REVISION = 24,
        IVRS_BLOCKS = 48,
        IVHD_LENGTH = 2,
        IVHD_EFR = 24,
        IVHD_EFR2 = 32,
        IVHD_SIZE_MIN = 40,
};

#define EFR_GT       (UINT64_C(1) << 4)
#define EFR_GIO      (UINT64_C(1) << 48)
#define EFR_VIOMMU   (UINT64_C(1) << 55)
#define EFR2_GCR3TRP (UINT64_C(1) << 3)

static void or_le64(uint8_t *p, uint64_t bits) {
        uint64_t v;

        memcpy(&v, p, sizeof(v));
        v |= htole64(bits);
        memcpy(p, &v, sizeof(v));
}

static uint32_t get_le32(const uint8_t *p) {
        uint32_t v;

        memcpy(&v, p, sizeof(v));
        return le32toh(v);
}

/* Returns how many IVHD blocks with feature fields there were, or -EINVAL for a malformed table. */
static int table_claim_nesting(uint8_t *table, size_t size) {
        int n_blocks = 0;
        uint32_t revision;
        uint8_t sum = 0;

        if (size < IVRS_BLOCKS || memcmp(table, "IVRS", 4) != 0 ||
            get_le32(table + TABLE_LENGTH) != size)
                return -EINVAL;

        for (size_t at = IVRS_BLOCKS; at + 4 <= size;) {
                uint8_t *block = table + at;
                size_t length = block[IVHD_LENGTH] | (size_t)block[IVHD_LENGTH + 1] << 8;

                if (length < 4 || length > size - at)
                        return -EINVAL;
                if ((block[0] == 0x11 || block[0] == 0x40) && length >= IVHD_SIZE_MIN) {
                        or_le64(block + IVHD_EFR, EFR_GT | EFR_GIO | EFR_VIOMMU);
                        or_le64(block + IVHD_EFR2, EFR2_GCR3TRP);
                        n_blocks++;
                }
                at += length;
        }

        /* The kernel takes an override only for a higher revision of the same table. */
        revision = htole32(get_le32(table + TABLE_OEM_REVISION) + 1);
        memcpy(table + TABLE_OEM_REVISION, &revision, sizeof(revision));

        table[TABLE_CHECKSUM] = 0;
        for (size_t i = 0; i < size; i++)
                sum += table[i];
        table[TABLE_CHECKSUM] = (uint8_t)-sum;
        return n_blocks;
}

static int port_open_raw(const char *path) {
        struct termios tio;
        int fd;

        fd = open(path, O_WRONLY | O_NOCTTY);
        if (fd < 0)
                return -errno;
        if (tcgetattr(fd, &tio) == 0) {
                cfmakeraw(&tio);
                (void)tcsetattr(fd, TCSANOW, &tio);
        }
        return fd;
}

static int run(void) {
        static uint8_t table[65536];
        size_t size = 0, done = 0;
        int in, out, r;
        ssize_t n;

        (void)mkdir("/sys", 0755);
        (void)mkdir("/dev", 0755);
        (void)mount("sysfs", "/sys", "sysfs", 0, NULL);
        (void)mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);

        in = open("/sys/firmware/acpi/tables/IVRS", O_RDONLY);
        if (in < 0)
                return -errno;
        while ((n = read(in, table + size, sizeof(table) - size)) > 0)
                size += (size_t)n;
        if (n < 0)
                return -errno;

        r = table_claim_nesting(table, size);
        if (r < 0)
                return r;
        if (r == 0)
                return -ENODATA;

        out = port_open_raw("/dev/ttyS1");
        if (out < 0)
                return out;
        for (; done < size; done += (size_t)n) {
                n = write(out, table + done, size - done);
                if (n < 0)
                        return -errno;
        }
        return tcdrain(out) < 0 ? -errno : 0;
}

int main(void) {
        int r = run();

        if (r < 0)
                printf("ivrs-nest: %s\n", strerror(-r));
        reboot(RB_POWER_OFF);
        return 1;
}
