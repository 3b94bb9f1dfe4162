/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Drives an NVMe controller that no driver has, with guest-physical addresses: what a driver would do that reaches for memory that the
 * guest's kernel has not mapped for it. Where the kernel translates, the controller must not get there; where it lets all through
 * (iommu=pt) it does, with the same program, which shows that the program works. Says one line:
 *
 *     dma reached SERIAL    the controller has read the command and written the answer; its serial number is in it
 *     dma blocked ADDRESS   it has not: there is no completion, and no byte of memory is another. The address is that of the command
 */

#define _GNU_SOURCE

#include "nested.h"

#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NVME_CLASS "0x010802\n"
#define PAGE       4096U
#define PATTERN    0xa5
#define QUEUE      2U /* entries */

/* Registers. */
#define CC   0x14
#define CSTS 0x1c
#define AQA  0x24
#define ASQ  0x28
#define ACQ  0x30
#define DB   0x1000 /* the first doorbell: tail of the admin submission queue */

#define CC_ENABLE                                                                                  \
        (UINT32_C(6) << 16 | UINT32_C(4) << 20 | UINT32_C(1)) /* entries of 64 and 16 bytes */
#define CSTS_RDY UINT32_C(1)
#define CSTS_CFS UINT32_C(2)

#define READY_MSEC  30000
#define ANSWER_MSEC 10000

typedef struct Page {
        uint8_t *memory;
        uint64_t address; /* guest-physical */
} Page;

static uint64_t now_msec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int read_file(const char *folder, const char *name, char *buf, size_t size) {
        char path[256];
        ssize_t n;
        int fd;

        (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return failed(path);
        n = read(fd, buf, size - 1);
        close(fd);
        if (n < 0)
                return failed(path);
        buf[n] = '\0';
        return 0;
}

static int find_controller(char *ret, size_t size) {
        glob_t g;
        int r = -1;

        if (glob("/sys/bus/pci/devices/*", 0, NULL, &g) != 0)
                return failed("PCI");
        for (size_t i = 0; i < g.gl_pathc && r < 0; i++) {
                char class[16];

                if (read_file(g.gl_pathv[i], "class", class, sizeof(class)) == 0 &&
                    strcmp(class, NVME_CLASS) == 0) {
                        (void)snprintf(ret, size, "%s", g.gl_pathv[i]);
                        r = 0;
                }
        }
        globfree(&g);
        return r < 0 ? failed("finding an NVMe controller") : 0;
}

/* Memory and bus master on, as a driver does, and the registers. */
static int map_registers(const char *folder, volatile uint8_t **ret) {
        const uint16_t command = 0x0006;
        char path[256];
        void *p;
        int fd;

        (void)snprintf(path, sizeof(path), "%s/config", folder);
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0 || pwrite(fd, &command, sizeof(command), 4) != sizeof(command))
                return failed(path);
        close(fd);
        (void)snprintf(path, sizeof(path), "%s/resource0", folder);
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return failed(path);
        p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (p == MAP_FAILED)
                return failed(path);
        *ret = p;
        return 0;
}

static int page_new(Page *ret) {
        uint64_t entry;
        void *p;
        int fd;

        p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
        if (p == MAP_FAILED)
                return failed("memory");
        memset(p, 0, PAGE);
        fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        if (fd < 0 ||
            pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)p / PAGE * 8)) != sizeof(entry))
                return failed("/proc/self/pagemap");
        close(fd);
        entry &= (UINT64_C(1) << 55) - 1;
        if (entry == 0)
                return failed("the address of a page");
        *ret = (Page){ .memory = p, .address = entry * PAGE };
        return 0;
}

static uint32_t get(volatile uint8_t *registers, unsigned offset) {
        return *(volatile uint32_t *)(registers + offset);
}

static void put(volatile uint8_t *registers, unsigned offset, uint32_t value) {
        *(volatile uint32_t *)(registers + offset) = value;
}

static void put64(volatile uint8_t *registers, unsigned offset, uint64_t value) {
        put(registers, offset, (uint32_t)value);
        put(registers, offset + 4, (uint32_t)(value >> 32));
}

static int wait_ready(volatile uint8_t *registers, uint32_t ready) {
        uint64_t end = now_msec() + READY_MSEC;

        while ((get(registers, CSTS) & CSTS_RDY) != ready) {
                if (now_msec() > end)
                        return failed("the controller's answer");
                usleep(1000);
        }
        return 0;
}

static int enable(volatile uint8_t *registers, const Page *submissions, const Page *completions) {
        int r;

        put(registers, CC, 0);
        r = wait_ready(registers, 0);
        if (r < 0)
                return r;
        put(registers, AQA, (QUEUE - 1) << 16 | (QUEUE - 1));
        put64(registers, ASQ, submissions->address);
        put64(registers, ACQ, completions->address);
        put(registers, CC, CC_ENABLE);
        return wait_ready(registers, CSTS_RDY);
}

/* Identify controller, into @data. */
static void submit(volatile uint8_t *registers, const Page *submissions, const Page *data) {
        uint32_t *command = (uint32_t *)(void *)submissions->memory;

        command[0] = UINT32_C(1) << 16 | 0x06;
        command[6] = (uint32_t)data->address;
        command[7] = (uint32_t)(data->address >> 32);
        command[10] = 1;
        __sync_synchronize();
        put(registers, DB, 1);
}

static int is_all(const Page *page, uint8_t byte) {
        for (unsigned i = 0; i < PAGE; i++)
                if (page->memory[i] != byte)
                        return 0;
        return 1;
}

static int say(volatile uint8_t *registers, const Page *submissions, const Page *completions,
               const Page *data) {
        const volatile uint16_t *status = (const volatile uint16_t *)(void *)(completions->memory +
                                                                              14);
        uint64_t end = now_msec() + ANSWER_MSEC;

        /* What comes late counts too: the whole time, unless there is an answer. */
        while (!(*status & 1) && now_msec() < end)
                usleep(10000);
        if (*status & 1) {
                if (*status != 1 || is_all(data, PATTERN))
                        return failed("the command");
                printf("nested: dma reached %.20s\n", (const char *)data->memory + 4);
                return 0;
        }
        if (!is_all(completions, 0) || !is_all(data, PATTERN))
                return failed("blocking: memory has been written to");
        printf("nested: controller %s\n",
               get(registers, CSTS) & CSTS_CFS ? "fatal error" : "silent");
        printf("nested: dma blocked %#llx\n", (unsigned long long)submissions->address);
        return 0;
}

int dma_try(void) {
        Page submissions, completions, data;
        volatile uint8_t *registers = NULL;
        char folder[128], type[32];
        int r;

        r = find_controller(folder, sizeof(folder));
        if (r < 0)
                return r;
        if (read_file(folder, "iommu_group/type", type, sizeof(type)) == 0)
                printf("nested: group %s", type);
        r = map_registers(folder, &registers);
        if (r >= 0)
                r = page_new(&submissions);
        if (r >= 0)
                r = page_new(&completions);
        if (r >= 0)
                r = page_new(&data);
        if (r < 0)
                return r;

        memset(data.memory, PATTERN, PAGE);
        r = enable(registers, &submissions, &completions);
        if (r < 0)
                return r;
        submit(registers, &submissions, &data);
        r = say(registers, &submissions, &completions, &data);
        put(registers, CC, 0);
        return r;
}
