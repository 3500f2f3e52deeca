/* SPDX-License-Identifier: MIT */
/*
 * Whose frame is it?
 *
 * A site is titled by the innermost frame that its author would recognise. This file is the one
 * place that knows which modules and functions are not it: the runtime, and wrappers that only pass
 * a request on to malloc.
 */
#include <string.h>

#include "engine_impl.h"

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

static const char *const tracer_modules[] = {"libfragtrace.so"};

/* Modules whose name begins like this, and goes on with ".so", "-" or a version. */
static const char *const runtime_modules[] = {
	"ld-linux",    "ld.so",	    "libc",	   "libc++",	 "libc++abi",
	"libdl",       "libgcc_s",  "libm",	   "libpthread", "libresolv",
	"librt",       "libstdc++", "libanl",	   "libnss_",	 "libjemalloc",
	"libmimalloc", "libhoard",  "libtcmalloc", "linux-vdso", "libtcmalloc_minimal",
};

/* Functions of the program that only allocate. */
static const char *const wrappers[] = {
	"_xmalloc",
	"checked_malloc",
	"emalloc",
	"erealloc",
	"safe_malloc",
	"safe_realloc",
	"safemalloc",
	"x_malloc",
	"xalloc",
	"xcalloc",
	"xmalloc",
	"xmallocarray",
	"xmemdup",
	"xmemdup0",
	"xmemdupz",
	"xmkstrdup",
	"xnmalloc",
	"xnrealloc",
	"xpalloc",
	"xrealloc",
	"xreallocarray",
	"xstrdup",
	"xstrndup",
	"xzalloc",
	"do_xmalloc",
	"xcharalloc",
	"ximalloc",
	"xmallocz",
	"do_xmallocz",
	"xmallocz_gently",
	"strbuf_grow",
	"g_malloc",
	"g_malloc0",
	"g_malloc0_n",
	"g_malloc_n",
	"g_realloc",
	"g_realloc_n",
	"g_strdup",
	"g_strndup",
	"g_slice_alloc",
	"g_slice_alloc0",
	"g_try_malloc",
	"g_try_malloc0",
	"g_memdup",
	"g_memdup2",
	"zmalloc",
	"zcalloc",
	"zrealloc",
	"ztrymalloc",
	"ztrymalloc_usable",
	"ztrymalloc_usable_internal",
	"zmalloc_usable",
	"ztrycalloc",
	"ztrycalloc_usable",
	"ztryrealloc",
	"ztryrealloc_usable",
	"ztryrealloc_usable_internal",
	"zrealloc_usable",
	"ztrycalloc_usable_internal",
	"zstrdup",
	"sqlite3MemMalloc",
	"sqlite3MemRealloc",
	"mallocWithAlarm",
	"sqlite3Malloc",
	"sqlite3MallocZero",
	"sqlite3Realloc",
	"sqlite3_malloc",
	"sqlite3_malloc64",
	"sqlite3_realloc",
	"sqlite3_realloc64",
	"sqlite3DbMallocRaw",
	"sqlite3DbMallocRawNN",
	"sqlite3DbMallocZero",
	"sqlite3DbRealloc",
	"dbMallocRawFinish",
	"dbReallocFinish",
	"CRYPTO_malloc",
	"CRYPTO_zalloc",
	"CRYPTO_realloc",
	"CRYPTO_strdup",
	"CRYPTO_memdup",
	"ngx_alloc",
	"ngx_calloc",
	"ngx_memalign",
	"PyMem_Malloc",
	"PyMem_Calloc",
	"PyMem_Realloc",
	"PyMem_RawMalloc",
	"PyMem_RawRealloc",
	"PyMem_RawCalloc",
	"PyObject_Malloc",
	"PyObject_Calloc",
	"PyObject_Realloc",
	"_PyMem_RawMalloc",
	"_PyMem_RawCalloc",
	"_PyMem_RawRealloc",
	"l_alloc",
	"luaM_realloc_",
	"luaM_malloc_",
	"jv_mem_alloc",
	"jv_mem_calloc",
	"jv_mem_realloc",
	"jv_mem_strdup",
	"xmlMalloc",
	"xmlMemMalloc",
	"xmlStrndup",
	"xmlStrdup",
	"lzma_alloc",
	"lzma_alloc_zero",
};

/* Allocation calls themselves and what the runtime puts on top of them, wherever it is linked. */
static const char *const runtime_functions[] = {
	"malloc",
	"calloc",
	"realloc",
	"reallocarray",
	"posix_memalign",
	"aligned_alloc",
	"memalign",
	"valloc",
	"pvalloc",
	"free",
	"cfree",
	"strdup",
	"strndup",
	"__strdup",
	"__strndup",
	"asprintf",
	"vasprintf",
	"__vasprintf_internal",
	"getline",
	"getdelim",
	"__GI___libc_malloc",
	"__libc_malloc",
	"__libc_calloc",
	"__libc_realloc",
	"__libc_start_main",
	"__libc_start_call_main",
	"_start",
	"start_thread",
	"clone",
	"clone3",
	"__rust_alloc",
	"__rust_alloc_zeroed",
	"__rust_realloc",
	"__rdl_alloc",
	"__rdl_alloc_zeroed",
	"__rdl_realloc",
};

/* Qualified names that begin like this are code of the language's library, inlined or instantiated
 * in the program. */
