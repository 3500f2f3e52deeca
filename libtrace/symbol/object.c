/* SPDX-License-Identifier: MIT */
/*
 * Finding and opening the files behind a module
 *
 * libdwfl is told which split debug file to use instead of being asked to look for one: its own
 * search may contact debuginfod, and the cache has to know the answer before any DWARF is parsed.
 */
#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "ft_cleanup.h"
#include "ft_strbuf.h"
#include "ft_symbol.h"
#include "object.h"

/* ---- files ----------------------------------------------------------------------------------- */

/* Open a regular file for reading; -1 if there is none. A path from a recording may name a FIFO or
 * a device: neither may block or be read. */
static int open_regular(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -1;
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* An Elf handle of an open file; NULL if it is no ELF file. The descriptor stays the caller's. */
static Elf *open_elf(int fd)
{
	Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF)
		return elf;
	elf_end(elf);
	return NULL;
}

static char *hex_text(const void *bytes, size_t n)
{
	char *text = malloc(2 * n + 1);
	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		static const char digits[] = "0123456789abcdef";
		text[2 * i] = digits[((const unsigned char *)bytes)[i] >> 4];
		text[2 * i + 1] = digits[((const unsigned char *)bytes)[i] & 15];
	}
	text[2 * n] = '\0';
	return text;
}

/* The build-id in hex, malloc'ed; NULL if there is none. */
static char *elf_build_id(Elf *elf)
{
	const void *id;
	ssize_t n = dwelf_elf_gnu_build_id(elf, &id);

	return n > 0 ? hex_text(id, (size_t)n) : NULL;
}

static bool file_has_build_id(int fd, const char *wanted)
{
	Elf *elf = open_elf(fd);
	if (!elf)
		return false;
	ft_auto_free char *id = elf_build_id(elf);
	elf_end(elf);
	return id && strcmp(id, wanted) == 0;
}

/* Whether `id` can be a file name: at least two hex digits and nothing else. */
static bool build_id_is_plain(const char *id)
{
	size_t n = strlen(id);

	return n > 2 && n <= 128 && strspn(id, "0123456789abcdef") == n;
}

/* Visit the directories of a colon-separated list until one gives a descriptor. */
static int search_dirs(const char *dirs, char **found,
		       int (*try_dir)(const char *dir, void *ctx, char **found), void *ctx)
{
	while (*dirs) {
		size_t len = strcspn(dirs, ":");
		if (len) {
			ft_auto_free char *dir = strndup(dirs, len);
			int fd = dir ? try_dir(dir, ctx, found) : -1;
			if (fd >= 0)
				return fd;
		}
		dirs += len + (dirs[len] == ':');
	}
	return -1;
}

/* Open DIR/PART if it is a regular file that `accept` agrees to. */
static int try_file(const char *dir, const char *part, bool (*accept)(int fd, const void *ctx),
		    const void *ctx, char **found)
{
	ft_auto_free char *path = NULL;
	if (asprintf(&path, "%s/%s", dir, part) < 0) {
		path = NULL;
		return -1;
	}
	ft_auto_close int fd = open_regular(path);
	if (fd < 0 || !accept(fd, ctx))
		return -1;
	*found = ft_take(path);
	return ft_take_fd(fd);
}

static bool accept_build_id(int fd, const void *ctx)
{
	return file_has_build_id(fd, ctx);
}

static int try_build_id_dir(const char *dir, void *ctx, char **found)
{
	const char *id = ctx;
	char part[192];

	snprintf(part, sizeof(part), ".build-id/%.2s/%s.debug", id, id + 2);
	return try_file(dir, part, accept_build_id, id, found);
}

/* Open the debug file of a build-id. */
static int open_by_build_id(const char *id, const char *debug_dirs, char **found)
{
	if (!id || !build_id_is_plain(id))
		return -1;
	return search_dirs(debug_dirs, found, try_build_id_dir, (void *)(uintptr_t)id);
}

/* ---- split debug file by .gnu_debuglink ------------------------------------------------------ */

