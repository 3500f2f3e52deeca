/* SPDX-License-Identifier: MIT */
/*
 * A program that keeps books on its own allocations in a file, so that they outlive its SIGKILL
 *
 *	test-witness BOOKS MS
 *
 * N_THREADS threads allocate and free for MS milliseconds (0: until somebody else sets the phase in
 * BOOKS); then children are forked that do the
 * same for a moment, while the threads go on; then it ends with status 7. A block's size says whose
 * it is: FIRST_SIZE + lane * LANE_SIZES + (number of the call modulo N_RESIDUES). Each lane counts
 * in BOOKS (mapped shared) before each call and after it has returned.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	N_THREADS = 4,
	N_CHILDREN = 8,
	N_LIVE = 64,
	BATCH = 20,
	CHILD_BATCHES = 25,
	FIRST_SIZE = 20480,
	LANE_SIZES = 1024,
	N_RESIDUES = 997,
	STATUS = 7,
};

enum phase { STARTING, STEADY, FORKING, ENDING };

struct lane {
	_Atomic uint64_t pid;
	_Atomic uint64_t begun, returned; /* malloc */
	_Atomic uint64_t dying, freed;	  /* free */
};

struct books {
	_Atomic uint64_t pid, phase;
	struct lane lanes[N_THREADS + N_CHILDREN];
};

static struct books *books;

struct worker {
	int lane;
	void *live[N_LIVE];
	uint64_t n; /* calls of malloc so far */
};

static void nap_ms(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static void batch(struct worker *w)
{
	struct lane *lane = &books->lanes[w->lane];

	for (int i = 0; i < BATCH; i++, w->n++) {
		void **slot = &w->live[w->n % N_LIVE];
		size_t size =
			FIRST_SIZE + (size_t)w->lane * LANE_SIZES + (size_t)(w->n % N_RESIDUES);

		if (*slot) {
			atomic_fetch_add(&lane->dying, 1);
			free(*slot);
			atomic_fetch_add(&lane->freed, 1);
		}
		atomic_fetch_add(&lane->begun, 1);
		*slot = malloc(size);
		atomic_fetch_add(&lane->returned, 1);
		if (!*slot)
			_exit(97);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	books->lanes[w->lane].pid = (uint64_t)getpid();
	while (books->phase < ENDING) {
		batch(w);
		nap_ms(2);
	}
	return NULL;
}

static void child(int number)
{
	struct worker w = {.lane = N_THREADS + number};

	books->lanes[w.lane].pid = (uint64_t)getpid();
	for (int i = 0; i < CHILD_BATCHES; i++) {
		batch(&w);
		nap_ms(1);
	}
	_exit(0);
}

static int fork_children(void)
{
	for (int i = 0; i < N_CHILDREN; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0)
			child(i);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
			return -1;
	}
	return 0;
}

/* So that shutdown has a length. */
static void at_exit(void)
{
	nap_ms(10);
}

int main(int argc, char **argv)
{
	static struct worker workers[N_THREADS];
	pthread_t threads[N_THREADS];
	int fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;

	books = mmap(NULL, sizeof(*books), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || books == MAP_FAILED)
		return 99;
	atexit(at_exit);
	books->pid = (uint64_t)getpid();
	books->phase = STEADY;
	for (int i = 0; i < N_THREADS; i++) {
		workers[i].lane = i;
		if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
			return 98;
	}
	nap_ms(strtol(argv[2], NULL, 10));
	while (!strtol(argv[2], NULL, 10) && books->phase == STEADY)
		nap_ms(2);
	books->phase = FORKING;
	if (fork_children() < 0)
		return 96;
	books->phase = ENDING;
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	puts("all done");
	return STATUS;
}
