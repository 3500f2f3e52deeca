/* SPDX-License-Identifier: MIT */
/* The control group of a process: see co_cgroup.h. */
#include "co_cgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "co_procfs.h"
#include "ft_cleanup.h"

/* Version 1 has no word for "no limit", but a number that no memory reaches. */
#define NO_LIMIT (INT64_C(1) << 62)

/* The path of a line "N:controllers:path", in `path`. False: it is not that of `controller`. */
static bool parse_line(const char *line, const char *controller, char *path, size_t room)
{
	const char *list = strchr(line, ':'), *end = list ? strchr(list + 1, ':') : NULL;
	size_t n = strlen(controller);

	if (!end)
		return false;
	list++;
	if (n == 0 && list != end)
		return false;
	for (; n && list < end; list += strcspn(list, ",:") + 1)
		if (strncmp(list, controller, strlen(controller)) == 0 &&
		    (list[n] == ',' || list[n] == ':'))
			break;
	if (n && list >= end)
		return false;
	n = strcspn(end + 1, "\n");
	if (n >= room || end[1] != '/')
		return false;
	memcpy(path, end + 1, n);
	path[n] = 0;
	/* What is outside of this mount is not to be seen. */
	return !strstr(path, "..");
}

static bool find(const char *text, const char *controller, char *path, size_t room)
{
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line != 0)
		if (parse_line(line, controller, path, room))
			return true;
	return false;
}

void co_cgroup_find(struct co_cgroup *group, const char *text, const char *mount)
{
	char path[384];
	int n;

	*group = (struct co_cgroup){0};
	group->is_v1 = find(text, "memory", path, sizeof(path));
	if (!group->is_v1 && !find(text, "", path, sizeof(path)))
		return;
	n = snprintf(group->folder, sizeof(group->folder), "%s%s", mount,
		     group->is_v1 ? "/memory" : "");
	if (n < 0 || (size_t)n + strlen(path) >= sizeof(group->folder)) {
		group->folder[0] = 0;
		return;
	}
	group->root = (size_t)n;
	if (strcmp(path, "/") != 0)
		memcpy(group->folder + n, path, strlen(path) + 1);
}

static int64_t read_number(const char *folder, const char *name)
{
	char path[600];
	ft_auto_free char *text = NULL;
	char *end;
	long long value;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	text = co_procfs_read(path, 64);
	if (!text)
		return -1;
	value = strtoll(text, &end, 10);
	return end == text || value < 0 ? -1 : value; /* "max": no limit */
}

/* The lowest number of the groups up to the root; `first`: the first one that there is. */
static int64_t walk(const struct co_cgroup *group, const char *name, bool first)
{
	char folder[sizeof(group->folder)];
	int64_t lowest = -1;

	if (!group->folder[0])
		return -1;
	memcpy(folder, group->folder, sizeof(folder));
	for (;;) {
		int64_t value = read_number(folder, name);
		char *slash;

		if (value >= 0 && value < NO_LIMIT && (lowest < 0 || value < lowest))
			lowest = value;
		if ((first && lowest >= 0) || strlen(folder) <= group->root)
			return lowest;
		slash = strrchr(folder, '/');
		*slash = 0;
	}
}

int64_t co_cgroup_used(const struct co_cgroup *group)
{
	return walk(group, group->is_v1 ? "memory.usage_in_bytes" : "memory.current", true);
}

int64_t co_cgroup_limit(const struct co_cgroup *group)
{
	return walk(group, group->is_v1 ? "memory.limit_in_bytes" : "memory.max", false);
}
