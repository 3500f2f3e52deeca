/* SPDX-License-Identifier: MIT */
/*
 * Names of functions for people and for comparison
 *
 * The document holds names in full; these are forms of them. Untrusted text: nothing is assumed to
 * be balanced.
 */
#ifndef FA_NAME_H
#define FA_NAME_H

#include <stddef.h>

#include "ft_strbuf.h"

/*
 * Append the name as it is shown: what the language's library adds is taken off
 * (`std::__cxx11::basic_string<char, ...>` is `std::string`, allocators and other defaults go),
 * longer lists of template arguments become <...>, longer lists of parameters (...). A C name, or a
 * short C++ name, stays as it is.
 */
void fa_name_short(const char *function, struct ft_strbuf *out);

/*
 * Append the name as two builds are compared by it: without the suffixes of compilers' clones
 * (`.constprop.0`, `.part.1`, `.isra.0`, `.cold`, `.lto_priv.2`, ` [clone ...]`) and the hash at
 * the end of Rust's legacy names.
 */
void fa_name_normal(const char *function, struct ft_strbuf *out);

#endif
