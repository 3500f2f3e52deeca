/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the reader: any file opens or is refused, and an open one is read to its end
 *
 * The bytes become a file in the current folder: SQLite resolves links, and a memfd's leads
 * nowhere. Start it on recordings (seeds.py): SQLite's own header and checks keep random bytes from
 * getting far.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fragtrace/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ft_error *see_symbol(void *ctx, const struct ft_symbol_row *row)
{
	*(size_t *)ctx += row->function ? 1 : 0;
	return NULL;
}

static struct ft_error *see_thread(void *ctx, const struct ft_thread_row *row)
{
	*(size_t *)ctx += row->id;
	return NULL;
}

static struct ft_error *see_rollup(void *ctx, const struct ft_rollup *rollup)
{
	*(size_t *)ctx += rollup->sites.n + rollup->n_pairs + rollup->largest.n;
	return NULL;
}

static struct ft_error *see_pages(void *ctx, const struct ft_page_rollup *pages)
{
	*(size_t *)ctx += pages->n_pins;
	return NULL;
}

static void read_folded(struct ft_reader *reader, struct ft_event *events)
{
	const struct ft_keyframe_info *keyframes;
	size_t n_keyframes, n, seen = 0;
	struct ft_error *error = ft_reader_keyframes(reader, &keyframes, &n_keyframes);

	for (size_t i = 0; !error && i < n_keyframes; i++)
		for (uint32_t part = 0; part < keyframes[i].n_parts; part++)
			ft_error_destroy(
				ft_reader_keyframe_part(reader, &keyframes[i], part, events, &n));
	ft_error_destroy(error);
	ft_error_destroy(ft_reader_rollups(reader, ft_reader_first_seq(reader), see_rollup, &seen));
	ft_error_destroy(ft_reader_page_rollups(reader, see_pages, &seen));
}

static void read_all(struct ft_reader *reader)
{
	static struct ft_event *events;
	const struct ft_stack_node *nodes;
	struct ft_process_row process;
	size_t n, seen = 0;

	if (!events)
		events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
	ft_error_destroy(ft_reader_process(reader, &process));
	ft_error_destroy(ft_reader_stacks(reader, &nodes, &n));
	ft_error_destroy(ft_reader_symbols(reader, see_symbol, &seen));
	ft_error_destroy(ft_reader_threads(reader, see_thread, &seen));
	for (size_t i = 0; i < ft_reader_n_chunks(reader); i++)
		ft_error_destroy(ft_reader_chunk(reader, i, events, &n));
	read_folded(reader, events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ft_reader *reader;
	char path[64];

	snprintf(path, sizeof(path), "input-%d.frag", (int)getpid());

	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);

	struct ft_error *error = ft_reader_open(path, FT_READER_NO_WAIT, &reader);
	if (!error) {
		read_all(reader);
		ft_reader_close(reader);
	}
	ft_error_destroy(error);
	unlink(path);
	return 0;
}
