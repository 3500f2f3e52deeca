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
	GONE = 3,  /* may be taken again */
	ENDED = 4, /* gone, and its MODULE_END is owed */
};

struct module {
	_Atomic uint32_t state;
	_Atomic bool emitted;
	struct tr_code code;
	const struct link_map *map;
	uint32_t last_node;		   /* of the tree, when it was found to be gone */
	uint64_t words[FT_WIRE_MAX_WORDS]; /* its record, but for the stamp */
};

static struct module *modules;
static _Atomic uint32_t n_modules; /* slots [0, n) have been used */
static _Atomic uint32_t n_loads;   /* serials given out */
_Atomic uint32_t tr_modules_unsent;

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

/* FNV-1a of the build-id; 0: there is none. */
static uint64_t identity(const uint8_t *id, size_t bytes)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ id[i]) * UINT64_C(0x100000001b3);
	return bytes ? hash | 1 : 0;
}

static struct tr_code code_of(const struct dl_find_object *object)
{
	uint8_t id[FT_WIRE_BUILD_ID];

	return (struct tr_code){.start = (uintptr_t)object->dlfo_map_start,
				.end = (uintptr_t)object->dlfo_map_end,
				.id = identity(id, build_id(object, id))};
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
	module->map = object->dlfo_link_map;
	w[2] = object->dlfo_link_map->l_addr;
	w[3] = (uintptr_t)object->dlfo_map_start;
	w[4] = (uintptr_t)object->dlfo_map_end;
	w[5] = build_id(object, (uint8_t *)(w + 6));
	module->code = (struct tr_code){
		.start = w[3], .end = w[4], .id = identity((uint8_t *)(w + 6), w[5])};
	w[5] |= (uint64_t)(atomic_fetch_add(&n_loads, 1) + 1) << 32;
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
		    pc - module->code.start < module->code.end - module->code.start) {
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
	atomic_fetch_add(&tr_modules_unsent, 1);

	/* Two threads that met it at once: the later slot goes. */
	for (struct module *other = modules; other < module; other++) {
		if (atomic_load(&other->state) == LIVE && other->code.start == module->code.start) {
			atomic_store(&module->state, GONE);
			return other;
		}
	}
	return module;
}

/* Owed: comes with the first event after the loss. */
static void owe(struct tr_lane *lane)
{
	atomic_fetch_add(&tr_modules_unsent, 1);
	lane->owing = true;
}

static bool emit_end(struct module *module, struct tr_lane *lane, uint64_t stamp)
{
	uint32_t ended = ENDED;

	if (!atomic_compare_exchange_strong(&module->state, &ended, FILLING))
		return true;
	if (atomic_load(&module->emitted)) {
		uint64_t *w = tr_reserve(lane, 4, stamp);

		if (!w) {
			atomic_store(&module->state, ENDED);
			owe(lane);
			return false;
		}
		w[0] = ft_wire_head(FT_WIRE_MODULE_END, 0, 0, 4,
				    (uint32_t)(module->words[5] >> 32));
		w[1] = stamp;
		w[2] = module->code.start;
		w[3] = module->last_node;
		tr_publish(lane, 4, stamp);
	}
	atomic_store_explicit(&module->state, GONE, memory_order_release);
	return true;
}

static bool emit_begin(struct module *module, struct tr_lane *lane, uint64_t stamp)
{
	unsigned words = ft_wire_words(module->words[0]);
	uint64_t *w;

	if (atomic_exchange(&module->emitted, true))
		return true;
	w = tr_reserve(lane, words, stamp);
	if (!w) {
		atomic_store(&module->emitted, false);
		owe(lane);
		return false;
	}
	memcpy(w, module->words, words * sizeof(*w));
	w[1] = stamp;
	tr_publish(lane, words, stamp);
	return true;
}

void tr_modules_emit(struct tr_lane *lane, uint64_t stamp)
{
	uint32_t n;

	if (tr_likely(atomic_load_explicit(&tr_modules_unsent, memory_order_relaxed) == 0))
		return;
	atomic_exchange(&tr_modules_unsent, 0);
	n = slots_used();
	for (uint32_t i = 0; i < n; i++)
		if (atomic_load_explicit(&modules[i].state, memory_order_acquire) == ENDED &&
		    !emit_end(modules + i, lane, stamp))
			return;
	for (uint32_t i = 0; i < n; i++)
		if (atomic_load_explicit(&modules[i].state, memory_order_acquire) == LIVE &&
		    !emit_begin(modules + i, lane, stamp))
			return;
}

