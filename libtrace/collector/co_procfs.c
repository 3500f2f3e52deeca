/* SPDX-License-Identifier: MIT */
/* What /proc says: see co_procfs.h. */
#include "co_procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ft_cleanup.h"
#include "ft_strbuf.h"

/* glibc maps its arenas at multiples of this (HEAP_MAX_SIZE on 64-bit machines). */
#define ARENA_BYTES (UINT64_C(64) << 20)

char *co_procfs_read(const char *path, size_t max)
{
	ft_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ft_auto_strbuf struct ft_strbuf buf;

	ft_strbuf_init(&buf);
	if (fd < 0)
		return NULL;
	while (buf.len < max) {
		char *at = ft_strbuf_reserve(&buf, 65536);
		ssize_t n = at ? read(fd, at, 65536) : -1;

		if (n < 0 && at && errno == EINTR)
			continue;
		if (n < 0)
			return NULL;
		if (n == 0)
			break;
		buf.len += (size_t)n;
	}
	ft_strbuf_addc(&buf, 0);
	return ft_strbuf_steal(&buf);
}

int64_t co_procfs_kb(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ':')
			return (int64_t)strtoll(line + len + 1, NULL, 10) * 1024;
	}
	return -1;
}

void co_maps_deinit(struct co_maps *maps)
{
	free(maps->maps);
	free(maps->text);
	*maps = (struct co_maps){0};
}

static struct co_map *add_map(struct co_maps *maps)
{
	if (maps->n == maps->capacity) {
		size_t capacity = maps->capacity ? maps->capacity * 2 : 256;
		struct co_map *grown = realloc(maps->maps, capacity * sizeof(*grown));

		if (!grown)
			return NULL;
		maps->maps = grown;
		maps->capacity = capacity;
	}
	return &maps->maps[maps->n++];
}

/* "START-END PERMS OFFSET MAJOR:MINOR INODE   PATH"; false if the line is of another kind. */
static bool parse_header(char *line, struct co_map *map)
{
	unsigned major, minor;
	int path_at = 0;

	*map = (struct co_map){.rss = -1, .swap = -1};
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n",
		   &map->start, &map->end, map->perms, &map->offset, &major, &minor, &map->inode,
		   &path_at) < 7)
		return false;
	if (path_at && line[path_at])
		map->path = line + path_at;
	return true;
}

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static const char *classify(const struct co_map *map, ino_t segment_inode)
{
	if (map->path) {
		if (starts_with(map->path, "[heap]"))
			return "heap";
		if (starts_with(map->path, "[stack"))
			return "stack";
		if (starts_with(map->path, "[anon:fragtrace"))
			return "tracer";
		if (starts_with(map->path, "/memfd:") && map->inode == segment_inode)
			return "tracer";
		if (map->path[0] == '/')
			return "file";
		if (!starts_with(map->path, "[anon:"))
			return "other"; /* [vdso], [vvar], ... */
	}
	if (map->perms[0] != 'r' || map->perms[1] != 'w' || map->perms[3] != 'p')
		return "other";

	/* An arena begins at a multiple of 64 MiB; neighbours may have been merged with it. */
	uint64_t boundary = (map->start + ARENA_BYTES - 1) / ARENA_BYTES * ARENA_BYTES;

	return boundary < map->end ? "arena" : "mmap";
}

/* Cut off what the list has already. The kernel lets go of the address space between two pages of
 * its answer: a mapping that has grown downwards, or was merged, by then stands there again with a
 * part of what came before. False when nothing is left. */
static bool cut_known(const struct co_maps *maps, struct co_map *map)
{
	uint64_t known = maps->n ? maps->maps[maps->n - 1].end : 0;

	if (map->start < known) {
		map->offset += known - map->start;
		map->start = known;
	}
	return map->start < map->end;
}

bool co_maps_parse(struct co_maps *maps, char *text, ino_t segment_inode)
{
	struct co_map *at = NULL; /* whose attributes follow */

	*maps = (struct co_maps){.text = text};

	for (char *line = text, *next; line && *line; line = next) {
		struct co_map map;

		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		/* A header begins with a lower-case hex digit, an attribute with a capital. */
		if (*line < 'A' || *line > 'Z') {
			at = NULL;
			if (!parse_header(line, &map) || !cut_known(maps, &map))
				continue;
			map.kind = classify(&map, segment_inode);
			at = add_map(maps);
			if (!at) {
				co_maps_deinit(maps);
				return false;
			}
			*at = map;
		} else if (at && starts_with(line, "Rss:")) {
			at->rss = (int64_t)strtoll(line + 4, NULL, 10) * 1024;
		} else if (at && starts_with(line, "Swap:")) {
			at->swap = (int64_t)strtoll(line + 5, NULL, 10) * 1024;
		}
	}
	return true;
}
