/* SPDX-License-Identifier: MIT */
/*
 * One call by each name of an allocator: test-names ALLOCATE RELEASE WORD...
 *
 * A WORD is a sign, a function's name, ':', and a letter for each argument: '+' allocates, '='
 * resizes,
 * '-' releases; ALLOCATE(size) and RELEASE(block) do what the word does not. Word number i has a
 * block of 60000 + 3 i bytes (the sign '=': of half as many, that is resized to it). Letters: s
 * size, n three and t a third of the size (for a count and a size), a 64, o 0, b the block, v where
 * the block is stored, x a reference, f the bytes 'x' as text of size - 1 letters, h a heap of
 * mimalloc's. Afterwards, with a heap, 7 blocks of 59999 bytes are made in it and go with it.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST = 60000, MAX_ARGUMENTS = 6 };

static void *find(const char *name)
{
	void *function = dlsym(RTLD_DEFAULT, name);

	if (!function) {
		fprintf(stderr, "test-names: no %s\n", name);
		exit(3);
	}
	return function;
}

static void *heap, *stored;
static char text[FIRST * 2];

static uintptr_t argument(char letter, void *block, size_t size)
{
	static const char tag;

	switch (letter) {
	case 's':
		return size;
	case 'n':
		return 3;
	case 't':
		return size / 3;
	case 'a':
		return 64;
	case 'b':
		return (uintptr_t)block;
	case 'v':
		stored = block;
		return (uintptr_t)&stored;
	case 'x':
		return (uintptr_t)&tag;
	case 'f':
		memset(text, 'x', size - 1);
		text[size - 1] = '\0';
		return (uintptr_t)text;
	case 'h':
		if (!heap)
			heap = ((void *(*)(void))find("mi_heap_new"))();
		return (uintptr_t)heap;
	default:
		return 0;
	}
}

/* The block that comes of it. */
static void *call(const char *word, void *block, size_t size)
{
	char name[64];
	const char *letters = strchr(word, ':');
	uintptr_t a[MAX_ARGUMENTS] = {0};

	snprintf(name, sizeof(name), "%.*s", (int)(letters - word), word);
	for (int i = 0; letters[1 + i] && i < MAX_ARGUMENTS; i++)
		a[i] = argument(letters[1 + i], block, size);

	uintptr_t (*function)(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t);

	*(void **)&function = find(name);

	uintptr_t result = function(a[0], a[1], a[2], a[3], a[4], a[5]);

	if (strchr(letters, 'v'))
		return (int)result == 0 ? stored : NULL;
	return strcmp(name, "xallocx") == 0 ? block : (void *)result;
}

int main(int argc, char **argv)
{
	void *(*allocate)(size_t);
	void (*release)(void *);

	if (argc < 4)
		return 2;
	*(void **)&allocate = find(argv[1]);
	*(void **)&release = find(argv[2]);
	for (int i = 3; i < argc; i++) {
		const char *word = argv[i];
		size_t size = FIRST + 3 * (size_t)(i - 3);
		void *block = *word == '+' ? call(word + 1, NULL, size)
					   : allocate(*word == '=' ? size / 2 : size);

		if (*word == '=')
			block = call(word + 1, block, size);
		if (!block) {
			fprintf(stderr, "test-names: nothing from %s\n", word);
			return 1;
		}
		*(char *)block = 'y';
		if (*word == '-')
			call(word + 1, block, size);
		else
			release(block);
	}
	if (heap) {
		void *(*in_heap)(void *, size_t);
		void (*destroy)(void *);

		*(void **)&in_heap = find("mi_heap_malloc");
		*(void **)&destroy = find("mi_heap_destroy");
		for (int i = 0; i < 7; i++)
			*(char *)in_heap(heap, FIRST - 1) = 'z';
		destroy(heap);
	}
	puts("done");
	return 0;
}
