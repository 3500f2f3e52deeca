/* SPDX-License-Identifier: MIT */
/* Keyframes, as a writer makes them: see ft_keyframe.h. How they are read is in keyframe.c. */
#include "ft_keyframe.h"

#include <stdlib.h>

#include "ft_cleanup.h"

enum { ZSTD_LEVEL = 1 };

bool ft_keyframes_init(struct ft_keyframes *keyframes)
{
	*keyframes = (struct ft_keyframes){.encoder = ft_encoder_create(ZSTD_LEVEL)};
	ft_strbuf_init(&keyframes->blob);
	return keyframes->encoder != NULL;
}

void ft_keyframes_deinit(struct ft_keyframes *keyframes)
{
	ft_encoder_destroy(keyframes->encoder);
	ft_strbuf_deinit(&keyframes->blob);
	*keyframes = (struct ft_keyframes){0};
}

/* The numbers of a part among all. */
struct part {
	uint64_t seq, time_ns, number, n_parts;
};

static struct ft_error *write_part(struct ft_keyframes *keyframes, sqlite3 *db, const char *path,
				   sqlite3_stmt *insert, const struct part *part,
				   const struct ft_event *events, size_t n)
{
	struct ft_strbuf *blob = &keyframes->blob;
	struct ft_chunk_facts facts;
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += events[i].size;
	ft_strbuf_clear(blob);
	if (n && !ft_encode_keyframe(keyframes->encoder, events, n, blob, &facts))
		return &ft_enomem;
	keyframes->n_bytes += blob->len;
	return ft_db_run(db, path, insert, "uuuuuub", part->seq, part->time_ns, part->number,
			 part->n_parts, (uint64_t)n, bytes, n ? blob->data : "", blob->len);
}

struct ft_error *ft_keyframe_write(struct ft_keyframes *keyframes, sqlite3 *db, const char *path,
				   const struct ft_follow *follow, uint64_t seq, uint64_t time_ns)
{
	size_t n_live = follow->live.n_live;
	struct part part = {.seq = seq,
			    .time_ns = time_ns,
			    .n_parts =
				    n_live ? (n_live + FT_CHUNK_EVENTS - 1) / FT_CHUNK_EVENTS : 1};
	ft_auto_stmt sqlite3_stmt *insert = NULL;
	ft_auto_free struct ft_follow_order *order = ft_follow_live(follow);
	ft_auto_free struct ft_event *events = malloc(FT_CHUNK_EVENTS * sizeof(*events));

	if (!order || !events)
		return &ft_enomem;
	keyframes->n_bytes = 0;
	FT_TRY(ft_db_prepare(db, path, "INSERT INTO keyframe VALUES(NULL,?,?,?,?,?,?,?)", &insert));
	for (; part.number < part.n_parts; part.number++) {
		size_t first = part.number * FT_CHUNK_EVENTS, n = 0;

		for (; n < FT_CHUNK_EVENTS && first + n < n_live; n++)
			events[n] = ft_follow_birth(follow, order[first + n].number);
		FT_TRY(write_part(keyframes, db, path, insert, &part, events, n));
	}
	return NULL;
}
