/* SPDX-License-Identifier: MIT */
/*
 * A server of 8 threads for some seconds: requests of random sizes, sessions that stay, and now and
 * then a burst whose buffers are larger than M_MMAP_THRESHOLD
 *
 *	server8 SECONDS
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 8, SESSIONS = 4000, BUFFERS = 40 };

static long end_ns;

static long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void *serve(void *arg)
{
	uint64_t state = 88172645463325252u + (uintptr_t)arg * 7919;
	char *sessions[SESSIONS] = {0}, *buffers[BUFFERS] = {0};

	for (unsigned round = 0; now_ns() < end_ns; round++) {
		for (int i = 0; i < 200; i++) {
			unsigned s = next(&state) % SESSIONS;
			size_t size = 16 + next(&state) % (next(&state) % 20 ? 600 : 9000);
			char *request = malloc(2 * size);

			memset(request, 1, 2 * size);
			free(sessions[s]);
			sessions[s] = next(&state) % 3 ? malloc(size) : NULL;
			if (sessions[s])
				memset(sessions[s], 2, size);
			free(request);
		}
		if (round % 300 == 0)
			for (int i = 0; i < BUFFERS; i++) {
				size_t size = 50000 + next(&state) % 400000;

				/* Half of each is never touched. */
				free(buffers[i]);
				buffers[i] = next(&state) % 2 ? malloc(size) : NULL;
				if (buffers[i])
					memset(buffers[i], 3, size / 2);
			}
		usleep(2000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	end_ns = now_ns() + 1000000000L * (argc > 1 ? atoi(argv[1]) : 4);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, serve, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	_exit(0); /* nothing is torn down */
}
