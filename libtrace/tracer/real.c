/* SPDX-License-Identifier: MIT */
/* The allocator behind the hooks: see tr_real.h. */
#include "tr_real.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
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

/* What a search in one object needs of it. */
struct symbols {
	const ElfW(Sym) * table;
	const char *strings;
	const uint32_t *hash;
	const ElfW(Half) * versions;
	ElfW(Addr) bias;
};

static bool symbols_of(const struct dl_phdr_info *info, struct symbols *of)
{
	const ElfW(Dyn) *dyn = NULL;

	*of = (struct symbols){.bias = info->dlpi_addr};
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			dyn = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	for (; dyn && dyn->d_tag != DT_NULL; dyn++) {
		const void *p = dynamic_address(info, dyn->d_un.d_ptr);

		if (dyn->d_tag == DT_SYMTAB)
			of->table = p;
		else if (dyn->d_tag == DT_STRTAB)
			of->strings = p;
		else if (dyn->d_tag == DT_GNU_HASH)
			of->hash = p;
		else if (dyn->d_tag == DT_VERSYM)
			of->versions = p;
	}
	return of->table && of->strings && of->hash && of->hash[0];
}

static void *lookup(const struct symbols *in, const char *name, uint32_t name_hash)
{
	enum { WORD_BITS = sizeof(ElfW(Addr)) * 8 };
	uint32_t n_buckets = in->hash[0], first = in->hash[1], n_bloom = in->hash[2];
	const ElfW(Addr) *bloom = (const void *)(in->hash + 4);
	const uint32_t *buckets = (const void *)(bloom + n_bloom);
	const uint32_t *chain = buckets + n_buckets;

	if (n_bloom) {
		ElfW(Addr) word = bloom[name_hash / WORD_BITS % n_bloom];

		if (!(word >> name_hash % WORD_BITS &
		      word >> (name_hash >> in->hash[3]) % WORD_BITS & 1))
			return NULL;
	}
	for (uint32_t i = buckets[name_hash % n_buckets]; i >= first; i++) {
		uint32_t h = chain[i - first];
		const ElfW(Sym) *symbol = in->table + i;

		if ((h | 1) == (name_hash | 1) && symbol->st_shndx != SHN_UNDEF &&
		    ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
		    !(in->versions && in->versions[i] & 0x8000) && /* not the default version */
		    strcmp(in->strings + symbol->st_name, name) == 0)
			return (void *)(in->bias + symbol->st_value);
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

	struct symbols symbols;

	if (symbols_of(info, &symbols))
		search->found = lookup(&symbols, search->name, search->gnu_hash);
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

extern struct tr_runtime_slot __start_tr_runtime[], __stop_tr_runtime[];

/* Of each slot that is still empty, all at once: an object is opened once for all names. */
static int fill_slots(struct dl_phdr_info *info, size_t size, void *own)
{
	struct symbols symbols;

	if (contains(info, (uintptr_t)own) || !symbols_of(info, &symbols))
		return 0;
	for (struct tr_runtime_slot *slot = __start_tr_runtime; slot < __stop_tr_runtime; slot++)
		if (!atomic_load_explicit(&slot->function, memory_order_relaxed))
			atomic_store_explicit(&slot->function,
					      lookup(&symbols, slot->name, gnu_hash(slot->name)),
					      memory_order_release);
	return 0;
}

void tr_runtime_resolve(void)
{
	dl_iterate_phdr(fill_slots, &tr_real);
}

void tr_runtime_forget(void)
{
	for (struct tr_runtime_slot *slot = __start_tr_runtime; slot < __stop_tr_runtime; slot++)
		atomic_store_explicit(&slot->function, NULL, memory_order_release);
}

/* Kept until a dlclose() might have taken it away. A race finds it twice. */
void *tr_runtime_function(struct tr_runtime_slot *slot)
{
	void *function = atomic_load_explicit(&slot->function, memory_order_acquire);

	if (tr_unlikely(!function)) {
		int saved_errno = errno;

		if (!tr_real.malloc)
			tr_real_resolve();
		function = tr_find_function(slot->name);
		atomic_store_explicit(&slot->function, function, memory_order_release);
		errno = saved_errno;
	}
	return function;
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
		{&real.mmap, "mmap"},
		{&real.munmap, "munmap"},
		{&real.mremap, "mremap"},
		{&real.madvise, "madvise"},
		{&real.brk, "brk"},
		{&real.sbrk, "sbrk"},
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
