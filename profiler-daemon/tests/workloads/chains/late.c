// Chains through a library that is loaded while the program is being watched, and from a second one that
// takes its place. Usage: late FIRST.so SECOND.so; each is loaded 1.5 s after the one before.
//
// For its first 200 ms a library only burns, in `young`: tables may still be on their way.
#include <dlfcn.h>
#include <stdio.h>

#include "chain.h"

typedef void enter_fn(unsigned depth, void (*leaf)(void));

static long now_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

CHAIN static void leaf(void) {
	burn(30);
	doze(1000);
	KEEP;
}

CHAIN static void young(void) {
	for (unsigned long i = 0; i < 1000000; i++)
		KEEP;
}

CHAIN static void before(unsigned depth) {
	if (depth > 1)
		before(depth - 1);
	else
		leaf();
	KEEP;
}

CHAIN static void through(enter_fn *enter, void (*leaf)(void)) {
	enter(10, leaf);
	KEEP;
}

int main(int count, char **libraries) {
	long loaded = now_ms();
	while (now_ms() < loaded + 1500)
		before(10);
	for (int i = 1; i < count; i++) {
		void *library = dlopen(libraries[i], RTLD_NOW);
		enter_fn *enter = library ? (enter_fn *)dlsym(library, "enter") : NULL;
		if (!enter) {
			fprintf(stderr, "%s\n", dlerror());
			return 1;
		}
		loaded = now_ms();
		while (now_ms() < loaded + 250)
			through(enter, young);
		// The last one stays.
		while (i == count - 1 || now_ms() < loaded + 1500)
			through(enter, leaf);
		dlclose(library);
	}
	return 1;
}
