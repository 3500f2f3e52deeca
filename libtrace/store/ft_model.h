/* SPDX-License-Identifier: MIT */
/*
 * The model that encoder and decoder of an event chunk share
 *
 * Both sides run the same state through the same functions, so that a prediction is the same on
 * both; what is here is part of the format (FORMAT.md, "Event chunk") and can't change without a
 * new format version. The state starts empty in each chunk.
 *
 *   births are numbered from 1 in the order of the chunk; 0 is "none"
 *   the live list links the births that have not died, newest first; 0 is its head
 *   a birth is in the live list  <=>  live[birth]
 */
#ifndef FT_MODEL_H
#define FT_MODEL_H

#include <stdint.h>
#include <string.h>

#include "fragtrace/event.h"
#include "fragtrace/store.h"

enum ft_event_column {
	COL_DICT,      /* 9 bytes a code: struct ft_code as bytes, in the order of first use */
	COL_CODE,      /* a byte an event: index into the dictionary, or CODE_ESCAPE */
	COL_ESCAPE,    /* 9 bytes an escaped event */
	COL_TIME,      /* varint: first tick, then differences */
	COL_THREAD,    /* varint pairs: thread, run length - 1 */
	COL_RANK,      /* byte: live births between the newest and the one that dies */
	COL_DIST,      /* varint: births between the newest and the one that dies */
	COL_GONE,      /* varint: zigzag difference of addresses that die and were not born here */
	COL_DEPTH,     /* byte: depth in the list of the class */
	COL_REUSE,     /* varint: deaths between the last and the one that freed the address */
	COL_DELTA,     /* varint: zigzag difference of a fresh address */
	COL_SIZE,      /* varint */
	COL_USABLE,    /* varint: zigzag(usable - size) */
	COL_STACK,     /* varint: index into the stacks of this chunk */
	COL_NEW_STACK, /* varint: zigzag(stack - greatest stack so far in the chunk) */
	COL_SEQ,       /* varint, keyframes only: difference of sequence numbers */
	COL_N
};

/* How each field is given. Values are on disk. */
enum ft_ref_mode {		 /* the block that dies */
		   REF_NONE,	 /* (a birth) */
		   REF_TOP,	 /* the newest live birth */
		   REF_RANK,	 /* COL_RANK steps down the live list */
		   REF_NEWER,	 /* the live birth after the one that died last */
		   REF_OLDER,	 /* the live birth before the one that died last */
		   REF_DIST,	 /* COL_DIST births back */
		   REF_GONE,	 /* not born in this chunk, in units of 16 bytes: COL_GONE */
		   REF_GONE_ODD, /* the same in bytes */
		   REF_N
};

enum ft_addr_mode {		/* where a block is born */
		    ADDR_NONE,	/* (a death) */
		    ADDR_TOP,	/* last freed of this class and thread */
		    ADDR_DEPTH, /* COL_DEPTH below that */
		    ADDR_NEXT, /* behind the thread's last fresh block, with a chunk head of 8 bytes
				*/
		    ADDR_STRIDE,    /* behind the class's last fresh block, without a head */
		    ADDR_REUSE,	    /* COL_REUSE deaths back in the chunk */
		    ADDR_DELTA,	    /* COL_DELTA * 16 from the class's last birth */
		    ADDR_DELTA_ODD, /* the same in bytes */
		    ADDR_SAME,	    /* realloc in place */
		    ADDR_N
};

enum ft_size_mode {
	SIZE_NONE,
	SIZE_LAST,   /* what this stack asked for last */
	SIZE_BEFORE, /* what it asked for before that */
	SIZE_GIVEN,  /* COL_SIZE */
	SIZE_N
};

enum ft_usable_mode {
	USABLE_NONE,   /* unknown, or a death: 0 */
	USABLE_RULE,   /* glibc's size classes */
	USABLE_CACHED, /* as for the last block of this size */
	USABLE_GIVEN,  /* COL_USABLE */
	USABLE_N
};

enum ft_stack_mode {
	STACK_NONE,   /* 0 */
	STACK_PAIR,   /* followed the two stacks before it last time */
	STACK_SINGLE, /* followed the stack before it last time */
	STACK_GIVEN,  /* COL_STACK */
	STACK_NEW,    /* COL_NEW_STACK: first time in this chunk */
	STACK_N
};

/* Everything about an event that is not a number. */
struct ft_code {
	uint8_t kind, api, flags, align_log2;
	uint8_t ref, addr, size, usable, stack;
};

enum { CODE_BYTES = 9, CODE_ESCAPE = 255 };
_Static_assert(sizeof(struct ft_code) == CODE_BYTES, "on disk");

enum {
	MODEL_EVENTS = FT_CHUNK_EVENTS,
	MODEL_RANKS = 16,     /* steps that REF_RANK may take */
	MODEL_LISTS = 512,    /* lists of freed blocks, by hash of thread and class */
	MODEL_DEPTH = 8,      /* entries in a list */
	MODEL_THREADS = 256,  /* threads share a slot when there are more */
	MODEL_PAIRS = 16384,  /* successors of a pair of stacks */
	MODEL_USABLES = 1024, /* sizes whose usable size is remembered */
};

struct ft_model_list {
	uint64_t address[MODEL_DEPTH]; /* newest last */
	uint32_t n;
	uint32_t pad;
	uint64_t last; /* address of the last birth of this class */
};

struct ft_model_thread {
	uint64_t next;		 /* where a fresh block would follow the last one */
	uint32_t stack1, stack2; /* indices of the last two birth stacks */
	uint32_t death1, death2; /* the same for deaths (--free-stacks) */
};

