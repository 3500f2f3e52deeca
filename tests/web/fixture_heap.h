/* SPDX-License-Identifier: MIT */
/* The parts of a fixture that say where memory is held, with values that browser.test.mjs knows. */
#ifndef FIXTURE_HEAP_H
#define FIXTURE_HEAP_H

#include <stdint.h>

#include "fa_doc.h"

/* Keys of `frag`: waterfall, closing, peak, mmap_threshold, remedies. `emit_stack` writes the key.
 */
void fixture_held(struct fa_json *json, uint64_t duration_ns, const char *name,
		  void (*emit_stack)(struct fa_json *json));
/* The columns `waterfall.*`; the last sample is that of the section. */
void fixture_waterfall(struct fa_doc *doc, uint64_t duration_ns);

#endif
