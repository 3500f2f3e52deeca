/* SPDX-License-Identifier: MIT */
/*
 * fragment MIB ROUNDS [HOLD_SECONDS]: leave free memory in small pieces
 *
 * Touches MIB of memory in single pages, gives most of it back in random runs, fills the holes
 * again with page tables (which can't move) and pages of other lifetimes, ROUNDS times over; then
 * holds what is left. At the end all of it is given back. At most MIB plus 1/16 of it is used.
 *
 * It touches on one CPU and frees on another where it may: pages would else go round in the per-cpu
 * lists, and the buddy lists would see little of it.
 */
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, HUGE = 2 << 20 };

static uint64_t seed = 88172645463325252U;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static char *reserve(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	madvise(p, bytes, MADV_NOHUGEPAGE);
	return p;
}

/* On CPU `n` of those that we may use, in turn. */
static void use_cpu(unsigned n)
{
	static cpu_set_t all;
	static int count;
	cpu_set_t one;

	if (!count && sched_getaffinity(0, sizeof(all), &all) == 0)
		count = CPU_COUNT(&all);
	if (count < 2)
		return;
	n %= (unsigned)count;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && !n--) {
			CPU_SET(cpu, &one);
			break;
		}
	sched_setaffinity(0, sizeof(one), &one);
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;
	unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 4;
	unsigned hold = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
	size_t bytes = mib << 20, pages = bytes / PAGE;
	char *heap = reserve(bytes);
	/* A page in each 2 MiB of these has a page table of its own. */
	size_t n_tables = pages / 64;
	char *tables = reserve(n_tables * (size_t)HUGE);

	for (unsigned round = 0; round < rounds; round++) {
		use_cpu(0);
		for (size_t i = 0; i < pages; i++)
			heap[i * PAGE] = (char)round;
		use_cpu(1);
		for (size_t i = 0; i < pages;) {
			size_t run = 1 + next() % 15, keep = 1 + next() % 3;

			run = run < pages - i ? run : pages - i;
			madvise(heap + i * PAGE, run * PAGE, MADV_DONTNEED);
			i += run + keep;
			if (next() % 8 == 0)
				tables[next() % n_tables * HUGE] = 1;
		}
	}
	printf("ready\n");
	fflush(stdout);
	sleep(hold);
	return 0;
}
