/* SPDX-License-Identifier: MIT */
/* Finding programs: see la_program.h. */
#include "la_program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "co_elf.h"
#include "ft_cleanup.h"
#include "ft_error.h"
#include "ft_hello.h"
#include "ft_strbuf.h"

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* DIRECTORY[0, len) / NAME */
static char *join(const char *directory, size_t len, const char *name)
{
	struct ft_strbuf buf;

	ft_strbuf_init(&buf);
	if (len)
		ft_strbuf_add(&buf, directory, len);
	else
		ft_strbuf_adds(&buf, "."); /* an empty entry of PATH is the current folder */
	ft_strbuf_addc(&buf, '/');
	ft_strbuf_adds(&buf, name);
	return ft_strbuf_steal(&buf);
}

/* Like a shell: the first executable one; one that is there but not executable is better than none.
 */
static struct ft_error *search_path(const char *name, char **path)
{
	const char *at = getenv("PATH");
	ft_auto_free char *second = NULL;

	if (strchr(name, '/')) {
		*path = strdup(name);
		return *path ? NULL : &ft_enomem;
	}
	for (at = at ? at : "/usr/local/bin:/usr/bin:/bin"; at;) {
		size_t len = strcspn(at, ":");
		ft_auto_free char *candidate = join(at, len, name);

		if (!candidate)
			return &ft_enomem;
		if (is_file(candidate)) {
			if (access(candidate, X_OK) == 0) {
				*path = ft_take(candidate);
				return NULL;
			}
			if (!second)
				second = ft_take(candidate);
		}
		at = at[len] ? at + len + 1 : NULL;
	}
	*path = ft_take(second);
	return NULL;
}

/* The interpreter of a script, malloc'ed; NULL if `path` is none. */
static char *interpreter(const char *path)
{
	ft_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char line[256];
	ssize_t n = fd >= 0 ? read(fd, line, sizeof(line) - 1) : -1;
	char *start;

	if (n < 3)
		return NULL;
	line[n] = 0;
	if (line[0] != '#' || line[1] != '!')
		return NULL;
	start = line + 2 + strspn(line + 2, " \t");
	start[strcspn(start, " \t\r\n")] = 0;
	return *start ? strdup(start) : NULL;
}

/* Can the dynamic loader put our library into it? */
static struct ft_error *check_loadable(const char *path, const char *name)
{
	ft_auto_free char *script_of = interpreter(path);
	const char *image = script_of ? script_of : path;
	struct co_elf elf;
	struct stat st;

	if (stat(image, &st) == 0 && (st.st_mode & (S_ISUID | S_ISGID)) && geteuid() != 0 &&
	    (((st.st_mode & S_ISUID) && st.st_uid != geteuid()) || (st.st_mode & S_ISGID)))
		return ft_error_create(FT_ERROR_USAGE,
				       "%s is a set-user-id or set-group-id program: the loader "
				       "ignores LD_PRELOAD for it. Run it as the user that it "
				       "becomes, or record what it starts",
				       name);
	if (!co_elf_read(image, &elf))
		return NULL; /* executable but not readable: the loader can do more than we */
	if (elf.kind == CO_ELF_FOREIGN)
		return ft_error_create(FT_ERROR_USAGE,
				       "%s is built for another machine or word size than this "
				       "libfragtrace.so",
				       image);
	if (elf.kind == CO_ELF_NATIVE && !elf.has_interp)
		return ft_error_create(FT_ERROR_USAGE,
				       "%s is statically linked: no library can be preloaded into "
				       "it. Link it dynamically to record it",
				       image);
	return NULL;
}

struct ft_error *la_find_program(const char *name, char **path, int *status)
{
	ft_auto_free char *found = NULL;
	struct ft_error *error;
	struct stat st;

	*status = LA_OWN_FAILURE;
	FT_TRY(search_path(name, &found));
	if (!found || stat(found, &st) < 0) {
		*status = LA_NOT_FOUND;
		return ft_error_create(FT_ERROR_USAGE, "%s: %s", name,
				       strchr(name, '/') ? strerror(errno) : "command not found");
	}
	if (!S_ISREG(st.st_mode) || access(found, X_OK) < 0) {
		*status = LA_NOT_EXECUTABLE;
		return ft_error_create(FT_ERROR_USAGE, "%s: %s", found,
				       S_ISDIR(st.st_mode) ? "is a directory" : "not executable");
	}
	error = check_loadable(found, name);
	if (!error)
		*path = ft_take(found);
	return error;
}

/* ---- our own parts ---------------------------------------------------------------------------
 */

static struct ft_error *find_part(const char *const *places, const char *what, char **path)
{
	char own[4096];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	if (n < 0)
		return ft_error_os(errno, "/proc/self/exe");
	own[n] = 0;
	slash = strrchr(own, '/');
	if (slash)
		*slash = 0;
	for (; *places; places++) {
		ft_auto_free char *candidate =
			**places == '/' ? strdup(*places) : join(own, strlen(own), *places);

		if (!candidate)
			return &ft_enomem;
		if (!is_file(candidate))
			continue;
		*path = realpath(candidate, NULL);
		return *path ? NULL : ft_error_os(errno, "%s", candidate);
	}
	return ft_error_create(FT_ERROR_USAGE,
			       "%s is not where it was installed (looked beside %s)", what, own);
}

struct ft_error *la_find_library(char **path)
{
	static const char *const places[] = {
		"../tracer/libfragtrace.so", "../" LA_LIBDIR "/libfragtrace.so",
		LA_PREFIX_LIBDIR "/libfragtrace.so", "../lib/libfragtrace.so", NULL};

	FT_TRY(find_part(places, "libfragtrace.so", path));
	/* The loader splits LD_PRELOAD at both and knows no quoting. */
	if (*path && strpbrk(*path, ": ")) {
		struct ft_error *error = ft_error_create(
			FT_ERROR_USAGE,
			"%s can't be preloaded: LD_PRELOAD has no way to write a path with a space "
			"or a colon",
			*path);

		free(*path);
		*path = NULL;
		return error;
	}
	return NULL;
}

struct ft_error *la_find_collector(char **path)
{
	static const char *const places[] = {"../collector/fragtrace-collector",
					     "fragtrace-collector",
					     LA_PREFIX_BINDIR "/fragtrace-collector", NULL};
	const char *set = getenv(FT_ENV_COLLECTOR);

	if (set && *set) {
		*path = strdup(set);
		return *path ? NULL : &ft_enomem;
	}
	return find_part(places, "fragtrace-collector", path);
}

struct ft_error *la_find_analyzer(char **path)
{
	static const char *const places[] = {"../../analyzer/cli/fraganalyze", "fraganalyze",
					     LA_PREFIX_BINDIR "/fraganalyze", NULL};

	return find_part(places, "fraganalyze", path);
}
