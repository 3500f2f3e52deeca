/* SPDX-License-Identifier: MIT */
/*
 * The symbol cache's files
 *
 *	struct header
 *	fingerprint        header.fingerprint_bytes
 *	struct disk_entry  x header.n_entries, ascending key
 *	struct disk_frame  x header.n_frames
 *	strings            header.string_bytes, each NUL-terminated
 *
 * in the machine's own byte order (the files don't travel). A string is named by its offset + 1 in
 * the strings; 0 is NULL. The checksum covers everything after the header.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "cache.h"
#include "ft_cleanup.h"
#include "ft_strbuf.h"

#define CACHE_MAGIC UINT64_C(0x31304d5953465446) /* "FTFSYM01" */

enum {
	CACHE_FILE_MAX = 64 << 20,
	TEMPORARY_MAX_AGE_S = 3600, /* older ones were left by a writer that died */
};

struct header {
	uint64_t magic;
	uint32_t crc;
	uint32_t fingerprint_bytes; /* a multiple of 8, padded with NUL */
	uint32_t n_entries, n_frames, string_bytes;
	uint32_t zero; /* keeps the rest aligned */
};

struct disk_entry {
	uint64_t key;
	uint32_t first, n;
};

struct disk_frame {
	uint32_t function, file, line;
};

/* ---- directory ------------------------------------------------------------------------------- */

char *ft_cache_default_dir(void)
{
	const char *base = getenv("XDG_CACHE_HOME");
	const char *below = "";
	if (!base || base[0] != '/') {
		base = getenv("HOME");
		below = "/.cache";
	}
	char *dir;
	if (!base || base[0] != '/' || asprintf(&dir, "%s%s/fragtrace/symbols", base, below) < 0)
		return NULL;
	return dir;
}

static void make_dirs(const char *dir)
{
	ft_auto_free char *path = strdup(dir);
	if (!path)
		return;
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	mkdir(path, 0700);
}

/* Names from a directory that somebody else can write would be that person's names. */
static int open_own_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	struct stat st;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return fd;
	close(fd);
	return -1;
}

static bool is_cache_name(const char *name)
{
	size_t n = strlen(name);

	return n > 2 && n <= 128 && strspn(name, "0123456789abcdef") == n;
}

/* ---- load ------------------------------------------------------------------------------------ */

/* The whole file, malloc'ed. */
static char *read_file(int fd, size_t *size)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > CACHE_FILE_MAX ||
	    st.st_size < (off_t)sizeof(struct header))
		return NULL;
	*size = (size_t)st.st_size;
	ft_auto_free char *data = malloc(*size);
	if (!data)
		return NULL;
	for (size_t have = 0; have < *size;) {
		ssize_t n = read(fd, data + have, *size - have);
		if (n <= 0)
			return NULL;
		have += (size_t)n;
	}
	return ft_take(data);
}

static const char *string_at(const char *strings, uint32_t n_bytes, uint32_t reference, bool *bad)
{
	if (reference == 0)
		return NULL;
	if (reference > n_bytes) {
		*bad = true;
		return NULL;
	}
	return strings + reference - 1;
}

/* Every reference is checked although the checksum was right: a checksum is no promise. */
static bool decode(const char *data, size_t size, const char *fingerprint,
		   struct ft_frame_table *table)
{
	const struct header *header = (const void *)data;
	if (header->magic != CACHE_MAGIC || header->fingerprint_bytes % 8 || header->zero)
		return false;
	uint64_t entries_at = sizeof(*header) + (uint64_t)header->fingerprint_bytes;
	uint64_t frames_at = entries_at + (uint64_t)header->n_entries * sizeof(struct disk_entry);
	uint64_t strings_at = frames_at + (uint64_t)header->n_frames * sizeof(struct disk_frame);
	if (strings_at + header->string_bytes != size)
		return false;
	if (crc32_z(0, (const void *)(data + sizeof(*header)), size - sizeof(*header)) !=
	    header->crc)
		return false;
	if (strnlen(data + sizeof(*header), header->fingerprint_bytes) != strlen(fingerprint) ||
	    memcmp(data + sizeof(*header), fingerprint, strlen(fingerprint)) != 0)
		return false;
	if (header->string_bytes && data[size - 1] != '\0')
		return false;

