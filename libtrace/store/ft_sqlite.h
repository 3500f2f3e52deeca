/* SPDX-License-Identifier: MIT */
/*
 * SQLite, linked or borrowed
 *
 * A loadable extension must call the SQLite of the program that loads it, which may have its own
 * copy inside, through the table of functions that it is given. The files that both the library and
 * the extension are made of include this instead of sqlite3.h.
 */
#ifndef FT_SQLITE_H
#define FT_SQLITE_H

#ifdef FT_SQLITE_EXTENSION
#include <sqlite3ext.h>
#ifndef FT_SQLITE_EXTENSION_MAIN
SQLITE_EXTENSION_INIT3
#endif
#else
#include <sqlite3.h>
#endif

#endif
