/* SPDX-License-Identifier: MIT */
/* Which code is where: see tr_module.h. */
#include "tr_module.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

#include "tr_real.h"
#include "tr_record.h"
#include "tr_retired.h"
#ifdef __x86_64__
#include "tr_rules.h"
#endif

enum { N_MODULES = 4096, HEAD_WORDS = 10 };

enum state {
	EMPTY = 0,
	FILLING = 1, /* somebody's, and only his */
	LIVE = 2,
	GONE = 3, /* may be taken again */
};

struct module {
	_Atomic uint32_t state;
	_Atomic bool emitted;
	uintptr_t start, end;
	const struct link_map *map;
	uint64_t words[FT_WIRE_MAX_WORDS]; /* its record, but for the stamp */
};

static struct module *modules;
static _Atomic uint32_t n_modules; /* slots [0, n) have been used */
static _Atomic uint32_t n_unsent;  /* LIVE modules whose record did not get out yet, at least */

/* ---- describing one ---------------------------------------------------------------------------
 */

/* Build-id from the notes that are mapped with the object. */
static size_t build_id(const struct dl_find_object *object, uint8_t id[FT_WIRE_BUILD_ID])
{
	const char *base = object->dlfo_map_start;
	const ElfW(Ehdr) *ehdr = (const void *)base;
	ElfW(Addr) bias = object->dlfo_link_map->l_addr;
	size_t mapped = (size_t)((const char *)object->dlfo_map_end - base);

	if (mapped < sizeof(*ehdr) || memcmp(ehdr->e_ident, ELFMAG, SELFMAG) != 0 ||
	    ehdr->e_phoff > 4096 - sizeof(ElfW(Phdr)) || ehdr->e_phentsize != sizeof(ElfW(Phdr)))
		return 0;

	const ElfW(Phdr) *phdr = (const void *)(base + ehdr->e_phoff);

	for (unsigned i = 0; i < ehdr->e_phnum; i++) {
		if (phdr[i].p_type != PT_NOTE)
			continue;

		const char *note = (const char *)(bias + phdr[i].p_vaddr);
		const char *end = note + phdr[i].p_memsz;
		size_t align = phdr[i].p_align == 8 ? 8 : 4;

		/* The padding of the last one may reach past the end. */
		while (end - note >= (ptrdiff_t)sizeof(ElfW(Nhdr))) {
			const ElfW(Nhdr) *n = (const void *)note;
			const char *name = note + sizeof(*n);
			const char *desc = name + ((n->n_namesz + align - 1) & ~(align - 1));
			size_t bytes = n->n_descsz;

			if (desc > end || bytes > (size_t)(end - desc))
				break;
			if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 &&
			    memcmp(name, "GNU", 4) == 0) {
				if (bytes > FT_WIRE_BUILD_ID)
					bytes = FT_WIRE_BUILD_ID;
				memcpy(id, desc, bytes);
				return bytes;
			}
			note = desc + ((bytes + align - 1) & ~(align - 1));
		}
	}
	return 0;
}

static void absolute_path(const struct link_map *map, char *path, size_t size)
{
	const char *name = map->l_name ? map->l_name : "";
	char *at = path, *end = path + size;

	*path = '\0';
	if (strncmp(name, "linux-vdso", 10) == 0 || strncmp(name, "linux-gate", 10) == 0) {
		tr_append(at, end, "[vdso]");
	} else if (!*name) {
		long n = tr_sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, size - 1);

		path[n > 0 ? n : 0] = '\0';
	} else {
		/* The kernel counts the NUL. */
		if (*name != '/') {
			long n = tr_sys(SYS_getcwd, path, size - 1);

			if (n > 1 && path[0] == '/')
				at = tr_append(path + n - 1, end, "/");
		}
		tr_append(at, end, name);
	}
}

static void describe(struct module *module, const struct dl_find_object *object)
{
	uint64_t *w = module->words;
	char *path = (char *)(w + HEAD_WORDS);

	memset(w, 0, sizeof(module->words));
	module->start = (uintptr_t)object->dlfo_map_start;
	module->end = (uintptr_t)object->dlfo_map_end;
	module->map = object->dlfo_link_map;
	w[2] = object->dlfo_link_map->l_addr;
	w[3] = module->start;
	w[4] = module->end;
	w[5] = build_id(object, (uint8_t *)(w + 6));
	absolute_path(object->dlfo_link_map, path, (FT_WIRE_MAX_WORDS - HEAD_WORDS) * 8);

	size_t bytes = strlen(path);

	w[0] = ft_wire_head(FT_WIRE_MODULE, 0, 0, (unsigned)(HEAD_WORDS + (bytes + 7) / 8),
			    (uint32_t)bytes);
}

/* ---- the table --------------------------------------------------------------------------------
 */

static uint32_t slots_used(void)
{
	uint32_t n = atomic_load_explicit(&n_modules, memory_order_acquire);

	return n < N_MODULES ? n : N_MODULES;
}

size_t tr_modules_memory(void)
{
	return slots_used() * sizeof(*modules);
}

static struct module *find(uintptr_t pc)
{
	static _Atomic uint32_t last;
	uint32_t n = slots_used(), hint = atomic_load_explicit(&last, memory_order_relaxed);

