/* SPDX-License-Identifier: MIT */
/*
 * Allocated here, freed there
 *
 * A producer allocates messages, a consumer frees them, a queue of 64 is between the two. By counts
 * per thread the producer only ever allocates and the consumer only ever frees, which looks like a
 * leak in one and is none: every message dies. The free matrix shows who frees whose memory.
 *
 * Expected findings, for 5 000 messages of 200 bytes:
 *
 * args: 3 5000
 * expect: leaks site=message_new absent
 * expect: threads thread=producer allocated_bytes=1000000 live_bytes=0
 * freed_by_others_bytes=1000000 expect: threads thread=consumer allocated_bytes=0 live_bytes=0
 * expect: threads freed=producer:consumer bytes=1000000
 */
#include <pthread.h>
#include <string.h>

#include "pace.h"

enum { QUEUE_SLOTS = 64, MESSAGE_BYTES = 200 };

static struct pace pace;

/* Bounded queue: 0 <= n <= QUEUE_SLOTS messages from `first` on; everything under `lock`. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	char *slot[QUEUE_SLOTS];
	size_t first, n;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void queue_push(char *message)
{
	pthread_mutex_lock(&queue.lock);
	while (queue.n == QUEUE_SLOTS)
		pthread_cond_wait(&queue.changed, &queue.lock);
	queue.slot[(queue.first + queue.n++) % QUEUE_SLOTS] = message;
	pthread_cond_broadcast(&queue.changed);
	pthread_mutex_unlock(&queue.lock);
}

static char *queue_pop(void)
{
	char *message;

	pthread_mutex_lock(&queue.lock);
	while (queue.n == 0)
		pthread_cond_wait(&queue.changed, &queue.lock);
	message = queue.slot[queue.first];
	queue.first = (queue.first + 1) % QUEUE_SLOTS;
	queue.n--;
	pthread_cond_broadcast(&queue.changed);
	pthread_mutex_unlock(&queue.lock);
	return message;
}

static char *message_new(long round)
{
	char *message = malloc(MESSAGE_BYTES);

	memset(message, (int)round, MESSAGE_BYTES);
	return message;
}

static void *producer_main(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "producer");
	for (long round = 0; round < pace.rounds; round++) {
		queue_push(message_new(round));
		pace_round(&pace, round + 1);
	}
	return NULL;
}

static void *consumer_main(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "consumer");
	for (long round = 0; round < pace.rounds; round++)
		free(queue_pop());
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t producer, consumer;

	pace = pace_start(argc, argv, 5000);
	if (pthread_create(&producer, NULL, producer_main, NULL) != 0 ||
	    pthread_create(&consumer, NULL, consumer_main, NULL) != 0)
		return 1;
	pthread_join(producer, NULL);
	pthread_join(consumer, NULL);
	return 0;
}