struct debuglink {
	const char *name;
	const char *directory; /* of the main file */
	const char *build_id;  /* of the main file, or NULL */
	uint32_t crc;
	struct stat main_stat;
};

static bool file_has_crc(int fd, uint32_t wanted)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_size <= 0)
		return false;
	size_t size = (size_t)st.st_size;
	void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return false;
	uLong crc = crc32_z(0, data, size);
	munmap(data, size);
	return crc == wanted;
}

/* The build-id proves more than the checksum, and costs less. */
static bool accept_debuglink(int fd, const void *ctx)
{
	const struct debuglink *link = ctx;
	struct stat st;

	if (fstat(fd, &st) < 0 ||
	    (st.st_dev == link->main_stat.st_dev && st.st_ino == link->main_stat.st_ino))
		return false;
	if (link->build_id)
		return file_has_build_id(fd, link->build_id);
	return file_has_crc(fd, link->crc);
}

static int try_debuglink_dir(const char *dir, void *ctx, char **found)
{
	const struct debuglink *link = ctx;
	ft_auto_free char *below = NULL;

	if (asprintf(&below, "%s%s", dir, link->directory) < 0) {
		below = NULL;
		return -1;
	}
	return try_file(below, link->name, accept_debuglink, link, found);
}

static int open_by_debuglink(const struct ft_object *object, const char *build_id,
			     const char *debug_dirs, char **found)
{
	const char *name = object->debuglink;
	if (!name || !*name || strchr(name, '/')) /* a link has no business elsewhere in the tree */
		return -1;

	ft_auto_free char *directory = realpath(object->path, NULL);
	if (!directory)
		return -1;
	*strrchr(directory, '/') = '\0';

	struct debuglink link = {.name = name,
				 .directory = directory,
				 .build_id = build_id,
				 .crc = object->debuglink_crc};
	if (stat(object->path, &link.main_stat) < 0)
		return -1;

	int fd = try_file(directory, name, accept_debuglink, &link, found);
	if (fd < 0) {
		ft_auto_free char *hidden = NULL;
		if (asprintf(&hidden, "%s/.debug", directory) < 0)
			hidden = NULL;
		else
			fd = try_file(hidden, name, accept_debuglink, &link, found);
	}
	return fd >= 0 ? fd : search_dirs(debug_dirs, found, try_debuglink_dir, &link);
}

/* ---- open and close -------------------------------------------------------------------------- */

static void read_text_ranges(struct ft_object *object, Elf *elf)
{
	size_t n;
	if (elf_getphdrnum(elf, &n) < 0 || n > 4096)
		return;
	object->text = calloc(n ? n : 1, sizeof(*object->text));
	if (!object->text)
		return;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr phdr;
		if (!gelf_getphdr(elf, (int)i, &phdr) || phdr.p_type != PT_LOAD ||
		    !(phdr.p_flags & PF_X))
			continue;
		object->text[object->n_text].start = phdr.p_vaddr;
		object->text[object->n_text++].end = phdr.p_vaddr + phdr.p_memsz;
	}
}

bool ft_object_in_text(const struct ft_object *object, uint64_t address)
{
	for (size_t i = 0; i < object->n_text; i++)
		if (address >= object->text[i].start && address < object->text[i].end)
			return true;
	return false;
}

/* Whether the open file is the build that ran. */
static bool is_same_build(int fd, Elf *elf, const struct ft_object_identity *identity,
			  const char *build_id)
{
	if (identity->build_id)
		return build_id && strcmp(build_id, identity->build_id) == 0;
	if (build_id)
		return false;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return false;
	int64_t changed = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return !identity->not_after_realtime_ns || changed <= identity->not_after_realtime_ns;
}

