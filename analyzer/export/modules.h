/* SPDX-License-Identifier: MIT */
#ifndef FA_EXPORT_MODULES_H
#define FA_EXPORT_MODULES_H

#include "export_impl.h"

struct fa_module {
	const char *path;	   /* redacted like those of frames */
	const char *build_id;	   /* hex; NULL: it has none */
	uint64_t start, end, bias; /* 0: unknown */
};

struct fa_modules {
	struct fa_redactor *redact;
	struct fa_intern paths;
	struct fa_module *list; /* by the number of the path */
};

/* The zeroed struct is empty. */
struct ft_error *fa_modules_load(struct fa_modules *modules, const struct fa_export_source *source);
/* The number of a frame's module. */
struct ft_error *fa_modules_find(struct fa_modules *modules, const char *path, uint32_t *ret);
void fa_modules_deinit(struct fa_modules *modules);

#endif
