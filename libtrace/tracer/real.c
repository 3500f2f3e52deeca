/* SPDX-License-Identifier: MIT */
/* The allocator behind the hooks: see tr_real.h. */
#include "tr_real.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>

struct tr_real tr_real;

/* ---- boot arena ----------------------------------------------------------------------------- */

_Alignas(4096) char tr_boot_arena[TR_BOOT_BYTES];
static _Atomic size_t boot_used;

void *tr_boot_alloc(size_t size, size_t alignment)
{
	if (alignment < 16)
		alignment = 16;
	if (size > TR_BOOT_BYTES || alignment > 4096)
		return NULL;

	/* A word before each block holds its size, for realloc() and malloc_usable_size(). */
	size_t used = atomic_load_explicit(&boot_used, memory_order_relaxed), at;

	do {
		at = (used + sizeof(size_t) + alignment - 1) & ~(alignment - 1);
		if (at + size > TR_BOOT_BYTES)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(
		&boot_used, &used, at + size, memory_order_relaxed, memory_order_relaxed));
	memcpy(tr_boot_arena + at - sizeof(size_t), &size, sizeof(size));
	return tr_boot_arena + at;
}

size_t tr_boot_usable(const void *block)
{
	size_t size;

	memcpy(&size, (const char *)block - sizeof(size_t), sizeof(size));
	return size;
}

/* ---- symbols -------------------------------------------------------------------------------- */

struct search {
	const char *name;
	uint32_t gnu_hash;
	uintptr_t own;	  /* an address in this library */
	bool only_before; /* look only in what was loaded before this library */
	void *found;
};

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	for (; *name; name++)
		h = h * 33 + (unsigned char)*name;
	return h;
}

/* glibc relocates the pointers of a dynamic section in place, the vdso's stay offsets. */
static const void *dynamic_address(const struct dl_phdr_info *info, ElfW(Addr) value)
{
	return (const void *)(value < info->dlpi_addr ? value + info->dlpi_addr : value);
}

static void *lookup_in_object(const struct dl_phdr_info *info, const struct search *search)
{
	const ElfW(Dyn) *dyn = NULL;

	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			dyn = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	if (!dyn)
		return NULL;

	const ElfW(Sym) *symbols = NULL;
	const char *strings = NULL;
	const uint32_t *hash = NULL;
	const ElfW(Half) *versions = NULL;

	for (; dyn->d_tag != DT_NULL; dyn++) {
		const void *p = dynamic_address(info, dyn->d_un.d_ptr);

		if (dyn->d_tag == DT_SYMTAB)
			symbols = p;
		else if (dyn->d_tag == DT_STRTAB)
			strings = p;
		else if (dyn->d_tag == DT_GNU_HASH)
			hash = p;
		else if (dyn->d_tag == DT_VERSYM)
			versions = p;
	}
	if (!symbols || !strings || !hash || !hash[0])
		return NULL;

	uint32_t n_buckets = hash[0], first = hash[1], bloom_words = hash[2];
	const uint32_t *buckets = hash + 4 + (size_t)bloom_words * (sizeof(ElfW(Addr)) / 4);
	const uint32_t *chain = buckets + n_buckets;
	uint32_t i = buckets[search->gnu_hash % n_buckets];

	for (; i >= first; i++) {
		uint32_t h = chain[i - first];
		const ElfW(Sym) *symbol = symbols + i;

		if ((h | 1) == (search->gnu_hash | 1) && symbol->st_shndx != SHN_UNDEF &&
		    ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
		    !(versions && versions[i] & 0x8000) && /* not the default version */
		    strcmp(strings + symbol->st_name, search->name) == 0)
			return (void *)(info->dlpi_addr + symbol->st_value);
		if (h & 1)
			break;
	}
	return NULL;
}

static bool contains(const struct dl_phdr_info *info, uintptr_t address)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD &&
		    address - info->dlpi_addr - info->dlpi_phdr[i].p_vaddr <
			    info->dlpi_phdr[i].p_memsz)
			return true;
	return false;
}

static int search_object(struct dl_phdr_info *info, size_t size, void *data)
{
	struct search *search = data;

	if (contains(info, search->own))
		return search->only_before;
	search->found = lookup_in_object(info, search);
	return search->found != NULL;
}

static void *find_function(const char *name, bool only_before)
{
	struct search search = {.name = name,
				.gnu_hash = gnu_hash(name),
				.own = (uintptr_t)&tr_real,
				.only_before = only_before};

	dl_iterate_phdr(search_object, &search);
	return search.found;
}

void *tr_find_function(const char *name)
{
	return find_function(name, false);
}

static bool is_libc(void *function)
{
	struct dl_find_object object;

	if (_dl_find_object(function, &object) != 0 || !object.dlfo_link_map)
		return false;

	const char *name = strrchr(object.dlfo_link_map->l_name, '/');

	return name && strcmp(name, "/libc.so.6") == 0;
}

bool tr_real_resolve(void)
{
	static __thread bool resolving;

	if (resolving)
		return false;
	resolving = true;

	struct tr_real real = {0};
	/* These exist in every libc that we run on, so that dlsym() makes no error text. */
	const struct {
		void *slot;
		const char *name;
	} wanted[] = {
		{&real.calloc, "calloc"},
		{&real.malloc, "malloc"},
		{&real.free, "free"},
		{&real.realloc, "realloc"},
		{&real.reallocarray, "reallocarray"},
		{&real.posix_memalign, "posix_memalign"},
		{&real.aligned_alloc, "aligned_alloc"},
		{&real.memalign, "memalign"},
		{&real.valloc, "valloc"},
		{&real.pvalloc, "pvalloc"},
		{&real.malloc_usable_size, "malloc_usable_size"},
		{&real.pthread_create, "pthread_create"},
		{&real.dlclose, "dlclose"},
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		void *function = dlsym(RTLD_NEXT, wanted[i].name);

		memcpy(wanted[i].slot, &function, sizeof(function));
	}

	const struct {
		void *slot;
		const char *name;
	} optional[] = {
		{&real.cfree, "cfree"},
		{&real.free_sized, "free_sized"},
		{&real.free_aligned_sized, "free_aligned_sized"},
	};

	for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
		void *function = tr_find_function(optional[i].name);

		memcpy(optional[i].slot, &function, sizeof(function));
	}
	real.glibc = is_libc((void *)real.malloc);

	void *overtaking = find_function("realloc", true);

	memcpy(&real.overtaking_realloc, &overtaking, sizeof(overtaking));

	struct dl_find_object of_malloc, of_new;
	void *operator_new = tr_find_function("_Znwm");

	real.new_is_mallocs = operator_new && real.malloc &&
			      _dl_find_object((void *)real.malloc, &of_malloc) == 0 &&
			      _dl_find_object(operator_new, &of_new) == 0 &&
			      of_malloc.dlfo_link_map == of_new.dlfo_link_map;
	tr_real = real;
	resolving = false;
	return tr_real.malloc != NULL;
}