	for (uint32_t i = 0; i <= n; i++) {
		uint32_t k = i == 0 ? hint : i - 1;
		struct module *module = modules + k;

		if (k < n && atomic_load_explicit(&module->state, memory_order_acquire) == LIVE &&
		    pc - module->start < module->end - module->start) {
			atomic_store_explicit(&last, k, memory_order_relaxed);
			return module;
		}
	}
	return NULL;
}

static struct module *take_slot(void)
{
	uint32_t n = slots_used();

	for (uint32_t i = 0; i < n; i++) {
		uint32_t gone = GONE;

		if (atomic_compare_exchange_strong(&modules[i].state, &gone, FILLING))
			return modules + i;
	}
	n = atomic_fetch_add(&n_modules, 1);
	if (n >= N_MODULES) {
		atomic_store(&n_modules, N_MODULES);
		return NULL;
	}
	atomic_store(&modules[n].state, FILLING);
	return modules + n;
}

/* Take in the module at `pc`. NULL: no module, or no room. */
static struct module *learn(uintptr_t pc)
{
	struct dl_find_object object;

	if (_dl_find_object((void *)pc, &object) != 0 || !object.dlfo_link_map)
		return NULL;

	struct module *module = take_slot();

	if (!module)
		return NULL;
	describe(module, &object);
	atomic_store(&module->emitted, false);
	/* In this order: who takes the count for itself then finds the module. */
	atomic_store_explicit(&module->state, LIVE, memory_order_release);
	atomic_fetch_add(&n_unsent, 1);

	/* Two threads that met it at once: the later slot goes. */
	for (struct module *other = modules; other < module; other++) {
		if (atomic_load(&other->state) == LIVE && other->start == module->start) {
			atomic_store(&module->state, GONE);
			return other;
		}
	}
	return module;
}

void tr_modules_emit(struct tr_lane *lane, uint64_t stamp)
{
	if (tr_likely(atomic_load_explicit(&n_unsent, memory_order_relaxed) == 0))
		return;
	atomic_exchange(&n_unsent, 0);
	for (uint32_t i = 0, n = slots_used(); i < n; i++) {
		struct module *module = modules + i;

		if (atomic_load_explicit(&module->state, memory_order_acquire) != LIVE ||
		    atomic_exchange(&module->emitted, true))
			continue;

		unsigned words = ft_wire_words(module->words[0]);
		uint64_t *w = tr_reserve(lane, words, stamp);

		if (!w) {
			/* Owed: comes with the first event after the loss. */
			atomic_store(&module->emitted, false);
			atomic_fetch_add(&n_unsent, 1);
			lane->owing = true;
			return;
		}
		memcpy(w, module->words, words * sizeof(*w));
		w[1] = stamp;
		tr_publish(lane, words, stamp);
	}
}

void tr_module_meet(struct tr_lane *lane, uintptr_t pc, uint64_t stamp)
{
	if (find(pc) || !learn(pc))
		return;
	tr_modules_emit(lane, stamp);
}

static bool still_there(const struct module *module)
{
	struct dl_find_object object;

	return _dl_find_object((void *)module->start, &object) == 0 &&
	       object.dlfo_link_map == module->map && (uintptr_t)object.dlfo_map_end == module->end;
}

void tr_modules_closed(void)
{
	struct tr_self *self = &tr_self;
	struct tr_lane *lane = tr_enter(self, __builtin_frame_address(0));

	if (!lane)
		return;
	for (uint32_t i = 0, n = slots_used(); i < n; i++) {
		struct module *module = modules + i;
		uint32_t live = LIVE;

		if (atomic_load_explicit(&module->state, memory_order_acquire) != LIVE ||
		    still_there(module) ||
		    !atomic_compare_exchange_strong(&module->state, &live, FILLING))
			continue;
		/* The stamp first: rules are learned anew with it. */
		tr_retire(module->start, module->end);
#ifdef __x86_64__
		tr_rules_forget();
#endif
		tr_runtime_forget();

		uint64_t stamp = tr_stamp();
		uint64_t *w = tr_reserve(lane, 3, stamp);

		if (w) {
			w[0] = ft_wire_head(FT_WIRE_MODULE_END, 0, 0, 3, 0);
			w[1] = stamp;
			w[2] = module->start;
			tr_publish(lane, 3, stamp);
		}
		atomic_store_explicit(&module->state, GONE, memory_order_release);
	}
	tr_leave(self, lane);
}

void tr_modules_reset(void)
{
	for (uint32_t i = 0, n = slots_used(); i < n; i++)
		atomic_store(&modules[i].emitted, false);
	atomic_store(&n_unsent, 1);
}

static int take_in(struct dl_phdr_info *info, size_t size, void *data)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *phdr = info->dlpi_phdr + i;

		if (phdr->p_type == PT_LOAD && phdr->p_flags & PF_X) {
			learn(info->dlpi_addr + phdr->p_vaddr);
			break;
		}
	}
	return 0;
}

bool tr_modules_init(void)
{
	modules = tr_reserve_memory(N_MODULES * sizeof(*modules));
	if (!modules)
		return false;
	dl_iterate_phdr(take_in, NULL);
	return true;
}