	const struct disk_entry *entries = (const void *)(data + entries_at);
	const struct disk_frame *frames = (const void *)(data + frames_at);
	const char *strings = data + strings_at;
	bool bad = false;
	for (uint32_t i = 0; i < header->n_entries && !bad; i++) {
		if ((uint64_t)entries[i].first + entries[i].n > header->n_frames)
			return false;
		if (i > 0 && entries[i].key <= entries[i - 1].key)
			return false;
		ft_frame_table_begin(table, entries[i].key);
		for (uint32_t j = 0; j < entries[i].n; j++) {
			const struct disk_frame *frame = &frames[entries[i].first + j];
			ft_frame_table_push(
				table,
				string_at(strings, header->string_bytes, frame->function, &bad),
				string_at(strings, header->string_bytes, frame->file, &bad),
				frame->line);
		}
	}
	return !bad && !table->failed;
}

bool ft_cache_load(const char *dir, const char *build_id, const char *fingerprint,
		   struct ft_frame_table *table)
{
	if (!is_cache_name(build_id))
		return false;
	ft_auto_close int dir_fd = open_own_dir(dir);
	if (dir_fd < 0)
		return false;
	ft_auto_close int fd =
		openat(dir_fd, build_id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	size_t size;
	ft_auto_free char *data = read_file(fd, &size);
	if (!data || !decode(data, size, fingerprint, table)) {
		ft_frame_table_deinit(table);
		ft_frame_table_init(table);
		return false;
	}
	futimens(fd, NULL); /* used: not to be the first that goes */
	return true;
}

/* ---- store ----------------------------------------------------------------------------------- */

/* The reference of a text in `strings`, appended on first use. Texts are interned: one pointer, one
 * text. */
static uint32_t reference_of(struct ft_strbuf *strings, struct ft_map *known, const char *text)
{
	if (!text)
		return 0;
	uint64_t *slot = ft_map_put(known, (uint64_t)(uintptr_t)text, NULL);
	if (!slot) {
		strings->failed = true;
		return 0;
	}
	if (!*slot) {
		*slot = strings->len + 1;
		ft_strbuf_add(strings, text, strlen(text) + 1);
	}
	return (uint32_t)*slot;
}

static void encode(const struct ft_frame_table *table, const char *fingerprint,
		   struct ft_strbuf *out)
{
	ft_auto_strbuf struct ft_strbuf strings;
	ft_strbuf_init(&strings);
	struct ft_map known;
	ft_map_init(&known);

	struct header header = {
		.magic = CACHE_MAGIC,
		.fingerprint_bytes = (uint32_t)(strlen(fingerprint) + 7) & ~7u,
		.n_entries = (uint32_t)table->n_entries,
		.n_frames = (uint32_t)table->n_frames,
	};
	ft_strbuf_add(out, &header, sizeof(header));
	ft_strbuf_adds(out, fingerprint);
	while ((out->len - sizeof(header)) % 8 && !out->failed)
		ft_strbuf_addc(out, '\0');

	for (size_t i = 0; i < table->n_entries; i++) {
		struct disk_entry entry = {.key = table->entries[i].offset,
					   .first = table->entries[i].first,
					   .n = table->entries[i].n};
		ft_strbuf_add(out, &entry, sizeof(entry));
	}
	for (size_t i = 0; i < table->n_frames; i++) {
		const struct ft_frame *frame = &table->frames[i];
		struct disk_frame disk = {
			.function = reference_of(&strings, &known, frame->function),
			.file = reference_of(&strings, &known, frame->file),
			.line = frame->line,
		};
		ft_strbuf_add(out, &disk, sizeof(disk));
	}
	ft_strbuf_add(out, ft_strbuf_text(&strings), strings.len);
	out->failed |= strings.failed || out->len > CACHE_FILE_MAX;
	ft_map_deinit(&known);
	if (out->failed)
		return;