void tr_module_meet(struct tr_lane *lane, uintptr_t pc, uint64_t stamp)
{
	if (!find(pc))
		learn(pc);
	tr_modules_emit(lane, stamp);
}

/* ---- what has gone ----------------------------------------------------------------------------
 */

/* Rules and stamps of its code hold no more; its end is owed. */
static void end(struct module *module)
{
	struct ft_segment_header *header = tr_session.header;
	struct tr_code code = module->code;
	uint32_t live = LIVE, last_node;

	/* Before it has ended, so before another thread makes a node of what lies there now. */
	last_node = header ? atomic_load_explicit(&header->n_nodes, memory_order_acquire) : 0;
	if (!atomic_compare_exchange_strong(&module->state, &live, FILLING))
		return;
	module->last_node = last_node;
	atomic_store_explicit(&module->state, ENDED, memory_order_release);
	/* The stamp first: rules are learned anew with it. */
	tr_retire(&code);
#ifdef __x86_64__
	tr_rules_forget();
#endif
	tr_runtime_forget();
	atomic_fetch_add(&tr_modules_unsent, 1);
}

static bool same_code(const struct tr_code *a, const struct tr_code *b)
{
	return a->start == b->start && a->end == b->end && a->id == b->id;
}

bool tr_module_identify(uintptr_t pc, struct tr_code *code)
{
	struct dl_find_object object;
	struct module *module = find(pc);

	if (_dl_find_object((void *)pc, &object) != 0 || !object.dlfo_link_map)
		return false;
	*code = code_of(&object);
	if (module && !same_code(&module->code, code)) {
		end(module);
		module = NULL;
	}
	if (!module)
		learn(pc);
	return true;
}

/* Without a look at the object's memory, which another thread's dlclose() may take away. */
static bool still_there(const struct module *module)
{
	struct dl_find_object object;

	return _dl_find_object((void *)module->code.start, &object) == 0 &&
	       object.dlfo_link_map == module->map &&
	       (uintptr_t)object.dlfo_map_end == module->code.end;
}

/* Another one may lie there already. While this runs none goes. */
static int end_replaced(struct dl_phdr_info *info, size_t size, void *data)
{
	struct dl_find_object object;

	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *phdr = info->dlpi_phdr + i;
		uintptr_t at = info->dlpi_addr + phdr->p_vaddr;
		struct module *module;

		if (phdr->p_type != PT_LOAD || !(phdr->p_flags & PF_X))
			continue;
		module = find(at);
		if (module && _dl_find_object((void *)at, &object) == 0 && object.dlfo_link_map) {
			struct tr_code code = code_of(&object);

			if (!same_code(&module->code, &code))
				end(module);
		}
		break;
	}
	return 0;
}

void tr_modules_closing(void)
{
	tr_retire_begin();
#ifdef __x86_64__
	tr_rules_forget();
#endif
}

void tr_modules_closed(void)
{
	struct tr_self *self = &tr_self;
	struct tr_lane *lane;

	dl_iterate_phdr(end_replaced, NULL);
	for (uint32_t i = 0, n = slots_used(); i < n; i++)
		if (atomic_load_explicit(&modules[i].state, memory_order_acquire) == LIVE &&
		    !still_there(modules + i))
			end(modules + i);
			/* In this order, as at the beginning the other way round: with a generation
			 * that was read while code was unloaded, nothing is remembered. */
#ifdef __x86_64__
	tr_rules_forget();
#endif
	tr_retire_end();

	/* What is owed comes now, if it can. */
	lane = tr_enter(self, __builtin_frame_address(0));
	if (lane) {
		tr_modules_emit(lane, tr_stamp());
		tr_leave(self, lane);
	}
}

void tr_modules_reset(void)
{
	for (uint32_t i = 0, n = slots_used(); i < n; i++)
		atomic_store(&modules[i].emitted, false);
	atomic_store(&tr_modules_unsent, 1);
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
