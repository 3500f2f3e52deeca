/* SPDX-License-Identifier: MIT */
/* What the symbol tests share: fixtures by name, and the answers to one lookup. */
#ifndef TEST_SYMBOL_FIXTURE_H
#define TEST_SYMBOL_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jobs.h"

enum { MAX_ANSWERS = 64 };

struct answer {
	uint64_t offset;
	uint32_t depth, line;
	char *function, *file; /* NULL: unknown */
};

struct answers {
	struct answer frames[MAX_ANSWERS];
	size_t n;
	size_t n_dropped;      /* frames beyond MAX_ANSWERS */
	struct ft_job_end end; /* of the last job */
	size_t n_ends;
};

/* FIXTURES/NAME; static memory that the 16th call after this one overwrites. */
const char *fixture_path(const char *name);

/* Whether this machine's tools could build the fixture; prints why if not. */
bool fixture_exists(const char *name);

/* Address of the label at_LABEL in the fixture; fails the test if there is none. */
uint64_t fixture_address(const char *name, const char *label);

/* Line of the comment @MARK in a source of the fixtures. */
uint32_t fixture_line(const char *source, const char *mark);

/* The build-id of a file, in hex; static memory. NULL if it has none. */
const char *fixture_build_id(const char *path);

/* Settings without a cache and with the fixtures' debug directory. */
struct ft_job_settings fixture_settings(void);

struct ft_job_sink answers_sink(struct answers *answers);
void answers_deinit(struct answers *answers);

/* Ask for one address of a file. */
void ask(const char *path, const char *build_id, uint64_t address,
	 const struct ft_job_settings *settings, struct answers *answers);

#endif