struct ft_model {
	uint32_t n_births, last_dead, n_deaths, n_stacks;
	uint64_t last_gone;
	uint32_t max_stack;
	struct ft_model_list lists[MODEL_LISTS];
	struct ft_model_thread threads[MODEL_THREADS];
	uint32_t pair_next[MODEL_PAIRS];
	struct {
		uint64_t size, usable;
	} usables[MODEL_USABLES];

	/* By birth, 1 to n_births. */
	uint64_t birth_address[MODEL_EVENTS + 1];
	uint64_t birth_usable[MODEL_EVENTS + 1];
	uint32_t newer[MODEL_EVENTS + 1], older[MODEL_EVENTS + 1];
	uint8_t live[MODEL_EVENTS + 1];

	/* By death. */
	uint64_t death_address[MODEL_EVENTS + 1];

	/* By index of a stack in this chunk, 1 to n_stacks; 0 stands for "no stack". */
	uint32_t stack_id[MODEL_EVENTS + 1];
	uint32_t single_next[MODEL_EVENTS + 1];
	uint64_t last_size[MODEL_EVENTS + 1], before_size[MODEL_EVENTS + 1];
};

static inline void ft_model_reset(struct ft_model *model)
{
	/* Arrays by number are written before they are read; only their first entry is state. */
	memset(model, 0, offsetof(struct ft_model, birth_address));
	model->newer[0] = model->older[0] = 0;
	model->live[0] = 0;
	model->birth_address[0] = 0;
	model->stack_id[0] = 0;
	model->single_next[0] = 0;
	model->last_size[0] = model->before_size[0] = 0;
}

/* ---- usable sizes -------------------------------------------------------------------------------
 */

/* glibc: 8 bytes of head, chunks of 16, at least 32. */
static inline uint64_t ft_model_rule(uint64_t size)
{
	uint64_t usable = ((size + 8 + 15) & ~UINT64_C(15)) - 8;

	return usable < 24 ? 24 : usable;
}

static inline size_t ft_model_usable_slot(uint64_t size)
{
	return (size * UINT64_C(0x9e3779b97f4a7c15)) >> 54;
}
_Static_assert(MODEL_USABLES == 1 << (64 - 54), "the slot is the top bits of the product");

/* ---- stacks -------------------------------------------------------------------------------------
 */

static inline size_t ft_model_pair_slot(uint32_t stack1, uint32_t stack2)
{
	return ((stack1 * UINT32_C(0x9e3779b1)) ^ (stack2 * UINT32_C(0x85ebca6b))) >> 18;
}
_Static_assert(MODEL_PAIRS == 1 << (32 - 18), "the slot is the top bits of the product");

/* The stack with index `index` was seen; `one` and `two` are the last two of its context. */
static inline void ft_model_stack_seen(struct ft_model *model, uint32_t *one, uint32_t *two,
				       uint32_t index)
{
	model->pair_next[ft_model_pair_slot(*one, *two)] = index;
	model->single_next[*one] = index;
	*two = *one;
	*one = index;
}

static inline uint32_t ft_model_stack_add(struct ft_model *model, uint32_t stack)
{
	uint32_t index = ++model->n_stacks;

	model->stack_id[index] = stack;
	model->single_next[index] = 0;
	model->last_size[index] = model->before_size[index] = 0;
	if (stack > model->max_stack)
		model->max_stack = stack;
	return index;
}

static inline void ft_model_size_seen(struct ft_model *model, uint32_t index, uint64_t size)
{
	if (model->last_size[index] == size)
		return;
	model->before_size[index] = model->last_size[index];
	model->last_size[index] = size;
}

/* ---- blocks -------------------------------------------------------------------------------------
 */

static inline struct ft_model_list *ft_model_list(struct ft_model *model, uint32_t thread,
						  uint64_t usable)
{
	uint64_t hash = (usable ^ (uint64_t)thread << 40) * UINT64_C(0x9e3779b97f4a7c15);

	return &model->lists[hash >> 55];
}
_Static_assert(MODEL_LISTS == 1 << (64 - 55), "the slot is the top bits of the product");

/* Take entry `depth` (0: newest) out of a list. */
static inline void ft_model_list_take(struct ft_model_list *list, uint32_t depth)
{
	for (uint32_t i = list->n - 1 - depth; i + 1 < list->n; i++)
		list->address[i] = list->address[i + 1];
	list->n--;
}

static inline void ft_model_list_push(struct ft_model_list *list, uint64_t address)
{
	if (list->n == MODEL_DEPTH)
		ft_model_list_take(list, MODEL_DEPTH - 1);
	list->address[list->n++] = address;
}

static inline void ft_model_born(struct ft_model *model, uint64_t address, uint64_t usable)
{
	uint32_t birth = ++model->n_births, newest = model->older[0];

	model->birth_address[birth] = address;
	model->birth_usable[birth] = usable;
	model->live[birth] = 1;
	model->newer[birth] = 0;
	model->older[birth] = newest;
	model->newer[newest] = birth;
	model->older[0] = birth;
}

/* A birth of this chunk dies: it leaves the live list and may be handed out again. */
static inline void ft_model_died(struct ft_model *model, uint32_t birth)
{
	uint32_t newer = model->newer[birth], older = model->older[birth];

	model->older[newer] = older;
	model->newer[older] = newer;
	model->live[birth] = 0;
	model->last_dead = birth;
	model->death_address[model->n_deaths++] = model->birth_address[birth];
}

static inline void ft_model_gone(struct ft_model *model, uint64_t address)
{
	model->last_gone = address;
	model->death_address[model->n_deaths++] = address;
}

#endif
