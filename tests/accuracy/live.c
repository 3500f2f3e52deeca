/* SPDX-License-Identifier: MIT */
/*
 * Programs with known truth, run for real
 *
 *	live MODE SECONDS TRUTH
 *
 * Plays MODE for SECONDS beside innocent company (a cache, churn), and writes what it leaked to the
 * file TRUTH, in the form that tests/tools/soak prints. Built without optimization, so that each
 * function is a frame.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TURN_US = 2000, CACHE = 500, SAW = 800, QUEUE = 4096, LATE_PCT = 60 };

struct item {
	struct item *next;
	char payload[];
};

static struct item *kept; /* reachable leaks */
static void *cache[CACHE], *teeth[SAW];
static size_t cache_at, n_teeth;
static uint64_t leaked; /* bytes */
static unsigned turns;
static double share; /* of the run that is over */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void keep(struct item *item, size_t size)
{
	item->next = kept;
	kept = item;
	leaked += size;
}

/* ---- company -----------------------------------------------------------------------------------
 */

static void cache_put(void)
{
	free(cache[cache_at]);
	cache[cache_at] = malloc(100 + (size_t)random() % 900);
	cache_at = (cache_at + 1) % CACHE;
}

static void churn(void)
{
	void *a = malloc(2000), *b = malloc((size_t)random() % 5000);

	free(a);
	free(b);
}

/* ---- modes -------------------------------------------------------------------------------------
 */

static void log_append(void)
{
	keep(malloc(120), 120);
}

static void list(void)
{
	log_append();
}

static void packet_new(void)
{
	struct item *item = malloc(400);

	if (turns % 20 == 0)
		keep(item, 400);
	else
		free(item);
}

static void noise(void)
{
	packet_new();
}

static void retry_enqueue(void)
{
	keep(malloc(200), 200);
}

static void late(void)
{
	if (share * 100 >= LATE_PCT)
		retry_enqueue();
}

static void *worker_main(void *arg)
{
	struct item *item = malloc(300);

	keep(item, 300);
	free(malloc(1000));
	return arg;
}

static void thread_exit(void)
{
	pthread_t thread;

	if (turns % 25 == 0 && pthread_create(&thread, NULL, worker_main, NULL) == 0)
		pthread_join(thread, NULL);
}

static void history_add(void)
{
	keep(malloc(150), 150);
}

static void freed_at_exit(void)
{
	history_add();
}

static void *buf_alloc(size_t size)
{
	return malloc(size);
}

static void read_header(void)
{
	free(buf_alloc(64));
}

static void route(void)
{
	keep(buf_alloc(96), 96);
}

static void compress_body(void)
{
	free(buf_alloc(3000));
}

static void wrapper(void)
{
	read_header();
	route();
	compress_body();
}

static struct item *queue[QUEUE];
static size_t queue_head, queue_tail;
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static bool queue_closed;

static void *consumer_main(void *arg)
{
	for (unsigned i = 0;;) {
		struct item *item = NULL;
		bool closed;

		pthread_mutex_lock(&queue_lock);
		if (queue_head != queue_tail)
			item = queue[queue_head++ % QUEUE];
		closed = queue_closed;
		pthread_mutex_unlock(&queue_lock);
		if (!item && closed)
			return arg;
		if (!item)
			usleep(1000);
		else if (++i % 10 == 0)
			keep(item, 250); /* forgotten */
		else
			free(item);
	}
}

static void message_new(void)
{
	struct item *item = malloc(250);

	pthread_mutex_lock(&queue_lock);
	queue[queue_tail++ % QUEUE] = item;
	pthread_mutex_unlock(&queue_lock);
}

static void consumer(void)
{
	message_new();
}

static char *outbox;
static size_t outbox_size;

static void outbox_append(void)
{
	char *bigger = realloc(outbox, outbox_size + 48);

	if (!bigger)
		abort();
	outbox = bigger;
	outbox_size += 48;
	leaked += 48;
}

static void buffer(void)
{
	outbox_append();
}

static void batch_add(void)
{
	if (n_teeth == SAW)
		while (n_teeth)
			free(teeth[--n_teeth]);
	teeth[n_teeth++] = malloc(300);
}

static void saw(void)
{
	batch_add();
}

static void index_add(void)
{
	struct item *item = malloc(500);

	item->next = kept;
	kept = item;
}

static void plateau(void)
{
	if (share < 0.4)
		index_add();
}

static const struct mode {
	const char *name, *guilty;
	void (*turn)(void);
} modes[] = {
	{"list", "log_append", list},
	{"noise", "packet_new", noise},
	{"late", "retry_enqueue", late},
	{"thread-exit", "worker_main", thread_exit},
	{"freed-at-exit", "history_add", freed_at_exit},
	{"wrapper", "route", wrapper},
	{"consumer", "message_new", consumer},
	{"buffer", "outbox_append", buffer},
	{"saw", NULL, saw},
	{"plateau", NULL, plateau},
	{"child", "log_append", list},
};

static void write_truth(const char *path, const struct mode *mode, double seconds)
{
	FILE *out = fopen(path, "w");

	if (!out)
		abort();
	fprintf(out,
		"{\"scenario\":\"live-%s\",\"what\":\"run for real\",\"seed\":0,\"sites\":["
		"{\"function\":\"cache_put\",\"leak\":false},{\"function\":\"churn\",\"leak\":"
		"false}",
		mode->name);
	if (mode->guilty)
		fprintf(out,
			",{\"function\":\"%s\",\"leak\":true,\"rate\":%.6g,\"tolerance\":%.2f}",
			mode->guilty, (double)leaked / seconds,
			strcmp(mode->name, "noise") ? 0.10 : 0.25);
	fprintf(out, "]}\n");
	fclose(out);
}

static void play(const struct mode *mode, double seconds)
{
	double start = now(), next = start;

	while (next < start + seconds) {
		share = (next - start) / seconds;
		cache_put();
		churn();
		mode->turn();
		turns++;
		next += TURN_US / 1e6;

		double wait = next - now();

		if (wait > 0)
			usleep((useconds_t)(wait * 1e6));
	}
}

int main(int argc, char **argv)
{
	const struct mode *mode = NULL;
	pthread_t thread;
	bool has_thread = false;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]) && argc == 4; i++)
		if (!strcmp(modes[i].name, argv[1]))
			mode = &modes[i];
	if (!mode) {
		fprintf(stderr, "usage: live MODE SECONDS TRUTH\n");
		return 2;
	}

	double seconds = strtod(argv[2], NULL);

	if (!strcmp(mode->name, "child")) {
		pid_t pid;

		for (int i = 0; i < CACHE; i++)
			cache_put(); /* which the child frees */
		pid = fork();
		if (pid > 0)
			return waitpid(pid, NULL, 0) < 0;
	}
	if (!strcmp(mode->name, "consumer"))
		has_thread = pthread_create(&thread, NULL, consumer_main, NULL) == 0;
	play(mode, seconds);
	if (has_thread) {
		pthread_mutex_lock(&queue_lock);
		queue_closed = true;
		pthread_mutex_unlock(&queue_lock);
		pthread_join(thread, NULL);
	}
	write_truth(argv[3], mode,
		    strcmp(mode->name, "late") ? seconds : seconds * (100 - LATE_PCT) / 100);
	while (!strcmp(mode->name, "freed-at-exit") && kept) {
		struct item *next = kept->next;

		free(kept);
		kept = next;
	}
	return 0;
}