enum ft_object_status ft_object_open(struct ft_object *object,
				     const struct ft_object_identity *identity,
				     const char *debug_dirs)
{
	*object = (struct ft_object){.fd = -1, .alt_fd = -1, .debug_dirs = debug_dirs};
	elf_version(EV_CURRENT);

	enum ft_object_status status = FT_OBJECT_MISSING;
	ft_auto_close int fd = open_regular(identity->path);
	Elf *elf = NULL;
	ft_auto_free char *build_id = NULL;
	if (fd >= 0) {
		elf = open_elf(fd);
		status = FT_OBJECT_DAMAGED;
	}
	if (elf) {
		build_id = elf_build_id(elf);
		status = is_same_build(fd, elf, identity, build_id) ? FT_OBJECT_OK
								    : FT_OBJECT_MISMATCHED;
	}

	if (status == FT_OBJECT_OK) {
		const char *debuglink = dwelf_elf_gnu_debuglink(elf, &object->debuglink_crc);
		object->debuglink = debuglink ? strdup(debuglink) : NULL;
		object->path = strdup(identity->path);
		ft_auto_close int debug_fd =
			open_by_build_id(build_id, debug_dirs, &object->debug_path);
		if (debug_fd < 0 && object->path)
			debug_fd = open_by_debuglink(object, build_id, debug_dirs,
						     &object->debug_path);
	} else {
		/* The debug file of an upgraded or removed program still knows its names. */
		elf_end(elf);
		elf = NULL;
		if (fd >= 0)
			close(fd);
		fd = open_by_build_id(identity->build_id, debug_dirs, &object->path);
		elf = fd >= 0 ? open_elf(fd) : NULL;
		if (!elf)
			return status;
	}

	read_text_ranges(object, elf);
	elf_end(elf);
	if (!object->path || !object->text)
		return FT_OBJECT_DAMAGED;
	object->fd = ft_take_fd(fd);
	return FT_OBJECT_OK;
}

void ft_object_close(struct ft_object *object)
{
	free(object->symbols);
	if (object->alt) {
		dwarf_setalt(object->dwarf, NULL);
		dwarf_end(object->alt);
	}
	if (object->alt_fd >= 0)
		close(object->alt_fd);
	if (object->dwfl)
		dwfl_end(object->dwfl);
	if (object->fd >= 0)
		close(object->fd);
	free(object->text);
	free(object->debuglink);
	free(object->debug_path);
	free(object->path);
	*object = (struct ft_object){.fd = -1, .alt_fd = -1};
}

