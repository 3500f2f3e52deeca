/* SPDX-License-Identifier: MIT */
/* Images served: see co_past.h. */
#include "co_past.h"

#include <stddef.h>

void co_past_add(struct co_past *past, const struct co_past_image *image)
{
	/* More than CO_PAST_MAX that run: the oldest goes all the same. */
	for (unsigned i = 0; i < CO_PAST_MAX && past->images[past->n % CO_PAST_MAX].runs; i++)
		past->n++;
	past->images[past->n++ % CO_PAST_MAX] = *image;
}

void co_past_end(struct co_past *past, uint64_t id)
{
	for (unsigned i = 0; i < CO_PAST_MAX && i < past->n; i++)
		if (past->images[i].id == id)
			past->images[i].runs = false;
}

static const struct co_past_image *newest(const struct co_past *past, unsigned age)
{
	return age < CO_PAST_MAX && age < past->n ? &past->images[(past->n - 1 - age) % CO_PAST_MAX]
						  : NULL;
}

uint64_t co_past_of_key(const struct co_past *past, uint64_t key)
{
	const struct co_past_image *image;

	for (unsigned age = 0; key && (image = newest(past, age)); age++)
		if (image->key == key)
			return image->id;
	return 0;
}

uint64_t co_past_of_process(const struct co_past *past, uint64_t start, pid_t pid)
{
	const struct co_past_image *image;

	for (unsigned age = 0; start && (image = newest(past, age)); age++)
		if (image->start == start && image->pid == pid)
			return image->id;
	return 0;
}

uint64_t co_past_of_parent(const struct co_past *past, uint64_t start, pid_t pid)
{
	const struct co_past_image *image;

	for (unsigned age = 0; start && (image = newest(past, age)); age++)
		if (image->start == start && (image->stat_pid == pid || image->pid == pid))
			return image->id;
	return 0;
}