	header.string_bytes = (uint32_t)strings.len;
	header.crc = (uint32_t)crc32_z(0, (const void *)(out->data + sizeof(header)),
				       out->len - sizeof(header));
	memcpy(out->data, &header, sizeof(header));
}

struct cache_file {
	char name[130];
	uint64_t bytes;
	struct timespec used;
};

static int compare_use(const void *a, const void *b)
{
	const struct cache_file *x = a, *y = b;

	if (x->used.tv_sec != y->used.tv_sec)
		return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
	if (x->used.tv_nsec != y->used.tv_nsec)
		return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Remove what is too much, and what dead writers left. Files of other names are not ours. */
static void trim(int dir_fd, uint64_t max_bytes)
{
	int list_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = list_fd >= 0 ? fdopendir(list_fd) : NULL;
	if (!list) {
		if (list_fd >= 0)
			close(list_fd);
		return;
	}

	struct cache_file *files = NULL;
	size_t n = 0, max = 0;
	uint64_t total = 0;
	for (struct dirent *item; (item = readdir(list));) {
		struct stat st;
		bool temporary = strncmp(item->d_name, ".tmp-", 5) == 0;
		if ((!temporary && !is_cache_name(item->d_name)) ||
		    fstatat(dir_fd, item->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (temporary) {
			if (st.st_mtim.tv_sec + TEMPORARY_MAX_AGE_S < time(NULL))
				unlinkat(dir_fd, item->d_name, 0);
			continue;
		}
		if (n == max) {
			size_t wanted = max ? max * 2 : 64;
			struct cache_file *bigger = reallocarray(files, wanted, sizeof(*files));
			if (!bigger)
				break;
			files = bigger;
			max = wanted;
		}
		files[n] = (struct cache_file){.bytes = (uint64_t)st.st_blocks * 512,
					       .used = st.st_mtim};
		snprintf(files[n].name, sizeof(files[n].name), "%s", item->d_name);
		total += files[n++].bytes;
	}
	closedir(list);

	if (total > max_bytes)
		qsort(files, n, sizeof(*files), compare_use);
	for (size_t i = 0; i < n && total > max_bytes; i++) {
		unlinkat(dir_fd, files[i].name, 0);
		total -= files[i].bytes;
	}
	free(files);
}

bool ft_cache_store(const char *dir, const char *build_id, const char *fingerprint,
		    const struct ft_frame_table *table, uint64_t max_bytes)
{
	if (!is_cache_name(build_id))
		return false;
	ft_auto_strbuf struct ft_strbuf out;
	ft_strbuf_init(&out);
	encode(table, fingerprint, &out);
	if (out.failed)
		return false;

	make_dirs(dir);
	ft_auto_close int dir_fd = open_own_dir(dir);
	if (dir_fd < 0)
		return false;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	char temporary[96];
	snprintf(temporary, sizeof(temporary), ".tmp-%ld-%lld%09ld", (long)getpid(),
		 (long long)now.tv_sec, now.tv_nsec);
	ft_auto_close int fd = openat(dir_fd, temporary,
				      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;

	bool written = true;
	for (size_t done = 0; done < out.len && written;) {
		ssize_t n = write(fd, out.data + done, out.len - done);
		if (n > 0)
			done += (size_t)n;
		else
			written = n < 0 && errno == EINTR;
	}
	if (!written || renameat(dir_fd, temporary, dir_fd, build_id) < 0) {
		unlinkat(dir_fd, temporary, 0);
		return false;
	}
	trim(dir_fd, max_bytes);
	return true;
}