static const char *const runtime_prefixes[] = {
	"std::",
	"__gnu_cxx::",
	"__cxxabiv1::",
	"operator new",
	"operator delete",
	"alloc::",
	"<alloc::",
	"core::",
	"<core::",
	"<std::",
	"hashbrown::",
	"<hashbrown::",
	"boost::container::",
	"fmt::v",
	"__gnu_debug::",
};

/* Allocated once, kept for ever. */
static const char *const startup_functions[] = {
	"_IO_file_doallocate",
	"__GI__IO_file_doallocate",
	"_IO_wfile_doallocate",
	"_IO_doallocbuf",
	"_dl_allocate_tls",
	"__GI__dl_allocate_tls",
	"allocate_dtv",
	"allocate_stack",
	"_dl_allocate_tls_init",
	"allocate_dtv_entry",
	"__pthread_setspecific",
	"___pthread_setspecific",
	"pthread_setspecific",
	"_dl_new_object",
	"_dl_map_object",
	"dl_main",
	"_dl_init",
	"call_init",
	"_nl_load_locale",
	"_nl_load_domain",
	"_nl_find_domain",
	"_nl_make_l10nflist",
	"setlocale",
	"tzset",
	"__tzset",
	"tzset_internal",
	"__tzfile_read",
	"__new_exitfn",
	"__cxa_thread_atexit_impl",
	"__gconv_open",
	"__gconv_read_conf",
	"pthread_create",
	"__pthread_create_2_1",
	"pthread_getattr_np",
	"nss_database_select_default",
	"nss_database_reload",
	"nss_database_check_reload_and_get",
	"nss_database_state_get",
	"__nss_module_allocate",
	"__nss_module_load",
	"getpwnam",
	"getpwuid",
	"getgrnam",
	"getgrgid",
	"gethostbyname",
	"getservbyname",
	"__check_pf",
	"__res_vinit",
	"__resolv_conf_get_current",
	"__resolv_conf_load",
	"__resolv_conf_attach",
	"__add_to_environ",
	"dl_open_worker_begin",
	"dl_open_worker",
	"_dl_map_object_deps",
	"_dl_check_map_versions",
	"__gconv_find_transform",
	"__gconv_lookup_cache",
	"read_alias_file",
	"_nl_expand_alias",
	"__cxa_get_globals",
	"__internal_atexit",
	"__cxa_atexit",
	"__cxa_at_quick_exit",
	"__nss_database_get",
	"__res_context_query",
	"bindtextdomain",
	"textdomain",
	"set_binding_values",
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool begins(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static bool is_one_of(const char *text, size_t len, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(list[i]) == len && !memcmp(list[i], text, len))
			return true;
	return false;
}

bool fa_module_is_tracer(const char *path)
{
	for (size_t i = 0; i < N_ELEMENTS(tracer_modules); i++)
		if (begins(base_name(path), tracer_modules[i]))
			return true;
	return false;
}

bool fa_module_is_runtime(const char *path)
{
	const char *name = base_name(path);

	for (size_t i = 0; i < N_ELEMENTS(runtime_modules); i++) {
		size_t len = strlen(runtime_modules[i]);

		if (strncmp(name, runtime_modules[i], len) != 0)
			continue;
		if (!name[len] || name[len] == '.' || name[len] == '-' || name[len - 1] == '_')
			return true;
	}
	return false;
}

/*
 * The qualified name within a demangled one: without return type, arguments and template arguments
 * at the end. "void std::vector<int>::push_back<int>(int&&)" -> "std::vector<int>::push_back"
 */
static const char *qualified_name(const char *text, size_t *len)
{
	const char *start = text, *end = NULL;
	int depth = 0;

	for (const char *p = text; *p; p++) {
		if (begins(p, "operator")) {
			/* Its symbols are no brackets, and a blank may be part of its name. */
			p += strlen("operator");
			while (*p && *p != '(')
				p++;
			if (p[0] == '(' && p[1] == ')' && p[2] == '(')
				p += 2;
			end = p;
			break;
		}
		if (begins(p, "(anonymous namespace)")) {
			p += strlen("(anonymous namespace)") - 1;
			continue;
		}
		if (*p == '<')
			depth++;
		else if (*p == '>' && depth)
			depth--;
		if (depth)
			continue;
		if (*p == '(') {
			end = p;
			break;
		}
		if (*p == ' ')
			start = p + 1;
	}
	if (!end)
		end = text + strlen(text);
	if (start > end)
		start = text;
	*len = (size_t)(end - start);
	return start;
}

enum frame_kind fa_function_kind(const char *function)
{
	size_t len;
	const char *name = qualified_name(function, &len);

	for (size_t i = 0; i < N_ELEMENTS(runtime_prefixes); i++)
		if (begins(name, runtime_prefixes[i]))
			return FRAME_RUNTIME;
	if (is_one_of(name, len, runtime_functions, N_ELEMENTS(runtime_functions)))
		return FRAME_RUNTIME;

	/* Clones of a wrapper (".constprop.0", ".part.0", ".cold") are the wrapper. */
	const char *dot = memchr(name, '.', len);

	if (dot && dot != name)
		len = (size_t)(dot - name);
	if (is_one_of(name, len, wrappers, N_ELEMENTS(wrappers)))
		return FRAME_WRAPPER;
	return FRAME_USER;
}

bool fa_function_is_startup(const char *function)
{
	size_t len;
	const char *name = qualified_name(function, &len);

	if (is_one_of(name, len, startup_functions, N_ELEMENTS(startup_functions)))
		return true;

	/* The emergency pool of libstdc++'s exceptions. */
	return strstr(function, "::pool::pool") != NULL;
}
