/* SPDX-License-Identifier: MIT */
/* What the files of the fixture program share: see fixture.c. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fa_doc.h"

#define KIB	 1024.0
#define MIB	 (1024.0 * 1024.0)
#define SEC	 1000000000ull
#define HOUR	 (3600 * SEC)
#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

enum {
	N_TICKS = 1024,
	/* the peak of the saw-tooth, between two ticks */
	NEEDLE_TICK = 700,
	NEEDLE_BYTES = 123456789,
};

struct fixture {
	const char *kind, *program;
	uint64_t duration_ns;
	bool hostile, lost, governed, sampled, diff;
};

/* Functions and files of it try to leave their place in the page. */
extern const char *const fixture_hostile_name;

/* The same sequence in every build: xorshift, not rand(). */
double fixture_random(void);
double fixture_live(double t); /* bytes, t in 0..1 of the run */

size_t fixture_n_sites(void);
const char *fixture_site(const struct fixture *f, size_t i); /* its name; ids are i + 1 */
void fixture_stack(struct fa_json *json, const char *key, size_t site, bool hostile);

void fixture_numbers(struct fa_json *json, const char *key, const uint64_t *values, size_t n);

/* fixture_timeline.c */
void fixture_timeline(const struct fixture *f, struct fa_doc *doc);
void fixture_largest(const struct fixture *f, struct fa_doc *doc);

/* fixture_quality.c */
void fixture_quality(const struct fixture *f, struct fa_doc *doc, bool empty);

/* fixture_layout.c */
void fixture_map(const struct fixture *f, struct fa_doc *doc);
void fixture_pages(const struct fixture *f, struct fa_doc *doc);
void fixture_frag(const struct fixture *f, struct fa_doc *doc);

/* fixture_memory.c */
void fixture_memory(const struct fixture *f, struct fa_doc *doc); /* pools, mapped, mappings */

/* fixture_models.c */
void fixture_models(const struct fixture *f, struct fa_doc *doc);    /* buddy, compact */
void fixture_lifetimes(const struct fixture *f, struct fa_doc *doc); /* lifetimes, usage */
void fixture_errors(const struct fixture *f, struct fa_doc *doc);
void fixture_diff(const struct fixture *f, struct fa_doc *doc);

/* fixture_machine.c */
void fixture_machine(const struct fixture *f, struct fa_doc *doc); /* node, which stands alone */

#endif
