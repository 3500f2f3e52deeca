/* SPDX-License-Identifier: MIT */
/*
 * A program that writes over what it shares with its collector: test-scribble PART PATTERN SEED
 *
 * Two threads allocate, stop, and the memory is written over: PART is `header`, `rings` (their
 * headers), `bodies` (the records), `nodes` (the tree of stacks), `any` (single words anywhere), or
 * `paths` (what says where the recording goes: SEED is then a file's name). PATTERN is `zeros`,
 * `ones`, `random`, `small` (numbers), or `plausible` (bits of words that are there change). Then
 * the collector has some time to look at it, and the program ends, status 7, without another call
 * of libc.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ft_segment.h"

enum { N_BLOCKS = 3000, N_THREADS = 2, N_ROUNDS = 20, ROUND_MS = 20 };

static uint64_t state;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t pattern(const char *name, uint64_t old)
{
	switch (*name) {
	case 'z':
		return 0;
	case 'o':
		return UINT64_MAX;
	case 's':
		return next() % 64;
	case 'p':
		return old ^ UINT64_C(1) << next() % 64;
	default:
		return next();
	}
}

static void *allocate(void *unused)
{
	for (int i = 0; i < N_BLOCKS; i++)
		free(malloc((size_t)i + 1));
	return unused;
}

static struct ft_segment_header *find(void)
{
	char line[512];
	unsigned long start = 0;
	FILE *maps = fopen("/proc/self/maps", "r");

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "memfd:fragtrace") && sscanf(line, "%lx", &start) == 1)
			break;
	if (maps)
		fclose(maps);
	return (struct ft_segment_header *)start;
}

static void write_over(char *from, size_t bytes, size_t every, const char *how)
{
	uint64_t *words = (uint64_t *)(void *)from;

	for (size_t i = every > 1 ? next() % every : 0; i < bytes / 8; i += every)
		words[i] = pattern(how, words[i]);
}

int main(int argc, char **argv)
{
	struct ft_segment_header *header = find(), was;
	char *base = (char *)header;
	pthread_t threads[N_THREADS];
	const struct timespec pause = {.tv_nsec = ROUND_MS * 1000000};

	if (argc < 4 || !header)
		return 2;
	was = *header;
	state = strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15 + 1;
	for (int i = 0; i < N_THREADS; i++)
		pthread_create(&threads[i], NULL, allocate, NULL);
	allocate(NULL);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);

	/* Up to there the program says, in the header, where its recording goes. */
	for (int i = 0; i < 500 && atomic_load(&header->attached) != FT_ATTACHED_SERVED; i++)
		syscall(SYS_nanosleep, &pause, NULL);

	for (int round = 0; round < N_ROUNDS; round++) {
		switch (argv[1][0]) {
		case 'h':
			/* In its place it is noticed at once, and nothing is left to look at. */
			write_over(base + 8, sizeof(*header) - 8, 1 + next() % 40, argv[2]);
			break;
		case 'r':
			write_over(base + was.rings_at, 8 * sizeof(struct ft_ring_header),
				   1 + next() % 8, argv[2]);
			break;
		case 'b':
			write_over(base + was.bodies_at, was.ring_bytes, 1 + next() % 8, argv[2]);
			/* And says that there is more. */
			((struct ft_ring_header *)(void *)(base + was.rings_at))->tail +=
				was.ring_bytes / 16 * 8;
			break;
		case 'n':
			write_over(base + was.nodes_at, 4096 * 16, 1 + next() % 4, argv[2]);
			((struct ft_ring_header *)(void *)(base + was.rings_at))->tail += 4096;
			break;
		case 'p':
			strncpy(header->output, argv[3], sizeof(header->output) - 1);
			strncpy(header->cwd, "/", sizeof(header->cwd) - 1);
			strncpy(header->socket, argv[3], sizeof(header->socket) - 1);
			break;
		default:
			for (int i = 0; i < 1000; i++) {
				uint64_t *word = (uint64_t *)(void *)(base + next() % 4 * 4096 +
								      next() % 512 * 8);

				*word = pattern(argv[2], *word);
			}
		}
		syscall(SYS_nanosleep, &pause, NULL);
	}
	syscall(SYS_exit_group, 7);
	return 0;
}