static void fingerprint_file(struct ft_strbuf *buf, const char *path)
{
	struct stat st;

	if (!path)
		ft_strbuf_adds(buf, "-\n");
	else if (stat(path, &st) < 0)
		buf->failed = true;
	else
		ft_strbuf_addf(buf, "%lld %lld.%09ld %s\n", (long long)st.st_size,
			       (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, path);
}

char *ft_object_fingerprint(const struct ft_object *object)
{
	ft_auto_strbuf struct ft_strbuf buf;
	ft_strbuf_init(&buf);

	/* What an older program made of the same files may be poorer. */
	ft_strbuf_adds(&buf, FT_VERSION "\n");
	fingerprint_file(&buf, object->path);
	fingerprint_file(&buf, object->debug_path);
	return buf.failed ? NULL : ft_strbuf_steal(&buf);
}

bool ft_object_late(struct ft_object *object)
{
	struct timespec now;

	if (object->timed_out || object->deadline == 0)
		return object->timed_out;
	clock_gettime(CLOCK_MONOTONIC, &now);
	object->timed_out = (double)now.tv_sec + (double)now.tv_nsec / 1e9 > object->deadline;
	return object->timed_out;
}

/* ---- libdwfl --------------------------------------------------------------------------------- */

static int give_debuginfo(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
			  const char *file_name, const char *debuglink_file, GElf_Word crc,
			  char **debuginfo_file_name)
{
	const struct ft_object *object = *userdata;

	/* libdwfl asks for a dwz supplement in the same way; open_alt() sees to that. */
	bool is_main = !debuglink_file ||
		       (object->debuglink && strcmp(debuglink_file, object->debuglink) == 0);
	if (!is_main || !object->debug_path)
		return -1;
	int fd = open_regular(object->debug_path);
	if (fd >= 0)
		*debuginfo_file_name = strdup(object->debug_path);
	return fd;
}

/* Attach the dwz supplement that the DWARF names, and only that very one. */
static void open_alt(struct ft_object *object)
{
	const char *name;
	const void *id_bytes;
	ssize_t n = dwelf_dwarf_gnu_debugaltlink(object->dwarf, &name, &id_bytes);
	if (n <= 0)
		return;

	ft_auto_free char *id = hex_text(id_bytes, (size_t)n);
	ft_auto_free char *found = NULL;
	object->incomplete = true;
	if (!id)
		return;

	ft_auto_free char *base =
		realpath(object->debug_path ? object->debug_path : object->path, NULL);
	if (name[0] == '/') {
		object->alt_fd = try_file("", name + 1, accept_build_id, id, &found);
	} else if (base) {
		*strrchr(base, '/') = '\0';
		object->alt_fd = try_file(base, name, accept_build_id, id, &found);
	}
	if (object->alt_fd < 0)
		object->alt_fd = open_by_build_id(id, object->debug_dirs, &found);
	if (object->alt_fd < 0)
		return;
	object->alt = dwarf_begin(object->alt_fd, DWARF_C_READ);
	if (!object->alt)
		return;
	dwarf_setalt(object->dwarf, object->alt);
	object->incomplete = false;
}

/* Hand the file to libdwfl. False: it has no use for it. */
static bool load_dwfl(struct ft_object *object)
{
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_build_id_find_elf, /* never called: the file is given */
		.find_debuginfo = give_debuginfo,
		.section_address = dwfl_offline_section_address,
	};

	object->dwfl = dwfl_begin(&callbacks);
	if (!object->dwfl)
		return false;
	dwfl_report_begin(object->dwfl);
	object->module = dwfl_report_elf(object->dwfl, "module", object->path, object->fd, 0, true);
	if (!object->module)
		return false;
	object->fd = -1;

	void **userdata;
	dwfl_module_info(object->module, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
	*userdata = object;
	dwfl_report_end(object->dwfl, NULL, NULL);

	if (!dwfl_module_getelf(object->module, &object->main_bias))
		return false;
	object->dwarf = dwfl_module_getdwarf(object->module, &object->dwarf_bias);
	if (object->dwarf)
		open_alt(object);
	else if (object->debug_path)
		object->incomplete = true;
	return true;
}

/* ---- resolve --------------------------------------------------------------------------------- */

static void add_answer(struct ft_object *object, const struct ft_lookup *lookup,
		       const struct ft_dwarf_walk *walk, const struct ft_dwarf_answer *answer,
		       struct ft_frame_table *table)
{
	ft_frame_table_begin(table, lookup->offset);
	for (uint32_t i = 0; i < answer->n; i++) {
		const struct ft_frame *frame = &walk->frames[answer->first + i];
		ft_frame_table_push(table, frame->function, frame->file, frame->line);
	}
	if (answer->n)
		return;

	/* An address that a signal handler's trampoline or a start routine begins with is preceded
	 * by another function's last byte or by padding. */
	const char *symbol = ft_symtab_find(object, lookup->address, false);
	if (!symbol && lookup->address != lookup->offset)
		symbol = ft_symtab_find(object, lookup->offset, true);
	if (!symbol && !answer->file)
		return;
	ft_auto_free char *readable = symbol ? ft_demangle(symbol) : NULL;
	ft_frame_table_push(table, readable ? readable : symbol, answer->file, answer->line);
}

void ft_object_resolve(struct ft_object *object, const struct ft_lookup *lookups, size_t n,
		       struct ft_frame_table *table)
{
	struct ft_dwarf_walk walk = {.answers = calloc(n ? n : 1, sizeof(*walk.answers))};
	if (!walk.answers) {
		table->failed = true;
		return;
	}
	if (!load_dwfl(object))
		object->incomplete = true;
	if (object->dwarf)
		ft_dwarf_resolve(object, lookups, n, &walk, table);
	for (size_t i = 0; i < n; i++) {
		if (walk.answers[i].n == 0 && ft_object_late(object))
			continue;
		add_answer(object, &lookups[i], &walk, &walk.answers[i], table);
	}
	free(walk.frames);
	free(walk.answers);
}
